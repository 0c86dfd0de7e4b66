"""From submissions to blocks on the chain: the desk, the keeper and the courier, started and ended in order."""

import asyncio
import logging
import math
from collections.abc import Callable

from miner.desk import Desk, PoolFind
from miner.hashing.station import UNIT_ID, CpuStation
from miner.keeper import BlockBooks, BlockKeeper
from miner.ledger.recorder import Recorder
from miner.ledger.rows import BlockRow, LedgerError
from miner.metrics import Metrics
from miner.node.blocks import MATURE_CONFIRMATIONS, BlockCourier, FoundBlock
from miner.node.nodes import NodeSet
from miner.work.claims import BlockClaims
from miner.work.job import Job
from miner.work.roster import Roster
from miner.work.shelf import SOLO, Shelf

log = logging.getLogger(__name__)

HOUSEKEEPING_S = 600.0
DRAIN_S = 10.0
"""How long a stop waits for blocks under way; what no node has by then is sent at the next start."""


class Delivery:
    """Takes what units hand in, whatever they mine on, and brings blocks home; `run` runs it.

    `station` hashes what `hash` gives it. `on_pool_share(find)` hears of each hash that a pool wants, and may give the token of
    an answer that is waited for; `on_fatal(error)` of what makes going on wrong. `nodes` may be none: then there is no solo
    work. Decisions and prices older than `keep_s` seconds are forgotten (0 keeps them for ever), decisions that only held after
    `keep_holds_s` (0: with the others), single shares after `keep_shares_s`; found blocks are at least `min_block_interval_s` apart.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        shelf: Shelf,
        nodes: NodeSet,
        books: BlockBooks,
        recorder: Recorder,
        metrics: Metrics,
        roster: Roster,
        *,
        station: CpuStation | None = None,
        min_block_interval_s: float = 0.0,
        keep_s: float = 0.0,
        keep_holds_s: float = 0.0,
        keep_shares_s: float = 3 * 86_400.0,
        on_pool_share: Callable[[PoolFind], int | None] = lambda _find: None,
        on_fatal: Callable[[Exception], None],
        clock: Callable[[], float],
    ) -> None:
        self._shelf = shelf
        self._recorder = recorder
        self._station = station
        self._keep_s = keep_s or math.inf
        self._keep_holds_s = keep_holds_s or math.inf
        self._keep_shares_s = keep_shares_s
        self._clock = clock
        self._given: Job | None = None
        self.claims = BlockClaims(min_block_interval_s)
        self.courier = BlockCourier(nodes, books, clock=clock)
        self.desk = Desk(
            shelf,
            self.claims,
            BlockKeeper(books, self.courier, on_fatal),
            metrics,
            roster,
            on_pool_share=on_pool_share,
            on_credit=self._credit,
            on_solved=self._look_again,
            on_reopened=self._look_again,
            clock=clock,
        )

    def hash(self, job: Job | None) -> None:
        """Give the station its work; a tip that a block of ours is on its way for needs no more hashing."""
        self._given = job
        self._look_again()

    async def run(self, closing: asyncio.Event) -> None:
        """Deliver until `closing` is set; then wait for blocks under way and end in order."""
        async with asyncio.TaskGroup() as group:
            desk = group.create_task(self.desk.run(closing), name="desk")
            services = [
                group.create_task(self._housekeep(), name="housekeeping"),
                group.create_task(self.courier.run(), name="courier"),
            ]
            await closing.wait()
            # Every block the desk was given is on disk and with the courier before the courier goes.
            _, undelivered = await asyncio.wait([desk], timeout=DRAIN_S)
            if undelivered or await self.courier.drain(DRAIN_S):
                log.warning("blocks_left_for_next_start")
            for task in (desk, *services):
                task.cancel()

    async def resume_blocks(self) -> None:
        """Take up what the ledger does not know the end of: of this run, and at its first node of earlier ones."""
        try:
            rows = await self._recorder.unsettled_blocks()
        except LedgerError as error:
            log.error("blocks_not_resumed", extra={"error": str(error)})  # noqa: TRY400 - the message says it all
        else:
            await self.courier.resume(courier_block(row) for row in rows)

    def _look_again(self) -> None:
        if self._station is None:
            return
        job = self._given
        solved = job is not None and job.upstream is None and self.claims.solved(job.prev_hash)
        self._station.set_job(None if solved else job)

    def _credit(self, unit_id: str, difficulty: float) -> None:
        if self._station is not None and unit_id == UNIT_ID:
            self._station.rate.add(difficulty, self._clock())

    async def _housekeep(self) -> None:
        """Let the ledger forget the bytes of blocks that no reorganisation can bring back, and history past its keep."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            job = self._shelf.book(SOLO).current
            try:
                if job is not None:
                    await self._recorder.prune_raw(job.height - 1 - MATURE_CONFIRMATIONS)
                now = self._clock()
                if min(self._keep_s, self._keep_holds_s) < math.inf:
                    await self._recorder.prune_history(
                        now - self._keep_s, holds_before=now - self._keep_holds_s
                    )
                await self._recorder.prune_shares(now - self._keep_shares_s)
            except LedgerError as error:
                log.warning("ledger_not_pruned", extra={"error": str(error)})


def courier_block(row: BlockRow) -> FoundBlock:
    """A ledger's row as the courier takes it."""
    return FoundBlock(bytes.fromhex(row.hash)[::-1], row.height, row.raw, row.status)
