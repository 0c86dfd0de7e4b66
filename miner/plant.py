"""Everything between the outer world's work and the units: solo side, pools, lanes, miners, built and run in order."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from miner import front
from miner.config import Config
from miner.delivery import Delivery
from miner.foreman import Foreman
from miner.front import Front
from miner.hashing.station import CpuStation
from miner.inquiries import CONFIGURATION_ERRORS
from miner.keeper import BlockBooks
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.metrics_pools import PoolMetrics
from miner.mining import Mining
from miner.node.nodes import NodeSet
from miner.node.rpc import RpcError
from miner.node.templates import check_chain, validate_payout
from miner.pools import Pools, first_layout
from miner.share_books import restore
from miner.solo import Payout
from miner.stratum.listener import Port
from miner.work.job import Job
from miner.work.layout import Layout
from miner.work.pay import KEPT_S
from miner.work.roster import Roster
from miner.work.shelf import SOLO, Shelf

log = logging.getLogger(__name__)

NODE_RETRY_S: Final = 1.0
GRACE_S: Final = 60.0
"""How long a superseded job of the present tip is good for the shares of this machine, where there is no [stratum]."""


class Plant:
    """What mines: `build` makes it, `open` lets miners in, `run` runs it and ends it in order.

    With a `payout` solo work begins at once, without one when a node says whom to pay. `on_alert(name, message)` is told what an
    operator should look at, `on_fatal(error)` what makes going on wrong.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        config: Config,
        nodes: NodeSet,
        payout: Payout | None,
        *,
        shelf: Shelf,
        store: Store,
        recorder: Recorder,
        books: BlockBooks,
        metrics: Metrics,
        roster: Roster,
        station: CpuStation | None,
        ports: Sequence[Port],
        reserved: bytes,
        version: str,
        on_alert: Callable[[str, str], None],
        on_fatal: Callable[[Exception], None],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._nodes = nodes
        self._shelf = shelf
        self._metrics = metrics
        self._on_alert = on_alert
        self._on_fatal = on_fatal
        self._clock = clock
        self._layout = first_layout(config, front.standard_layout(config))
        self.pools: Pools | None = None
        self.mining: Mining | None = None
        """The solo side; None where there is none, and until a node has said whom to pay."""
        self.delivery = Delivery(
            shelf,
            nodes,
            books,
            recorder,
            metrics,
            roster,
            station=station,
            min_block_interval_s=0.0 if config.solo is None else config.solo.min_block_interval_s,
            keep_s=config.ledger.keep_days * 86_400,
            keep_holds_s=config.ledger.keep_holds_s,
            keep_shares_s=config.ledger.keep_shares_hours * 3600,
            on_pool_share=lambda find: None if self.pools is None else self.pools.take_share(find),
            on_fatal=on_fatal,
            clock=clock,
        )
        self.foreman = self._make_foreman(roster)
        if payout is not None:
            self.mining = self._make_mining(payout)
        self.front = Front(
            config,
            self.delivery.desk,
            shelf,
            roster,
            recorder,
            metrics,
            ports=ports,
            reserved=[reserved],
            layout=self._layout,
            lane_of=self.foreman.lanes.lane_of,
            payouts=None if self.mining is None else self.mining.payouts,
            on_alert=on_alert,
            clock=clock,
        )
        self.foreman.face(self.front)
        if config.pool:
            self.pools = self._make_pools(store, recorder, version)

    def _make_foreman(self, roster: Roster) -> Foreman:
        config = self._config
        return Foreman(
            self.delivery,
            roster,
            solo_share=config.solo_share,
            has_solo=config.solo is not None,
            has_pool=bool(config.pool),
            mines={unit.id: unit.mines for unit in config.unit},
            clock=self._clock,
        )

    def _make_mining(self, payout: Payout) -> Mining:
        if self._config.solo is None:
            raise ValueError("there is no [solo] to be paid for")
        return Mining(
            self._config.solo,
            self._nodes,
            payout,
            delivery=self.delivery,
            shelf=self._shelf,
            layout=self._layout,
            metrics=self._metrics,
            on_alert=self._on_alert,
            on_fatal=self._on_fatal,
            on_work=self.foreman.solo_work,
            served=self._served,
            clock=self._clock,
        )

    def _make_pools(self, store: Store, recorder: Recorder, version: str) -> Pools:
        return Pools(
            self._config,
            self._shelf,
            recorder,
            PoolMetrics(self._metrics.registry),
            self._nodes,
            version=version,
            layout=self._layout,
            known={pool.label: store.pool_payees(pool.label) for pool in self._config.pool},
            sums=store.pool_share_sums(),
            lately=store.pool_share_sums(self._clock() - KEPT_S),
            first_id=store.last_pool_share_id() + 1,
            on_work=self.foreman.pool_work,
            on_layout=self._set_layout,
            on_answered=self.front.answered,
            on_alert=self._on_alert,
            pool_ratio=lambda: self.foreman.lanes.pool_work_ratio,
            clock=self._clock,
        )

    async def run(self, hashing_ended: asyncio.Event) -> None:
        """Mine until no unit hashes any more; then wait for what is under way to nodes and pools, and end."""
        async with asyncio.TaskGroup() as group:
            services = [group.create_task(self.foreman.run(), name="lanes")]
            if self._config.solo is not None:
                services.append(group.create_task(self._mine_solo(), name="solo"))
            ending = [group.create_task(self.delivery.run(hashing_ended), name="delivery")]
            if self.pools is not None:
                ending.append(group.create_task(self.pools.run(hashing_ended), name="pools"))
            await asyncio.wait(ending)
            for task in services:
                task.cancel()

    @property
    def job(self) -> Job | None:
        """The work that most units are on: the pool's where there is one."""
        return self.foreman.main_job

    async def _mine_solo(self) -> None:
        if self.mining is None:
            try:
                payout = await find_payout(self._config, self._nodes)
            except CONFIGURATION_ERRORS as error:
                self._on_fatal(error)
                return
            self.mining = self._make_mining(payout)
        await self.mining.run()

    async def _served(self) -> None:
        await self.front.served()

    def _set_layout(self, layout: Layout) -> None:
        self._layout = layout
        self.front.set_layout(layout)
        if self.mining is not None:
            self.mining.set_layout(layout)


async def make_shelf(config: Config, store: Store) -> Shelf:
    """The job books, with the shares that were credited on the last tips before this start."""
    grace_s = GRACE_S if config.stratum is None else config.stratum.grace_s
    # Ids begin by chance, so that no job of an earlier run is taken for one of this.
    last = await asyncio.to_thread(store.last_tip_number)
    shelf = Shelf(1 + secrets.randbits(28), 0 if last is None else last + 1)
    shelf.add(SOLO, grace_s)
    for pool in config.pool:
        shelf.add(pool.label, grace_s)
    remembered = 0
    for origin in shelf.origins:
        remembered += await asyncio.to_thread(restore, shelf.book(origin), store, origin)
    if remembered:
        log.info("shares_remembered", extra={"shares": remembered})
    return shelf


async def find_payout(config: Config, nodes: NodeSet) -> Payout:
    """Wait for a node that is on our chain, and have it translate the payout address. Raises CONFIGURATION_ERRORS."""
    solo = config.solo
    if solo is None:
        raise ValueError("there is no [solo] to be paid for")
    told = False
    while True:
        for node in nodes:
            try:
                await check_chain(node, config.network)
                script = await validate_payout(node, solo.payout_address)
            except RpcError as error:
                node.error = str(error)
                if not told:
                    log.warning("node_awaited", extra={"node": node.name, "error": str(error)})
            else:
                return Payout(solo.payout_address, script, solo.coinbase_tag.encode())
        told = True
        await asyncio.sleep(NODE_RETRY_S)
