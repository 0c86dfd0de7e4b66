"""What strangers may take of this machine: connections at all and from one address, logins that fail, open files."""

import logging
import resource
from ipaddress import IPv6Address
from typing import Final

log = logging.getLogger(__name__)

FAILURES: Final = 20.0
"""Logins of one address that may fail in a row before it has to wait."""
FAILURE_FORGIVEN_S: Final = 3.0
"""After so long one failed login is forgotten."""
MOST_REMEMBERED: Final = 10_000
"""Addresses with failed logins that are remembered; the oldest go first."""
OTHER_FILES: Final = 256
"""Open files that are no miner's connection: ledger, nodes, HTTP, what is being accepted."""


def limit_key(host: str) -> str:
    """What is counted as one address: an IPv4 address also where it comes mapped into IPv6, else the /64 network."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64)) + "/64"


class ConnectionLimits:
    """Counts connections and failed logins; `per_address` 0 is no limit of its own. Times are unix seconds."""

    def __init__(self, most: int, per_address: int) -> None:
        self._most = most
        self._per_address = per_address
        self._by_address: dict[str, int] = {}
        self._failures: dict[str, tuple[float, float]] = {}  # how many at what time
        self.connections = 0
        """Connections now."""

    def enter(self, address: str) -> str:
        """Count a connection from `address` (a `limit_key`); or say why it is refused, and count nothing."""
        if self.connections >= self._most:
            return "max_connections"
        count = self._by_address.get(address, 0)
        if self._per_address and count >= self._per_address:
            return "max_connections_per_address"
        self._by_address[address] = count + 1
        self.connections += 1
        return ""

    def leave(self, address: str) -> None:
        """A connection that was counted is gone."""
        self.connections -= 1
        count = self._by_address[address] - 1
        if count:
            self._by_address[address] = count
        else:
            del self._by_address[address]

    def login_failed(self, address: str, now: float) -> None:
        """Remember that a login from `address` was refused for what it said."""
        failures = self._failed(address, now) + 1.0
        self._failures.pop(address, None)
        self._failures[address] = (failures, now)
        if len(self._failures) > MOST_REMEMBERED:
            del self._failures[next(iter(self._failures))]

    def is_throttled(self, address: str, now: float) -> bool:
        """Whether so many logins from `address` failed lately that it has to wait with names nobody knows yet."""
        return bool(self._failures) and self._failed(address, now) >= FAILURES

    def _failed(self, address: str, now: float) -> float:
        failures, at = self._failures.get(address, (0.0, now))
        return max(failures - max(now - at, 0.0) / FAILURE_FORGIVEN_S, 0.0)


def raise_open_files(connections: int) -> None:
    """Let this process have as many open files as that many connections need; a warning says where it cannot."""
    needed = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _covers(soft, needed):
        return
    wanted = needed if _covers(hard, needed) else hard
    try:
        # Who may (root, CAP_SYS_RESOURCE) raises the hard limit too.
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed if not _covers(hard, needed) else hard))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        log.warning("open_files_limited", extra={"limit": wanted, "needed": needed})


def _covers(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
