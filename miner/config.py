"""The configuration's sections as frozen models: every key with its type, its limits, its default and what it means.

Reading a file, with every error and its line at once, is `miner.config_file.load`; rules that look at more than one
key live in `miner.config_rules`; docs/configuration.md is written from these models by `miner.config_reference`.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeFloat, PositiveFloat, SecretStr, Strict

from miner.config_controller import ControllerConfig
from miner.config_ledger import LedgerConfig
from miner.config_market import MarketConfig
from miner.config_pool import PoolConfig, UpstreamsConfig
from miner.config_power import PowerConfig
from miner.config_signals import MqttConfig, SignalConfig
from miner.config_stratum import StratumConfig
from miner.config_tape import TapeConfig
from miner.config_treasury import TreasuryConfig
from miner.config_units import UnitConfig
from miner.config_values import (
    MAX_VERSIONS,
    Address,
    CoinbaseTag,
    Listen,
    ModeName,
    Network,
    OptionalFilePath,
    RpcUrl,
    Section,
    ShareDifficulty,
    Threads,
    VersionMask,
    ZmqUrl,
    host_and_port,
)


class BitcoindConfig(Section):
    """One of your own nodes. The first one that is well gives the work; found blocks go to all of them."""

    rpc_url: RpcUrl = Field(description="Where the node answers JSON-RPC: http://host:port.")
    name: Annotated[str, Field(max_length=64)] = Field(
        default="", description="How logs and metrics call the node; empty: host:port of rpc_url."
    )
    cookie_file: OptionalFilePath = Field(
        default=None,
        description="The node's .cookie file. It need not exist yet: the node writes it anew at each of its starts.",
    )
    rpc_user: str | None = Field(default=None, description="Name for the login with a password.")
    rpc_password: SecretStr | None = Field(
        default=None,
        description="The password itself; better kept in rpc_password_file or in the environment.",
    )
    rpc_password_file: OptionalFilePath = Field(
        default=None, description="File whose first line is the password; nobody but its owner may read it."
    )
    zmq_hashblock: ZmqUrl | None = Field(
        default=None,
        description="The node's -zmqpubhashblock address; without it new blocks come by waiting and polling at the node.",
    )

    @property
    def label(self) -> str:
        """The node's name in logs and metrics."""
        return self.name or urlsplit(self.rpc_url).netloc


class SoloConfig(Section):
    """Mining on the own node: the whole block reward goes to your address."""

    payout_address: Address = Field(
        description="Where block rewards go. Any address of the network that the node itself knows; "
        "`hashmill check` asks the node."
    )
    payout: Literal["operator", "worker"] = Field(
        default="operator",
        description='Whom a block pays: "operator", payout_address; "worker", the address that the Stratum miner who found '
        "it logs in with, as in `address.worker`; not beside a [[pool]]. The CPU unit pays payout_address either way.",
    )
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="Share of the hashrate that mines solo beside a [[pool]]: 0, solo only while no pool is well; 1, at a pool only "
        "while no node is. Without a [[pool]] everything mines solo.",
    )
    coinbase_tag: CoinbaseTag = Field(
        default="/hashmill/", description="Text in the coinbase of your blocks, up to 60 bytes."
    )
    version_mask: VersionMask = Field(
        default="1fffe000",
        description="Bits of the header's version that hashing may change, in hexadecimal. The default is BIP320's; with "
        "others your blocks may seem to signal for soft forks.",
    )
    empty_first_job: bool = Field(
        default=True,
        description="After each new block, hash a block without transactions until the node has made its template: it "
        "earns the subsidy, where work on the old block earns nothing.",
    )
    min_block_interval_s: NonNegativeFloat = Field(
        default=0.0,
        description="Found blocks at least this far apart; regtest only, where every second hash is one.",
    )
    refresh_s: PositiveFloat = Field(
        default=30.0, description="A new template at least this often, for the fees that came in meanwhile."
    )
    job_max_age_s: PositiveFloat = Field(
        default=120.0,
        description="When no node answers, the last job is hashed this long at most; then hashing waits for a node.",
    )

    @property
    def version_bits(self) -> int:
        """The bits of version_mask as a number."""
        return int(self.version_mask, 16)


class CpuMode(Section):
    """A way to run the CPU unit."""

    name: ModeName = Field(description="The mode's name in plans, logs and metrics.")
    threads: Annotated[int, Field(ge=0, le=1024)] = Field(
        description="Hashing threads; 0 only for the mode `off`."
    )
    watts: NonNegativeFloat | None = Field(
        default=None, description="Power drawn in this mode; absent: idle_watts + threads * watts_per_thread."
    )
    th_s: NonNegativeFloat | None = Field(
        default=None, description="Hashrate in this mode in TH/s; absent: measured at the start."
    )


class CpuConfig(Section):
    """Hashing threads of this machine, as the unit `cpu`."""

    threads: Threads = Field(default=0, description='0: no CPU unit; "auto": all cores.')
    watts_per_thread: PositiveFloat = Field(
        default=10.0,
        description="Power one hashing thread adds. The default is a rough figure for a desktop core: measure yours.",
    )
    idle_watts: NonNegativeFloat = Field(
        default=0.0,
        description="Power that counts as the unit's while it is off: 0 when the machine runs anyway.",
    )
    modes: Annotated[tuple[CpuMode, ...], Strict(strict=False)] = Field(
        default=(),
        description="The modes the controller chooses from; absent: off, half (from two threads on) and full.",
    )
    versions: Annotated[int, Field(ge=1, le=MAX_VERSIONS)] = Field(
        default=8, description="Versions of one header hashed side by side; they share part of the work."
    )
    share_difficulty: ShareDifficulty = Field(
        default="auto",
        description='Difficulty of the shares by which the unit\'s hashrate is read; "auto": one a second.',
    )

    def thread_count(self, cores: int) -> int:
        """Hashing threads on a machine of `cores` cores."""
        return cores if self.threads == "auto" else self.threads

    def resolved_modes(self, cores: int) -> tuple[CpuMode, ...]:
        """Every mode, `off` first, each with its watts: those of the file, or off, half and full."""
        threads = self.thread_count(cores)
        given = self.modes
        if not given:
            half = (CpuMode(name="half", threads=threads // 2),) if threads > 1 else ()
            given = (*half, CpuMode(name="full", threads=threads))
        if not any(mode.name == "off" for mode in given):
            given = (CpuMode(name="off", threads=0), *given)
        ordered = sorted(given, key=lambda mode: mode.threads)
        return tuple(mode.model_copy(update={"watts": self._watts(mode)}) for mode in ordered)

    def _watts(self, mode: CpuMode) -> float:
        return self.idle_watts + mode.threads * self.watts_per_thread if mode.watts is None else mode.watts


class HttpConfig(Section):
    """API, metrics and health, over HTTP."""

    listen: Listen = Field(default="127.0.0.1:8340", description="host:port; empty: no HTTP at all.")
    token_file: OptionalFilePath = Field(
        default=None,
        description="File whose first line is the bearer token needed for anything that changes something.",
    )
    allowed_hosts: Annotated[tuple[str, ...], Strict(strict=False)] = Field(
        default=(),
        description="Names that the server answers under besides addresses, localhost and the host of listen; others are refused, so that no "
        "foreign web page can lead a browser here.",
    )
    most_unit_metrics: Annotated[int, Field(ge=0)] = Field(
        default=1000,
        description='Units with metrics of their own; those of further ones are added up as unit="(others)".',
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on; None: no HTTP."""
        return host_and_port(self.listen) if self.listen else None


class LogConfig(Section):
    """What is logged, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged."
    )
    format: Literal["text", "json"] = Field(
        default="text", description='"text": key=value lines; "json": one object a line.'
    )


class Config(Section):
    """The whole configuration, checked."""

    network: Network = Field(description="The chain: main, test, testnet4, signet or regtest.")
    bitcoind: Annotated[tuple[BitcoindConfig, ...], Strict(strict=False)] = Field(
        default=(), description="Your own nodes; needed by [solo]."
    )
    solo: SoloConfig | None = Field(
        default=None, description="Mining on the own node; this or a [[pool]] there must be."
    )
    pool: Annotated[tuple[PoolConfig, ...], Strict(strict=False)] = Field(
        default=(), description="Pools to mine at, in order of preference."
    )
    upstreams: UpstreamsConfig = Field(
        default_factory=UpstreamsConfig, description="How pools stand in for each other."
    )
    stratum: StratumConfig | None = Field(default=None, description="The server that miners attach to.")
    cpu: CpuConfig = Field(default_factory=CpuConfig, description="Hashing threads of this machine.")
    market: MarketConfig = Field(default_factory=MarketConfig, description="What a bitcoin is worth.")
    power: PowerConfig = Field(default_factory=PowerConfig, description="What power costs.")
    tape: TapeConfig | None = Field(default=None, description="Recorded prices, replayed.")
    unit: Annotated[tuple[UnitConfig, ...], Strict(strict=False)] = Field(
        default=(), description="Units' own settings."
    )
    controller: ControllerConfig = Field(
        default_factory=ControllerConfig, description="What decides when to hash."
    )
    signal: Annotated[tuple[SignalConfig, ...], Strict(strict=False)] = Field(
        default=(), description="Signals that go before profit."
    )
    mqtt: MqttConfig | None = Field(default=None, description="The MQTT broker of signals.")
    treasury: TreasuryConfig = Field(
        default_factory=TreasuryConfig, description="Cash and fixed costs, for `hashmill fleet`."
    )
    ledger: LedgerConfig = Field(default_factory=LedgerConfig, description="Where everything is kept.")
    http: HttpConfig = Field(default_factory=HttpConfig, description="API, metrics and health.")
    log: LogConfig = Field(default_factory=LogConfig, description="What is logged.")

    def unit_settings(self, unit_id: str) -> UnitConfig:
        """The [[unit]] of that id, or one with nothing set."""
        return next((unit for unit in self.unit if unit.id == unit_id), UnitConfig(id=unit_id))

    @property
    def solo_share(self) -> float:
        """Share of the hashrate that is to mine solo, 0 to 1: all of it without pools, none of it without [solo]."""
        if self.solo is None:
            return 0.0
        return self.solo.share if self.pool else 1.0


# The sections by the name they have in the file: those written once, and those written as often as needed.
TABLES: dict[str, type[Section]] = {
    "solo": SoloConfig,
    "upstreams": UpstreamsConfig,
    "stratum": StratumConfig,
    "cpu": CpuConfig,
    "market": MarketConfig,
    "power": PowerConfig,
    "tape": TapeConfig,
    "controller": ControllerConfig,
    "mqtt": MqttConfig,
    "treasury": TreasuryConfig,
    "ledger": LedgerConfig,
    "http": HttpConfig,
    "log": LogConfig,
}
ARRAYS: dict[str, type[Section]] = {
    "bitcoind": BitcoindConfig,
    "pool": PoolConfig,
    "unit": UnitConfig,
    "signal": SignalConfig,
}
