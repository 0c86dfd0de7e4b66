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
    """What is being hashed; without work `serving` is false and the rest is null.

    `origin` is "solo" or the name of the pool whose job it is; that pool's reward and script stand there then.
    """

    serving: bool
    origin: str | None = None
    height: int | None = None
    prev_hash: str | None = None
    bits: str | None = None
    difficulty: float | None = None
    reward_sat: int | None = None
    payout_script: str | None = None
    payout_address: str | None = None
    template_age_s: float | None = None


class ModeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A way a unit can run; `th_s` and `watts` are as configured, or measured at the start."""

    name: str
    th_s: float
    watts: float


class UnitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A unit: what it is seen to do, the mode it is in and the one the controller wants, and what that is worth.

    `state` is hashing, idle (connected, no share lately), gated (given no work, `gate_reason` says why), unreachable, or for
    the CPU unit off. The hashrate of a worker is what its shares tell; the true one lies between low and high with 95 %
    probability. `hashes` were done, shares judged and work credited (a sum of difficulties) since the daemon started.
    """

    id: str
    worker: str | None = None
    state: str = ""
    control: str | None = None
    agent: str = ""
    sessions: int = 0
    difficulty: float | None = None
    mode: str | None = None
    wanted_mode: str | None = None
    modes: tuple[ModeStatus, ...] = ()
    gate_reason: str = ""
    hashrate_th_s: float | None = None
    hashrate_low_th_s: float | None = None
    hashrate_high_th_s: float | None = None
    power_w: float | None = None
    hashes: int = 0
    shares_accepted: int = 0
    shares_rejected: int = 0
    rejected_by_reason: dict[str, int] = {}
    work_difficulty: float = 0.0
    best_difficulty: float = 0.0
    first_seen: float | None = None
    last_seen: float | None = None
    last_share_at: float | None = None
    margin_usd_per_hour: float | None = None
    breakeven_usd_per_kwh: float | None = None
    last_decision: "DecisionStatus | None" = None


class UnitPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some units in the order of their ids, how many there are in all, and after which id the next ones begin."""

    units: tuple[UnitStatus, ...]
    total: int
    next: str | None = None


class StratumStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The Stratum server: where it listens, connections and miners logged in, and units by what they are seen to do."""

    listening: tuple[str, ...]
    connections: int = 0
    sessions: int = 0
    units: int = 0
    units_by_state: dict[str, int] = {}


class PoolFailure(msgspec.Struct, frozen=True, kw_only=True):
    """What was last wrong with a pool: `kind` as docs/operating.md lists them, the rest in words."""

    kind: str
    text: str
    at: float | None = None


class PoolShares(msgspec.Struct, frozen=True, kw_only=True):
    """Shares handed to a pool, as the ledger has them: found = accepted + rejected + in_doubt + waiting.

    Work is a sum of the pool's difficulties; `rejected_ratio` is the part of the answered work that the pool refused.
    """

    found: int = 0
    accepted: int = 0
    rejected: int = 0
    in_doubt: int = 0
    waiting: int = 0
    work_accepted: float = 0.0
    work_rejected: float = 0.0
    rejected_ratio: float | None = None


class PoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A pool, in the order of the configuration: where it stands, and what became of our shares.

    `state` is down, connecting, login, waiting_for_work, standby (well, not mined for) or active; `since` tells since when it has been up, or not.
    Without a connection, difficulty, size and mask are the last one's. `failovers` counts how often it was left because it
    failed since the daemon started, `suspicions` its suspicious jobs by kind; `latency_s` is the median of its last answers.
    """

    name: str
    url: str
    state: str
    up: bool
    active: bool
    since: float
    difficulty: float | None = None
    extranonce2_size: int | None = None
    version_mask: str | None = None
    last_notify_at: float | None = None
    latency_s: float | None = None
    failovers: int = 0
    failure: PoolFailure | None = None
    shares: PoolShares = PoolShares()
    suspicions: dict[str, int] = {}


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
    """The running daemon at a glance; `units` are this machine's and the configured ones, `/api/v1/units` has all."""

    version: str
    kernel: str
    network: str
    now: float
    uptime_s: float
    nodes: tuple[NodeStatus, ...]
    work: WorkStatus
    units: tuple[UnitStatus, ...] = ()
    stratum: StratumStatus | None = None
    pools: tuple[PoolStatus, ...] = ()
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
