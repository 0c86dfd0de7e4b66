"""A miner over Stratum as an ASIC would be, written from the protocol alone: it knows nothing of Hashmill's code.

It keeps the last job and difficulty it was sent, hashes with hashlib, and hands in what meets them.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

ANSWER_LIMIT_S: Final = 15.0
DIFFICULTY_1: Final = 0xFFFF << 208


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@dataclass(frozen=True)
class Found:
    """A header that meets the target it was searched for, and the submission that tells of it."""

    header: bytes
    coinbase: bytes
    params: list[str]

    @property
    def block_hash(self) -> str:
        return sha256d(self.header)[::-1].hex()


@dataclass
class Asic:
    """One connection; messages that were not asked for are kept in order in `heard`."""

    port: int
    worker: str
    password: str = "x"
    session: str | None = None
    """Subscribe with this old session's id."""
    difficulty: float = 1.0
    job: list[Any] | None = None
    extranonce1: bytes = b""
    extranonce2_size: int = 0
    heard: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False
    _rest: bytes = b""
    _ids: int = 0
    _counter: int = 0

    def __enter__(self) -> Self:
        self._socket = socket.create_connection(("127.0.0.1", self.port), ANSWER_LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def login(self) -> dict[str, Any]:
        """Subscribe and authorize; the answer to the second."""
        arguments = ["e2e/1.0"] if self.session is None else ["e2e/1.0", self.session]
        result = self.ask("mining.subscribe", arguments)["result"]
        self.session, self.extranonce1, self.extranonce2_size = (
            result[0][0][1],
            bytes.fromhex(result[1]),
            result[2],
        )
        return self.ask("mining.authorize", [self.worker, self.password])

    def ask(self, method: str, params: list[Any]) -> dict[str, Any]:
        """The answer to one request; what comes before it is taken in."""
        self._ids += 1
        request = {"id": self._ids, "method": method, "params": params}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        end = time.monotonic() + ANSWER_LIMIT_S
        while time.monotonic() < end:
            message = self._read(end - time.monotonic())
            if message is None:
                break
            if message.get("id") == self._ids and "method" not in message:
                return message
        raise AssertionError(f"no answer to {method} (closed: {self.closed})")

    def listen(self, until: float, wanted: str) -> dict[str, Any]:
        """Take messages in until one calls the method `wanted`; AssertionError if none does in `until` seconds."""
        end = time.monotonic() + until
        while time.monotonic() < end:
            message = self._read(end - time.monotonic())
            if message is None:
                break
            if message.get("method") == wanted:
                return message
        raise AssertionError(f"no {wanted} came (closed: {self.closed}): {self.heard[-3:]}")

    def wait_for_job(self, until: float = ANSWER_LIMIT_S) -> None:
        """Take messages in until there is a job."""
        if self.job is None:
            self.listen(until, "mining.notify")

    def wait_until_closed(self, until: float = ANSWER_LIMIT_S) -> None:
        """Take messages in until the server closes the connection."""
        end = time.monotonic() + until
        while not self.closed and time.monotonic() < end:
            self._read(end - time.monotonic())
        assert self.closed

    def mine(self, target: int | None = None, job: list[Any] | None = None) -> Found:
        """Search the job for a header whose hash is at most `target` (the difficulty's, if not given)."""
        job = job or self.job
        assert job is not None
        identity, prev_hash, coinbase1, coinbase2, branch, version, bits, ntime, _ = job
        wanted = min(int(DIFFICULTY_1 / self.difficulty), 2**256 - 1) if target is None else target
        words = bytes.fromhex(prev_hash)
        previous = b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4))
        while True:
            self._counter += 1
            extranonce2 = self._counter.to_bytes(self.extranonce2_size, "big")
            coinbase = bytes.fromhex(coinbase1) + self.extranonce1 + extranonce2 + bytes.fromhex(coinbase2)
            root = sha256d(coinbase)
            for level in branch:
                root = sha256d(root + bytes.fromhex(level))
            head = (
                struct.pack("<I", int(version, 16))
                + previous
                + root
                + struct.pack("<II", int(ntime, 16), int(bits, 16))
            )
            for nonce in range(1 << 20):
                header = head + struct.pack("<I", nonce)
                if int.from_bytes(sha256d(header), "little") <= wanted:
                    params = [self.worker, identity, extranonce2.hex(), ntime, f"{nonce:08x}"]
                    return Found(header, coinbase, params)

    def submit(self, found: Found) -> dict[str, Any]:
        """The answer to a share."""
        return self.ask("mining.submit", found.params)

    def _read(self, wait_s: float) -> dict[str, Any] | None:
        """The next message; None when the connection has ended or nothing comes in time."""
        while b"\n" not in self._rest:
            self._socket.settimeout(max(wait_s, 0.001))
            part = b""
            with suppress(ConnectionError):
                try:
                    part = self._socket.recv(65_536)
                except TimeoutError:
                    return None
            if not part:
                self.closed = True
                return None
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        self._take(message)
        return message

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            return
        self.heard.append(message)
        match message["method"]:
            case "mining.set_difficulty":
                self.difficulty = message["params"][0]
            case "mining.notify":
                self.job = message["params"]
