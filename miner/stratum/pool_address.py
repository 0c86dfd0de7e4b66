"""Where a pool is: the URL that operators copy from its page, read and checked."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Final

SCHEMES: Final = MappingProxyType(
    {
        "stratum+tcp": False,
        "stratum": False,
        "tcp": False,
        "stratum+tls": True,
        "stratum+ssl": True,
        "tls": True,
        "ssl": True,
    }
)
"""How the schemes that pools write mean it: whether TLS is spoken."""

_EXAMPLE: Final = "a pool's URL looks like stratum+tcp://pool.example:3333 or stratum+tls://pool.example:443"
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")
_PLACE: Final = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::([^:]*))?")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_ADDRESS_LIKE: Final = re.compile(r"[0-9.]+")
_MOST_PORT: Final = 65_535
_LONGEST_HOST: Final = 253


@dataclass(frozen=True, slots=True)
class PoolAddress:
    """Host (a name, or an IP address without brackets), port, and whether TLS is spoken there."""

    host: str
    port: int
    tls: bool = False

    @property
    def place(self) -> str:
        """Host and port as people write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"stratum+{'tls' if self.tls else 'tcp'}://{self.place}"


def parse_pool_url(text: str) -> PoolAddress:
    """The address that a pool's URL names.

    An IPv6 address stands in brackets. Raises ValueError that says what is wrong and what to write; a user or password in the
    URL is not repeated there.
    """
    match = _URL.fullmatch(text.strip())
    if match is None:
        if "@" in text:
            raise ValueError(
                f"no scheme before the host: {_EXAMPLE}; user and password have keys of their own"
            )
        raise ValueError(f"{text!r} has no scheme: {_EXAMPLE}")
    scheme, rest = match[1].lower(), match[2]
    if scheme.startswith("stratum2"):
        raise ValueError(f"{scheme}: Stratum V2 is not spoken here; take the pool's V1 address: {_EXAMPLE}")
    if scheme not in SCHEMES:
        raise ValueError(f"{scheme} is no way to speak to a pool: {_EXAMPLE}")
    if "@" in rest:
        raise ValueError(
            "a pool's URL holds no user or password: write them into `user` and `password`, "
            "or the password into `password_file`"
        )
    place = _PLACE.fullmatch(rest.removesuffix("/"))
    if place is None:
        raise ValueError(
            f"{text!r} is not host and port alone (an IPv6 address stands in brackets): {_EXAMPLE}"
        )
    address, name, port = place.groups()
    host = _ipv6(address) if address is not None else _host(name)
    return PoolAddress(host, _port(text, port), SCHEMES[scheme])


def _port(text: str, port: str | None) -> int:
    if not port:
        raise ValueError(f"{text!r} names no port, and pools have no usual one: {_EXAMPLE}")
    number = int(port) if _PORT.fullmatch(port) else 0
    if not 0 < number <= _MOST_PORT:
        raise ValueError(f"{port!r} is no port: it is a number from 1 to {_MOST_PORT}")
    return number


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError as error:
        raise ValueError(f"[{text}] is no IPv6 address: {error}") from error


def _host(text: str) -> str:
    if not text:
        raise ValueError(f"no host: {_EXAMPLE}")
    if _ADDRESS_LIKE.fullmatch(text):
        try:
            return str(IPv4Address(text))
        except ValueError as error:
            raise ValueError(f"{text!r} is no IPv4 address: {error}") from error
    try:
        host = text.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise ValueError(f"{text!r} is no host name: {error}") from error
    labels = host.removesuffix(".").split(".")
    if len(host) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text!r} is no host name: {_EXAMPLE}")
    return host
