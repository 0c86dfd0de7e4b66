"""What `/api/v1/status` says: the running daemon at a glance, built by the daemon for every request.

Times are UTC unix seconds, hashes hex in display order; null is not known.
"""

from typing import Literal

import msgspec


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A bitcoind: `error` is the last failure while it is down."""

    name: str
    up: bool
    error: str = ""


class WorkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is being hashed; without a valid template `serving` is false and the rest is null."""

    serving: bool
    height: int | None = None
    prev_hash: str | None = None
    bits: str | None = None
    difficulty: float | None = None
    reward_sat: int | None = None
    payout_script: str | None = None
    payout_address: str | None = None
    template_age_s: float | None = None


class UnitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A unit: the mode it is in and the one the controller wants, what it does and what that is worth.

    `hashes` were done and shares judged since the daemon started.
    """

    id: str
    mode: str | None = None
    wanted_mode: str | None = None
    hashrate_th_s: float | None = None
    power_w: float | None = None
    hashes: int = 0
    shares_accepted: int = 0
    shares_rejected: int = 0
    best_difficulty: float = 0.0
    margin_usd_per_hour: float | None = None
    breakeven_usd_per_kwh: float | None = None
    last_decision: "DecisionStatus | None" = None


class DecisionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The controller's last word on a unit: why, and what would change it."""

    at: float
    to_mode: str
    reason: str
    flip: str = ""


class BlockCounts(msgspec.Struct, frozen=True, kw_only=True):
    """All blocks in the ledger by what became of them; `found` counts every one."""

    found: int = 0
    accepted: int = 0
    rejected: int = 0
    orphaned: int = 0
    mature: int = 0


class MarketStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The prices decisions are made with, and the age of each series in seconds."""

    hashprice_usd_per_ph_day: float | None = None
    btc_usd: float | None = None
    power_usd_per_kwh: float | None = None
    ages_s: dict[str, float] = {}


class ControllerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the controller runs, whether it touches anything, and when it looks next."""

    enabled: bool
    dry_run: bool
    next_tick_at: float | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something an operator should look at, since when."""

    name: str
    message: str
    since: float
    severity: Literal["warning", "critical"] = "warning"


class StatusDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The running daemon at a glance."""

    version: str
    kernel: str
    network: str
    now: float
    uptime_s: float
    nodes: tuple[NodeStatus, ...]
    work: WorkStatus
    units: tuple[UnitStatus, ...] = ()
    blocks: BlockCounts = BlockCounts()
    market: MarketStatus = MarketStatus()
    controller: ControllerStatus
    alerts: tuple[Alert, ...] = ()


class Ready(msgspec.Struct, frozen=True):
    """Work is being served."""


class NotReady(msgspec.Struct, frozen=True):
    """No work is being served, and why."""

    reason: str


Readiness = Ready | NotReady
