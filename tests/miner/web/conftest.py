"""A daemon's status and ledger, as the web side is given them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from miner.ledger.rows import BlockRow, DecisionRow, OutcomeRow, PoolShareRow, ShareRow
from miner.web.status import (
    Alert,
    BlockCounts,
    ControllerStatus,
    DecisionStatus,
    MarketStatus,
    NodeStatus,
    PoolFailure,
    PoolShares,
    PoolStatus,
    StatusDocument,
    StratumStatus,
    UnitStatus,
    WorkStatus,
)


@dataclass
class FakeLedger:
    """Rows as a recorder gives them; `asked` is what the last list was asked for."""

    block_rows: list[BlockRow] = field(default_factory=list)
    decision_rows: list[DecisionRow] = field(default_factory=list)
    outcome_rows: dict[str, list[OutcomeRow]] = field(default_factory=dict)
    share_rows: list[ShareRow] = field(default_factory=list)
    pool_share_rows: list[PoolShareRow] = field(default_factory=list)
    asked: dict[str, object] = field(default_factory=dict)

    async def blocks(self, limit: int, *, since: float) -> list[BlockRow]:
        self.asked = {"limit": limit, "since": since}
        return self.block_rows[:limit]

    async def decisions(self, limit: int, *, unit: str | None, since: float) -> list[DecisionRow]:
        self.asked = {"limit": limit, "unit": unit, "since": since}
        return self.decision_rows[:limit]

    async def outcomes(self, decision_ids: Sequence[str]) -> dict[str, list[OutcomeRow]]:
        return {key: rows for key, rows in self.outcome_rows.items() if key in decision_ids}

    async def shares(self, limit: int, *, unit: str | None, since: float) -> list[ShareRow]:
        self.asked = {"limit": limit, "unit": unit, "since": since}
        return self.share_rows[:limit]

    async def pool_shares(self, limit: int, *, pool: str | None, since: float) -> list[PoolShareRow]:
        self.asked = {"limit": limit, "pool": pool, "since": since}
        return self.pool_share_rows[:limit]


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def status() -> StatusDocument:
    return StatusDocument(
        version="0.1.0",
        kernel="sha-ni",
        network="regtest",
        now=1_700_000_000.5,
        uptime_s=12.0,
        nodes=(NodeStatus(name="main", up=True), NodeStatus(name="spare", up=False, error="refused")),
        work=WorkStatus(
            serving=True,
            origin="main-pool",
            height=101,
            prev_hash="00" * 32,
            bits="207fffff",
            difficulty=4.656542373906925e-10,
            reward_sat=5_000_000_000,
            payout_script="51",
            payout_address="bcrt1qq",
            template_age_s=0.25,
        ),
        units=(
            UnitStatus(
                id="cpu",
                mode="all",
                wanted_mode="off",
                hashrate_th_s=2.5e-5,
                power_w=65.0,
                hashes=10**9,
                shares_accepted=7,
                shares_rejected=1,
                margin_usd_per_hour=-0.01,
                last_decision=DecisionStatus(
                    at=1.0, to_mode="off", reason="unprofitable", flip="below 5.9 ct"
                ),
            ),
            UnitStatus(id="<script>alert(1)</script>"),
        ),
        stratum=StratumStatus(
            listening=("0.0.0.0:3333", "0.0.0.0:3334"),
            connections=5,
            sessions=4,
            units=3,
            units_by_state={"hashing": 2, "unreachable": 1},
        ),
        pools=(
            PoolStatus(
                name="main-pool",
                url="stratum+tls://pool.example:443",
                state="active",
                up=True,
                active=True,
                since=1_700_000_000.0,
                difficulty=4096.0,
                extranonce2_size=8,
                version_mask="1fffe000",
                latency_s=0.0421,
                shares=PoolShares(found=12, accepted=9, rejected=1, in_doubt=2, rejected_ratio=0.1),
                suspicions={"left_behind": 3},
            ),
            PoolStatus(
                name="<b>spare</b>",
                url="stratum+tcp://127.0.0.1:3333",
                state="waiting_for_work",
                up=False,
                active=False,
                since=1_700_000_000.25,
                failure=PoolFailure(kind="tls", text="the certificate has expired", at=1_700_000_000.25),
            ),
        ),
        blocks=BlockCounts(found=3, accepted=1, mature=2),
        market=MarketStatus(hashprice_usd_per_ph_day=39.8, btc_usd=90_000.0, ages_s={"btc_usd": 3.0}),
        controller=ControllerStatus(enabled=True, dry_run=True, next_tick_at=1_700_000_010.0),
        alerts=(Alert(name="node_down", message="spare: refused", since=1.0),),
    )
