"""The Stratum server's sections, and each of its ports with what it inherits."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, Strict

from miner.config_values import Listen, OptionalFilePath, Section, VersionMask, host_and_port

MOST_CONNECTIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class StratumPort:
    """One port miners attach to, with nothing left to inherit.

    Difficulties: `min_difficulty` 0 is no floor, `max_difficulty` 0 the network's difficulty.
    """

    listen: str
    tls_certificate: Path | None
    tls_key: Path | None
    start_difficulty: float
    min_difficulty: float
    max_difficulty: float
    target_shares_per_minute: float
    version_bits: int

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return host_and_port(self.listen)

    @property
    def vardiff(self) -> bool:
        """Whether a miner's difficulty follows its hashrate; start = min = max fixes it."""
        return not self.start_difficulty == self.min_difficulty == self.max_difficulty


class ListenerConfig(Section):
    """A further port of the Stratum server with rules of its own, for small miners or for rentals; what is absent is as in [stratum]."""

    listen: Listen = Field(min_length=1, description="host:port of this port.")
    tls_certificate: OptionalFilePath = Field(
        default=None,
        description='Certificate for TLS, PEM; "" for no TLS on this port although [stratum] has it.',
    )
    tls_key: OptionalFilePath = Field(default=None, description="The certificate's private key, PEM.")
    start_difficulty: PositiveFloat | None = Field(
        default=None,
        description="Difficulty of a miner that asks for none; absent: that of [stratum], within this port's limits.",
    )
    min_difficulty: NonNegativeFloat | None = Field(
        default=None, description="The least difficulty; 0: no floor."
    )
    max_difficulty: NonNegativeFloat | None = Field(
        default=None, description="The greatest difficulty; 0: the network's."
    )
    target_shares_per_minute: PositiveFloat | None = Field(
        default=None, description="Shares a minute that every miner's difficulty is set for."
    )
    version_mask: VersionMask | None = Field(
        default=None,
        description="Bits of the version that miners here may roll, as far as the work has them too.",
    )


class StratumConfig(Section):
    """The server that ASICs and other miners attach to; without this section there is none."""

    listen: Listen = Field(
        default="127.0.0.1:3333",
        min_length=1,
        description="host:port for miners; 0.0.0.0:3333 serves every network this machine is in.",
    )
    tls_certificate: OptionalFilePath = Field(
        default=None, description="Certificate for TLS (stratum+tls), PEM, with its chain; empty: no TLS."
    )
    tls_key: OptionalFilePath = Field(
        default=None, description="The certificate's private key, PEM; others must not be able to read it."
    )
    start_difficulty: PositiveFloat = Field(
        default=1000.0,
        description="Difficulty of a miner that asks for none. 1000 is right for 1 TH/s at once; an S21 of 200 TH/s is "
        "at its own within seconds, and a small miner at once if it asks (suggest_difficulty, or password d=0.001).",
    )
    min_difficulty: NonNegativeFloat = Field(
        default=0.0, description="The least difficulty; 0: no floor. start = min = max fixes it."
    )
    max_difficulty: NonNegativeFloat = Field(
        default=0.0, description="The greatest difficulty; 0: the network's."
    )
    target_shares_per_minute: PositiveFloat = Field(
        default=12.0, description="Shares a minute that every miner's difficulty is set for."
    )
    version_mask: VersionMask = Field(
        default="1fffe000",
        description="Bits of the version that miners may roll (BIP310), as far as the work has them too: [solo] version_mask, or what "
        "a pool grants.",
    )
    extranonce2_size: Annotated[int, Field(ge=2, le=8)] = Field(
        default=8,
        description="Bytes of the coinbase that a miner counts up; above 8 firmware breaks, rentals want at least 4. With a [[pool]] "
        "at most 4, and fewer where the pool gives little room.",
    )
    answers: Literal["own", "pool"] = Field(
        default="own",
        description='What a miner is told of a share that goes up to a pool: "own", our own verdict at once; "pool", what the pool '
        "said, once it has said it. The ledger keeps both.",
    )
    max_connections: Annotated[int, Field(ge=1, le=MOST_CONNECTIONS)] = Field(
        default=20_000, description="Connections at a time, over all ports; further ones are closed at once."
    )
    max_connections_per_address: Annotated[int, Field(ge=0, le=MOST_CONNECTIONS)] = Field(
        default=1000, description="Connections at a time from one address; 0: no limit of its own."
    )
    max_workers: Annotated[int, Field(ge=1, le=MOST_CONNECTIONS)] = Field(
        default=10_000,
        description="Worker names remembered as units beside those of [[unit]]; further ones are refused.",
    )
    login_timeout_s: PositiveFloat = Field(
        default=60.0, description="A connection that has not logged in by then is closed."
    )
    idle_timeout_s: NonNegativeFloat = Field(
        default=3600.0, description="A miner that sends nothing for this long is closed; 0: never."
    )
    resume_s: NonNegativeFloat = Field(
        default=600.0,
        description="A miner that comes back within this time gets its session, and so its extranonce, back.",
    )
    grace_s: NonNegativeFloat = Field(
        default=60.0,
        description="Shares of a superseded job of the same block still count for this long.",
    )
    listener: Annotated[tuple[ListenerConfig, ...], Strict(strict=False)] = Field(
        default=(), description="Further ports, each with rules of its own."
    )

    @property
    def ports(self) -> tuple[StratumPort, ...]:
        """Every port, that of [stratum] itself first."""
        return tuple(self.port(listener) for listener in (None, *self.listener))

    def port(self, listener: ListenerConfig | None) -> StratumPort:
        """The port of one [[stratum.listener]], what it leaves out as here; None: the port of [stratum] itself."""
        own = {} if listener is None else listener.model_dump(exclude_unset=True)
        own = {key: value for key, value in own.items() if value is not None or key == "tls_certificate"}
        if own.get("tls_certificate", self) is None:
            own["tls_key"] = None
        values = {**self.model_dump(include=set(ListenerConfig.model_fields)), **own}
        values["version_bits"] = int(values.pop("version_mask"), 16)
        if "start_difficulty" not in (self.model_fields_set if listener is None else own):
            ceiling = values["max_difficulty"] or math.inf
            values["start_difficulty"] = min(
                max(values["start_difficulty"], values["min_difficulty"]), ceiling
            )
        return StratumPort(**values)
