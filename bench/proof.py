"""What the miners were told, held against what the ledger has: each acknowledged share's header is hashed anew."""

from __future__ import annotations

import json
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from wire import Job, sha256d

from miner.ledger.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD: Final = struct.Struct("<IIddQ32s")
"""Unit, tip, time, difficulty, serial of the job, hash of the header in internal byte order."""
KEPT: Final = 16
"""Bytes kept of each hash: all differ in them."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block that a miner handed in; hashes in display order."""

    hash: str
    prev_hash: str


@dataclass(slots=True)
class Told:
    """What a log of the generator tells of: header hashes, cut to KEPT bytes, in the order of their answers.

    Blocks are the shares among them that met the network's target by luck.
    """

    shares: list[bytes] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @classmethod
    def of(cls, log: Path) -> Self:
        """Read the log."""
        told, jobs = cls(), dict[str, Job]()
        with log.open() as lines:
            for line in lines:
                kind, _, rest = line.rstrip("\n").partition(" ")
                if kind == "job":
                    number, _, notify = rest.partition(" ")
                    jobs[number] = Job.of(json.loads(notify)["params"])
                    continue
                _, extranonce1, number, extranonce2, ntime, nonce, bits = rest.split(" ")
                job, rolled = jobs[number], 0 if bits == "-" else int(bits, 16)
                digest = sha256d(job.header(extranonce1, extranonce2, ntime, nonce, rolled))
                told.shares.append(digest[:KEPT])
                if int.from_bytes(digest, "little") <= job.target:
                    told.blocks.append(Block(digest[::-1].hex(), job.prev_hash[::-1].hex()))
        return told


def in_ledger(url: str, since: float = 0.0) -> Iterator[bytes]:
    """Header hashes of the ledger's shares of batches that ended at `since` (unix seconds) or later, cut to KEPT bytes."""
    with Reader.open(url) as reader:
        for records in reader.share_records(since):
            for record in RECORD.iter_unpack(records):
                yield record[-1][:KEPT]


@dataclass(slots=True)
class Books:
    """Two accounts of the same shares: what was acknowledged, and what the ledger at `url` has."""

    url: str
    told: set[bytes] = field(default_factory=set)
    told_twice: int = 0

    def add(self, shares: list[bytes], since: float) -> tuple[int, int]:
        """Take the acknowledged shares of one round: how many of them the ledger lacks, and how many it has beside.

        `since`: when the round began, unix seconds.
        """
        told = set(shares)
        self.told_twice += len(shares) - len(told) + len(told & self.told)
        self.told |= told
        kept = set(in_ledger(self.url, since))
        return len(told - kept), len(kept - self.told)

    def close(self) -> tuple[int, int, int]:
        """Over all rounds: acknowledged shares that the ledger lacks, those it has more than once, those told of twice."""
        kept = Counter(in_ledger(self.url))
        return len(self.told - kept.keys()), sum(count > 1 for count in kept.values()), self.told_twice
