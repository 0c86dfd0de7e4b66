"""A site that mines at scripted pools on loopback: jobs, desk, ledger and all, with its hashing done by hand."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miner.chain.difficulty import hash_to_int
from miner.config import Config
from miner.desk import Desk, PoolFind
from miner.hashing.station import UNIT_ID
from miner.ledger.recorder import Recorder
from miner.ledger.rows import PoolShareRow
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.metrics_pools import PoolMetrics
from miner.node.nodes import Node, NodeSet
from miner.pools import Pools, first_layout
from miner.solo import STANDARD_LAYOUT
from miner.work.claims import BlockClaims
from miner.work.job import Job
from miner.work.layout import Layout
from miner.work.pay import KEPT_S
from miner.work.roster import Roster
from miner.work.share import Pending, Submission, Verdict
from miner.work.shelf import SOLO, Shelf
from tests.miner.harness import ANY_HASH
from tests.miner.node.harness import until
from tests.miner.stratum.scripted_pool import ScriptedPool

MINER = "farm.1"


def pool_section(pool: ScriptedPool, **keys: Any) -> dict[str, Any]:
    """A [[pool]] of the configuration."""
    return {"url": pool.url, "user": "site", "name": pool.name, **keys}


def pool_config(*pools: dict[str, Any], **sections: Any) -> Config:
    """The configuration of a site without a node of its own."""
    return Config.model_validate(
        {"network": "regtest", "pool": list(pools), "controller": {"enabled": False}, **sections}
    )


def pool_share_on(job: Job, number: int = 0, unit: str = MINER) -> Submission:
    """A submission that the job's pool wants; another one for each `number`."""
    extranonce1, extranonce2 = bytes(job.extranonce1_size), number.to_bytes(job.extranonce2_size, "big")
    for nonce in itertools.count():
        _, digest = job.header(
            extranonce1, extranonce2, ntime_s=job.ntime_s, nonce=nonce, version=job.version
        )
        if hash_to_int(digest) <= job.handed_on_target:
            return Submission(unit, job.id, extranonce1, extranonce2, job.ntime_s, nonce)
    raise AssertionError


class MovedClock:
    """The real clock, `ahead_s` seconds ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@dataclass
class Site:
    """What mines at pools, and all that was heard of it."""

    store: Store
    recorder: Recorder
    shelf: Shelf
    roster: Roster
    metrics: Metrics
    clock: MovedClock = field(default_factory=MovedClock)
    told: list[Job | Layout | None] = field(default_factory=list)
    """Jobs and layouts, in the order in which they came."""
    answered: list[tuple[int, tuple[int, str] | None]] = field(default_factory=list)
    alerts: dict[str, str] = field(default_factory=dict)
    finds: list[PoolFind] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    pools: Pools = field(init=False)
    desk: Desk = field(init=False)

    @property
    def job(self) -> Job:
        """The job to be hashed, which there must be."""
        job = self.told[-1]
        assert isinstance(job, Job)
        return job

    @property
    def jobs(self) -> list[Job | None]:
        return [each for each in self.told if not isinstance(each, Layout)]

    @property
    def active(self) -> str | None:
        return self.pools.upstreams.active

    def find(self, number: int = 0, job: Job | None = None, unit: str = MINER) -> Verdict | Pending:
        """Have a unit find a share that the pool wants, and hand it in."""
        return self.desk.take(pool_share_on(job or self.job, number, unit), ANY_HASH)

    async def settled(self) -> None:
        """Wait until every share has its pool's word."""
        await until(lambda: not any(self.pools.sums(name).waiting for name in self.pools._pools))

    async def rows(self, pool: str | None = None) -> list[PoolShareRow]:
        """What the ledger has of the shares, oldest first."""
        written = self.recorder.settle_pool_shares([])  # which is done when all before it is
        self.recorder._pools._settle()
        await written
        return self.store.pool_shares(1000, pool=pool)[::-1]

    async def works_for(
        self, pool: ScriptedPool, job_id: str | None = None, *, after: Job | None = None
    ) -> Job:
        """Wait for work of this pool, for this very job of it, or for another one than `after`."""

        def has_it() -> bool:
            job = self.told[-1] if self.told else None
            if not isinstance(job, Job) or job.upstream is None or job.origin != pool.name:
                return False
            return job is not after and job_id in {None, job.upstream.job_id}

        await until(has_it)
        return self.job

    def take_share(self, find: PoolFind) -> int | None:
        self.finds.append(find)
        return self.pools.take_share(find)


@asynccontextmanager
async def site_of(config: Config, ledger: Path, nodes: Sequence[Node] = ()) -> AsyncIterator[Site]:
    """A site that does not run yet."""
    with Store.open(f"sqlite:///{ledger}") as store:
        async with Recorder(store) as recorder:
            shelf = Shelf()
            for origin in (SOLO, *(pool.label for pool in config.pool)):
                shelf.add(origin, 60.0)
            metrics = Metrics("0", "portable")
            roster = Roster(10, now=time.time(), own=[UNIT_ID])
            roster.login(MINER, time.time())
            site = Site(store, recorder, shelf, roster, metrics)
            site.desk = Desk(
                shelf,
                BlockClaims(0.0),
                None,
                metrics,
                roster,
                on_credit=lambda _unit, _work: None,
                on_solved=lambda: None,
                on_reopened=lambda: None,
                on_pool_share=site.take_share,
                clock=site.clock,
            )
            node_set = NodeSet(nodes, "regtest")
            site.pools = Pools(
                config,
                shelf,
                recorder,
                PoolMetrics(metrics.registry),
                node_set,
                version="1.0",
                layout=first_layout(config, STANDARD_LAYOUT),
                known={pool.label: store.pool_payees(pool.label) for pool in config.pool},
                sums=store.pool_share_sums(),
                lately=store.pool_share_sums(time.time() - KEPT_S),
                first_id=store.last_pool_share_id() + 1,
                on_work=site.told.append,
                on_layout=site.told.append,
                on_answered=lambda token, error: site.answered.append((token, error)),
                on_alert=site.alerts.__setitem__,
                clock=site.clock,
            )
            try:
                yield site
            finally:
                await node_set.close()


@asynccontextmanager
async def mining_at(
    *pools: ScriptedPool, ledger: Path, keys: dict[str, Any] | None = None, **sections: Any
) -> AsyncIterator[Site]:
    """A site that mines at these pools, in this order, until the end."""
    config = pool_config(*(pool_section(pool, **(keys or {})) for pool in pools), **sections)
    async with site_of(config, ledger) as site, running(site):
        yield site


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Site]:
    """Let it run, and end it in order."""
    async with asyncio.TaskGroup() as group:
        group.create_task(site.pools.run(site.closing), name="pools")
        try:
            yield site
        finally:
            site.closing.set()
