"""Where each pool stands, and what became of the shares that went up to it, as API and page are told."""

from miner.ledger.rows import PoolShareSums
from miner.metrics_pools import ACTIVE
from miner.pools import Pools
from miner.stratum.upstreams import UpstreamStatus
from miner.web.status import PoolFailure, PoolShares, PoolStatus


def pool_statuses(pools: Pools | None) -> tuple[PoolStatus, ...]:
    """Every pool in the order of the configuration."""
    if pools is None:
        return ()
    return tuple(
        _status(upstream, pools.sums(upstream.name), dict(pools.guard.suspicions(upstream.name)))
        for upstream in pools.upstreams.statuses()
    )


def _status(upstream: UpstreamStatus, sums: PoolShareSums, suspicions: dict[str, int]) -> PoolStatus:
    mask = upstream.version_mask
    return PoolStatus(
        name=upstream.name,
        url=upstream.url,
        state=upstream.state,
        up=upstream.is_up,
        active=upstream.state == ACTIVE,
        since=upstream.since,
        difficulty=upstream.difficulty,
        extranonce2_size=upstream.extranonce2_size,
        version_mask=None if mask is None else f"{mask:08x}",
        last_notify_at=upstream.last_notify_at,
        latency_s=upstream.latency_s,
        failovers=upstream.failovers,
        failure=_failure(upstream),
        shares=_shares(sums),
        suspicions={kind: count for kind, count in suspicions.items() if count},
    )


def _failure(upstream: UpstreamStatus) -> PoolFailure | None:
    if upstream.failure is None:
        return None
    return PoolFailure(kind=upstream.failure.value, text=upstream.failure_text, at=upstream.failed_at)


def _shares(sums: PoolShareSums) -> PoolShares:
    return PoolShares(
        found=sums.found,
        accepted=sums.accepted,
        rejected=sums.rejected,
        in_doubt=sums.in_doubt,
        waiting=sums.waiting,
        work_accepted=sums.work_accepted,
        work_rejected=sums.work_rejected,
        rejected_ratio=sums.rejected_ratio,
    )
