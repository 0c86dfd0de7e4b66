"""Shares on their way to the ledger: their tip and unit before them, their sums by minute after them."""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterable
from typing import Final

from miner.ledger.recorder import Recorder
from miner.ledger.rollup import MINUTE_S, MinuteFold, merged
from miner.ledger.rows import LedgerError, ShareMinuteRow, TipRow, UnitRow
from miner.ledger.store import Store
from miner.work.job import KEPT_TIPS, Job, JobBook
from miner.work.roster import HashingUnit, Roster
from miner.work.share import Reason

log = logging.getLogger(__name__)

SAMPLE_S: Final = 10.0
"""How often each unit's hashrate follows what it handed in."""
REASONS: Final = tuple(reason.value for reason in Reason)


class ShareBooks:
    """Has the records of credited shares written in the order that the ledger needs.

    `blocks_unwritten()` are the rows of found blocks that are not on the disk: no share is durable before them, so that
    whoever found a block hears of it when nothing can lose it.
    """

    def __init__(
        self,
        recorder: Recorder,
        roster: Roster,
        blocks_unwritten: Callable[[], Collection[asyncio.Future[None]]],
        clock: Callable[[], float],
    ) -> None:
        self._recorder = recorder
        self._roster = roster
        self._blocks_unwritten = blocks_unwritten
        self._clock = clock
        self._fold = MinuteFold()
        self._folded = b""  # counted, and not taken by the ledger
        self._rejected: dict[int, tuple[int, ...]] = {}  # by unit, at the end of the last minute
        self._tips: set[int] = set()

    def note_tip(self, number: int, job: Job) -> None:
        """Shares from now on may be on the tip of this job, which their records call `number`."""
        if number not in self._tips:
            self._tips.add(number)
            row = TipRow(number, job.prev_hash[::-1].hex(), job.height, self._clock())
            self._recorder.add_tips([row])

    def write(self, records: bytes) -> asyncio.Future[None]:
        """Queue records for the ledger; the future is done when they are durable. Raises LedgerError.

        Records that were refused, or whose future failed, are offered again at the beginning of the next.
        """
        fresh = self._roster.drain_new()
        if fresh:
            self._recorder.add_units([UnitRow(*unit) for unit in fresh])
        written = self._recorder.add_shares(records)
        # Counted once, and before the sums of this minute can be written: they hold every batch handed over so far.
        known = len(self._folded) if records.startswith(self._folded) else 0
        self._fold.add(records[known:])
        self._folded = records
        written.add_done_callback(self._settled)
        blocks = self._blocks_unwritten()
        return _all_of(written, blocks) if blocks else written

    async def run(self) -> None:
        """Follow the units' hashrates, and write each minute's sums when it has ended, until cancelled."""
        minute = self._clock() // MINUTE_S
        while True:
            await asyncio.sleep(SAMPLE_S)
            now = self._clock()
            self._roster.sample(now)
            if now // MINUTE_S != minute:
                minute = now // MINUTE_S
                self.write_minutes(now - MINUTE_S)

    def write_minutes(self, at: float) -> None:
        """Queue what was counted since the last call; what was rejected goes to the minute of `at` (unix seconds)."""
        fold, self._fold = self._fold, MinuteFold()
        rows = {(row.unit, row.minute_at): row for row in fold.rows()}
        minute_at = int(at // MINUTE_S) * MINUTE_S
        for unit, counts in self._newly_rejected():
            row = ShareMinuteRow(unit.number, minute_at, rejected=counts)
            known = rows.get((unit.number, minute_at))
            rows[unit.number, minute_at] = row if known is None else merged(known, row)
        if not rows:
            return
        try:
            self._recorder.add_share_minutes(list(rows.values()))
        except LedgerError as error:  # it is closed; the next start counts from the batches
            log.warning("share_minutes_not_written", extra={"error": str(error)})

    def _newly_rejected(self) -> Iterable[tuple[HashingUnit, dict[str, int]]]:
        for unit in self._roster:
            counts = tuple(map(unit.tally.rejected, range(len(REASONS))))
            before = self._rejected.get(unit.number)
            # A name that never handed in a good share costs no rows.
            if not unit.tally.accepted or counts == before or not any(counts):
                continue
            self._rejected[unit.number] = counts
            news = zip(REASONS, counts, before or (0,) * len(REASONS), strict=True)
            yield unit, {reason: count - known for reason, count, known in news if count > known}

    def _settled(self, written: asyncio.Future[None]) -> None:
        if not written.cancelled() and written.exception() is None:
            self._folded = b""


def _all_of(written: asyncio.Future[None], others: Collection[asyncio.Future[None]]) -> asyncio.Future[None]:
    """A future that is done when all are; it fails as `written` does."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    together = asyncio.gather(written, *others)

    def settle(settled: "asyncio.Future[list[None]]") -> None:
        error = asyncio.CancelledError() if settled.cancelled() else settled.exception()
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    together.add_done_callback(settle)
    return done


def restore(book: JobBook, store: Store) -> int:
    """Remember the shares that were credited on the last tips before this start; returns how many. Blocks.

    A tip that is mined on again, or still, then knows its shares, so that none of them is credited twice.
    """
    tips = store.tips(KEPT_TIPS)[::-1]
    remembered = 0
    for tip in tips:
        remembered += book.restore(bytes.fromhex(tip.prev_hash)[::-1], tip.number, b"")
    for records in store.share_records(min((tip.seen_at for tip in tips), default=math.inf)):
        for tip in tips:
            remembered += book.restore(bytes.fromhex(tip.prev_hash)[::-1], tip.number, records)
    return remembered
