"""What is told of pools, from what is known of their connections and shares."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace

from miner.ledger.rows import PoolShareSums
from miner.overview_pools import pool_statuses
from miner.stratum.pool_events import Failure
from miner.stratum.upstreams import UpstreamStatus
from miner.web.status import PoolFailure, PoolShares, PoolStatus

WELL = UpstreamStatus(
    name="main",
    url="stratum+tls://pool.example:443",
    state="active",
    is_up=True,
    since=5.0,
    epoch=3,
    difficulty=4096.0,
    extranonce2_size=8,
    version_mask=0x1FFFE000,
    last_notify_at=9.5,
    failure=None,
    failure_text="",
    failed_at=None,
    latency_s=0.042,
    failovers=2,
)
NEVER_CONNECTED = replace(
    WELL,
    name="spare",
    state="down",
    is_up=False,
    difficulty=None,
    extranonce2_size=None,
    version_mask=None,
    last_notify_at=None,
    failure=Failure.DNS,
    failure_text="no such host",
    failed_at=6.0,
    latency_s=None,
    failovers=0,
)


@dataclass
class Known:
    """Pools whose connections, shares and suspicions are given."""

    statuses: tuple[UpstreamStatus, ...]
    share_sums: Mapping[str, PoolShareSums]

    @property
    def upstreams(self) -> object:
        return SimpleNamespace(statuses=lambda: self.statuses)

    def sums(self, name: str) -> PoolShareSums:
        return self.share_sums.get(name, PoolShareSums())

    @property
    def guard(self) -> "Known":
        return self

    def suspicions(self, name: str) -> Mapping[str, int]:
        return {"left_behind": 2 if name == "main" else 0, "absurd_difficulty": 0}


def told(*statuses: UpstreamStatus, **sums: PoolShareSums) -> tuple[PoolStatus, ...]:
    return pool_statuses(Known(statuses, sums))  # type: ignore[arg-type] # what it asks of them


def test_without_pools_nothing_is_told() -> None:
    assert pool_statuses(None) == ()


def test_a_pool_that_is_mined_for_is_told_with_its_shares_and_suspicions() -> None:
    (status,) = told(WELL, main=PoolShareSums(6, 2, 1, 4, work_accepted=30.0, work_rejected=10.0))
    assert status == PoolStatus(
        name="main",
        url="stratum+tls://pool.example:443",
        state="active",
        up=True,
        active=True,
        since=5.0,
        difficulty=4096.0,
        extranonce2_size=8,
        version_mask="1fffe000",
        last_notify_at=9.5,
        latency_s=0.042,
        failovers=2,
        shares=PoolShares(
            found=13,
            accepted=6,
            rejected=2,
            in_doubt=1,
            waiting=4,
            work_accepted=30.0,
            work_rejected=10.0,
            rejected_ratio=0.25,
        ),
        suspicions={"left_behind": 2},
    )


def test_a_pool_that_is_down_is_told_with_what_is_wrong() -> None:
    main, spare = told(replace(WELL, state="standby"), NEVER_CONNECTED)
    assert (main.up, main.active) == (True, False)
    assert (spare.up, spare.active, spare.difficulty, spare.version_mask) == (False, False, None, None)
    assert spare.failure == PoolFailure(kind="dns", text="no such host", at=6.0)
    assert (spare.shares, spare.suspicions) == (PoolShares(), {})
