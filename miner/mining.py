"""The mining half of the daemon: from the nodes' tips to jobs, from submissions to blocks on the chain."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from miner.config import SoloConfig
from miner.desk import Desk
from miner.hashing.station import UNIT_ID, CpuStation
from miner.keeper import BlockBooks, BlockKeeper
from miner.ledger.recorder import Recorder
from miner.ledger.rows import BlockRow, LedgerError
from miner.metrics import Metrics
from miner.node.blocks import MATURE_CONFIRMATIONS, BlockCourier, FoundBlock
from miner.node.first_jobs import FirstJobs
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcError
from miner.node.templates import NetworkMismatchError, TemplatePacing, TemplateService, check_chain
from miner.node.tips import Tip, TipWatcher
from miner.payouts import PayoutBook
from miner.solo import EXTRANONCE2_SIZE, Payout, Solo
from miner.work.claims import BlockClaims
from miner.work.first_job import has_first_jobs
from miner.work.job import Job, JobBook
from miner.work.roster import Roster
from miner.work.template import SignetChallengeError, Template, template_request

log = logging.getLogger(__name__)

HOUSEKEEPING_S = 600.0
NODE_AGAIN_S = 5.0
"""Until a node that is up but did not say what chain it is on is asked again."""
TEMPLATE_ALERTS = ("template_refused", "proposal_refused")
"""Alerts of the template service that a good template ends."""
DRAIN_S = 10.0
"""How long a stop waits for blocks under way; what no node has by then is sent at the next start."""


class Mining:
    """Watches the nodes, keeps work on `station`, and brings blocks home; `run` runs all of it.

    `on_alert(name, message)` is told what an operator should look at, `on_fatal(error)` what makes going on wrong.
    `on_work(job, seen_at)` gets each job to be handed out, None when there is none; `seen_at` is when its tip was first
    seen, in unix seconds, for the first job on a tip that was waited for, and None for all others. `served()` waits until
    everybody has it: only then is the node asked for the full job, which takes both processes' time from the first.
    Decisions and prices older than `keep_s` seconds are forgotten (0 keeps them for ever), single shares after `keep_shares_s`.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        config: SoloConfig,
        nodes: NodeSet,
        payout: Payout,
        *,
        book: JobBook,
        roster: Roster,
        station: CpuStation | None,
        recorder: Recorder,
        books: BlockBooks,
        metrics: Metrics,
        extranonce2_size: int = EXTRANONCE2_SIZE,
        keep_s: float = 0.0,
        keep_shares_s: float = 3 * 86_400.0,
        on_alert: Callable[[str, str], None],
        on_fatal: Callable[[Exception], None],
        on_work: Callable[[Job | None, float | None], None] = lambda _job, _seen_at: None,
        served: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._nodes = nodes
        self._station = station
        self._recorder = recorder
        self._metrics = metrics
        self._keep_s = keep_s
        self._keep_shares_s = keep_shares_s
        self._on_alert = on_alert
        self._on_fatal = on_fatal
        self._on_work = on_work
        self._served = served
        self._clock = clock
        self._awaited: Tip | None = None  # the tip seen last, while there is no work on it yet
        self._node_ups: asyncio.Queue[Node] = asyncio.Queue(maxsize=16 * len(nodes))
        self.book = book
        self._claims = BlockClaims(config.min_block_interval_s)
        self.courier = BlockCourier(nodes, books, clock=clock)
        self.desk = Desk(
            self.book,
            self._claims,
            BlockKeeper(books, self.courier, on_fatal),
            metrics,
            roster,
            on_credit=self._credit,
            on_solved=lambda: self._hash(None),
            on_reopened=lambda: self._hash(self.book.current),
            clock=clock,
        )
        self.solo = Solo(
            self.book,
            payout,
            version_mask=config.version_bits,
            on_job=self._offer,
            clock=clock,
            first_serial=1 + secrets.randbits(28),  # no job of an earlier run is taken for one of this
            extranonce2_size=extranonce2_size,
        )
        self._templates = TemplateService(
            nodes,
            self.solo.proposal_of,
            self._take_template,
            on_tip=self._take_tip,
            on_withdraw=self._withdraw,
            on_alert=on_alert,
            head_start=self._head_start,
            pacing=TemplatePacing(refresh_s=config.refresh_s, job_max_age_s=config.job_max_age_s),
            clock=clock,
        )
        self.payouts = self._payout_book(config)  # where user names are payout addresses
        self._first_jobs = self._empty_jobs(config)
        self._watcher = TipWatcher(
            nodes,
            template_request(nodes.network),
            on_health=self._node_health,
            on_refresh=self._templates.refresh,
            clock=clock,
        )

    def _payout_book(self, config: SoloConfig) -> PayoutBook | None:
        if config.payout != "worker":
            return None
        return PayoutBook(self._nodes, self._prove_payee, on_alert=self._on_alert)

    def _empty_jobs(self, config: SoloConfig) -> FirstJobs | None:
        network = self._nodes.network
        if not config.empty_first_job or not has_first_jobs(network):
            return None
        return FirstJobs(
            network,
            self._templates.prove,
            self.solo.proposal_of,
            self._take_first,
            on_alert=self._on_alert,
            clock=self._clock,
        )

    async def run(self, closing: asyncio.Event) -> None:
        """Mine until `closing` is set; then wait for blocks under way and end in order."""
        async with asyncio.TaskGroup() as group:
            desk = group.create_task(self.desk.run(closing), name="desk")
            services = [
                group.create_task(self._housekeep(), name="housekeeping"),
                group.create_task(self.courier.run(), name="courier"),
                group.create_task(self._templates.run(), name="templates"),
                group.create_task(self._watcher.run(self._new_tip), name="tips"),
                group.create_task(self._welcome_nodes(), name="nodes"),
            ]
            if self._first_jobs is not None:
                services.append(group.create_task(self._first_jobs.run(), name="first jobs"))
            if self.payouts is not None:
                services.append(group.create_task(self.payouts.run(), name="payout addresses"))
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

    def _offer(self, job: Job | None) -> None:
        """Work for everybody, or none."""
        self._hash(job)
        awaited = self._awaited
        first = job is not None and awaited is not None and awaited.hash == job.prev_hash
        self._on_work(job, awaited.seen_at if awaited is not None and first else None)

    def _hash(self, job: Job | None) -> None:
        """Give the station its work; a tip that a block of ours is on its way for needs no more hashing."""
        if self._station is None:
            return
        solved = job is not None and self._claims.solved(job.prev_hash)
        self._station.set_job(None if solved else job)

    def _take_template(self, template: Template, node: Node, fetched_at: float) -> None:
        if self.book.tip != template.prev_hash:
            self._move_to(template.prev_hash)  # it was fetched before the watch saw the tip
        self.solo.take_template(template)
        self._metrics.template_taken(template.height, fetched_at)
        if self._first_jobs is not None:
            self._first_jobs.template_taken(template, node, fetched_at)
        if node is self._nodes.active:  # while another one stands in for it, it has not got over its trouble
            for name in TEMPLATE_ALERTS:
                self._on_alert(name, "")
        self._work_came(template.prev_hash)

    def _take_first(self, template: Template, tip: Tip) -> None:
        """An empty block on a tip whose full template is still being made."""
        if self.book.tip == tip.hash and self.book.current is None:
            self.solo.take_template(template, first=True)
            self._work_came(tip.hash)

    def _work_came(self, prev_hash: bytes) -> None:
        if self._awaited is not None and self._awaited.hash == prev_hash:
            self._awaited = None

    def _new_tip(self, tip: Tip) -> None:
        if self._first_jobs is not None:  # first: it may ask for a head start over the template
            self._first_jobs.new_tip(tip)
        self._templates.new_tip(tip)

    async def _head_start(self) -> None:
        if self._first_jobs is not None:
            await self._first_jobs.head_start()
            if self._served is not None:
                await self._served()

    def _take_tip(self, tip: Tip) -> None:
        self._awaited = tip
        self._move_to(tip.hash)

    def _move_to(self, prev_hash: bytes) -> None:
        self._claims.reopen(prev_hash)
        self.solo.take_tip(prev_hash)
        self.courier.tip_changed()

    async def _prove_payee(self, script: bytes) -> None:
        await self._templates.prove_now(lambda template: self.solo.proposal_to(template, script))

    def _withdraw(self) -> None:
        self.solo.withdraw()
        self._metrics.work_withdrawn()
        if self._first_jobs is not None:
            self._first_jobs.forget()

    def _node_health(self, node: Node, up: bool, _error: str) -> None:  # noqa: FBT001 - the watcher's call
        self._metrics.node_seen(node.name, up=up)
        if up:
            self._announce(node)

    def _announce(self, node: Node) -> None:
        with suppress(asyncio.QueueFull):  # a node that comes and goes like that is in it already
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
                if node.up:
                    asyncio.get_running_loop().call_later(NODE_AGAIN_S, self._announce, node)
            else:
                await self._resume_blocks()

    async def _resume_blocks(self) -> None:
        """Take up what the ledger does not know the end of: of this run, and at its first node of earlier ones."""
        try:
            rows = await self._recorder.unsettled_blocks()
        except LedgerError as error:
            log.error("blocks_not_resumed", extra={"error": str(error)})  # noqa: TRY400 - the message says it all
        else:
            await self.courier.resume(courier_block(row) for row in rows)

    async def _housekeep(self) -> None:
        """Let the ledger forget the bytes of blocks that no reorganisation can bring back, and history past its keep."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            job = self.book.current
            try:
                if job is not None:
                    await self._recorder.prune_raw(job.height - 1 - MATURE_CONFIRMATIONS)
                if self._keep_s > 0:
                    await self._recorder.prune_history(self._clock() - self._keep_s)
                await self._recorder.prune_shares(self._clock() - self._keep_shares_s)
            except LedgerError as error:
                log.warning("ledger_not_pruned", extra={"error": str(error)})


def courier_block(row: BlockRow) -> FoundBlock:
    """A ledger's row as the courier takes it."""
    return FoundBlock(bytes.fromhex(row.hash)[::-1], row.height, row.raw, row.status)
