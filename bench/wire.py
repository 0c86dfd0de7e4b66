"""A miner's side of Stratum V1, written apart from the daemon's: jobs as they were notified, and what is hashed for a share.

Everything is done with hashlib from the words on the wire, so that it can bear witness against the daemon.
"""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from miner import kernel

if TYPE_CHECKING:
    from types import TracebackType

LIMIT_S: Final = 30.0
WORD: Final = 4
SCAN_CHUNK: Final = 1 << 18


def sha256d(data: bytes) -> bytes:
    """Double SHA-256, internal byte order."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def swapped(words: bytes) -> bytes:
    """Each word of four bytes reversed, as previous hashes are on the wire."""
    return b"".join(words[at : at + WORD][::-1] for at in range(0, len(words), WORD))


def on_wire(block_hash: str) -> str:
    """A hash in display order as a notify has it."""
    return swapped(bytes.fromhex(block_hash)[::-1]).hex()


def find_nonce(packed: bytes, target: int) -> int:
    """A nonce with which the header of 80 bytes meets the target. Raises ValueError if none does."""
    version = int.from_bytes(packed[:4], "little")
    job, stop = kernel.ScanJob(packed, [version], target), kernel.StopWord()
    for first in range(0, 1 << 32, SCAN_CHUNK):
        for hit in kernel.scan(job, first, SCAN_CHUNK, stop).hits:
            return hit.nonce
    raise ValueError("no nonce of 2**32 meets the target")


@dataclass(frozen=True, slots=True)
class Job:
    """A notify's content."""

    id: str
    prev_hash: bytes
    coinbase1: bytes
    coinbase2: bytes
    branch: tuple[bytes, ...]
    version: int
    bits: int
    ntime: str

    @classmethod
    def of(cls, params: list[Any]) -> Self:
        """From the params of mining.notify. Raises ValueError where they are none."""
        job_id, prev_hash, coinbase1, coinbase2, branch, version, bits, ntime, _ = params
        return cls(
            job_id,
            swapped(bytes.fromhex(prev_hash)),
            bytes.fromhex(coinbase1),
            bytes.fromhex(coinbase2),
            tuple(bytes.fromhex(each) for each in branch),
            int(version, 16),
            int(bits, 16),
            ntime,
        )

    @property
    def target(self) -> int:
        """The network's target."""
        exponent, mantissa = self.bits >> 24, self.bits & 0x7FFFFF
        return mantissa << 8 * (exponent - 3)

    def header(
        self, extranonce1: str, extranonce2: str, ntime: str, nonce: str, version_bits: int = 0
    ) -> bytes:
        """The 80 bytes that a share stands for. The bits that may roll are clear in a job, so that they are only added."""
        root = sha256d(self.coinbase1 + bytes.fromhex(extranonce1 + extranonce2) + self.coinbase2)
        for sibling in self.branch:
            root = sha256d(root + sibling)
        return b"".join(
            (
                (self.version | version_bits).to_bytes(4, "little"),
                self.prev_hash,
                root,
                bytes.fromhex(ntime)[::-1],
                self.bits.to_bytes(4, "little"),
                bytes.fromhex(nonce)[::-1],
            )
        )


class Miner:
    """One miner on a socket, that can find a block at will; a context manager. Raises OSError where the server goes away."""

    def __init__(self, port: int, name: str, *, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection((host, port), LIMIT_S)
        self._lines = self._socket.makefile("rb")
        self.name = name
        self._ids = 0
        self._job: Job | None = None
        _, self.extranonce1, self.extranonce2_size = self._call("mining.subscribe", ["hashmill-bench/1"])
        assert self._call("mining.authorize", [name, "x"]) is True, "the login was refused"

    def job(self) -> Job:
        """The newest job it was told of; waits for the first. Raises TimeoutError."""
        while self._job is None:
            self._read()
        return self._job

    def wait_for_job(self) -> Job:
        """The next job it is told of. Raises TimeoutError."""
        self._job = None
        return self.job()

    def find_block(self) -> tuple[str, list[str]]:
        """The hash (display order) of a block on the newest job, and the params of its submit, not yet sent."""
        job = self.job()
        extranonce2 = "00" * self.extranonce2_size
        packed = job.header(self.extranonce1, extranonce2, job.ntime, "00000000")
        nonce = f"{find_nonce(packed, job.target):08x}"
        block_hash = sha256d(job.header(self.extranonce1, extranonce2, job.ntime, nonce))
        assert int.from_bytes(block_hash, "little") <= job.target
        return block_hash[::-1].hex(), [self.name, job.id, extranonce2, job.ntime, nonce]

    def send(self, params: list[str]) -> int:
        """Hand a share in; the id of the request."""
        return self._send("mining.submit", params)

    def answer(self, request: int) -> dict[str, Any]:
        """The answer to that request; notifies that come before are taken. Raises OSError when none comes."""
        while True:
            message = self._read()
            if message.get("id") == request and "method" not in message:
                return message

    def close(self) -> None:
        """Go."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, params: list[Any]) -> Any:
        answer = self.answer(self._send(method, params))
        assert answer.get("error") is None, f"{method}: {answer['error']}"
        return answer["result"]

    def _send(self, method: str, params: list[Any]) -> int:
        self._ids += 1
        line = json.dumps({"id": self._ids, "method": method, "params": params})
        self._socket.sendall(line.encode() + b"\n")
        return self._ids

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionError("the server has closed the connection")
        message: dict[str, Any] = json.loads(line)
        if message.get("method") == "mining.notify":
            self._job = Job.of(message["params"])
        return message
