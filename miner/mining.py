"""Mining on the own nodes: from their tips and templates to jobs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from miner.config import SoloConfig
from miner.delivery import Delivery
from miner.metrics import Metrics
from miner.node.first_jobs import FirstJobs
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcError
from miner.node.templates import NetworkMismatchError, TemplatePacing, TemplateService, check_chain
from miner.node.tips import Tip, TipWatcher
from miner.payouts import PayoutBook
from miner.solo import Payout, Solo
from miner.work.first_job import has_first_jobs
from miner.work.job import Job
from miner.work.layout import Layout
from miner.work.shelf import SOLO, Shelf
from miner.work.template import SignetChallengeError, Template, template_request

log = logging.getLogger(__name__)

NODE_AGAIN_S = 5.0
"""Until a node that is up but did not say what chain it is on is asked again."""
TEMPLATE_ALERTS = ("template_refused", "proposal_refused")
"""Alerts of the template service that a good template ends."""


class Mining:
    """Watches the nodes and makes a job of each template; `run` runs all of it.

    `on_alert(name, message)` is told what an operator should look at, `on_fatal(error)` what makes going on wrong.
    `on_work(job, seen_at)` gets each job, None when there is none; `seen_at` is when its tip was first
    seen, in unix seconds, for the first job on a tip that was waited for, and None for all others. `served()` waits until
    everybody has it: only then is the node asked for the full job, which takes both processes' time from the first.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        config: SoloConfig,
        nodes: NodeSet,
        payout: Payout,
        *,
        delivery: Delivery,
        shelf: Shelf,
        layout: Layout,
        metrics: Metrics,
        on_alert: Callable[[str, str], None],
        on_fatal: Callable[[Exception], None],
        on_work: Callable[[Job | None, float | None], None],
        served: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._nodes = nodes
        self._delivery = delivery
        self._metrics = metrics
        self._on_alert = on_alert
        self._on_fatal = on_fatal
        self._on_work = on_work
        self._served = served
        self._clock = clock
        self._tip_seen: tuple[bytes, float] | None = None
        self._awaited: Tip | None = None  # the tip seen last, while there is no work on it yet
        self._node_ups: asyncio.Queue[Node] = asyncio.Queue(maxsize=16 * len(nodes))
        self.book = shelf.book(SOLO)
        self.solo = Solo(
            self.book,
            payout,
            version_mask=config.version_bits,
            on_job=self._offer,
            clock=clock,
            next_id=shelf.next_id,
            layout=layout,
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

    async def run(self) -> None:
        """Keep work coming until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._templates.run(), name="templates")
            group.create_task(self._watcher.run(self._new_tip), name="tips")
            group.create_task(self._welcome_nodes(), name="nodes")
            if self._first_jobs is not None:
                group.create_task(self._first_jobs.run(), name="first jobs")
            if self.payouts is not None:
                group.create_task(self.payouts.run(), name="payout addresses")

    def set_layout(self, layout: Layout) -> None:
        """Extranonces are of these sizes from now on: the present work is made anew, or there is none until the next."""
        if layout == self.solo.layout:
            return
        self.solo.layout = layout
        template = self._templates.current
        if template is not None and self.book.tip == template.prev_hash:
            self.solo.take_template(template)
        elif (
            self.book.current is not None
        ):  # the empty job on a new tip; the node's own template is on its way
            self.solo.withdraw()

    @property
    def tip_seen(self) -> tuple[bytes, float] | None:
        """The tip that is mined on, in internal order, and when it was first seen; None before the first."""
        return self._tip_seen

    def _offer(self, job: Job | None) -> None:
        """Work for everybody, or none."""
        awaited = self._awaited
        first = job is not None and awaited is not None and awaited.hash == job.prev_hash
        self._on_work(job, awaited.seen_at if awaited is not None and first else None)

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
        self._delivery.claims.reopen(prev_hash)
        self.solo.take_tip(prev_hash)
        self._delivery.courier.tip_changed()
        self._tip_seen = prev_hash, self._clock()

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
                await self._delivery.resume_blocks()
