"""Free loopback ports, held against other processes of this machine for as long as they are needed."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

LOOPBACK: Final = "127.0.0.1"
LOWEST: Final = 12_000
MAX_PORT: Final = 65_535
EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
ATTEMPTS: Final = 1_000


class Reservation:
    """`count` ports that nobody else is given: free now, and still ours while a node is down between two starts.

    They lie below the range from which the kernel serves outgoing connections, so that no client of ours can sit
    on one. Test processes keep out of each other's way by an abstract socket named after the port, which the kernel
    takes back when its holder dies. Raises OSError if no free port is found.
    """

    def __init__(self, count: int) -> None:
        self._claims: list[socket.socket] = []
        self.ports: tuple[int, ...] = ()
        try:
            while len(self.ports) < count:
                self.ports += (self._claim_one(),)
        except BaseException:
            self.release()
            raise

    def _claim_one(self) -> int:
        ephemeral = int(EPHEMERAL_RANGE.read_text().split()[0])
        # Where a machine lets outgoing connections use nearly every port, there is no quiet range left to prefer.
        highest = ephemeral if ephemeral > LOWEST + ATTEMPTS else MAX_PORT
        for _ in range(ATTEMPTS):
            port = random.randrange(LOWEST, highest)  # noqa: S311 (spreads processes; no secret)
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                claim.bind(f"\0hashmill-port-{port}")
            except OSError:
                claim.close()
                continue
            if _is_free(port):
                self._claims.append(claim)
                return port
            claim.close()
        raise OSError(f"no free port found between {LOWEST} and {highest}")

    def release(self) -> None:
        """Give the ports back; harmless when done twice."""
        for claim in self._claims:
            claim.close()
        self._claims.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
