"""The mining half of the daemon: from the nodes' tips to jobs, from submissions to blocks on the chain."""

import asyncio
import logging
from collections.abc import Callable

from miner.config import SoloConfig
from miner.desk import Desk
from miner.hashing.station import UNIT_ID, CpuStation
from miner.keeper import BlockBooks, BlockKeeper
from miner.ledger.recorder import Recorder
from miner.ledger.rows import BlockRow, LedgerError
from miner.metrics import Metrics
from miner.node.blocks import MATURE_CONFIRMATIONS, BlockCourier, FoundBlock
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcError
from miner.node.templates import NetworkMismatchError, TemplatePacing, TemplateService, check_chain
from miner.node.tips import Tip, TipWatcher
from miner.solo import Payout, Solo
from miner.work.claims import BlockClaims
from miner.work.job import Job, JobBook
from miner.work.template import SignetChallengeError, Template, template_request

log = logging.getLogger(__name__)

GRACE_S = 60.0
"""How long a superseded job of the present tip is good for shares: submissions in flight, slow devices."""
HOUSEKEEPING_S = 600.0
DRAIN_S = 10.0
"""How long a stop waits for blocks under way; what no node has by then is sent at the next start."""


class Mining:
    """Watches the nodes, keeps work on `station`, and brings blocks home; `run` runs all of it.

    `on_alert(name, message)` is told what an operator should look at, `on_fatal(error)` what makes going on wrong.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        config: SoloConfig,
        nodes: NodeSet,
        payout: Payout,
        *,
        station: CpuStation | None,
        recorder: Recorder,
        books: BlockBooks,
        metrics: Metrics,
        on_alert: Callable[[str, str], None],
        on_fatal: Callable[[Exception], None],
        clock: Callable[[], float],
    ) -> None:
        self._nodes = nodes
        self._station = station
        self._recorder = recorder
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._clock = clock
        self._tip: Tip | None = None
        self._node_ups: asyncio.Queue[Node] = asyncio.Queue(maxsize=16 * len(nodes))
        self.book = JobBook(GRACE_S)
        self._claims = BlockClaims(config.min_block_interval_s)
        self.courier = BlockCourier(nodes, books, clock=clock)
        self.desk = Desk(
            self.book,
            self._claims,
            BlockKeeper(books, self.courier),
            metrics,
            on_credit=self._credit,
            on_solved=lambda: self._hash(None),
            on_reopened=lambda: self._hash(self.book.current),
            clock=clock,
        )
        self.solo = Solo(self.book, payout, version_mask=config.version_bits, on_job=self._hash, clock=clock)
        self._templates = TemplateService(
            nodes,
            self.solo.proposal_of,
            self._take_template,
            on_tip=self._take_tip,
            on_withdraw=self._withdraw,
            on_alert=on_alert,
            pacing=TemplatePacing(refresh_s=config.refresh_s, job_max_age_s=config.job_max_age_s),
            clock=clock,
        )
        self._watcher = TipWatcher(
            nodes,
            template_request(nodes.network),
            on_health=self._node_health,
            on_refresh=self._templates.refresh,
            clock=clock,
        )

    async def run(self, closing: asyncio.Event) -> None:
        """Mine until `closing` is set; then wait for blocks under way and end in order."""
        async with asyncio.TaskGroup() as group:
            desk = group.create_task(self.desk.run(closing), name="desk")
            services = [
                group.create_task(self._housekeep(), name="housekeeping"),
                group.create_task(self.courier.run(), name="courier"),
                group.create_task(self._templates.run(), name="templates"),
                group.create_task(self._watcher.run(self._templates.new_tip), name="tips"),
                group.create_task(self._welcome_nodes(), name="nodes"),
            ]
            await self.courier.resume(courier_block(row) for row in await self._recorder.unsettled_blocks())
            await closing.wait()
            # Every block the desk was given is on disk and with the courier before the courier goes.
            _, undelivered = await asyncio.wait([desk], timeout=DRAIN_S)
            if undelivered or await self.courier.drain(DRAIN_S):
                log.warning("blocks_left_for_next_start")
            for task in (desk, *services):
                task.cancel()

    def _credit(self, unit_id: str, difficulty: float) -> None:
        if self._station is not None and unit_id == UNIT_ID:
            self._station.rate.add(difficulty, self._clock())

    def _hash(self, job: Job | None) -> None:
        """Give the station its work; a tip that a block of ours is on its way for needs no more hashing."""
        if self._station is None:
            return
        solved = job is not None and self._claims.solved(job.prev_hash)
        self._station.set_job(None if solved else job)

    def _take_template(self, template: Template, _node: Node, fetched_at: float) -> None:
        fresh = self.book.current is None or self.book.current.prev_hash != template.prev_hash
        self.solo.take_template(template)
        self._metrics.template_taken(template.height, fetched_at)
        if fresh and self._tip is not None and self._tip.hash == template.prev_hash:
            self._metrics.work_switched(self._clock() - self._tip.seen_at)

    def _take_tip(self, tip: Tip) -> None:
        self._tip = tip
        self._claims.reopen(tip.hash)
        self.solo.take_tip(tip.hash)
        self.courier.tip_changed()

    def _withdraw(self) -> None:
        self.solo.withdraw()
        self._metrics.work_withdrawn()

    def _node_health(self, node: Node, up: bool, _error: str) -> None:  # noqa: FBT001 - the watcher's call
        self._metrics.node_seen(node.name, up=up)
        if up:
            self._node_ups.put_nowait(node)

    async def _welcome_nodes(self) -> None:
        """A node that came (back) is on our chain, or the daemon must not go on; and it gets the blocks it missed."""
        while True:
            node = await self._node_ups.get()
            try:
                await check_chain(node, self._nodes.network)
            except (NetworkMismatchError, SignetChallengeError) as error:
                self._on_fatal(error)
            except RpcError as error:
                log.warning("node_unchecked", extra={"node": node.name, "error": str(error)})
            else:
                await self.courier.resume(
                    courier_block(row) for row in await self._recorder.unsettled_blocks()
                )

    async def _housekeep(self) -> None:
        """Let the ledger forget the bytes of blocks that no reorganisation can bring back."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            job = self.book.current
            if job is not None:
                try:
                    await self._recorder.prune_raw(job.height - 1 - MATURE_CONFIRMATIONS)
                except LedgerError as error:
                    log.warning("ledger_not_pruned", extra={"error": str(error)})


def courier_block(row: BlockRow) -> FoundBlock:
    """A ledger's row as the courier takes it."""
    return FoundBlock(bytes.fromhex(row.hash)[::-1], row.height, row.raw, row.status)
