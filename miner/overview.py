"""The status document of a running daemon, from its parts as they are now."""

from miner.chain.difficulty import difficulty_of_target
from miner.keeper import BlockBooks
from miner.mining import Mining
from miner.node.nodes import Node, NodeSet
from miner.web.status import (
    BlockCounts,
    NodeStatus,
    NotReady,
    Readiness,
    Ready,
    WorkStatus,
)


def node_statuses(nodes: NodeSet) -> tuple[NodeStatus, ...]:
    """Every configured node, as last seen; one that answers and yet gives no work says why."""
    return tuple(
        NodeStatus(name=node.name, up=bool(node.up), error=node.error or _idle(node)) for node in nodes
    )


def _idle(node: Node) -> str:
    if node.cut_off:
        return "gives no templates: it has no peers or is catching up"
    return "is still downloading the chain" if node.synced is False else ""


def work_status(mining: Mining | None, now: float) -> WorkStatus:
    """The job being mined."""
    job = mining.book.current if mining is not None else None
    if mining is None or job is None:
        return WorkStatus(serving=False)
    return WorkStatus(
        serving=True,
        height=job.height,
        prev_hash=job.prev_hash[::-1].hex(),
        bits=f"{job.bits:08x}",
        difficulty=difficulty_of_target(job.network_target),
        reward_sat=job.reward_sat,
        payout_script=job.payout_script.hex(),
        payout_address=mining.solo.payout.address,
        template_age_s=now - job.created_at,
    )


def readiness(mining: Mining | None, nodes: NodeSet) -> Readiness:
    """Whether there is work, and if not, why."""
    if mining is not None and mining.book.current is not None:
        return Ready()
    if not any(node.up for node in nodes):
        errors = (f"{node.name}: {node.error or 'not asked yet'}" for node in nodes)
        return NotReady("no bitcoind answers: " + "; ".join(errors))
    return NotReady("no bitcoind has given a template for the present tip yet")


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
