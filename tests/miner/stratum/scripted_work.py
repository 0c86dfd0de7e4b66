"""The work of a pool in tests, and its word on shares: made and judged with hashlib alone, with no code of the miner's."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from miner.stratum.pool_events import PoolSubmission, Work

HARD_BITS = 0x1D00FFFF
"""Difficulty 1: no hash of these tests makes a block."""
PAYEE = bytes.fromhex("0014") + b"\x51" * 20
"""The script of the pool's own address."""
COMMITMENT = bytes.fromhex("6a24aa21a9ed") + b"\xc0" * 32
MOST_FUTURE_S = 7200
DIFFICULTY_1 = 0xFFFF << 208


def sha256d(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def target_of(difficulty: float) -> int:
    numerator, denominator = difficulty.as_integer_ratio()
    return min(DIFFICULTY_1 * denominator // numerator, 2**256 - 1)


def target_of_bits(bits: int) -> int:
    return (bits & 0xFFFFFF) << 8 * ((bits >> 24) - 3)


@dataclass(frozen=True)
class PoolJob:
    """What a pool hands out; `outputs` are pairs of value and script."""

    id: str
    prev_hash: bytes = b"\xb1" * 32
    height: int = 900_000
    outputs: Sequence[tuple[int, bytes]] = ((312_500_000, PAYEE), (0, COMMITMENT))
    branch: tuple[bytes, ...] = (b"\x0a" * 32, b"\x0b" * 32)
    version: int = 0x20000000
    bits: int = HARD_BITS
    ntime_s: int = 0
    clean: bool = False

    def cut(self, extranonce_size: int) -> tuple[bytes, bytes]:
        """The coinbase before and after an extranonce of that many bytes in all."""
        number = self.height.to_bytes(self.height.bit_length() // 8 + 1, "little")
        tag = b"/scripted/"
        script = bytes([len(number)]) + number + bytes([len(tag)]) + tag
        before = (1).to_bytes(4, "little") + b"\x01" + bytes(32) + b"\xff" * 4
        before += bytes([len(script) + extranonce_size]) + script
        after = b"\xff" * 4 + bytes([len(self.outputs)])
        for value, payee in self.outputs:
            after += value.to_bytes(8, "little") + bytes([len(payee)]) + payee
        return before, after + bytes(4)

    def params(self, extranonce_size: int) -> list[Any]:
        """The params of mining.notify."""
        before, after = self.cut(extranonce_size)
        words = b"".join(self.prev_hash[i : i + 4][::-1] for i in range(0, 32, 4))
        branch = [node.hex() for node in self.branch]
        return [self.id, words.hex(), before.hex(), after.hex(), branch, f"{self.version:08x}",
                f"{self.bits:08x}", f"{self.ntime_s:08x}", self.clean]  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A job as it was sent on one connection: everything that decides on its shares."""

    job: PoolJob
    difficulty: float
    extranonce1: bytes
    extranonce2_size: int
    version_mask: int

    def header(self, extranonce2: bytes, ntime_s: int, nonce: int, bits: int) -> bytes:
        before, after = self.job.cut(len(self.extranonce1) + self.extranonce2_size)
        root = sha256d(before + self.extranonce1 + extranonce2 + after)
        for node in self.job.branch:
            root = sha256d(root + node)
        version = (self.job.version & ~self.version_mask) | (bits & self.version_mask)
        numbers = [number.to_bytes(4, "little") for number in (version, ntime_s, self.job.bits, nonce)]
        return numbers[0] + self.job.prev_hash + root + numbers[1] + numbers[2] + numbers[3]


@dataclass(frozen=True)
class SeenShare:
    """A share as the pool saw it: its hash and difficulty where it has any, the code it is refused with (0: accepted)."""

    connection: int
    worker: str
    job_id: str
    code: int
    text: str = ""
    hash: bytes = b""
    difficulty: float = 0.0
    asked: float = 0.0
    is_block: bool = False
    at: float = field(default_factory=time.time)


class Judge:
    """The pool's word on shares, and every share it was ever sent."""

    def __init__(self) -> None:
        self.shares: list[SeenShare] = []
        self.stale: set[str] = set()
        """Jobs that are no longer good."""
        self._hashes: set[bytes] = set()

    def take(self, connection: int, params: Sequence[Any], told: Told | None) -> SeenShare:
        """Judge the params of a mining.submit on a job that was sent so (None: never sent on this connection)."""
        worker, job_id, *_ = [*params, "", ""]
        share = self._judged(SeenShare(connection, worker, job_id, 21, "Job not found"), params, told)
        self.shares.append(share)
        return share

    def _judged(self, share: SeenShare, params: Sequence[Any], told: Told | None) -> SeenShare:
        if told is None:
            return share
        try:
            extranonce2 = bytes.fromhex(params[2])
            ntime_s, nonce, bits = (int(word, 16) for word in (*params[3:5], *([*params[5:], "0"][:1])))
        except (ValueError, IndexError):
            return SeenShare(share.connection, share.worker, share.job_id, 20, "Malformed")
        header = told.header(extranonce2, ntime_s, nonce, bits)
        digest = sha256d(header)
        number = int.from_bytes(digest, "little")
        code, text = self._code(told, extranonce2, ntime_s, bits, digest)
        if code == 0:
            self._hashes.add(digest)
        return SeenShare(
            share.connection, share.worker, share.job_id, code, text, digest, DIFFICULTY_1 / max(number, 1),
            told.difficulty, number <= target_of_bits(told.job.bits),
        )  # fmt: skip

    def _code(
        self, told: Told, extranonce2: bytes, ntime_s: int, bits: int, digest: bytes
    ) -> tuple[int, str]:
        number = int.from_bytes(digest, "little")
        faults = (
            (len(extranonce2) != told.extranonce2_size, (20, "Wrong size of extranonce2")),
            (bits & ~told.version_mask, (20, "Version bits outside the mask")),
            (not 0 <= ntime_s - told.job.ntime_s <= MOST_FUTURE_S, (20, "Time out of range")),
            (told.job.id in self.stale, (21, "Stale")),
            (number > target_of(told.difficulty), (23, "Low difficulty share")),
            (digest in self._hashes, (22, "Duplicate share")),
        )
        return next((error for is_so, error in faults if is_so), (0, ""))

    @property
    def accepted(self) -> list[SeenShare]:
        return [share for share in self.shares if share.code == 0]

    @property
    def rejected(self) -> list[SeenShare]:
        return [share for share in self.shares if share.code != 0]


def mine(work: Work, number: int = 0, worker: str = "") -> PoolSubmission:
    """A share of a pool's work, found with hashlib; another one for each `number`."""
    notify = work.notify
    extranonce2 = number.to_bytes(work.extranonce2_size, "big")
    root = sha256d(notify.coinbase1 + work.extranonce1 + extranonce2 + notify.coinbase2)
    for node in notify.branch:
        root = sha256d(root + node)
    version, ntime, bits = (n.to_bytes(4, "little") for n in (notify.version, notify.ntime_s, notify.bits))
    start = version + notify.prev_hash + root + ntime + bits
    nonce = next(
        n
        for n in range(2**32)
        if int.from_bytes(sha256d(start + n.to_bytes(4, "little")), "little") <= work.share_target
    )
    return PoolSubmission(worker, notify.job_id, extranonce2, notify.ntime_s, nonce, None)
