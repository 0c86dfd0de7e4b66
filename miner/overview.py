"""The status document of a running daemon, from its parts as they are now."""

from typing import Protocol

from miner.chain.difficulty import difficulty_of_target
from miner.keeper import BlockBooks
from miner.mining import Mining
from miner.node.nodes import Node, NodeSet
from miner.pools import Pools
from miner.web.status import (
    BlockCounts,
    NodeStatus,
    NotReady,
    Readiness,
    Ready,
    WorkStatus,
)
from miner.work.job import Job


class Works(Protocol):
    """What mines; `miner.plant.Plant`."""

    @property
    def job(self) -> Job | None:
        """The work that most units are on."""
        ...

    @property
    def mining(self) -> Mining | None:
        """The solo side."""
        ...

    @property
    def pools(self) -> Pools | None:
        """The pools."""
        ...


def node_statuses(nodes: NodeSet) -> tuple[NodeStatus, ...]:
    """Every configured node, as last seen; one that answers and yet gives no work says why."""
    return tuple(
        NodeStatus(name=node.name, up=bool(node.up), error=node.error or _idle(node)) for node in nodes
    )


def _idle(node: Node) -> str:
    if node.cut_off:
        return "gives no templates: it has no peers or is catching up"
    return "is still downloading the chain" if node.synced is False else ""


def work_status(works: Works | None, now: float) -> WorkStatus:
    """The job that is mined: where some units mine solo beside a pool, the pool's."""
    job = works.job if works is not None else None
    if works is None or job is None:
        return WorkStatus(serving=False)
    solo = job.upstream is None and works.mining is not None
    return WorkStatus(
        serving=True,
        origin=job.origin,
        height=job.height,
        prev_hash=job.prev_hash[::-1].hex(),
        bits=f"{job.bits:08x}",
        difficulty=difficulty_of_target(job.network_target),
        reward_sat=job.reward_sat,
        payout_script=job.payout_script.hex(),
        payout_address=works.mining.solo.payout.address if solo and works.mining is not None else None,
        template_age_s=now - job.created_at,
    )


def readiness(works: Works | None, nodes: NodeSet) -> Readiness:
    """Whether there is work, and if not, why."""
    if works is not None and works.job is not None:
        return Ready()
    why = []
    if works is not None and works.pools is not None:
        states = (
            f"{pool.name}: {pool.failure_text or pool.state}" for pool in works.pools.upstreams.statuses()
        )
        why.append("no pool is well: " + "; ".join(states))
    if len(nodes) and not any(node.up for node in nodes):
        errors = (f"{node.name}: {node.error or 'not asked yet'}" for node in nodes)
        why.append("no bitcoind answers: " + "; ".join(errors))
    elif len(nodes):
        why.append("no bitcoind has given a template for the present tip yet")
    return NotReady("; ".join(why) or "nothing is known of pools or nodes yet")


def block_counts(books: BlockBooks | None) -> BlockCounts:
    """All blocks of the ledger by what became of them."""
    if books is None:
        return BlockCounts()
    counts = books.counts
    return BlockCounts(
        found=counts.total(),
        accepted=counts["accepted"],
        rejected=counts["rejected"],
        orphaned=counts["orphaned"],
        mature=counts["mature"],
    )
