"""Where submissions of every unit arrive: judged, counted; blocks are written down and sent, a pool's shares go up."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final, Protocol

from miner.chain.difficulty import difficulty_of_hash
from miner.kernel import ShareBuffer, SubmitTaker
from miner.metrics import Metrics
from miner.work.claims import BlockClaims, BlockFind, Claim
from miner.work.job import JobBook
from miner.work.roster import HashingUnit, Roster
from miner.work.share import (
    Accepted,
    Block,
    Pending,
    PoolShare,
    Reason,
    Rejected,
    Submission,
    Verdict,
    judge,
)
from miner.work.shelf import Shelf

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


@dataclass(frozen=True, slots=True)
class PoolFind:
    """A share that its pool is to have: by whom it was found, with what, when (unix seconds)."""

    share: PoolShare
    submission: Submission
    unit: HashingUnit
    found_at: float


class Desk:
    """Judges submissions; a block is on disk and on its way to every node before its finder hears of it.

    `shelf` holds the jobs of every origin. `keeper` is None where there is no node, so that no solo job can be either.
    A good share is counted in its unit's tally, and its record put into `buffer`. `on_credit(unit_id, difficulty)` hears of it.
    `on_pool_share` gets each share that a pool is to have, after it was credited here: it gives None if our own verdict is
    the answer, or else the token under which the pool's will come.
    `on_solved` is called when a tip needs no more hashing since a block of ours for it is on its way, `on_reopened` when
    that block was refused and hashing must go on.
    """

    def __init__(  # noqa: PLR0913 - everything that a submission touches
        self,
        shelf: Shelf,
        claims: BlockClaims,
        keeper: Keeper | None,
        metrics: Metrics,
        roster: Roster,
        *,
        on_credit: Callable[[str, float], None],
        on_solved: Callable[[], None],
        on_reopened: Callable[[], None],
        on_pool_share: Callable[[PoolFind], int | None] = lambda _find: None,
        clock: Callable[[], float],
    ) -> None:
        self._shelf = shelf
        self._claims = claims
        self._keeper = keeper
        self._metrics = metrics
        self._roster = roster
        self._on_credit = on_credit
        self._on_solved = on_solved
        self._on_reopened = on_reopened
        self._on_pool_share = on_pool_share
        self._clock = clock
        self._deliveries: asyncio.TaskGroup | None = None
        self.buffer = ShareBuffer()
        self.unwritten: set[asyncio.Future[None]] = set()
        """One for each found block that is not on the disk; it is done when the block is."""

    async def run(self, closing: asyncio.Event) -> None:
        """Deliver blocks until `closing` is set and every delivery has ended."""
        async with asyncio.TaskGroup() as self._deliveries:
            await closing.wait()

    def take(self, submission: Submission, share_target: int) -> Verdict | Pending:
        """Judge one submission against the target its unit was given; call it in the event loop, while `run` runs.

        The finder of a Block must not be answered before the futures that are in `unwritten` now are done, whether
        the block is credited or not.
        """
        now = self._clock()
        unit = self._roster.by_id(submission.unit_id)
        if unit is None:
            raise ValueError(f"there is no unit {submission.unit_id!r}")
        book = self._shelf.of(submission.job_id)
        verdict = judge(book, submission, share_target, now)
        match verdict:
            case Block() as block:
                if block.stale:
                    self._reject(unit, submission, Reason.STALE)
                elif block.credited > 0:
                    self._credit(book, unit, submission, block.hash, block.credited, now)
                found = BlockFind(block, submission, now)
                if self._claims.claim(found, now) is Claim.SUBMIT:
                    self._send(found)
            case PoolShare() as share:
                return self._hand_up(book, PoolFind(share, submission, unit, now))
            case Accepted() as accepted:
                if self.buffer.is_full:
                    # The ledger has taken nothing for long; a share without a record must not be acknowledged.
                    verdict = Rejected(Reason.TABLE_FULL)
                    self._reject(unit, submission, verdict.reason)
                else:
                    self._credit(book, unit, submission, accepted.hash, accepted.difficulty, now)
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
            self._shelf.board,
            self.buffer,
            unit.tally,
            unit=unit.number,
            worker=worker,
            extranonce1=extranonce1,
            version_mask=version_mask,
            payout_script=payout_script,
        )

    def _hand_up(self, book: JobBook | None, find: PoolFind) -> Verdict | Pending:
        """A share that its pool is to have: credited here first, so that it is in the ledger whatever the pool says.

        No room for its record holds back only the credit: the pool pays for it all the same.
        """
        share = find.share
        if share.credited > 0:
            if self.buffer.is_full:
                share = replace(share, credited=0.0)
                find = replace(find, share=share)
            else:
                self._credit(book, find.unit, find.submission, share.hash, share.credited, find.found_at)
        token = self._on_pool_share(find)
        return share if token is None else Pending(token, share.credited)

    def _credit(
        self,
        book: JobBook | None,
        unit: HashingUnit,
        submission: Submission,
        found: bytes,
        credited: float,
        now: float,
    ) -> None:
        """Count a good share: what it is worth is the difficulty it was asked for, not the one it happened to reach."""
        unit.tally.accept(credited, difficulty_of_hash(found), now)
        place = None if book is None else book.lookup(submission.job_id, now)
        if book is not None and place is not None and not self.buffer.is_full:
            job = place.job
            tip = book.tip_number(job.prev_hash)
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
            if self._keeper is None:
                raise RuntimeError("there is no node to send it to")
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
            has_it = self._keeper is not None and await self._keeper.keep_and_send(found, on_kept)
        finally:
            on_kept()
        if has_it:
            return
        reserve = self._claims.refused(found.block.hash)
        if reserve is not None and self._claims.claim(reserve, self._clock()) is Claim.SUBMIT:
            self._send(reserve)
        else:
            self._on_reopened()
