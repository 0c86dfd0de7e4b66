"""Shares on their way into a real ledger: what is written before them, after them, and known of them after a restart."""

import asyncio
import logging
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from miner import share_books
from miner.chain.difficulty import difficulty_of_hash
from miner.kernel import RECORD, ShareBuffer
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerError, LedgerFullError, ShareMinuteRow, ShareRow, TipRow, UnitRow
from miner.ledger.store import Store, Write
from miner.share_books import DEEPEST, REASONS, ShareBooks, restore
from miner.work.job import Job, JobBook
from miner.work.roster import FORGET_AFTER_S, HashingUnit, Roster
from miner.work.share import Accepted, Reason, Rejected, judge
from tests.miner.harness import ANY_HASH, NOW, Clock, job, share_on
from tests.miner.node.harness import until

MINUTE = 1_700_000_700  # NOW, which is the beginning of one
OTHER_TIP = b"\xb0" * 32


class Noting(Recorder):
    """Remembers what it was told to write, in order."""

    def __init__(self, store: Store, *, share_capacity: int = 2**20) -> None:
        super().__init__(store, share_capacity=share_capacity)
        self.told: list[tuple[str, object]] = []

    def add_units(self, rows: Sequence[UnitRow]) -> asyncio.Future[None]:
        self.told.append(("units", list(rows)))
        return super().add_units(rows)

    def add_tips(self, rows: Sequence[TipRow]) -> asyncio.Future[None]:
        self.told.append(("tips", list(rows)))
        return super().add_tips(rows)

    def add_shares(self, records: bytes) -> asyncio.Future[None]:
        self.told.append(("shares", len(records) // RECORD.size))
        return super().add_shares(records)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]


class Office:
    """The books of a roster with this machine in it, and shares made by hand."""

    def __init__(self, recorder: Noting) -> None:
        self.clock = Clock()
        self.recorder = recorder
        self.roster = Roster(10, now=NOW, own=["cpu"])
        self.blocks: list[asyncio.Future[None]] = []
        self.buffer = ShareBuffer()
        self.books = ShareBooks(recorder, self.roster, self.buffer, lambda: self.blocks, self.clock)
        self._random = random.Random(1)

    def unit(self, name: str = "cpu") -> HashingUnit:
        return self.roster.named(name) or self.roster.login(name, self.clock())

    def share(
        self, name: str = "cpu", *, tip: int = 0, difficulty: float = 1.0, digest: bytes = b""
    ) -> bytes:
        """The record of a share that is credited now."""
        unit, at = self.unit(name), self.clock()
        digest = digest or self._random.randbytes(32)
        unit.tally.accept(difficulty, difficulty_of_hash(digest), at)
        return RECORD.pack(unit.number, tip, at, difficulty, 1, digest)

    def reject(self, name: str, reason: Reason) -> None:
        self.unit(name).tally.reject(REASONS.index(reason.value))

    async def shares(self) -> list[ShareRow]:
        """All of the ledger, the oldest first."""
        return (await self.recorder.shares(1000))[::-1]

    async def minutes(self) -> dict[tuple[int, int], ShareMinuteRow]:
        """The sums of the ledger by unit and minute, once all that was queued is written."""
        await self.recorder.add_ticks([])
        await self.recorder.add_decisions([])
        return {(row.unit, row.minute_at): row for row in await self.recorder.share_minutes()}


@pytest.fixture
async def recorder(store: Store) -> AsyncIterator[Noting]:
    async with Noting(store) as opened:
        yield opened


@pytest.fixture
def office(recorder: Noting) -> Office:
    return Office(recorder)


def refuse_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next write of shares fails, for a reason that no waiting mends."""
    real, left = store.commit, [1]

    def commit(group: Sequence[Write]) -> None:
        if left and any(getattr(write, "keywords", {}).get("batch") for write in group):
            if len(group) == 1:
                left.clear()
            raise LedgerError("no such column")
        real(group)

    monkeypatch.setattr(store, "commit", commit)


class TestOrder:
    async def test_a_unit_and_a_tip_are_written_before_the_shares_that_name_them(
        self, office: Office
    ) -> None:
        office.books.note_tip(7, job())
        await office.books.write(office.share("rack.1", tip=7))
        assert office.recorder.kinds == ["units", "tips", "shares"]
        (row,) = await office.shares()
        assert (row.unit, row.prev_hash) == ("rack.1", "a0" * 32)

    async def test_a_tip_is_written_once_however_many_jobs_there_are_on_it(
        self, office: Office, store: Store
    ) -> None:
        office.books.note_tip(7, job("1"))
        office.clock.now += 5
        office.books.note_tip(7, job("2"))
        office.books.note_tip(8, job("3", prev_hash=OTHER_TIP, height=301))
        assert office.recorder.kinds == []  # a new job goes out: nothing is to be in its way
        for _ in range(2):
            await office.books.write(office.share())
        assert office.recorder.kinds.count("tips") == 1
        assert store.tips() == [
            TipRow(8, OTHER_TIP.hex(), 301, NOW + 5),
            TipRow(7, "a0" * 32, 300, NOW),
        ]

    async def test_a_name_costs_a_row_only_with_its_first_good_share(
        self, office: Office, store: Store
    ) -> None:
        office.unit("talker")
        office.reject("talker", Reason.LOW_DIFFICULTY)
        await office.books.write(office.share("worker"))
        await office.books.write(office.share("worker"))
        office.books.end_minute()
        assert await office.minutes()
        assert [row.name for row in store.units()] == ["worker"]
        assert office.recorder.kinds.count("units") == 1

    async def test_no_share_is_durable_before_the_row_of_a_block_that_was_found(self, office: Office) -> None:
        row: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        office.blocks = [row]
        written = office.books.write(office.share())
        await asyncio.sleep(0.01)
        assert await office.shares() == []
        assert not written.done()
        row.set_result(None)
        await written
        assert len(await office.shares()) == 1

    async def test_a_block_that_is_no_share_is_waited_for_without_a_record_of_its_own(
        self, office: Office
    ) -> None:
        row: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        office.blocks = [row]
        written = office.books.write(b"")
        await asyncio.sleep(0.01)
        assert not written.done()
        row.set_result(None)
        await written
        office.blocks = []
        await office.books.write(b"")
        assert await office.shares() == []

    async def test_shares_that_fail_after_a_blocks_row_are_told_of(
        self, office: Office, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        row.set_result(None)
        office.blocks = [row]
        refuse_once(store, monkeypatch)
        with pytest.raises(LedgerError, match="no such column"):
            await office.books.write(office.share())

    async def test_who_stops_waiting_for_shares_and_blocks_disturbs_neither(self, office: Office) -> None:
        row: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        office.blocks = [row]
        written = office.books.write(office.share())
        written.cancel()
        with suppress(asyncio.CancelledError):
            await written
        assert not row.cancelled()
        row.set_result(None)
        await asyncio.sleep(0.01)
        await until(lambda: not office.recorder.shares_waiting)
        assert len(await office.shares()) == 1


class TestSums:
    async def test_the_sums_of_all_minutes_are_those_of_the_records_and_of_what_was_rejected(
        self, office: Office
    ) -> None:
        chance = random.Random(4)
        expected: dict[tuple[int, int], ShareMinuteRow] = {}
        best: defaultdict[tuple[int, int], float] = defaultdict(float)
        sums: defaultdict[tuple[int, int], list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
        rejected: defaultdict[tuple[int, int], dict[str, int]] = defaultdict(dict)
        for number in range(4):
            minute = MINUTE + 60 * number
            for _ in range(5):
                batch = b""
                for _ in range(chance.randrange(1, 6)):
                    office.clock.now = minute + chance.random() * 59
                    name, difficulty = chance.choice(["cpu", "a", "b"]), chance.choice([0.5, 8.0, 1e6])
                    record = office.share(name, difficulty=difficulty)
                    key = office.unit(name).number, minute
                    sums[key] = [sums[key][0] + 1, sums[key][1] + difficulty, sums[key][2] + difficulty**2]
                    best[key] = max(best[key], difficulty_of_hash(record[-32:]))
                    batch += record
                await office.books.write(batch)
                reason = chance.choice(list(Reason))
                office.reject("cpu", reason)
                told = rejected[office.unit().number, minute]
                told[reason.value] = told.get(reason.value, 0) + 1
            office.clock.now = minute + 60
            office.books.end_minute()
        for key in sums.keys() | rejected.keys():
            accepted, work, squared = sums[key]
            expected[key] = ShareMinuteRow(*key, int(accepted), work, squared, best[key], rejected[key])
        found = await office.minutes()
        assert found.keys() == expected.keys()
        for key, row in expected.items():
            assert found[key].accepted == row.accepted
            assert found[key].rejected == row.rejected
            assert found[key].work == pytest.approx(row.work)
            assert found[key].work_squared == pytest.approx(row.work_squared)
            assert found[key].best_difficulty == pytest.approx(row.best_difficulty)

    async def test_what_was_rejected_before_the_first_good_share_counts_with_it(self, office: Office) -> None:
        office.reject("late", Reason.LOW_DIFFICULTY)
        office.books.end_minute()
        assert await office.minutes() == {}
        await office.books.write(office.share("late"))
        office.clock.now += 60
        office.books.end_minute()
        office.reject("late", Reason.LOW_DIFFICULTY)
        office.reject("late", Reason.STALE)
        office.books.end_minute()
        number = office.unit("late").number
        found = await office.minutes()
        assert {key: (row.accepted, row.rejected) for key, row in found.items()} == {
            (number, MINUTE): (1, {"low_difficulty": 1}),
            (number, MINUTE + 60): (0, {"low_difficulty": 1, "stale": 1}),
        }

    async def test_the_sums_wait_for_records_that_the_ledger_was_not_handed_yet(self, office: Office) -> None:
        await office.books.write(office.share())
        office.buffer.add(*RECORD.unpack(office.share()))
        office.clock.now += 60
        office.books.end_minute()
        assert await office.minutes() == {}
        await office.books.write(office.buffer.take())
        (row,) = (await office.minutes()).values()
        assert (row.minute_at, row.accepted) == (MINUTE, 2)

    async def test_records_that_a_full_ledger_refused_are_counted_once_when_it_takes_them(
        self, store: Store
    ) -> None:
        async with Noting(store, share_capacity=1) as recorder:
            office = Office(recorder)
            written = office.books.write(office.share())
            more = office.share()
            with pytest.raises(LedgerFullError):
                office.books.write(more)
            office.books.end_minute()
            await written
            assert await office.minutes() == {}
            more += office.share()
            await office.books.write(more)
            office.books.end_minute()
            (row,) = (await office.minutes()).values()
        assert (row.accepted, len(store.shares())) == (3, 3)

    async def test_records_whose_write_failed_are_counted_once_when_they_are_offered_again(
        self, office: Office, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refuse_once(store, monkeypatch)
        records = office.share()
        with pytest.raises(LedgerError):
            await office.books.write(records)
        office.books.end_minute()
        assert await office.minutes() == {}
        records += office.share()
        await office.books.write(records)
        await office.books.write(office.share())
        office.books.end_minute()
        (row,) = (await office.minutes()).values()
        assert (row.accepted, len(store.shares())) == (3, 3)

    async def test_sums_behind_records_that_failed_are_handed_in_again_and_a_crash_counts_nothing_twice(
        self, office: Office, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await office.books.write(office.share() + office.share())
        refuse_once(store, monkeypatch)
        office.reject("cpu", Reason.STALE)
        records = office.share()
        with store._lock:
            written = office.books.write(records)
            for _ in range(2):  # the batch is under way while two minutes end
                office.clock.now += 60
                office.books.end_minute()
                office.reject("cpu", Reason.STALE)
        with pytest.raises(LedgerError):
            await written
        await until(lambda: office.books._owed)
        assert await office.minutes() == {}
        await office.books.write(records)
        found = await office.minutes()
        assert sum(row.accepted for row in found.values()) == 3
        assert [row.rejected for row in found.values()] == [{"stale": 1}, {"stale": 1}, {"stale": 1}]
        assert store.roll_up() == 0
        # Nothing was handed in since: an end without news owes nothing either.
        office.books.end_minute()
        await office.minutes()
        assert sum(row.accepted for row in store.share_minutes()) == len(store.shares(1000)) == 3

    async def test_after_records_failed_a_crash_counts_what_is_on_the_disk(
        self, office: Office, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await office.books.write(office.share())
        refuse_once(store, monkeypatch)
        records = office.share()
        with store._lock:
            written = office.books.write(records)
            office.clock.now += 60
            office.books.end_minute()
        with pytest.raises(LedgerError):
            await written
        monkeypatch.setattr(
            office.books, "_write_minute", lambda: None
        )  # killed before the sums could follow
        await office.books.write(records)
        assert store.roll_up() == 2
        assert sum(row.accepted for row in store.share_minutes()) == len(store.shares(1000)) == 2

    @pytest.mark.parametrize("seed", range(5))
    async def test_whatever_fails_and_whenever_sums_and_shares_agree(
        self, seed: int, office: Office, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chance, real, records = random.Random(seed), store.commit, b""

        def commit(group: Sequence[Write]) -> None:
            if len(group) == 1 and "batch" in getattr(group[0], "keywords", {}) and chance.random() < 0.3:
                raise LedgerError("no such column")
            if len(group) > 1:
                raise LedgerError("one at a time")
            real(group)

        monkeypatch.setattr(store, "commit", commit)
        for _ in range(40):
            records += office.share(chance.choice(["cpu", "a"]))
            written = office.books.write(records)
            for _ in range(chance.randrange(3)):
                office.clock.now += 20
                office.books.end_minute()
                await asyncio.sleep(chance.choice([0, 0.001]))
            with suppress(LedgerError):
                await written
                records = b""
            if chance.random() < 0.5:
                office.books.end_minute()
        await office.minutes()
        handed_in = len(store.shares(1000))
        store.roll_up()
        assert sum(row.accepted for row in store.share_minutes()) == handed_in
        sums: defaultdict[str, int] = defaultdict(int)
        names = {row.number: row.name for row in store.units()}
        for row in store.share_minutes():
            sums[names[row.unit]] += row.accepted
        assert sums == Counter(row.unit for row in store.shares(1000))

    @pytest.mark.parametrize("seed", range(5))
    async def test_a_process_that_is_killed_at_any_moment_owes_just_what_its_sums_do_not_hold(
        self, seed: int, office: Office, store: Store
    ) -> None:
        chance = random.Random(seed)
        for _ in range(60):
            match chance.randrange(4):
                case 0:
                    office.clock.now += 20
                    office.books.end_minute()
                case 1 if len(office.buffer):
                    office.books.write(office.buffer.take())
                case _:
                    office.buffer.add(*RECORD.unpack(office.share(chance.choice(["cpu", "a"]))))
        await office.minutes()
        store.roll_up()
        sums: defaultdict[str, int] = defaultdict(int)
        names = {row.number: row.name for row in store.units()}
        for row in store.share_minutes():
            sums[names[row.unit]] += row.accepted
        assert sums == Counter(row.unit for row in store.shares(1000))

    async def test_a_worker_that_comes_back_after_it_was_forgotten_begins_anew(self, office: Office) -> None:
        await office.books.write(office.share("old") + office.share("old"))
        office.books.end_minute()
        office.clock.now += FORGET_AFTER_S + 1
        office.roster.forget(office.clock())
        office.books.end_minute()
        assert office.roster.named("old") is None
        await office.books.write(office.share("old"))
        office.books.end_minute()
        rows = (await office.minutes()).values()
        assert [row.accepted for row in rows] == [2, 1]
        assert len({row.unit for row in rows}) == 1
        assert len(office.books._counted) <= len(office.roster)

    async def test_where_nothing_happened_nothing_is_written(self, office: Office) -> None:
        office.unit("idle")
        office.books.end_minute()
        assert await office.minutes() == {}

    async def test_each_minute_is_written_when_it_has_ended_and_hashrates_follow(
        self, office: Office, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(share_books, "STEP_S", 0.001)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(office.books.run())
            for _ in range(3):
                await office.books.write(office.share(difficulty=1000.0))
                seen = office.clock()
                office.clock.now += 60
                await until(lambda seen=seen: [r for r in store.share_minutes() if r.minute_at == seen])
            assert office.unit().rate.hashes_per_second(office.clock()) > 0
            running.cancel()
        assert [row.accepted for row in store.share_minutes()] == [1, 1, 1]

    async def test_after_the_ledger_is_closed_the_sums_are_left_to_the_next_start(
        self, office: Office, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        await office.books.write(office.share())
        await office.recorder.aclose()
        with caplog.at_level(logging.WARNING):
            office.books.end_minute()
        assert caplog.messages == ["share_minutes_not_written"]
        assert store.roll_up() == 1


class TestRestart:
    def book(self, store: Store) -> JobBook:
        """As the daemon makes it at a start."""
        tips = store.tips(1)
        return JobBook(60.0, first_tip_number=tips[0].number + 1 if tips else 0)

    async def credit(self, office: Office, book: JobBook, made: Job, number: int) -> None:
        """Have a share on this job credited and written."""
        verdict = judge(book, share_on(made, number), ANY_HASH, NOW)
        assert isinstance(verdict, Accepted)
        tip = book.tip_number(made.prev_hash)
        office.books.note_tip(tip, made)
        await office.books.write(office.share(tip=tip, digest=verdict.hash))

    async def test_a_share_that_was_credited_is_a_duplicate_after_a_restart(
        self, office: Office, store: Store
    ) -> None:
        book = self.book(store)
        book.add(job("1"), NOW)
        await self.credit(office, book, job("1"), 1)
        book = self.book(store)
        assert restore(book, store) == 1
        after = job("ab")
        book.add(after, NOW)
        assert judge(book, share_on(after, 1), ANY_HASH, NOW) == Rejected(Reason.DUPLICATE)
        assert isinstance(judge(book, share_on(after, 2), ANY_HASH, NOW), Accepted)

    async def test_every_kept_tip_knows_its_own_shares_after_a_restart(
        self, office: Office, store: Store
    ) -> None:
        book = self.book(store)
        tips = [bytes([number]) * 32 for number in range(1, 6)]
        for number, tip in enumerate(tips):
            made = job(f"{number + 1:x}", prev_hash=tip, height=300 + number)
            book.add(made, NOW)
            for share in range(number + 1):
                await self.credit(office, book, made, share)
        kept = dict(book.tips())
        book = self.book(store)
        assert restore(book, store) == 3 + 4 + 5
        assert dict(book.tips()) == kept
        for number, tip in list(enumerate(tips))[-3:]:
            made = job(f"{number + 100:x}", prev_hash=tip, height=300 + number)
            book.add(made, NOW)
            assert judge(book, share_on(made, number), ANY_HASH, NOW) == Rejected(Reason.DUPLICATE)
            assert isinstance(judge(book, share_on(made, number + 1), ANY_HASH, NOW), Accepted)
        new = job("fff", prev_hash=OTHER_TIP, height=305)
        book.add(new, NOW)
        assert book.tip_number(OTHER_TIP) == 5  # no number twice

    async def test_a_clock_that_was_set_back_hides_no_share(self, office: Office, store: Store) -> None:
        book = self.book(store)
        book.add(job("1"), NOW)
        office.books.note_tip(book.tip_number(job().prev_hash), job("1"))
        office.clock.now -= 3600
        await self.credit(office, book, job("1"), 1)
        book = self.book(store)
        assert restore(book, store) == 1

    async def test_each_origin_has_its_own_tips_and_shares(self, office: Office, store: Store) -> None:
        numbers = {"solo": 0, "main": 1, "spare": 2}
        for origin, number in numbers.items():
            made = replace(job(f"{number + 1:x}"), origin=origin)
            office.books.note_tip(number, made)
            for share in range(number + 1):
                await office.books.write(office.share(tip=number, digest=bytes([number, share]) + bytes(30)))
        assert [tip.origin for tip in store.tips(origin=None)] == ["spare", "main", "solo"]
        for origin, number in numbers.items():
            book = JobBook(60.0, first_tip_number=3)
            assert restore(book, store, origin) == number + 1
            assert book.tips() == [(number, job().prev_hash)]

    async def test_tips_that_the_chain_left_far_behind_are_left_alone(
        self, office: Office, store: Store
    ) -> None:
        office.books.note_tip(0, replace(job("1", height=100), origin="main"))
        await office.books.write(office.share(tip=0))
        office.books.note_tip(1, job("2", height=100 + DEEPEST - 1))
        assert restore(JobBook(60.0), store, "main") == 1
        office.books.note_tip(2, job("3", height=100 + DEEPEST, prev_hash=OTHER_TIP))
        await office.books.write(office.share(tip=2))
        book = JobBook(60.0)
        assert restore(book, store, "main") == 0
        assert book.tips() == []

    async def test_a_height_that_a_pool_invents_hides_no_share_of_our_own_chain(
        self, office: Office, store: Store
    ) -> None:
        office.books.note_tip(0, job("1", height=100))
        await office.books.write(office.share(tip=0))
        office.books.note_tip(1, replace(job("2", height=10**8), origin="main"))
        await office.books.write(office.share(tip=1))
        assert restore(JobBook(60.0), store) == 1

    async def test_a_second_restart_on_the_same_tip_knows_the_shares_of_both_runs(
        self, office: Office, store: Store
    ) -> None:
        for run in range(3):
            book = self.book(store)
            assert restore(book, store) == run
            made = job(f"{run + 1:x}")
            book.add(made, NOW)
            await self.credit(office, book, made, run)
        assert len(store.tips()) == 1

    def test_an_empty_ledger_remembers_nothing(self, store: Store) -> None:
        book = self.book(store)
        assert restore(book, store) == 0
        assert book.tips() == []
