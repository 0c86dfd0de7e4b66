"""The C core's verdicts on submit lines against `judge`, on two shelves that see the same things happen.

One shelf's sessions hand their lines to a SubmitTaker first and judge in Python what it leaves, the other's judge
everything in Python. Whoever decides, verdict, answer and what is remembered are the same. On each shelf there is a book
of solo work and one of a pool's, with different jobs of both at any time.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.difficulty import MAX_TARGET, difficulty_of_hash, difficulty_of_target, hash_to_int
from miner.kernel import BOARD_JOBS, RECORD, ShareBuffer, SubmitTaker, Tally
from miner.work.job import KEPT_TIPS, MAX_FUTURE_S, Job, UpstreamWork
from miner.work.share import Accepted, PoolShare, Reason, Rejected, Submission, Verdict, judge
from miner.work.shelf import SOLO, Shelf

GRACE_S = 60.0
CAPACITY = 6
FIRST_SERIAL = 0xF0
KEPT_LEVELS = 8
NTIME_S = 1_700_000_100
ORIGINS = (SOLO, "pool")
TARGETS = (2**253, 2**255, 3 * 2**254, MAX_TARGET)
REASONS = list(Reason)
ERRORS = {
    Reason.STALE: [21, "Stale share", None],
    Reason.DUPLICATE: [22, "Duplicate share", None],
    Reason.LOW_DIFFICULTY: [23, "Low difficulty share", None],
}
BASE = Job(
    id="",
    origin="solo",
    height=1,
    version=0x20000000,
    version_mask=0x1FFFE000,
    prev_hash=bytes(32),
    coinbase1=b"coinbase" * 8,
    coinbase2=b"sequence\x02\x51\x52rest",
    branch=(b"\x0b" * 32,),
    bits=0x203FFFFF,  # every fourth hash is a block
    ntime_s=NTIME_S,
    min_time_s=NTIME_S - 100,
    extranonce1_size=4,
    extranonce2_size=2,
    clean=False,
    reward_sat=0,
    payout_script=b"\x51\x52",
    created_at=0.0,
    payout_at=(8, 3),
)


@dataclass
class Session:
    """What a session was told, and what it hands in; `levels` are number, first serial and target."""

    worker: str
    extranonce1: bytes
    mask: int | None
    script: bytes | None
    levels: list[tuple[int, int, int]] = field(default_factory=list)

    def target(self, serial: int, number: int | None) -> int | None:
        """The oracle's own reading of which difficulty counts; None for one never given."""
        kept = self.levels[-KEPT_LEVELS:]
        if number is not None and number > kept[-1][0]:
            return None
        sent = next((of for of, first, _ in reversed(kept) if first <= serial), kept[0][0])
        wanted = max(sent, kept[0][0] if number is None else number)
        return next(target for of, _, target in reversed(kept) if of <= wanted)

    def submission(self, sent: "Sent") -> Submission:
        bits = (
            None if sent.bits is None else sent.bits & (BASE.version_mask if self.mask is None else self.mask)
        )
        return Submission(
            self.worker,
            sent.job_id,
            self.extranonce1,
            sent.extranonce2,
            sent.ntime_s,
            sent.nonce,
            bits,
            self.script,
        )


@dataclass(frozen=True)
class Sent:
    """The content of one line."""

    job_id: str
    level: int | None
    extranonce2: bytes
    ntime_s: int
    nonce: int
    bits: int | None

    @property
    def wire_id(self) -> str:
        return self.job_id if self.level is None else f"{self.job_id}.{self.level:x}"


@dataclass(frozen=True)
class Style:
    """How a firmware writes it."""

    raw_id: str
    keys: tuple[str, ...]
    space: str
    upper: bool
    end: str
    extra: str

    def line(self, worker: str, sent: Sent) -> bytes:
        hexes = [sent.extranonce2.hex(), f"{sent.ntime_s:08x}", f"{sent.nonce:08x}"]
        hexes += [] if sent.bits is None else [f"{sent.bits:08x}"]
        words = [worker, sent.wire_id, *(text.upper() if self.upper else text for text in hexes)]
        gap = self.space
        values = {
            "id": self.raw_id,
            "method": '"mining.submit"',
            "params": f"[{gap}{f'{gap},{gap}'.join(json.dumps(word, ensure_ascii=False) for word in words)}{gap}]",
            "more": self.extra,
            "other": self.extra,
        }
        members = f"{gap},{gap}".join(f'"{key}"{gap}:{gap}{values[key]}' for key in self.keys)
        return f"{gap}{{{gap}{members}{gap}}}{self.end}".encode()


def styles(count: int) -> Iterator[Style]:
    """Ways to write the same, no two alike in all."""
    source = random.Random(4)
    for _ in range(count):
        keys = ["id", "method", "params", *source.choice([[], ["more"], ["more", "other"]])]
        source.shuffle(keys)
        yield Style(
            raw_id=source.choice(["null", "0", "4", "123456789012345678", "-7", '"a 1"', '""']),
            keys=tuple(keys),
            space=source.choice(["", " ", "\t", "  "]),
            upper=source.choice([False, True]),
            end=source.choice(["\n", "\r\n"]),
            extra=source.choice(["8", "-1.5", '"2.0"', "true", "false", "null"]),
        )


STYLES = st.sampled_from(list(styles(200)))
SESSIONS = (
    Session("rig.1", b"\x00\x00\x00\x01", 0x1FFFE000, None),
    Session("rig.1", b"\x00\x00\x00\x02", 0x00FFE000, b"\x53\x54\x55"),
    Session("bc1q/ü", b"\x00\x00\x00\x02", None, b"\x51\x52"),
)


class World:
    """Three sessions on the same jobs, twice."""

    def __init__(self) -> None:
        self.now = 0.0
        self.shelves = Shelf(FIRST_SERIAL + 1), Shelf(FIRST_SERIAL + 1)
        self.books = {
            origin: [shelf.add(origin, GRACE_S, CAPACITY) for shelf in self.shelves] for origin in ORIGINS
        }
        self.serial = FIRST_SERIAL  # of the last job
        self.places: dict[int, int] = {}  # of the board: the serials that were put there last
        self.sessions = [replace(session, levels=[]) for session in SESSIONS]
        self.buffer = ShareBuffer(1)
        self.tally, self.expected = Tally(), Tally()
        self.takers = [
            SubmitTaker(
                self.shelves[0].board,
                self.buffer,
                self.tally,
                unit=9,
                worker=session.worker.encode(),
                extranonce1=session.extranonce1,
                version_mask=session.mask,
                payout_script=session.script,
            )
            for session in self.sessions
        ]
        for which in range(len(self.sessions)):
            self.new_level(which, MAX_TARGET)
        self.history: list[Sent] = []
        self.records: list[bytes] = []

    def new_job(
        self, origin: str, tip: int, variant: int, more: dict[str, Any], suffix: str, pools: int
    ) -> None:
        """A job; a pool's wants shares of the target `pools`, and one of either kind may be like one of the other."""
        (job_id,) = {shelf.next_id() for shelf in self.shelves}
        self.serial = int(job_id, 16)
        job = replace(
            BASE,
            id=job_id + suffix,
            origin=origin,
            prev_hash=bytes((tip,)) * 32,
            coinbase1=BASE.coinbase1 + bytes((variant,)),
            upstream=None if origin == SOLO else UpstreamWork("4f", pools, b"", epoch=1),
            **more,
        )
        if not suffix:
            self.places[self.serial % BOARD_JOBS] = self.serial
        for book in self.books[origin]:
            book.add(job, self.now)

    def new_tip(self, origin: str, tip: int) -> None:
        for book in self.books[origin]:
            book.set_tip(bytes((tip,)) * 32, self.now)

    def withdraw(self, origin: str) -> None:
        for book in self.books[origin]:
            book.withdraw(self.now)

    def retire(self, origin: str) -> None:
        for book in self.books[origin]:
            book.retire(self.now)

    def verdict(self, shelf: Shelf, submission: Submission, target: int) -> Verdict:
        return judge(shelf.of(submission.job_id), submission, target, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def new_level(self, which: int, target: int, times: int = 1) -> None:
        """A new difficulty, from the next job on; a session may be told it twice."""
        levels = self.sessions[which].levels
        number = levels[-1][0] + 1 if levels else 0
        levels.append((number, self.serial + 1, target))
        for _ in range(times):
            self.takers[which].set_level(number, self.serial + 1, difficulty_of_target(target), target)

    def submit(self, which: int, age: int, style: Style, back: int | None, **content: Any) -> None:
        """A share on the job of so many jobs ago; on a level of so many levels ago, if it names one."""
        level = None if back is None else max(self.sessions[which].levels[-1][0] - back, 0)
        sent = Sent(job_id=f"{self.serial - age:x}", level=level, **content)
        self.history.append(sent)
        self.hand_in(which, sent, style)

    def submit_again(self, which: int, age: int, style: Style) -> None:
        if self.history:
            self.hand_in(which, self.history[-1 - age % len(self.history)], style)

    def hand_in(self, which: int, sent: Sent, style: Style) -> None:
        session, taker = self.sessions[which], self.takers[which]
        line = style.line(session.worker, sent)
        target = session.target(int(sent.job_id, 16), sent.level)
        by_python: Verdict | None = None
        if target is not None:
            by_python = self.verdict(self.shelves[1], session.submission(sent), target)
        end = taker.take(line, 0, self.now)
        assert end in {0, len(line)}
        assert (end > 0) == self.is_decided_in_c(session, sent, by_python)
        if end == 0:
            assert (taker.answers, taker.accepted, taker.rejected) == (b"", 0, 0)
            if target is not None:
                also = self.verdict(self.shelves[0], session.submission(sent), target)
                assert repr(also) == repr(by_python)  # the jobs in them are two, and equal
            return
        match by_python:
            case Accepted() as accepted:
                assert (taker.accepted, taker.rejected) == (1, 0)
                assert taker.answers == f'{{"id":{style.raw_id},"result":true,"error":null}}\n'.encode()
                self.expected.accept(accepted.difficulty, difficulty_of_hash(accepted.hash), self.now)
                self.record(sent, accepted)
            case Rejected(reason=reason):
                assert (taker.accepted, taker.rejected) == (0, 1)
                assert json.loads(taker.answers) == {
                    "id": json.loads(style.raw_id),
                    "result": None,
                    "error": ERRORS[reason],
                }
                self.expected.reject(REASONS.index(reason))

    def is_decided_in_c(self, session: Session, sent: Sent, verdict: Verdict | None) -> bool:
        """What the fast path is for: shares of the usual form, good or bad, that nobody but we want."""
        serial = int(sent.job_id, 16)
        is_on_board = self.places.get(serial % BOARD_JOBS) == serial
        is_in_time = NTIME_S - 100 <= sent.ntime_s <= NTIME_S + MAX_FUTURE_S
        may_roll = sent.bits is None or session.mask is not None
        if not (is_on_board and is_in_time and may_roll):
            return False
        match verdict:
            case Accepted():
                assert not self.is_handed_on(session.submission(sent))
                return True
            case PoolShare():
                assert self.is_handed_on(session.submission(sent))
                return False
            case Rejected(reason=reason) if reason in ERRORS:
                return not self.is_handed_on(session.submission(sent))
            case _:
                return False

    def is_handed_on(self, submission: Submission) -> bool:
        """Whether the hash meets the network's target, or the pool's, which makes it worth more, or a duplicate of such."""
        book = self.shelves[1].of(submission.job_id)
        assert book is not None
        found = book.lookup(submission.job_id, self.now)
        assert found is not None
        job = found.job.paying(submission.payout_script)
        _, digest = job.header(
            submission.extranonce1,
            submission.extranonce2,
            ntime_s=submission.ntime_s,
            nonce=submission.nonce,
            version=job.version | ((submission.version_bits or 0) & job.version_mask),
        )
        return hash_to_int(digest) <= (
            job.network_target if job.upstream is None else job.upstream.share_target
        )

    def record(self, sent: Sent, accepted: Accepted) -> None:
        book = self.shelves[0].of(sent.job_id)
        assert book is not None
        found = book.lookup(sent.job_id, self.now)
        assert found is not None
        self.records.append(
            RECORD.pack(
                9,
                book.tip_number(found.job.prev_hash),
                self.now,
                accepted.difficulty,
                int(sent.job_id, 16),
                accepted.hash,
            )
        )
        assert self.buffer.take() == self.records[-1]
        assert book.is_duplicate(found.job.prev_hash, accepted.hash)

    def both_books_remember_the_same(self) -> None:
        assert self.shelves[0].tips() == self.shelves[1].tips()
        for name in ("accepted", "work", "work_squared", "last_share_at"):
            assert getattr(self.tally, name) == getattr(self.expected, name)
        assert (
            abs(self.tally.best_difficulty - self.expected.best_difficulty)
            <= 1e-15 * self.tally.best_difficulty
        )
        assert [self.tally.rejected(i) for i in range(len(REASONS))] == [
            self.expected.rejected(i) for i in range(len(REASONS))
        ]
        assert len(self.buffer) == 0


def doing(name: str, **arguments: Any) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


def mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Something unusual once in ten times: a share is a dozen numbers, and one alone decides that it is none."""
    return st.integers(0, 9).flatmap(lambda one: other if one == 9 else usual)


WHICH, TIPS, ORIGIN = st.integers(0, 2), st.integers(1, KEPT_TIPS + 1), st.sampled_from(ORIGINS)
NEW_JOB = doing(
    "new_job",
    origin=ORIGIN,
    pools=st.sampled_from([2**252, 2**254, MAX_TARGET]),
    tip=mostly(st.integers(1, 2), TIPS),
    variant=st.integers(0, 1),
    more=mostly(
        st.just({}),
        st.sampled_from([{"payout_at": None}, {"branch": ()}, {"version_mask": 0}, {"extranonce2_size": 3}]),
    ),
    suffix=mostly(st.just(""), st.just("-pool")),
)
SUBMIT = doing(
    "submit",
    which=WHICH,
    age=mostly(st.integers(0, 2), st.integers(0, CAPACITY + 1) | st.just(32)),
    back=mostly(st.none(), st.integers(-1, KEPT_LEVELS + 1)),
    extranonce2=mostly(
        st.sampled_from([b"\x00\x00", b"\x00\xaa"]), st.sampled_from([b"\x00\x00\x00", b"\x00"])
    ),
    ntime_s=mostly(
        st.just(NTIME_S),
        st.sampled_from([NTIME_S - 101, NTIME_S - 100, NTIME_S + MAX_FUTURE_S, NTIME_S + MAX_FUTURE_S + 1]),
    ),
    nonce=st.integers(0, 7) | st.just(2**32 - 1),
    bits=mostly(st.none(), st.sampled_from([0, 0x2000, 0x20002001, 0x10000000, 2**32 - 1])),
    style=STYLES,
)
AGAIN = doing("submit_again", which=WHICH, age=st.integers(0, 9), style=STYLES)
LEVEL = doing("new_level", which=WHICH, target=st.sampled_from(TARGETS), times=st.integers(1, 2))
WAIT = doing("wait", seconds=st.sampled_from([0.5, 30.0, 60.0]))
RARE = st.one_of(
    doing("new_tip", origin=ORIGIN, tip=TIPS),
    doing("withdraw", origin=ORIGIN),
    doing("retire", origin=ORIGIN),
    NEW_JOB,
)
EVENTS = st.lists(
    st.sampled_from([*[SUBMIT] * 12, *[AGAIN] * 4, *[NEW_JOB] * 3, *[LEVEL] * 2, WAIT, RARE]).flatmap(
        lambda e: e
    ),
    min_size=30,
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(first=st.tuples(NEW_JOB, NEW_JOB), events=EVENTS)
def test_the_core_and_python_say_the_same_of_every_submission(
    first: tuple[tuple[str, dict[str, Any]], ...], events: list[tuple[str, dict[str, Any]]]
) -> None:
    world = World()
    for name, arguments in (*first, *events):
        getattr(world, name)(**arguments)
        world.both_books_remember_the_same()
