"""Zero-downtime restart: a running daemon hands its listening sockets and resumable sessions to the next one.

The running daemon listens on a Unix socket beside its ledger. A new one that is started on the same configuration asks
there, gets the listening sockets as file descriptors, and then what sessions may resume, once the old one has answered
what it owes, written its ledger and let go of it. Connections that come meanwhile wait in the sockets' backlog.

Each message is one line of JSON. Only processes of the same user (or root) are listened to.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Final, TypeVar

import msgspec

log = logging.getLogger(__name__)

FORMAT: Final = 1
"""Of the messages: a daemon that speaks another one is not taken over."""
ANSWER_S: Final = 5.0
"""How long either side waits for a short answer."""
LEAVE_S: Final = 120.0
"""How long the new daemon waits for the old one to finish: longer than that one's own limits for its last writes."""
MOST_SOCKETS: Final = 64
MOST_BYTES: Final = 64 * 1024 * 1024
_Message = TypeVar("_Message", bound=msgspec.Struct)
_CREDENTIALS: Final = struct.Struct("3i")


class HandoverError(Exception):
    """The running daemon could not be taken over; the message says why and what to do."""


class Request(msgspec.Struct, frozen=True):
    """What a new daemon sends first."""

    format: int
    pid: int


class Offer(msgspec.Struct, frozen=True):
    """What the running daemon answers: the names of the sockets that come with this message, in order."""

    format: int
    pid: int
    sockets: tuple[str, ...]


class Legacy(msgspec.Struct, frozen=True):
    """The last message: everything is written and let go; `state` is what the next one goes on with."""

    state: msgspec.Raw


@dataclass(slots=True)
class Inheritance:
    """What a new daemon got: sockets that listen already, by name, and the state, as JSON, of the old one.

    Whoever uses a socket takes it out of `sockets`; `close` closes those that nobody wanted.
    """

    sockets: dict[str, socket.socket] = field(default_factory=dict)
    state: bytes = b"null"

    def close(self) -> None:
        """Close the sockets that were not taken."""
        while self.sockets:
            self.sockets.popitem()[1].close()


def handover_path(ledger_file: Path | None, ledger: str) -> Path:
    """Where the daemon on a ledger listens for its successor: beside an SQLite file, else in this user's own folder.

    `ledger` names a database that is no file: its URL and site.
    """
    if ledger_file is not None:
        return ledger_file.with_name(ledger_file.name + ".handover")
    folder = Path(os.environ.get("RUNTIME_DIRECTORY") or os.environ.get("XDG_RUNTIME_DIR") or gettempdir())
    return folder / f"hashmill-{os.getuid()}-{sha256(ledger.encode()).hexdigest()[:16]}.handover"


async def take_over(path: Path) -> Inheritance | None:
    """Take over from the daemon that listens at `path`; None where there is none. Returns when that one has let go.

    Raises HandoverError where it does not answer, speaks another format, or does not leave in time.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            with _short(path) as address:
                await loop.sock_connect(connection, address)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise HandoverError(f"cannot ask the running hashmill at {path}: {error}") from error
        inheritance = Inheritance()
        try:
            _check_user(connection)
            async with asyncio.timeout(ANSWER_S):
                await _send(connection, Request(FORMAT, os.getpid()))
                offer = await _receive_offer(connection, inheritance)
            log.info("taking_over", extra={"from_pid": offer.pid, "sockets": len(offer.sockets)})
            async with asyncio.timeout(LEAVE_S):
                await loop.sock_sendall(connection, b"go\n")
                inheritance.state = bytes(_decoded(await _line(connection), Legacy).state)
        except TimeoutError as error:
            inheritance.close()
            raise HandoverError("the running hashmill did not hand over in time: stop it first") from error
        except (OSError, HandoverError) as error:
            inheritance.close()
            raise HandoverError(f"the running hashmill did not hand over: {error}") from error
        return inheritance


class Successor:
    """The next daemon, waiting for this one to end: `leave` gives it the state, last of all."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection = connection
        self.pid = pid

    async def leave(self, state: bytes) -> None:
        """Tell it that everything is let go, and hand over `state` (JSON)."""
        with self._connection, suppress(TimeoutError, OSError):
            async with asyncio.timeout(ANSWER_S):
                await _send(self._connection, Legacy(msgspec.Raw(state)))


async def offer(
    path: Path,
    sockets: Callable[[], Mapping[str, socket.socket]],
    on_successor: Callable[[Successor], None],
) -> None:
    """Wait at `path` for a successor; returns when one has the `sockets` and waits for this daemon to go.

    `sockets` names what listens here; `on_successor` hears who it is. Raises HandoverError where `path` cannot be
    listened on.
    """
    loop = asyncio.get_running_loop()
    with _listening(path) as listening:
        while True:
            connection, _ = await loop.sock_accept(listening)
            try:
                async with asyncio.timeout(ANSWER_S):
                    successor = await _introduced(connection, sockets())
            except (TimeoutError, OSError, HandoverError) as error:
                connection.close()
                log.warning("handover_refused", extra={"error": str(error) or "no answer in time"})
            except BaseException:
                connection.close()
                raise
            else:
                log.info("handing_over", extra={"to_pid": successor.pid})
                on_successor(successor)
                return


def _listening(path: Path) -> socket.socket:
    """A listening socket at `path`, in place of one whose process has gone; only this user can connect."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.setblocking(False)
        path.unlink(missing_ok=True)
        with _short(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        listening.listen(4)
    except OSError as error:
        listening.close()
        raise HandoverError(f"cannot listen for a successor at {path}: {error}") from error
    return listening


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address for `path` that fits into the 107 bytes a Unix socket's may have, however deep its folder is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def _introduced(connection: socket.socket, sockets: Mapping[str, socket.socket]) -> Successor:
    connection.setblocking(False)
    _check_user(connection)
    request = _decoded(await _line(connection), Request)
    if request.format != FORMAT:
        raise HandoverError(f"process {request.pid} speaks format {request.format}, this one {FORMAT}")
    offer = msgspec.json.encode(Offer(FORMAT, os.getpid(), tuple(sockets))) + b"\n"
    # A Unix socket takes a message of this size at once; the descriptors travel with its first byte.
    sent = socket.send_fds(connection, [offer], [each.fileno() for each in sockets.values()])
    await asyncio.get_running_loop().sock_sendall(connection, offer[sent:])
    if await _line(connection) != b"go":
        raise HandoverError(f"process {request.pid} went away")
    return Successor(connection, request.pid)


def _check_user(connection: socket.socket) -> None:
    """Raise HandoverError if a process of another user is at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    if user not in {0, os.getuid()}:
        raise HandoverError(f"the other process is of user {user}, this one of {os.getuid()}")


async def _receive_offer(connection: socket.socket, inheritance: Inheritance) -> Offer:
    """The offer with its sockets, which are owned by `inheritance` even if the offer is not good."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(connection, ready.set_result, None)
    try:
        await ready
    finally:
        loop.remove_reader(connection)
    first, numbers, _, _ = socket.recv_fds(connection, 65_536, MOST_SOCKETS)
    received = [socket.socket(fileno=number) for number in numbers]
    try:
        offer = _decoded(
            first.rstrip(b"\n") if first.endswith(b"\n") else first + await _line(connection), Offer
        )
        if offer.format != FORMAT or len(offer.sockets) != len(received):
            raise HandoverError(f"it speaks another format ({offer.format}, here {FORMAT}): stop it first")
    except BaseException:
        for each in received:
            each.close()
        raise
    inheritance.sockets.update(zip(offer.sockets, received, strict=True))
    return offer


async def _send(connection: socket.socket, message: msgspec.Struct) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, msgspec.json.encode(message) + b"\n")


async def _line(connection: socket.socket) -> bytes:
    """The bytes up to the next end of line. Raises HandoverError when the other side ends before it."""
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []
    size = 0
    while size < MOST_BYTES:
        part = await loop.sock_recv(connection, 262_144)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if part.endswith(b"\n"):
            return b"".join(parts)[:-1]
    raise HandoverError("it went away without an answer")


def _decoded(line: bytes, kind: type[_Message]) -> _Message:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError as error:
        raise HandoverError(f"not understood: {error}") from error
