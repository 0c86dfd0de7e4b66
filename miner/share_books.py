"""Shares on their way to the ledger: their tip and unit before them, their sums by minute after them."""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from miner.kernel import ShareBuffer
from miner.ledger.recorder import Recorder
from miner.ledger.rollup import MINUTE_S
from miner.ledger.rows import LedgerError, ShareMinuteRow, TipRow, UnitRow
from miner.ledger.store import Store
from miner.work.job import KEPT_TIPS, Job, JobBook
from miner.work.roster import HashingUnit, Roster
from miner.work.share import Reason

log = logging.getLogger(__name__)

STEP_S: Final = 1.0
SAMPLE_S: Final = 10.0
"""How often each unit's hashrate follows what it handed in."""
DEEPEST: Final = 100
"""Blocks that no reorganisation takes back: a coinbase may be spent after as many."""
REASONS: Final = tuple(reason.value for reason in Reason)


class _Counted(NamedTuple):
    """What a unit had handed in when its sums were last written."""

    accepted: int = 0
    work: float = 0.0
    work_squared: float = 0.0
    rejections: Sequence[int] = (0,) * len(REASONS)


class ShareBooks:
    """Has the records of credited shares, which are in `buffer` first, written in the order that the ledger needs.

    `blocks_unwritten()` are the rows of found blocks that are not on the disk: no share is durable before them, so that
    whoever found a block hears of it when nothing can lose it.

    The sums by minute are taken from the units' tallies. Whenever they are written, the ledger has been handed every share
    that the tallies hold: a roll-up after a crash counts just what comes after them. Where the shares fail to be written
    after all, the ledger holds back the sums behind them, and these are handed in again with the shares.
    """

    def __init__(
        self,
        recorder: Recorder,
        roster: Roster,
        buffer: ShareBuffer,
        blocks_unwritten: Callable[[], Collection[asyncio.Future[None]]],
        clock: Callable[[], float],
    ) -> None:
        self._recorder = recorder
        self._roster = roster
        self._buffer = buffer
        self._blocks_unwritten = blocks_unwritten
        self._clock = clock
        self._counted: dict[HashingUnit, _Counted] = {}  # not by number: one that was forgotten begins anew
        self._minute_at = _minute_of(clock())  # that of the sums not written yet
        self._is_due = False
        self._unhanded = False  # the ledger refused records, or lost them: they will be offered again
        self._written: asyncio.Future[None] | None = (
            None  # the last records, of which there is one lot at a time
        )
        self._behind: list[ShareMinuteRow] = []  # sums handed in since these, which go wherever these go
        self._owed: list[ShareMinuteRow] = []  # sums that were held back
        self._tips: set[int] = set()
        self._new_tips: list[TipRow] = []  # that no share was handed over on

    def note_tip(self, number: int, job: Job) -> None:
        """Shares from now on may be on the tip of this job, which their records call `number`.

        It is written with the first of them: while a new job goes out, a commit would only be in its way.
        """
        if number not in self._tips:
            self._tips.add(number)
            self._new_tips.append(
                TipRow(number, job.prev_hash[::-1].hex(), job.height, self._clock(), job.origin)
            )

    def write(self, records: bytes) -> asyncio.Future[None]:
        """Queue records for the ledger, all that the buffer held; the future is done when they are durable.

        Records that were refused (LedgerError), or whose future failed, are offered again at the beginning of the next.
        Where a block was found that is not on the disk yet, they follow its row. No records at all: the future is done when
        what was queued before is durable.
        """
        blocks = self._blocks_unwritten()
        if not blocks:
            return self._hand_over(records)
        self._unhanded = self._unhanded or bool(records)
        return self._after(blocks, records)

    def _hand_over(self, records: bytes) -> asyncio.Future[None]:
        """Queue records, their new units before them; sums that are due follow if they hold nothing else."""
        if not records:
            return self._recorder.add_units([])
        fresh = self._roster.drain_new()
        if fresh:
            self._recorder.add_units([UnitRow(*unit) for unit in fresh])
        if self._new_tips:
            self._recorder.add_tips(self._new_tips)
            self._new_tips = []
        self._unhanded = True
        written = self._written = self._recorder.add_shares(records)
        self._unhanded = False
        self._behind = []
        if self._is_due and not len(self._buffer):
            self._write_minute()
        written.add_done_callback(self._settled)
        return written

    def _after(self, blocks: Collection[asyncio.Future[None]], records: bytes) -> asyncio.Future[None]:
        """Hand records over once these rows are written; the future is done when the records are durable too."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(written: asyncio.Future[None]) -> None:
            if done.done():
                return
            error = asyncio.CancelledError() if written.cancelled() else written.exception()
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def hand_over(_: object) -> None:
            try:
                self._hand_over(records).add_done_callback(settle)
            except LedgerError as error:
                if not done.done():
                    done.set_exception(error)

        asyncio.gather(*(asyncio.shield(block) for block in blocks)).add_done_callback(hand_over)
        return done

    async def run(self) -> None:
        """Follow the units' hashrates, and write each minute's sums when it has ended, until cancelled."""
        sampled_at = -math.inf
        while True:
            await asyncio.sleep(STEP_S)
            now = self._clock()
            if abs(now - sampled_at) >= SAMPLE_S:
                sampled_at = now
                self._roster.sample(now)
            if _minute_of(now) != self._minute_at:
                self.end_minute()

    def end_minute(self) -> None:
        """Have what was counted since the last minute's end written, now or with the records that wait."""
        self._is_due = True
        if not len(self._buffer) and not self._unhanded and not _has_failed(self._written):
            self._write_minute()

    def _write_minute(self) -> None:
        self._is_due = False
        minute_at, self._minute_at = self._minute_at, _minute_of(self._clock())
        rows = [row for unit in self._roster if (row := self._news_of(unit, minute_at)) is not None]
        if len(self._counted) > len(self._roster):
            shown = set(self._roster)
            self._counted = {unit: counted for unit, counted in self._counted.items() if unit in shown}
        rows, self._owed = self._owed + rows, []
        if not rows:
            return
        if self._written is not None and not self._written.done():
            self._behind += rows
        try:
            self._recorder.add_share_minutes(rows)
        except LedgerError as error:  # it is closed; the next start counts from the batches
            log.warning("share_minutes_not_written", extra={"error": str(error)})

    def _news_of(self, unit: HashingUnit, minute_at: int) -> ShareMinuteRow | None:
        """What the unit handed in since its sums were last written; None if nothing."""
        tally = unit.tally
        if not tally.accepted:  # a name that never handed in a good share costs no rows
            return None
        before = self._counted.get(unit, _Counted())
        now = _Counted(tally.accepted, tally.work, tally.work_squared, tally.rejections)
        if now == before:
            return None
        self._counted[unit] = now
        rejected = zip(REASONS, now.rejections, before.rejections, strict=False)
        return ShareMinuteRow(
            unit.number,
            minute_at,
            now.accepted - before.accepted,
            now.work - before.work,
            now.work_squared - before.work_squared,
            tally.take_best(),
            {reason: count - known for reason, count, known in rejected if count > known},
        )

    def _settled(self, written: asyncio.Future[None]) -> None:
        if _has_failed(written):
            self._unhanded = True
            if not written.cancelled():  # which stops nobody but who waited for it
                self._owed += self._behind
                self._is_due |= bool(self._owed)
        self._behind = []


def _has_failed(written: asyncio.Future[None] | None) -> bool:
    if written is None or not written.done():
        return False
    return written.cancelled() or written.exception() is not None


def _minute_of(at: float) -> int:
    return int(at // MINUTE_S) * MINUTE_S


def restore(book: JobBook, store: Store, origin: str = "solo") -> int:
    """Remember the shares that were credited on the last tips of `origin` before this start; returns how many. Blocks.

    A tip that is mined on again, or still, then knows its shares, so that none of them is credited twice. Tips that the
    chain has left far behind, as those of a pool that was not mined for long, are left alone.
    """
    # What a pool says of heights does not count for our own chain.
    witnesses = store.tips(KEPT_TIPS, origin="solo" if origin == "solo" else None)
    reached = max((tip.height for tip in witnesses), default=0)
    tips = [tip for tip in store.tips(KEPT_TIPS, origin=origin) if tip.height > reached - DEEPEST][::-1]
    remembered = 0
    for tip in tips:
        remembered += book.restore(bytes.fromhex(tip.prev_hash)[::-1], tip.number, b"")
    for records in store.share_records_on([tip.number for tip in tips]):
        for tip in tips:
            remembered += book.restore(bytes.fromhex(tip.prev_hash)[::-1], tip.number, records)
    return remembered
