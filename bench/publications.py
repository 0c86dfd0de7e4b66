"""The node's own announcements of blocks, with the kernel's word on when they came.

A ZeroMQ library tells of a message when its threads got around to it, which on a busy machine is late, and would flatter whoever is
measured from there. The wire is simple enough to read it oneself. Source: rfc.zeromq.org, 23/ZMTP 3.0.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

SO_TIMESTAMPNS: Final = 35
TIMESPEC: Final = struct.Struct("qq")
NANO: Final = 10**9
GREETING: Final = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY: Final = b"\x05READY" + b"\x0bSocket-Type" + b"\x00\x00\x00\x03SUB"
MORE, LONG, COMMAND = 1, 2, 4
TOPIC: Final = b"hashblock"
LIMIT_S: Final = 30.0
LOOK_S: Final = 0.5
TRIES: Final = 20


class StampedPublications:
    """A subscription to `hashblock` at an address tcp://host:port. Every wait has a limit and raises TimeoutError at it."""

    def __init__(self, address: str) -> None:
        where = urlsplit(address)
        self._socket = socket.create_connection((str(where.hostname), int(where.port or 0)), LIMIT_S)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.sendall(GREETING)
        self._unread = bytearray()
        self._at_ns = 0
        self._take(len(GREETING))
        self._send(COMMAND, READY)
        while not self._frame()[0] & COMMAND:
            pass
        self._send(0, b"\x01" + TOPIC)

    def settle(self, mine: Callable[[], object]) -> None:
        """Mine until the node publishes to us, which it does some time after the subscription, and hear it out."""
        for _ in range(TRIES):
            mine()
            if self._heard():
                while self._heard():
                    pass
                return
        raise TimeoutError(f"the node published none of {TRIES} blocks")

    def wait(self, limit_s: float = LIMIT_S) -> tuple[str, int]:
        """Hash of the next block in display order, and when the kernel got it: real time, nanoseconds."""
        self._socket.settimeout(limit_s)
        parts: list[bytes] = []
        while True:
            flags, body = self._frame()
            if flags & COMMAND:
                continue
            parts.append(body)
            if not flags & MORE:
                if parts[0] == TOPIC:
                    return parts[1].hex(), self._at_ns
                parts = []

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def _heard(self) -> bool:
        try:
            self.wait(LOOK_S)
        except TimeoutError:
            return False
        return True

    def _send(self, flags: int, body: bytes) -> None:
        self._socket.sendall(bytes([flags, len(body)]) + body)

    def _frame(self) -> tuple[int, bytes]:
        flags = self._take(1)[0]
        length = int.from_bytes(self._take(8 if flags & LONG else 1), "big")
        return flags, self._take(length)

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(TIMESPEC.size))
            if not data:
                raise ConnectionError("the node has closed its publications")
            self._unread += data
            stamps = [TIMESPEC.unpack(body) for _, kind, body in ancillary if kind == SO_TIMESTAMPNS]
            self._at_ns = stamps[0][0] * NANO + stamps[0][1] if stamps else time.time_ns()
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken
