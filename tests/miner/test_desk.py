"""The desk: what becomes of every submission, and what is heard of it before its finder is answered."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from miner.chain.difficulty import MAX_TARGET, difficulty_of_hash, difficulty_of_target, hash_to_int
from miner.desk import Desk, PoolFind
from miner.kernel import RECORD, ShareBuffer, SubmitTaker, Tally
from miner.metrics import Metrics
from miner.work.claims import BlockClaims, BlockFind
from miner.work.job import Job, UpstreamWork
from miner.work.roster import HashingUnit, Roster
from miner.work.share import Accepted, Block, Pending, PoolShare, Reason, Rejected, Submission
from miner.work.shelf import SOLO, Shelf
from tests.miner.harness import ANY_HASH, NOW, Clock, block_on, job, share_on, shown
from tests.miner.node.harness import until

EASY = ANY_HASH
HARD = 0


@dataclass
class Nodes:
    """The far side: keeps what it was given, and refuses the first so many blocks; nothing ends while it is `busy`."""

    refuses: int = 0
    given: list[BlockFind] = field(default_factory=list)
    keeps: bool = True
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep_and_send(self, find: BlockFind, on_kept: Callable[[], None]) -> bool:
        self.given.append(find)
        if self.keeps:
            on_kept()
        refused = len(self.given) <= self.refuses
        await self.free.wait()
        return not refused


class Room:
    """A desk with its book, and what it told."""

    def __init__(self, min_block_interval_s: float = 0.0, refuses: int = 0) -> None:
        self.clock = Clock()
        self.shelf = Shelf()
        self.book = self.shelf.add(SOLO, grace_s=60.0)
        self.nodes = Nodes(refuses)
        self.metrics = Metrics("0", "portable")
        self.roster = Roster(10, now=NOW, configured={"asic": "asic"}, own=["cpu"])
        self.credits: list[tuple[str, float]] = []
        self.told: list[str] = []
        self.finds: list[PoolFind] = []
        self.token: int | None = None
        """What is answered to the desk when it hands up a pool's share."""
        self.desk = Desk(
            self.shelf,
            BlockClaims(min_block_interval_s),
            self.nodes,
            self.metrics,
            self.roster,
            on_credit=lambda unit, difficulty: self.credits.append((unit, difficulty)),
            on_solved=lambda: self.told.append("solved"),
            on_reopened=lambda: self.told.append("reopened"),
            on_pool_share=self.hand_up,
            clock=self.clock,
        )
        self.job = job()
        self.book.add(self.job, NOW)

    def hand_up(self, find: PoolFind) -> int | None:
        """What the pools' side does with a share: by then it is credited."""
        self.finds.append(find)
        self.told.append(f"up with {len(self.desk.buffer)} recorded")
        return self.token

    def pool_job(self, job_id: str = "1f", **changes: Any) -> Job:
        """A pool's job, which wants every fourth hash, in the pool's book."""
        made = replace(
            job(job_id, **{"bits": 0x1D00FFFF, **changes}),
            origin="pool",
            upstream=UpstreamWork("4f", MAX_TARGET // 4, b"", epoch=1),
        )
        book = self.shelf.book("pool") if "pool" in self.shelf.origins else self.shelf.add("pool", 60.0)
        book.add(made, NOW)
        return made

    def tally(self, unit_id: str) -> Tally:
        """What the unit handed in."""
        unit = self.roster.by_id(unit_id)
        assert unit is not None
        return unit.tally

    def rejected(self, unit_id: str) -> int:
        """How much of it was rejected, for whatever reason."""
        return sum(map(self.tally(unit_id).rejected, range(len(Reason))))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """While this lasts the desk runs; at its end every block is delivered."""
        closing = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.desk.run(closing))
            await asyncio.sleep(0)
            yield
            self.nodes.free.set()
            closing.set()

    def lose_the_tip(self) -> None:
        """Somebody else found the next block."""
        self.book.add(job("2", prev_hash=b"\xb0" * 32, height=301), NOW)


async def test_a_share_is_worth_the_difficulty_it_was_asked_for() -> None:
    room = Room()
    verdict = room.desk.take(share_on(room.job), EASY)
    asked = difficulty_of_target(EASY)
    assert verdict == Accepted(verdict.hash, asked)  # type: ignore[union-attr]
    assert room.credits == [("cpu", asked)]
    assert (room.tally("cpu").accepted, room.tally("cpu").work) == (1, pytest.approx(asked))


async def test_the_best_share_is_the_hardest_hash_and_not_the_hardest_target() -> None:
    room = Room()
    hashes = [room.desk.take(share_on(room.job, number), EASY).hash for number in range(5)]  # type: ignore[union-attr]
    assert room.tally("cpu").best_difficulty == max(map(difficulty_of_hash, hashes))
    assert room.tally("cpu").accepted == 5


async def test_a_refused_share_is_counted_by_its_reason_and_credited_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room()
    with caplog.at_level(logging.DEBUG):
        assert room.desk.take(share_on(room.job), HARD) == Rejected(Reason.LOW_DIFFICULTY)
    assert room.credits == []
    assert room.tally("cpu").rejected(list(Reason).index(Reason.LOW_DIFFICULTY)) == room.rejected("cpu") == 1
    assert "share_rejected" in caplog.messages


async def test_each_unit_has_its_own_account() -> None:
    room = Room()
    room.desk.take(share_on(room.job, unit="cpu"), EASY)
    room.desk.take(share_on(room.job, 1, unit="asic"), HARD)
    assert (room.tally("cpu").accepted, room.rejected("cpu")) == (1, 0)
    assert (room.tally("asic").accepted, room.rejected("asic")) == (0, 1)


async def test_a_submission_of_a_unit_that_there_is_not_is_a_fault_of_the_caller() -> None:
    room = Room()
    with pytest.raises(ValueError, match="there is no unit 'ghost'"):
        room.desk.take(share_on(room.job, unit="ghost"), EASY)
    assert (len(room.desk.buffer), room.credits) == (0, [])


async def test_every_credited_share_leaves_a_record_and_a_refused_one_none() -> None:
    room = Room()
    asic = room.roster.by_id("asic")
    assert asic is not None
    verdict = room.desk.take(share_on(room.job, unit="asic"), EASY)
    room.desk.take(share_on(room.job, unit="asic"), EASY)  # once more the same
    assert isinstance(verdict, Accepted)
    tip = room.book.tip_number(room.job.prev_hash)
    credited = difficulty_of_target(EASY)
    assert list(RECORD.iter_unpack(room.desk.buffer.take())) == [
        (asic.number, tip, NOW, credited, room.job.serial, verdict.hash)
    ]


async def test_a_full_buffer_refuses_shares_and_none_of_them_is_acknowledged() -> None:
    room = Room()
    room.desk.buffer = ShareBuffer(1, limit=1)
    first = room.desk.take(share_on(room.job, 1), EASY)
    assert isinstance(first, Accepted)
    assert room.desk.take(share_on(room.job, 2), EASY) == Rejected(Reason.TABLE_FULL)
    assert (room.tally("cpu").accepted, len(room.credits)) == (1, 1)
    assert room.tally("cpu").rejected(list(Reason).index(Reason.TABLE_FULL)) == 1
    ((*_, digest),) = RECORD.iter_unpack(room.desk.buffer.take())
    assert digest == first.hash


async def test_a_block_goes_out_though_no_record_of_it_fits_into_the_buffer() -> None:
    room = Room()
    room.desk.buffer = ShareBuffer(1, limit=1)
    room.desk.take(share_on(room.job, 1), EASY)
    async with room.open():
        assert isinstance(room.desk.take(block_on(room.job), EASY), Block)
    assert len(room.nodes.given) == 1
    assert len(room.desk.buffer) == 1


async def test_a_found_block_is_unwritten_until_its_row_is_on_the_disk_or_will_not_be() -> None:
    room = Room()
    room.nodes.keeps = False
    async with room.open():
        room.desk.take(block_on(room.job), EASY)
        (row,) = room.desk.unwritten
        await until(lambda: room.nodes.given)
        assert not row.done()
    assert row.done()  # the keeper has ended without a word of the row
    assert room.desk.unwritten == set()
    room = Room()
    async with room.open():
        room.desk.take(block_on(room.job), EASY)
        (row,) = room.desk.unwritten
        await row
        assert room.desk.unwritten == set()
        assert not room.nodes.free.is_set()  # written, and still on its way


class TestTaker:
    """What judges a session's submit lines in the core, beside `take`."""

    EXTRANONCE1 = b"\x01\x02\x03\x04"

    @pytest.fixture
    def room(self) -> Room:
        return Room()

    @pytest.fixture
    def unit(self, room: Room) -> HashingUnit:
        return room.roster.login("asic", NOW)

    @pytest.fixture
    def taker(self, room: Room, unit: HashingUnit) -> SubmitTaker:
        taker = room.desk.taker(unit, b"asic", self.EXTRANONCE1, None, None)
        taker.set_level(0, 0, difficulty_of_target(EASY), EASY)
        return taker

    def submission(self, room: Room) -> Submission:
        """A share of this session that is no block."""
        job = room.job
        for nonce in count():
            _, digest = job.header(
                self.EXTRANONCE1, bytes(8), ntime_s=job.ntime_s, nonce=nonce, version=job.version
            )
            if hash_to_int(digest) > job.network_target:
                return Submission("asic", job.id, self.EXTRANONCE1, bytes(8), job.ntime_s, nonce)
        raise AssertionError

    def line(self, share: Submission) -> bytes:
        params = ["asic", share.job_id, share.extranonce2.hex(), f"{share.ntime_s:x}", f"{share.nonce:08x}"]
        return json.dumps({"id": 4, "method": "mining.submit", "params": params}).encode() + b"\n"

    async def test_both_write_into_one_buffer_and_one_tally(
        self, room: Room, unit: HashingUnit, taker: SubmitTaker
    ) -> None:
        own = self.submission(room)
        line = self.line(own)
        assert taker.take(line, 0, NOW) == len(line)
        room.desk.take(share_on(room.job, 1, unit="asic"), EASY)
        records = list(RECORD.iter_unpack(room.desk.buffer.take()))
        assert [(number, tip) for number, tip, *_ in records] == [(unit.number, 0)] * 2
        assert unit.tally.accepted == 2
        assert unit.tally.work == pytest.approx(2 * difficulty_of_target(EASY))

    async def test_a_share_that_one_has_credited_is_a_duplicate_to_the_other(
        self, room: Room, unit: HashingUnit, taker: SubmitTaker
    ) -> None:
        own = self.submission(room)
        line = self.line(own)
        assert isinstance(room.desk.take(own, EASY), Accepted)
        taker.take(line, 0, NOW)
        assert b"Duplicate share" in taker.answers
        assert room.desk.take(own, EASY) == Rejected(Reason.DUPLICATE)
        assert unit.tally.rejected(list(Reason).index(Reason.DUPLICATE)) == 2
        assert unit.tally.accepted == 1

    async def test_a_lost_tip_is_lost_to_both(
        self, room: Room, unit: HashingUnit, taker: SubmitTaker
    ) -> None:
        own = self.submission(room)
        room.lose_the_tip()
        taker.take(self.line(own), 0, NOW)
        assert b"Stale share" in taker.answers
        assert room.desk.take(own, EASY) == Rejected(Reason.STALE)
        assert unit.tally.rejected(list(Reason).index(Reason.STALE)) == 2


async def test_a_block_is_a_share_and_stops_the_hashing_of_its_tip_before_it_is_answered() -> None:
    room = Room()
    async with room.open():
        submission = block_on(room.job)
        verdict = room.desk.take(submission, EASY)
        assert isinstance(verdict, Block)
        assert room.told == ["solved"]
        assert room.tally("cpu").accepted == 1
        assert room.credits == [("cpu", difficulty_of_target(EASY))]
    assert room.nodes.given == [BlockFind(verdict, submission, NOW)]
    assert room.told == ["solved"]
    assert shown(room.metrics, 'hashmill_blocks_total{result="found"}') == 1


async def test_a_block_on_a_lost_tip_goes_out_as_a_competitor_and_counts_as_a_stale_share() -> None:
    room = Room()
    room.lose_the_tip()
    async with room.open():
        verdict = room.desk.take(block_on(room.job), EASY)
        assert isinstance(verdict, Block)
        assert verdict.stale
    assert [find.block for find in room.nodes.given] == [verdict]
    assert room.told == []  # the present tip is hashed on
    assert room.credits == []
    assert room.tally("cpu").rejected(list(Reason).index(Reason.STALE)) == 1
    assert shown(room.metrics, 'hashmill_blocks_total{result="found"}') == 1


async def test_a_share_on_a_lost_tip_that_is_no_block_is_only_stale() -> None:
    room = Room()
    room.lose_the_tip()
    async with room.open():
        assert room.desk.take(share_on(room.job), EASY) == Rejected(Reason.STALE)
    assert room.nodes.given == []


async def test_a_second_block_on_a_tip_is_a_good_share_and_stays_here() -> None:
    room = Room()
    async with room.open():
        room.desk.take(block_on(room.job, 1), EASY)
        room.desk.take(block_on(room.job, 2), EASY)
    assert len(room.nodes.given) == 1
    assert room.tally("cpu").accepted == 2


async def test_a_block_too_soon_for_a_paced_regtest_is_a_good_share_and_no_more() -> None:
    room = Room(min_block_interval_s=10.0)
    async with room.open():
        room.desk.take(block_on(room.job), EASY)
        room.lose_the_tip()
        assert room.book.current is not None
        room.clock.now += 9.0
        room.desk.take(block_on(room.book.current), EASY)
        assert room.told == ["solved"]
        room.clock.now += 1.0
        room.desk.take(block_on(room.book.current, 1), EASY)
        assert room.told == ["solved", "solved"]
    assert len(room.nodes.given) == 2
    assert room.tally("cpu").accepted == 3


async def test_when_a_block_is_refused_hashing_goes_on() -> None:
    room = Room(refuses=1)
    async with room.open():
        room.desk.take(block_on(room.job), EASY)
        assert room.told == ["solved"]
    assert room.told == ["solved", "reopened"]


async def test_when_a_block_is_refused_the_one_in_reserve_is_sent_and_told_like_any_other() -> None:
    room = Room(refuses=1)
    async with room.open():
        first, second, _ = (room.desk.take(block_on(room.job, number), EASY) for number in range(3))
        room.nodes.free.set()
        await until(lambda: len(room.nodes.given) == 2)
    assert [find.block for find in room.nodes.given] == [first, second]
    assert room.told == ["solved", "solved"]
    assert shown(room.metrics, 'hashmill_blocks_total{result="found"}') == 2


async def test_closing_waits_for_a_block_under_way_and_for_its_reserve() -> None:
    room = Room(refuses=1)
    closing = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(room.desk.run(closing))
        await asyncio.sleep(0)
        room.desk.take(block_on(room.job, 1), EASY)
        room.desk.take(block_on(room.job, 2), EASY)
        closing.set()
        await until(lambda: room.nodes.given)
        assert not running.done()
        room.nodes.free.set()
        await running
    assert len(room.nodes.given) == 2


async def test_a_block_found_while_nobody_delivers_can_be_rebuilt_from_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room()
    verdict = room.desk.take(block_on(room.job), EASY)
    assert isinstance(verdict, Block)
    (record,) = (record for record in caplog.records if record.message == "block_dropped")
    assert record.levelname == "CRITICAL"
    assert vars(record)["header"] == verdict.header.hex()
    assert vars(record)["extranonce2"] == block_on(room.job).extranonce2


async def test_without_a_node_a_block_can_be_rebuilt_from_the_log(caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    room.desk._keeper = None
    async with room.open():
        assert isinstance(room.desk.take(block_on(room.job), EASY), Block)
    (record,) = (record for record in caplog.records if record.message == "block_dropped")
    assert vars(record)["error"] == "there is no node to send it to"
    assert room.desk.unwritten == set()


async def test_a_block_worth_no_credit_is_unwritten_like_any_other_before_its_finder_can_be_answered() -> (
    None
):
    room = Room()
    room.nodes.keeps = False
    async with room.open():
        verdict = room.desk.take(block_on(room.job), HARD)
        assert isinstance(verdict, Block)
        assert verdict.credited == 0.0
        assert (len(room.desk.buffer), len(room.desk.unwritten)) == (0, 1)


class TestPoolShares:
    """Shares that a pool wants."""

    @staticmethod
    def share(job: Job, number: int = 0, unit: str = "cpu") -> Submission:
        """One that meets the pool's target."""
        return _first(job, number, unit, most=job.handed_on_target)

    async def test_what_meets_the_pool_s_target_is_credited_first_and_then_handed_up(self) -> None:
        room = Room()
        job = room.pool_job()
        submission = self.share(job)
        verdict = room.desk.take(submission, EASY)
        assert isinstance(verdict, PoolShare)
        unit = room.roster.by_id("cpu")
        assert unit is not None
        assert room.finds == [PoolFind(verdict, submission, unit, NOW)]
        assert room.told == ["up with 1 recorded"]
        assert room.credits == [("cpu", verdict.credited)]
        assert (unit.tally.accepted, unit.tally.best_difficulty) == (1, pytest.approx(verdict.difficulty))

    async def test_its_record_bears_the_tip_and_the_job_of_its_pool(self) -> None:
        room = Room()
        job = room.pool_job()
        verdict = room.desk.take(self.share(job), EASY)
        assert isinstance(verdict, PoolShare)
        ((_, tip, at, credited, serial, digest),) = RECORD.iter_unpack(room.desk.buffer.take())
        assert tip == room.shelf.book("pool").tip_number(job.prev_hash)
        assert tip != room.book.tip_number(room.job.prev_hash)
        assert (at, credited, serial, digest) == (NOW, verdict.credited, 0x1F, verdict.hash)

    async def test_a_share_that_misses_the_pool_s_target_is_ours_alone(self) -> None:
        room = Room()
        job = room.pool_job()
        verdict = room.desk.take(_first(job, 0, "cpu", least=job.handed_on_target), MAX_TARGET)
        assert isinstance(verdict, Accepted)
        assert (room.finds, len(room.credits)) == ([], 1)

    async def test_a_share_on_solo_work_is_never_handed_up(self) -> None:
        room = Room()
        room.pool_job()
        for number in range(10):
            assert isinstance(room.desk.take(share_on(room.job, number), EASY), Accepted)
        assert room.finds == []

    async def test_if_the_pool_s_word_is_to_be_the_answer_it_is_waited_for(self) -> None:
        room = Room()
        room.token = 7
        verdict = room.desk.take(self.share(room.pool_job()), EASY)
        assert verdict == Pending(7, difficulty_of_target(EASY))
        assert len(room.desk.buffer) == 1  # whatever the pool will say

    async def test_what_only_the_pool_wants_is_handed_up_without_credit(self) -> None:
        room = Room()
        room.token = 8
        assert room.desk.take(self.share(room.pool_job()), HARD) == Pending(8)
        assert (len(room.finds), room.credits, len(room.desk.buffer)) == (1, [], 0)
        assert room.tally("cpu").accepted == 0

    async def test_no_room_for_its_record_keeps_no_share_from_the_pool(self) -> None:
        room = Room()
        room.desk.buffer = ShareBuffer(1, limit=1)
        room.desk.take(share_on(room.job, 1), EASY)
        verdict = room.desk.take(self.share(room.pool_job()), EASY)
        assert isinstance(verdict, PoolShare)
        assert verdict.credited == 0.0
        assert [find.share for find in room.finds] == [verdict]
        assert len(room.credits) == 1

    async def test_a_share_of_a_connection_that_ended_is_stale_and_goes_nowhere(self) -> None:
        room = Room()
        job = room.pool_job()
        room.shelf.book("pool").retire(NOW)
        assert room.desk.take(self.share(job), EASY) == Rejected(Reason.STALE)
        assert (room.finds, room.rejected("cpu")) == ([], 1)

    async def test_a_share_goes_up_once(self) -> None:
        room = Room()
        job = room.pool_job()
        room.desk.take(self.share(job), EASY)
        assert room.desk.take(self.share(job), EASY) == Rejected(Reason.DUPLICATE)
        assert len(room.finds) == 1

    async def test_a_block_on_a_pool_s_job_is_the_pool_s_to_send(self) -> None:
        room = Room()
        async with room.open():
            verdict = room.desk.take(self.share(room.pool_job(bits=0x207FFFFF)), EASY)
        assert isinstance(verdict, PoolShare)
        assert verdict.is_block
        assert (room.nodes.given, "solved" in room.told) == ([], False)

    async def test_what_the_core_leaves_of_a_pool_s_job_comes_here_and_the_rest_does_not(self) -> None:
        room = Room()
        job, unit = room.pool_job(), room.roster.login("asic", NOW)
        taker = room.desk.taker(unit, b"asic", bytes(4), None, None)
        taker.set_level(0, 0, difficulty_of_target(MAX_TARGET), MAX_TARGET)
        ours = _first(job, 1, "asic", least=job.handed_on_target)
        for submission, taken in ((self.share(job, unit="asic"), 0), (ours, 1)):
            params = [
                "asic", job.id, submission.extranonce2.hex(), f"{job.ntime_s:08x}", f"{submission.nonce:08x}"
            ]  # fmt: skip
            line = json.dumps({"id": 4, "method": "mining.submit", "params": params}).encode() + b"\n"
            assert bool(taker.take(line, 0, NOW)) == bool(taken)
            assert taker.accepted == taken


def _first(job: Job, number: int, unit: str, least: int = 0, most: int = MAX_TARGET) -> Submission:
    """The first submission whose hash is above `least` and not above `most`; another one for each `number`."""
    extranonces = bytes(job.extranonce1_size), number.to_bytes(job.extranonce2_size, "big")
    for nonce in count():
        _, digest = job.header(*extranonces, ntime_s=job.ntime_s, nonce=nonce, version=job.version)
        if least < hash_to_int(digest) <= most:
            return Submission(unit, job.id, *extranonces, job.ntime_s, nonce)
    raise AssertionError
