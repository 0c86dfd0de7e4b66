"""What a single value of the configuration may be: paths, URLs, addresses, times, each with words for what is wrong."""

import ipaddress
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationInfo

Network = Literal["main", "test", "testnet4", "signet", "regtest"]

# The port bitcoind answers JSON-RPC on, for messages and for `hashmill init`.
RPC_PORTS = {"main": 8332, "test": 18332, "testnet4": 48332, "signet": 38332, "regtest": 18443}

# The scanner takes this many versions of one header at once (native/hashmill.h); checked again by miner.kernel.
MAX_VERSIONS = 16

MAX_PORT = 65535
SQLITE = "sqlite:///"
POSTGRESQL = "postgresql+psycopg://"


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, nothing is converted, nothing changes after loading."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


def host_and_port(listen: str) -> tuple[str, int]:
    """Host and port of a listen address that was checked, an IPv6 host without its brackets."""
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _located(value: object, info: ValidationInfo) -> object:
    """A path in its absolute form: `~` expanded, relative ones seen from the configuration file's folder."""
    if not isinstance(value, str | Path):
        raise ValueError("must be text: a path")  # noqa: TRY004 - pydantic turns ValueError into an error with a place
    if not str(value):
        raise ValueError("must not be empty")
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f'"{value}" starts with a home folder that does not exist') from None
    folder = (info.context or {}).get("folder", Path())
    return Path(folder, path).absolute()


def _located_or_none(value: object, info: ValidationInfo) -> object:
    return None if value in {"", None} else _located(value, info)


def _port(port: int | None) -> int:
    if not port or port > MAX_PORT:
        raise ValueError("needs a port between 1 and 65535")
    return port


def _rpc_url(value: str) -> str:
    if "@" in value:  # first of all: no error below may show a password
        raise ValueError("must hold no name or password: write them as rpc_user and rpc_password_file")
    ports = ", ".join(f"{port} {network}" for network, port in RPC_PORTS.items())
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(f'"{value}" is no URL: write it like http://127.0.0.1:8332') from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            f'"{value}" must start with http:// or https:// and name a host, like http://127.0.0.1:8332'
        )
    if not port:
        raise ValueError(f'"{value}" needs a port; bitcoind listens on {ports}')
    if parts.query or parts.fragment or parts.path not in {"", "/"}:
        raise ValueError(f'"{value}" must end after the port')
    return f"{parts.scheme}://{parts.netloc}"


def _zmq_url(value: str) -> str:
    if value.startswith("ipc://") and len(value) > len("ipc://"):
        return value
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if parts.scheme != "tcp" or not parts.hostname or not port or parts.path:
        raise ValueError(
            f'"{value}" must look like tcp://127.0.0.1:28332 (bitcoind\'s -zmqpubhashblock) or ipc://PATH'
        )
    return value


def _listen(value: str) -> str:
    if not value:
        return value
    host, colon, port = value.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isdecimal():
        raise ValueError(f'"{value}" must look like 127.0.0.1:8340 or [::1]:8340')
    if ":" in bare:
        if not host.startswith("["):
            raise ValueError(f'"{value}": put the IPv6 address in brackets, like [::1]:8340')
        ipaddress.IPv6Address(bare)
    _port(int(port))
    return value


def address_text(value: str) -> str:
    """An address as it is written, whether or not any network knows it; ValueError for what is none."""
    if not value:
        raise ValueError("is empty: put the address of your own wallet here (bitcoin-cli getnewaddress)")
    if not re.fullmatch(r"[0-9A-Za-z]{14,100}", value):
        raise ValueError(f'"{value}" is no bitcoin address: letters and digits only')
    return value


def _coinbase_tag(value: str) -> str:
    # A script of 100 bytes also holds the height (up to 5 bytes) and the extranonces (up to 24), each with its push.
    longest = 60
    if len(value.encode()) > longest:
        raise ValueError(f"is {len(value.encode())} bytes long; {longest} fit into the coinbase")
    if not value.isprintable():
        raise ValueError("must hold printable characters only")
    return value


def _version_mask(value: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f]{8}", value):
        raise ValueError(f'"{value}" must be 8 hexadecimal digits, like 1fffe000')
    if int(value, 16) >> 29:
        raise ValueError(
            f'"{value}": the three highest bits mark a version as one of BIP9 and stay; at most 1fffffff'
        )
    return value.lower()


def _ledger_url(value: str, info: ValidationInfo) -> str:
    # None of these errors shows the value: it may hold a password.
    if value.startswith(("postgres:", "postgresql:", "postgresql+")):
        return _postgresql_url(value)
    if not value.startswith(SQLITE):
        raise ValueError(f"must look like sqlite:///hashmill.db or {POSTGRESQL}USER@HOST/DATABASE")
    file = value.removeprefix(SQLITE)
    if file in {"", ":memory:"} or "?" in file:
        raise ValueError("must name a file: the ledger holds found blocks and has to outlive the process")
    return f"{SQLITE}{_located(file, info)}"


def _postgresql_url(value: str) -> str:
    wanted = f"must look like {POSTGRESQL}USER@HOST:PORT/DATABASE"
    try:
        parts = urlsplit(value)
        named = parts.port != 0 and parts.path.strip("/")
    except ValueError:
        named = ""
    if not value.startswith(POSTGRESQL) or not named:
        raise ValueError(wanted)
    if "password" in parse_qs(parts.query):
        raise ValueError("must not hold the password among its options: write it as password_file")
    return value


def printable(value: str) -> str:
    """Text as it is, without control characters and without space around it; ValueError otherwise."""
    if not value.isprintable() or value != value.strip():
        raise ValueError("must hold printable characters only, without space around them")
    return value


def _threads(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1024):  # noqa: PLR2004 - more threads than any machine has
        return value
    raise ValueError('must be "auto" (all cores) or a whole number from 0 (no CPU unit) to 1024')


def _share_difficulty(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    if value == "auto":
        return value
    raise ValueError('must be "auto" or a number above 0')


def _tape_start(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f'"{value}" is no ISO 8601 time, like 2025-11-03T00:00:00Z') from None
    if not isinstance(value, datetime):
        wanted = "must be a time in UTC, like 2025-11-03T00:00:00Z, or seconds from the first row"
        raise ValueError(wanted)  # noqa: TRY004 - pydantic turns ValueError into an error with a place
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _bounds(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise ValueError("must be [lowest, highest], the lowest first")
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'"{value}" is no time zone: give an IANA name, like Europe/Berlin') from None
    return value


MODE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"

FilePath = Annotated[Path, BeforeValidator(_located)]
OptionalFilePath = Annotated[Path | None, BeforeValidator(_located_or_none)]
ModeName = Annotated[str, Field(pattern=MODE_NAME)]
Bounds = Annotated[tuple[float, float], Strict(strict=False), AfterValidator(_bounds)]
Share = Annotated[float, Field(ge=0, lt=1)]
RpcUrl = Annotated[str, AfterValidator(_rpc_url)]
ZmqUrl = Annotated[str, AfterValidator(_zmq_url)]
WorkerName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(printable)]
Listen = Annotated[str, AfterValidator(_listen)]
Address = Annotated[str, AfterValidator(address_text)]
VersionMask = Annotated[str, AfterValidator(_version_mask)]
CoinbaseTag = Annotated[str, AfterValidator(_coinbase_tag)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
LedgerUrl = Annotated[str, AfterValidator(_ledger_url)]
Threads = Annotated[int | Literal["auto"], BeforeValidator(_threads)]
ShareDifficulty = Annotated[float | Literal["auto"], BeforeValidator(_share_difficulty)]
TapeStart = Annotated[datetime | float, BeforeValidator(_tape_start)]
