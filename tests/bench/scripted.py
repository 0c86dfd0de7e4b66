"""A Stratum server that says what a test tells it to: one thread a connection, every piece sent by itself."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    Submit = Callable[["Session", dict[str, Any]], Sequence[bytes] | None]

JOB_1 = [
    "a1",
    "01" * 32,
    "02" * 60,
    "03" * 60,
    ["04" * 32, "05" * 32],
    "20000000",
    "1e0377ae",
    "6a5f5e10",
    True,
]
JOB_2 = ["a2", "11" * 32, "12" * 60, "13" * 60, [], "20000000", "1e0377ae", "6a5f5e20", True]
JOB_3 = ["a3", "11" * 32, "12" * 60, "14" * 60, ["04" * 32], "20000000", "1e0377ae", "6a5f5e21", False]


def line(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def notify(params: Sequence[Any] = JOB_1) -> bytes:
    return line({"id": None, "method": "mining.notify", "params": params})


def good(request: dict[str, Any]) -> bytes:
    return line({"id": request["id"], "result": True, "error": None})


def bad(request: dict[str, Any], code: int) -> bytes:
    return line({"id": request["id"], "result": None, "error": [code, "no", None]})


def accept(_session: Session, request: dict[str, Any]) -> list[bytes]:
    return [good(request)]


@dataclass(eq=False)
class Session:
    """One connection, and what was said on it."""

    server: ScriptedServer
    socket: socket.socket
    number: int
    requests: list[dict[str, Any]] = field(default_factory=list)
    open: bool = True

    @property
    def shares(self) -> list[tuple[str, ...]]:
        return [
            tuple(each["params"]) for each in list(self.requests) if each.get("method") == "mining.submit"
        ]

    def methods(self) -> list[str]:
        return [each["method"] for each in self.requests if each.get("method", "submit")[7:] != "submit"]

    def send(self, *pieces: bytes) -> None:
        with contextlib.suppress(OSError):
            for piece in pieces:
                self.socket.sendall(piece)

    def close(self) -> None:
        """From any thread; the connection's own one then ends."""
        self.open = False
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def converse(self) -> None:
        with self.socket, contextlib.suppress(OSError), self.socket.makefile("rb") as lines:
            for raw in lines:
                request = json.loads(raw)
                self.requests.append(request)
                answer = self.server.answer(self, request)
                if answer is None:
                    break
                self.send(*answer)
            self.close()


class ScriptedServer:
    """A context manager. `submit` answers a share with the pieces to be sent, or None to close the connection."""

    def __init__(
        self, submit: Submit = accept, *, extranonce2_size: int = 8, mask: str | None = "1fffe000"
    ) -> None:
        self._submit = submit
        self._extranonce2_size = extranonce2_size
        self._mask = mask
        self.refuse = False
        self.sessions: list[Session] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    @property
    def shares(self) -> list[tuple[str, ...]]:
        return [share for session in self.sessions for share in session.shares]

    def answer(self, session: Session, request: dict[str, Any]) -> Sequence[bytes] | None:
        match request.get("method"):
            case "mining.configure":
                rolling = {"version-rolling": True, "version-rolling.mask": self._mask}
                offered = line({"id": request["id"], "result": rolling, "error": None})
                return [bad(request, 20) if self._mask is None else offered]
            case "mining.subscribe":
                name, extranonce1 = f"session{session.number}", f"{session.number:08x}"
                subscriptions = [["mining.set_difficulty", name], ["mining.notify", name]]
                result = [subscriptions, extranonce1, self._extranonce2_size]
                return [line({"id": request["id"], "result": result, "error": None})]
            case "mining.authorize":
                difficulty = line({"id": None, "method": "mining.set_difficulty", "params": [1e-10]})
                return [bad(request, 24) if self.refuse else good(request) + difficulty + notify()]
            case "mining.submit":
                return self._submit(session, request)
            case _:
                return []

    def tell(self, message: bytes) -> None:
        """Send it to every connection."""
        for session in self.sessions:
            session.send(message)

    def __enter__(self) -> Self:
        self._start(self._serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for session in self.sessions:
            session.close()
        for thread in self._threads:
            thread.join(20)

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                session = Session(self, accepted, len(self.sessions) + 1)
                self.sessions.append(session)
                self._start(session.converse)
