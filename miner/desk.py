"""Where submissions of every unit arrive: judged, counted, and the blocks among them written down and sent."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Final, Protocol

from miner.chain.difficulty import difficulty_of_hash
from miner.kernel import ShareBuffer, SubmitTaker
from miner.metrics import Metrics
from miner.work.claims import BlockClaims, BlockFind, Claim
from miner.work.job import JobBook
from miner.work.roster import HashingUnit, Roster
from miner.work.share import Accepted, Block, Reason, Rejected, Submission, Verdict, judge

log = logging.getLogger(__name__)

REASONS: Final = tuple(Reason)
"""In the order of a tally's counts."""


class Keeper(Protocol):
    """Keeps a found block on disk, then sends it to every node."""

    async def keep_and_send(self, find: BlockFind, on_kept: Callable[[], None], /) -> bool:
        """True as soon as a node has the block, False when none will have it: its tip is open again.

        `on_kept` is called once, when the block is on the disk, or the ledger has said that it will not be.
        """
        ...


class Desk:
    """Judges submissions; a block is on disk and on its way to every node before its finder hears of it.

    A good share is counted in its unit's tally, and its record put into `buffer`. `on_credit(unit_id, difficulty)` hears of it.
    `on_solved` is called when a tip needs no more hashing since a block of ours for it is on its way, `on_reopened` when
    that block was refused and hashing must go on.
    """

    def __init__(  # noqa: PLR0913 - everything that a submission touches
        self,
        book: JobBook,
        claims: BlockClaims,
        keeper: Keeper,
        metrics: Metrics,
        roster: Roster,
        *,
        on_credit: Callable[[str, float], None],
        on_solved: Callable[[], None],
        on_reopened: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._book = book
        self._claims = claims
        self._keeper = keeper
        self._metrics = metrics
        self._roster = roster
        self._on_credit = on_credit
        self._on_solved = on_solved
        self._on_reopened = on_reopened
        self._clock = clock
        self._deliveries: asyncio.TaskGroup | None = None
        self.buffer = ShareBuffer()
        self.unwritten: set[asyncio.Future[None]] = set()
        """One for each found block that is not on the disk; it is done when the block is."""

    async def run(self, closing: asyncio.Event) -> None:
        """Deliver blocks until `closing` is set and every delivery has ended."""
        async with asyncio.TaskGroup() as self._deliveries:
            await closing.wait()

    def take(self, submission: Submission, share_target: int) -> Verdict:
        """Judge one submission against the target its unit was given; call it in the event loop, while `run` runs."""
        now = self._clock()
        unit = self._roster.by_id(submission.unit_id)
        if unit is None:
            raise ValueError(f"there is no unit {submission.unit_id!r}")
        verdict = judge(self._book, submission, share_target, now)
        match verdict:
            case Block() as block:
                if block.stale:
                    self._reject(unit, submission, Reason.STALE)
                elif block.credited > 0:
                    self._credit(unit, submission, block.hash, block.credited, now)
                found = BlockFind(block, submission, now)
                if self._claims.claim(found, now) is Claim.SUBMIT:
                    self._send(found)
            case Accepted() as accepted:
                if self.buffer.is_full:
                    # The ledger has taken nothing for long; a share without a record must not be acknowledged.
                    verdict = Rejected(Reason.TABLE_FULL)
                    self._reject(unit, submission, verdict.reason)
                else:
                    self._credit(unit, submission, accepted.hash, accepted.difficulty, now)
            case Rejected() as rejected:
                self._reject(unit, submission, rejected.reason)
        return verdict

    def taker(
        self,
        unit: HashingUnit,
        worker: bytes,
        extranonce1: bytes,
        version_mask: int | None,
        payout_script: bytes | None,
    ) -> SubmitTaker:
        """What judges, counts and records the plain submissions of one session, as `take` does, a chunk at a time."""
        return SubmitTaker(
            self._book.board,
            self.buffer,
            unit.tally,
            unit=unit.number,
            worker=worker,
            extranonce1=extranonce1,
            version_mask=version_mask,
            payout_script=payout_script,
        )

    def _credit(
        self, unit: HashingUnit, submission: Submission, found: bytes, credited: float, now: float
    ) -> None:
        """Count a good share: what it is worth is the difficulty it was asked for, not the one it happened to reach."""
        unit.tally.accept(credited, difficulty_of_hash(found), now)
        place = self._book.lookup(submission.job_id, now)
        if place is not None and not self.buffer.is_full:
            job = place.job
            tip = self._book.tip_number(job.prev_hash)
            self.buffer.add(unit.number, tip, now, credited, job.serial or 0, found)
        self._on_credit(unit.id, credited)

    def _reject(self, unit: HashingUnit, submission: Submission, reason: Reason) -> None:
        unit.tally.reject(REASONS.index(reason))
        # A broken device hands in thousands: they are counted, and only told to who looks closely.
        log.debug("share_rejected", extra={"unit": unit.id, "job": submission.job_id, "reason": reason.value})

    def _send(self, found: BlockFind) -> None:
        """Have a claimed block kept and sent, in the background."""
        block = found.block
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        delivery = self._delivery(found, kept)
        try:
            if self._deliveries is None:
                raise RuntimeError("the desk does not run")
            self._deliveries.create_task(delivery, name=f"block-{block.job.height}")
            self.unwritten.add(kept)
        except RuntimeError as error:
            # Only while everything breaks down: what is needed to rebuild the block by hand goes into the log.
            delivery.close()
            found_by = asdict(found.submission)
            log.critical(
                "block_dropped", extra={"error": str(error), "header": block.header.hex(), **found_by}
            )
            return
        log.info(
            "block_found",
            extra={
                "height": block.job.height,
                "hash": block.hash[::-1].hex(),
                "unit": found.submission.unit_id,
                "reward_sat": block.job.reward_sat,
                "txs": len(block.job.txs),
                "stale": block.stale,
            },
        )
        self._metrics.block_found()
        if not block.stale:
            self._on_solved()

    async def _delivery(self, found: BlockFind, kept: asyncio.Future[None]) -> None:
        def on_kept() -> None:
            if not kept.done():
                kept.set_result(None)
            self.unwritten.discard(kept)

        try:
            has_it = await self._keeper.keep_and_send(found, on_kept)
        finally:
            on_kept()
        if has_it:
            return
        reserve = self._claims.refused(found.block.hash)
        if reserve is not None and self._claims.claim(reserve, self._clock()) is Claim.SUBMIT:
            self._send(reserve)
        else:
            self._on_reopened()
