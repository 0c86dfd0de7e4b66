"""The status document of a running daemon, from its parts as they are now."""

from miner.chain.difficulty import difficulty_of_target
from miner.control import UnitWorth
from miner.hashing.station import UNIT_ID, CpuStation
from miner.keeper import BlockBooks
from miner.metrics import Metrics
from miner.mining import Mining
from miner.node.nodes import Node, NodeSet
from miner.web.status import (
    BlockCounts,
    NodeStatus,
    NotReady,
    Readiness,
    Ready,
    UnitStatus,
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


def unit_statuses(
    station: CpuStation | None, mining: Mining | None, worth: UnitWorth
) -> tuple[UnitStatus, ...]:
    """The CPU unit, if there is one."""
    if station is None or mining is None:
        return ()
    reading, shares = station.read(), mining.desk.shares[UNIT_ID]
    return (
        UnitStatus(
            id=UNIT_ID,
            mode=reading.mode,
            wanted_mode=worth.wanted_mode,
            hashrate_th_s=reading.hashrate_th_s,
            power_w=reading.power_w,
            hashes=reading.hashes,
            shares_accepted=shares.accepted,
            shares_rejected=shares.rejected,
            best_difficulty=shares.best_difficulty,
            margin_usd_per_hour=worth.margin_usd_per_hour,
            breakeven_usd_per_kwh=worth.breakeven_usd_per_kwh,
            last_decision=worth.last_decision,
        ),
    )


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


def show_unit(metrics: Metrics, station: CpuStation | None, worth: UnitWorth) -> None:
    """Put what the CPU unit does, and what that is worth, into the metrics."""
    if station is None:
        return
    reading = station.read()
    metrics.unit_observed(
        UNIT_ID,
        hashrate_hashes_per_second=reading.hashrate_th_s * 1e12,
        power_watts=reading.power_w,
        mode=reading.mode,
        modes=station.modes,
    )
    metrics.unit_valued(
        UNIT_ID,
        breakeven_usd_per_kwh=worth.breakeven_usd_per_kwh,
        margin_usd_per_hour=worth.margin_usd_per_hour,
    )
