"""Where submissions of every unit arrive: judged, counted, and the blocks among them written down and sent."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from miner.chain.difficulty import difficulty_of_hash
from miner.metrics import Metrics
from miner.work.claims import BlockClaims, BlockFind, Claim
from miner.work.job import JobBook
from miner.work.share import Accepted, Block, Reason, Rejected, Submission, Verdict, judge

log = logging.getLogger(__name__)


@dataclass(slots=True)
class UnitShares:
    """What one unit handed in since the daemon started."""

    accepted: int = 0
    rejected: int = 0
    best_difficulty: float = 0.0


class Keeper(Protocol):
    """Keeps a found block on disk, then sends it to every node."""

    async def keep_and_send(self, find: BlockFind, /) -> bool:
        """True as soon as a node has the block, False when none will have it: its tip is open again."""
        ...


class Desk:
    """Judges submissions; a block is on disk and on its way to every node before its finder hears of it.

    `on_credit(unit_id, difficulty)` hears of every good share. `on_solved` is called when a tip needs no more hashing
    since a block of ours for it is on its way, `on_reopened` when that block was refused and hashing must go on.
    """

    def __init__(
        self,
        book: JobBook,
        claims: BlockClaims,
        keeper: Keeper,
        metrics: Metrics,
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
        self._on_credit = on_credit
        self._on_solved = on_solved
        self._on_reopened = on_reopened
        self._clock = clock
        self._deliveries: asyncio.TaskGroup | None = None
        self.shares: defaultdict[str, UnitShares] = defaultdict(UnitShares)

    async def run(self, closing: asyncio.Event) -> None:
        """Deliver blocks until `closing` is set and every delivery has ended."""
        async with asyncio.TaskGroup() as self._deliveries:
            await closing.wait()

    def take(self, submission: Submission, share_target: int) -> Verdict:
        """Judge one submission against the target its unit was given; call it in the event loop, while `run` runs."""
        now = self._clock()
        verdict = judge(self._book, submission, share_target, now)
        shares = self.shares[submission.unit_id]
        match verdict:
            case Block() as block:
                if block.stale:
                    self._reject(submission, shares, Reason.STALE)
                else:
                    self._credit(submission, shares, block.hash, block.credited)
                found = BlockFind(block, submission, now)
                if self._claims.claim(found, now) is Claim.SUBMIT:
                    self._send(found)
            case Accepted() as accepted:
                self._credit(submission, shares, accepted.hash, accepted.difficulty)
            case Rejected() as rejected:
                self._reject(submission, shares, rejected.reason)
        return verdict

    def _credit(self, submission: Submission, shares: UnitShares, found: bytes, credited: float) -> None:
        """Count a good share: what it is worth is the difficulty it was asked for, not the one it happened to reach."""
        shares.best_difficulty = max(shares.best_difficulty, difficulty_of_hash(found))
        shares.accepted += 1
        self._metrics.share_accepted(submission.unit_id, credited, shares.best_difficulty)
        self._on_credit(submission.unit_id, credited)

    def _reject(self, submission: Submission, shares: UnitShares, reason: Reason) -> None:
        shares.rejected += 1
        self._metrics.share_rejected(submission.unit_id, reason.value)
        log.info(
            "share_rejected",
            extra={"unit": submission.unit_id, "job": submission.job_id, "reason": reason.value},
        )

    def _send(self, found: BlockFind) -> None:
        """Have a claimed block kept and sent, in the background."""
        block = found.block
        delivery = self._delivery(found)
        try:
            if self._deliveries is None:
                raise RuntimeError("the desk does not run")
            self._deliveries.create_task(delivery, name=f"block-{block.job.height}")
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

    async def _delivery(self, found: BlockFind) -> None:
        if await self._keeper.keep_and_send(found):
            return
        reserve = self._claims.refused(found.block.hash)
        if reserve is not None and self._claims.claim(reserve, self._clock()) is Claim.SUBMIT:
            self._send(reserve)
        else:
            self._on_reopened()
