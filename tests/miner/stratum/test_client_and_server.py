"""Both our ends joined: a pool's client mines at our own Stratum server, bytes in and bytes out, cut anywhere."""

from dataclasses import replace
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.difficulty import hash_to_int
from miner.stratum import v1
from miner.stratum.client_session import ClientSession
from miner.stratum.house import Granted, Refused
from miner.stratum.pool_events import (
    Answered,
    Event,
    Failed,
    Failure,
    LoggedIn,
    Message,
    PoolAccepted,
    PoolLogin,
    PoolRejected,
    PoolSilent,
    PoolSubmission,
    Redirected,
    Work,
)
from miner.stratum.server_session import ServerSession
from miner.work.job import DEFAULT_VERSION_MASK
from tests.miner.harness import NOW
from tests.miner.stratum.device import EASY, FIXED, PLACE, OpenHouse, work

LOGIN = PoolLogin("account", "x", "hashmill/1.0", DEFAULT_VERSION_MASK)
NAMED = replace(LOGIN, worker_names=True)


def sha256d(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


class Pair:
    """A client and the server's session; `cuts` are the sizes of the pieces their bytes travel in, in turn."""

    def __init__(
        self, house: OpenHouse | None = None, login: PoolLogin = LOGIN, cuts: tuple[int, ...] = (1 << 20,)
    ) -> None:
        self.house = house or OpenHouse()
        self.server = ServerSession(self.house, FIXED, NOW)
        self.client = ClientSession(login, NOW, host="pool.example")
        self.cuts = cuts
        self.turn = 0
        self.now = NOW
        self.is_open = True
        self.events: list[Event] = []
        self.tokens = 0
        self.upward = self.downward = b""
        self.up(self.client.start(NOW))

    def up(self, data: bytes) -> None:
        """The client writes this; then both go on until neither has anything to say."""
        self.upward += data
        while self.upward or self.downward:
            size = self.cuts[self.turn % len(self.cuts)]
            self.turn += 1
            piece, self.upward = self.upward[:size], self.upward[size:]
            if piece:
                told = self.server.receive(piece, self.now)
                self.downward += told.data
                self.is_open &= not told.close
            piece, self.downward = self.downward[:size], self.downward[size:]
            if piece:
                done = self.client.receive(piece, self.now)
                self.upward += done.data
                self.events += done.events
                self.is_open &= not done.close

    def down(self, data: bytes) -> list[Event]:
        """The server writes this; what became of it."""
        before = len(self.events)
        self.downward += data
        self.up(b"")
        return self.events[before:]

    @property
    def work(self) -> Work:
        return [event for event in self.events if isinstance(event, Work)][-1]

    @property
    def verdicts(self) -> dict[int, object]:
        return {event.token: event.verdict for event in self.events if isinstance(event, Answered)}

    def mine(
        self, work: Work | None = None, *, worker: str = "", bits: int | None = None, good: bool = True
    ) -> PoolSubmission:
        """A share of this work (the newest), by hashlib alone; no two are alike."""
        work = work or self.work
        self.tokens += 1
        notify = work.notify
        extranonce2 = self.tokens.to_bytes(work.extranonce2_size, "big")
        root = sha256d(notify.coinbase1 + work.extranonce1 + extranonce2 + notify.coinbase2)
        for node in notify.branch:
            root = sha256d(root + node)
        version = notify.version & ~(work.version_mask or 0) | (bits or 0)
        start = (
            version.to_bytes(4, "little")
            + notify.prev_hash
            + root
            + notify.ntime_s.to_bytes(4, "little")
            + notify.bits.to_bytes(4, "little")
        )
        nonce = 0
        while (hash_to_int(sha256d(start + nonce.to_bytes(4, "little"))) <= work.share_target) is not good:
            nonce += 1
        return PoolSubmission(worker, notify.job_id, extranonce2, notify.ntime_s, nonce, bits)

    def submit(self, submission: PoolSubmission) -> object:
        """The pool's word on a share."""
        self.up(self.client.submit(submission, self.tokens, self.now))
        return self.verdicts[self.tokens]

    def new_job(self, job_id: str, *, clean: bool = False) -> list[Event]:
        prev_hash = sha256d(job_id.encode()) if clean else self.house.current.prev_hash  # type: ignore[union-attr]
        notice = self.house.add(work(job_id, prev_hash=prev_hash, clean=clean))
        return self.down(self.server.offer(notice, self.now))


@pytest.fixture(params=[False, True], ids=["by Python", "by the core"])
def house(request: pytest.FixtureRequest) -> OpenHouse:
    return OpenHouse(is_fast=request.param)


def test_it_logs_in_and_all_its_shares_are_accepted(house: OpenHouse) -> None:
    pair = Pair(house)
    entered, first = pair.events
    assert entered == LoggedIn(PLACE.extranonce1, PLACE.extranonce2_size, DEFAULT_VERSION_MASK)
    assert isinstance(first, Work)
    assert first.difficulty == EASY
    assert pair.server.wants_extranonce
    assert pair.server.agent == "hashmill/1.0"
    for bits in (None, 0x2000, 0x1FFFE000):
        for _ in range(20):
            assert pair.submit(pair.mine(bits=bits)) == PoolAccepted()


def test_each_rejection_is_told_as_what_it_is(house: OpenHouse) -> None:
    pair = Pair(house)
    assert pair.submit(pair.mine(good=False)) == PoolRejected(23, "Low difficulty share")
    found = pair.mine()
    assert pair.submit(found) == PoolAccepted()
    pair.tokens += 1
    assert pair.submit(found) == PoolRejected(22, "Duplicate share")
    old = pair.mine()
    pair.new_job("1a3", clean=True)
    assert pair.submit(old) == PoolRejected(21, "Stale share")
    wrong = msgspec.structs.replace(pair.work.notify, job_id="77")
    assert pair.submit(pair.mine(replace(pair.work, notify=wrong))) == PoolRejected(21, "Job not found")


def test_a_difficulty_that_moves_on_every_job_counts_for_each(house: OpenHouse) -> None:
    pair = Pair(house)
    works = [pair.work]
    for n in range(2, 8):
        pair.down(pair.server._channel.change(n * EASY, NOW))
        works.append(pair.work)
        pair.new_job(f"1a{n + 1}")
        works.append(pair.work)
    assert [made.difficulty for made in works[1::2]] == [made.difficulty for made in works[2::2]]
    assert len({made.difficulty for made in works}) == 7
    for made in works:
        assert pair.submit(pair.mine(made)) == PoolAccepted()


def test_another_extranonce_in_mid_flight(house: OpenHouse) -> None:
    pair = Pair(house)
    old = pair.work
    place = msgspec.structs.replace(PLACE, extranonce1=b"\1\2\3\4")
    told = pair.down(pair.server.change_extranonce(place, NOW))
    assert [type(event) for event in told] == [Work]
    assert (pair.work.extranonce1, pair.work.extranonce2_size) == (b"\1\2\3\4", 8)
    assert pair.work.notify.clean
    assert pair.submit(pair.mine()) == PoolAccepted()
    assert isinstance(pair.submit(pair.mine(old)), PoolRejected)


def test_another_mask_in_mid_flight(house: OpenHouse) -> None:
    pair = Pair(house)
    assert [type(event) for event in pair.down(pair.server.change_version_mask(0x0000E000))] == [Work]
    assert pair.work.version_mask == 0xE000
    assert pair.submit(pair.mine(bits=0x2000)) == PoolAccepted()
    assert pair.down(pair.server.change_version_mask(DEFAULT_VERSION_MASK)) == []
    pair.new_job("1a3")
    assert pair.submit(pair.mine(bits=0x10000000)) == PoolAccepted()


def test_a_refused_login_is_told_in_the_words_of_the_server() -> None:
    pair = Pair(
        OpenHouse(logins={"account": Refused(24, "too many failed logins: wait a minute", close=True)})
    )
    assert pair.events == [
        Failed(
            Failure.LOGIN, "the pool refuses the user 'account': too many failed logins: wait a minute"
        )
    ]  # fmt: skip
    assert not pair.is_open


def test_a_server_without_room_refuses_the_subscription() -> None:
    pair = Pair(OpenHouse(is_full=True))
    assert pair.events == [
        Failed(Failure.LOGIN, "the pool refuses mining.subscribe: No room for another session")
    ]


def test_workers_go_up_under_their_own_names_unless_they_are_refused(house: OpenHouse) -> None:
    house.logins["account.b"] = Refused(24, "no such worker")
    pair = Pair(house, NAMED)
    for worker in ("a", "b", "", "a", "b"):
        assert pair.submit(pair.mine(worker=worker)) == PoolAccepted()
    assert sorted(house.units) == ["account", "account.a"]
    others = [submission.unit_id for submission, _, _ in house.taken if submission.unit_id != "account"]
    assert others == ["account.a", "account.a"]
    assert [event.text for event in pair.events if isinstance(event, Message)] == [
        "worker account.b is refused, account takes its shares: no such worker"
    ]


def test_what_the_server_says_of_itself() -> None:
    pair = Pair()
    assert pair.down(pair.server.farewell("Back at six")) == [Message("Back at six")]
    pair.server.agent = ""
    assert pair.down(pair.server.ask_version()) == []
    assert pair.server.agent == "hashmill/1.0"
    assert pair.down(v1.ping(9)) == []
    assert pair.down(v1.reconnect("", 0, 0)) == [Redirected("", 0, 0)]
    assert not pair.is_open


def test_a_server_without_work_has_a_client_that_waits() -> None:
    pair = Pair(OpenHouse(current=None))
    assert [type(event) for event in pair.events] == [LoggedIn]
    assert pair.client.tick(NOW + 119).events == []
    pair.house.add(work("1a3"))
    assert [
        type(event) for event in pair.down(pair.server.offer(pair.house.notice_of(work("1a3")), NOW))
    ] == [Work]
    assert pair.submit(pair.mine()) == PoolAccepted()


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=9).map(tuple),
    steps=st.lists(
        st.sampled_from(["share", "share", "share", "job", "tip", "level", "place", "mask", "bad", "worker"]), max_size=30
    ),
    is_fast=st.booleans(),
)  # fmt: skip
def test_however_the_bytes_are_cut_both_ends_count_the_same(
    cuts: tuple[int, ...], steps: list[str], *, is_fast: bool
) -> None:
    pair = Pair(OpenHouse(is_fast=is_fast), NAMED, cuts)
    good = 0
    for number, step in enumerate(steps):
        match step:
            case "share" | "worker" | "bad":
                found = pair.mine(
                    worker="rig" if step == "worker" else "",
                    bits=(number << 13) & (pair.work.version_mask or 0),
                    good=step != "bad",
                )
                assert (pair.submit(found) == PoolAccepted()) is (step != "bad")
                good += step != "bad"
            case "job" | "tip":
                pair.new_job(f"{0x1B0 + number:x}", clean=step == "tip")
            case "level":
                pair.down(pair.server._channel.change((1 + number % 3) * EASY, NOW))
            case "place":
                place = msgspec.structs.replace(PLACE, extranonce1=number.to_bytes(4, "big"))
                pair.down(pair.server.change_extranonce(place, NOW))
            case "mask":
                pair.down(pair.server.change_version_mask((0x0000E000, DEFAULT_VERSION_MASK)[number % 2]))
    assert pair.is_open
    assert sorted(pair.verdicts) == list(range(1, pair.tokens + 1))
    assert sum(verdict == PoolAccepted() for verdict in pair.verdicts.values()) == good
    assert pair.client.end("done", pair.now) == []
    assert pair.client.ignored == 0


def test_a_share_the_server_never_answered_is_in_doubt() -> None:
    pair = Pair()
    found = pair.mine()
    assert pair.client.submit(found, 7, NOW)
    assert pair.client.end("connection reset", NOW + 3) == [Answered(7, PoolSilent("connection reset"), 3.0)]
    assert isinstance(pair.house.login("account", "x", NOW), Granted)
    again = Pair(pair.house)
    assert again.client.end("done", NOW) == []  # another session knows nothing of it
    assert pair.house.taken == []
