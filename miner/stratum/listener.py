"""Listening sockets: opened, inherited from the process before or from systemd, and accepted from a few at a time."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from miner.stratum.rules import PortRules
from miner.stratum.tls import Certificate

log = logging.getLogger(__name__)

BACKLOG: Final = 4096
"""Connections that the kernel keeps for us while we are busy, after a power cut for instance."""
ACCEPTED_AT_ONCE: Final = 64
"""Connections taken before the loop may do something else."""
ACCEPT_AGAIN_S: Final = 1.0
"""How long nothing is accepted after the system had no room for another connection."""
NO_ROOM: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
SYSTEMD_FIRST: Final = 3
"""The first descriptor that systemd hands over, see sd_listen_fds(3)."""
# A dead peer is found by keepalive in two minutes, one that takes no data in one.
_TCP: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 131_072),
)


class ListenError(Exception):
    """A port cannot be listened on; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port to listen on: host and port (0: any free one), its rules, and its certificate if it speaks TLS."""

    host: str
    port: int
    rules: PortRules
    certificate: Certificate | None = None

    @property
    def name(self) -> str:
        """As it is called in logs, and when sockets are handed over."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listener:
    """The listening socket of one port; while it accepts, `on_accept(connection, host, port)` gets each connection.

    The socket stays open while nothing is accepted: connections wait in its backlog, for us or for whoever it is handed to.
    """

    def __init__(self, port: Port, listening: socket.socket) -> None:
        self.port = port
        self.socket = listening
        self._loop = asyncio.get_running_loop()
        self._on_accept: Callable[[socket.socket, str, Port], None] | None = None
        self._again: asyncio.TimerHandle | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it is bound to; the port is the real one."""
        host, port = self.socket.getsockname()[:2]
        return host, port

    def resume(self, on_accept: Callable[[socket.socket, str, Port], None]) -> None:
        """Accept connections from now on."""
        self._on_accept = on_accept
        self._loop.add_reader(self.socket.fileno(), self._accept)

    def pause(self) -> None:
        """Accept nothing more until `resume`."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._on_accept is not None:
            self._loop.remove_reader(self.socket.fileno())
            self._on_accept = None

    def close(self) -> None:
        """Accept nothing more and close the socket; one that was handed to another process goes on listening there."""
        self.pause()
        self.socket.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            on_accept = self._on_accept
            if on_accept is None:
                return
            try:
                connection, peer = self.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._wait(on_accept, error)
                    return
                continue  # that one has gone already
            connection.setblocking(False)
            on_accept(connection, peer[0], self.port)

    def _wait(self, on_accept: Callable[[socket.socket, str, Port], None], error: OSError) -> None:
        log.warning("accept_paused", extra={"port": self.port.name, "error": error.strerror})
        self.pause()
        self._again = self._loop.call_later(ACCEPT_AGAIN_S, self.resume, on_accept)


def open_listener(port: Port, inherited: dict[str, socket.socket]) -> Listener:
    """Listen on `port`, with the socket of that name in `inherited` if there is one, which is taken out then.

    Raises ListenError.
    """
    listening = inherited.pop(port.name, None)
    try:
        if listening is None:
            listening = _bound(port)
        for level, option, value in _TCP:
            listening.setsockopt(level, option, value)  # what is accepted has them too
        listening.setblocking(False)
        listening.listen(BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise ListenError(f"stratum: cannot listen on {port.name}: {_why(error)}") from error
    return Listener(port, listening)


def systemd_sockets(environ: Mapping[str, str] = os.environ) -> dict[str, socket.socket]:
    """Listening TCP sockets that systemd opened for this process, by the name of a port that listens there.

    A name is host:port as in the socket unit's ListenStream; see sd_listen_fds(3). Take them once.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    found = {}
    for number in range(SYSTEMD_FIRST, SYSTEMD_FIRST + int(environ.get("LISTEN_FDS", "0"))):
        os.set_inheritable(number, False)
        listening = socket.socket(fileno=number)
        if listening.type == socket.SOCK_STREAM and listening.family in {socket.AF_INET, socket.AF_INET6}:
            host, port = listening.getsockname()[:2]
            found[f"[{host}]:{port}" if ":" in host else f"{host}:{port}"] = listening
        else:
            log.warning("socket_unused", extra={"descriptor": number})
            listening.close()
    return found


def _bound(port: Port) -> socket.socket:
    """A socket bound to the port, on the first of the host's addresses, IPv4 first; [::] serves IPv4 as well."""
    found: list[Any] = socket.getaddrinfo(
        port.host or None, port.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "already in use: does another Hashmill run here? [stratum] listen names another port"
    return error.strerror or str(error)
