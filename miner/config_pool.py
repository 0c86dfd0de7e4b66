"""The sections of pools: each pool with its login and what it pays, and how they stand in for each other."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, PositiveFloat, SecretStr, Strict

from miner.config_values import (
    OptionalFilePath,
    Section,
    Share,
    VersionMask,
    WorkerName,
    address_text,
    printable,
)
from miner.stratum.pool_address import PoolAddress, parse_pool_url

Scheme: TypeAlias = Literal["fpps", "pps", "pps+", "pplns", "tides", "solo", "other"]
"""How a pool pays for shares."""

NO_PASSWORD = "x"  # noqa: S105 - what pools take that ask for none
_SCRIPT = re.compile(r"(?:[0-9A-Fa-f]{2}){2,}")


def _pool_url(value: str) -> str:
    parse_pool_url(value)
    return value.strip()


def _payee(value: str) -> str:
    return value.lower() if _SCRIPT.fullmatch(value) else address_text(value)


class PoolConfig(Section):
    """A pool to mine at, as its client. The first one that is well gets the work; with [solo] too, see its `share`."""

    url: Annotated[str, AfterValidator(_pool_url)] = Field(
        description="Where the pool is: stratum+tcp://HOST:PORT, or stratum+tls://HOST:PORT, whose certificate is always verified."
    )
    user: WorkerName = Field(description="The user name at the pool, often account.worker or address.worker.")
    password: SecretStr | None = Field(
        default=None,
        description="The password at the pool; absent: x, which pools take that ask for none. A real one is better kept in "
        "password_file or in the environment.",
    )
    password_file: OptionalFilePath = Field(
        default=None, description="File whose first line is the password; nobody but its owner may read it."
    )
    name: Annotated[str, Field(max_length=64), AfterValidator(printable)] = Field(
        default="", description="How logs, metrics and the ledger call the pool; empty: host:port of url."
    )
    ca_file: OptionalFilePath = Field(
        default=None,
        description="Certificates, PEM, to verify stratum+tls by instead of the system's: for a pool with an authority of its own.",
    )
    worker_names: bool = Field(
        default=False,
        description="true: each miner's shares go up under user.WORKER, for statistics by worker at the pool; a worker that the "
        "pool refuses goes up as user.",
    )
    scheme: Scheme = Field(
        default="fpps",
        description='How it pays: "fpps", "pps+", "pplns" and "tides" pay subsidy and fees, "pps" the subsidy only; the '
        "controller reckons with it.",
    )
    fee: Share = Field(default=0.0, description="Share of the earnings that the pool keeps, 0.02 for 2 %.")
    payees: Annotated[tuple[Annotated[str, AfterValidator(_payee)], ...], Strict(strict=False)] = Field(
        default=(),
        description="Whom this pool's blocks pay: addresses, which a [[bitcoind]] translates, or scripts in hexadecimal; a job that "
        "pays none of them is suspicious. Absent: learned from the pool's first jobs.",
    )
    no_work_s: PositiveFloat = Field(
        default=120.0, description="A pool that sends no job for this long is left for the next one."
    )
    version_mask: VersionMask = Field(
        default="1fffe000",
        description="Bits of the version to ask the pool for (BIP310), in hexadecimal; what it grants of them is rolled.",
    )

    @property
    def address(self) -> PoolAddress:
        """Host, port, and whether TLS is spoken there."""
        return parse_pool_url(self.url)

    @property
    def label(self) -> str:
        """The pool's name in logs, metrics and the ledger."""
        return self.name or self.address.place

    @property
    def secret(self) -> str:
        """The password to log in with: not to be shown."""
        return NO_PASSWORD if self.password is None else self.password.get_secret_value()

    @property
    def version_bits(self) -> int:
        """The bits of version_mask as a number."""
        return int(self.version_mask, 16)

    @property
    def payee_scripts(self) -> tuple[bytes, ...]:
        """The payees that are written as scripts."""
        return tuple(bytes.fromhex(payee) for payee in self.payees if _SCRIPT.fullmatch(payee))

    @property
    def payee_addresses(self) -> tuple[str, ...]:
        """The payees that are written as addresses, for a node to translate."""
        return tuple(payee for payee in self.payees if not _SCRIPT.fullmatch(payee))


class UpstreamsConfig(Section):
    """When a pool is left for the next one, and when it is gone back to."""

    answer_s: PositiveFloat = Field(
        default=10.0, description="A pool that leaves a request unanswered for this long is left."
    )
    return_s: PositiveFloat = Field(
        default=60.0, description="A better pool is gone back to once it has been well for this long."
    )
    suspicions: Annotated[int, Field(ge=0)] = Field(
        default=3,
        description="Suspicious jobs in a row after which a pool is left: they pay nobody known, have an absurd difficulty, or build "
        "on a block that the own node does not know or has left behind; 0: never, they are only warned of.",
    )
    difficulty_factor: Annotated[float, Field(gt=1)] = Field(
        default=1000.0,
        description="A pool's difficulty that is this many times the last one, or a fraction as small, is absurd.",
    )
