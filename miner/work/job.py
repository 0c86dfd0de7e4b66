"""Jobs, and the book that knows which of them are worth a share now.

A job is a template or a pool's work with its coinbase cut around the extranonce. Jobs are immutable; new work
is a new job.
"""

import math
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from miner.chain.block import MAX_UINT32, assemble_block, compact_size
from miner.chain.coinbase import with_witness
from miner.chain.difficulty import MAX_TARGET, bits_to_target
from miner.chain.merkle import root_from_branch, sha256d
from miner.kernel import Board, SeenTable, ShareJob, share_header

DEFAULT_VERSION_MASK: Final = 0x1FFF_E000
"""The version bits that BIP320 leaves to miners."""

MOST_ELAPSED_S: Final = 3600
"""How far a header's time follows the local clock beyond the template's: no job lives as long, and a local clock that
jumps ahead must not make blocks that are more than two hours too new for every node."""

MAX_FUTURE_S: Final = 7200
"""How far ahead of its own clock a node lets a header's time be."""

KEPT_TIPS: Final = 3
"""Tips whose jobs can be looked up: the present one and two that a reorganisation may bring back."""

KEPT_PAYEES: Final = 1024
"""Payout scripts for which a job keeps its other self; more are made again when they are asked for."""

_ROOT_IN_HEADER = slice(36, 68)
_MAX_UINT64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class UpstreamWork:
    """What makes a job a pool's: the pool's own id for it, and the target of the shares that the pool wants.

    The pool's extranonce2 is `padding` and then our extranonces. `epoch` is the connection that brought the job: its
    shares are worth nothing on any other. Raises ValueError for a target that is none.
    """

    job_id: str
    share_target: int
    padding: bytes
    epoch: int

    def __post_init__(self) -> None:
        if not 0 < self.share_target <= MAX_TARGET:
            raise ValueError("a share's target lies between 1 and 2**256 - 1")


@dataclass(frozen=True, eq=False)
class Job:
    """Work to be hashed: coinbase = coinbase1 + extranonce1 + extranonce2 + coinbase2, without witness.

    Hashes in internal order. `origin` is "solo" or a pool's name; a pool's job has `upstream` and no `txs`, which are raw
    and without the coinbase. `version` has the bits of `version_mask` clear. `ntime_s` is the node's clock at
    the local time `created_at`, `min_time_s` the least time a header may bear. `commits_to_witness`: the
    coinbase holds a witness commitment, and gets its witness when a block is assembled. `time_sets_bits`: see
    Template. `payout_at` is where in coinbase2 (offset, length) the payout script with its compact size lies; None for a
    job that can pay nobody else. Raises ValueError for fields that cannot be.
    """

    id: str
    origin: str
    height: int
    version: int
    version_mask: int
    prev_hash: bytes
    coinbase1: bytes = field(repr=False)
    coinbase2: bytes = field(repr=False)
    branch: tuple[bytes, ...] = field(repr=False)
    bits: int
    ntime_s: int
    min_time_s: int
    extranonce1_size: int
    extranonce2_size: int
    clean: bool
    reward_sat: int
    payout_script: bytes
    created_at: float
    txs: tuple[bytes, ...] = field(default=(), repr=False)
    commits_to_witness: bool = True
    time_sets_bits: bool = False
    payout_at: tuple[int, int] | None = None
    upstream: UpstreamWork | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.version <= MAX_UINT32 or not 0 <= self.version_mask <= MAX_UINT32:
            raise ValueError("a version and its mask have 32 bits")
        if self.version & self.version_mask:
            raise ValueError("a job's version has the bits of its mask clear")
        if self.extranonce1_size < 0 or self.extranonce2_size < 1:
            raise ValueError("extranonce2 has at least one byte, extranonce1 no negative size")
        _ = self.network_target, self.share_job  # each refuses what it cannot take, now and not at a share

    @cached_property
    def network_target(self) -> int:
        """Target that makes a hash a block."""
        return bits_to_target(self.bits)

    @property
    def handed_on_target(self) -> int:
        """Target that makes a hash more than a share of ours: a block for the nodes, or a share that the pool wants."""
        return self.network_target if self.upstream is None else self.upstream.share_target

    @cached_property
    def share_job(self) -> ShareJob:
        """The job as the C core takes it."""
        return ShareJob(
            self.coinbase1, self.coinbase2, self.branch, self.prev_hash, self.bits, self.payout_at
        )

    @cached_property
    def serial(self) -> int | None:
        """The number that the id is, in hexadecimal without zeros before it; None for any other id."""
        try:
            number = int(self.id, 16)
        except ValueError:
            return None
        return number if f"{number:x}" == self.id and 0 <= number <= _MAX_UINT64 else None

    def paying(self, script: bytes | None) -> "Job":
        """The same work with a coinbase that pays `script`; the job itself for None, or if it can pay nobody else.

        Raises ValueError for an empty script.
        """
        if script is None or script == self.payout_script or self.payout_at is None:
            return self
        if not script:
            raise ValueError("an empty payout script is money for everyone")
        payees = self._payees
        job = payees.get(script)
        if job is None:
            if len(payees) >= KEPT_PAYEES:
                del payees[next(iter(payees))]
            job = payees[script] = self._paying(script, *self.payout_at)
        return job

    def _paying(self, script: bytes, offset: int, length: int) -> "Job":
        payout = compact_size(len(script)) + script
        job = copy(self)  # not through __init__: nothing changes that it checks, and most are never hashed
        job.__dict__.pop("share_job", None)
        job.__dict__.pop("_payees", None)
        job.__dict__.update(
            coinbase2=self.coinbase2[:offset] + payout + self.coinbase2[offset + length :],
            payout_script=script,
            payout_at=(offset, len(payout)),
        )
        return job

    @cached_property
    def _payees(self) -> "dict[bytes, Job]":
        return {}

    def header(
        self, extranonce1: bytes, extranonce2: bytes, *, ntime_s: int, nonce: int, version: int
    ) -> tuple[bytes, bytes]:
        """The 80-byte header of one try, and its hash in internal order; `version` is whole, as hashed."""
        return share_header(self.share_job, extranonce1, extranonce2, ntime_s, nonce, version)


def ntime_at(job: Job, now: float) -> int:
    """The node's clock at the local time `now`, as a header of `job` may bear it: unix seconds.

    A local clock set back does not set the header's time back below the job's own. On a chain where the time decides
    the bits, it stays the template's.
    """
    elapsed_s = 0 if job.time_sets_bits else math.floor(min(max(now - job.created_at, 0.0), MOST_ELAPSED_S))
    return min(max(job.ntime_s + elapsed_s, job.min_time_s), MAX_UINT32)


def block_bytes(job: Job, header: bytes, extranonce1: bytes, extranonce2: bytes) -> bytes:
    """The full block of a header found on `job`, with witness, as `submitblock` takes it.

    Raises ValueError if the job holds no transactions though its branch does (a pool's job), or if the
    header's merkle root, rehashed with hashlib, is not that of this job and these extranonces.
    """
    if len(job.branch) != len(job.txs).bit_length():
        raise ValueError(f"job {job.id} does not hold the transactions of its block")
    coinbase = job.coinbase1 + extranonce1 + extranonce2 + job.coinbase2
    if header[_ROOT_IN_HEADER] != root_from_branch(sha256d(coinbase), job.branch):
        raise ValueError(f"the header is not of job {job.id} with these extranonces")
    return assemble_block(header, with_witness(coinbase) if job.commits_to_witness else coinbase, job.txs)


@dataclass(frozen=True, slots=True)
class Active:
    """The job to be mined now."""

    job: Job


@dataclass(frozen=True, slots=True)
class Past:
    """A superseded job on the present tip, within its grace time: still good for shares."""

    job: Job


@dataclass(frozen=True, slots=True)
class Stale:
    """A job no longer good for shares; `tip_lost`: its block would compete with another on the chain."""

    job: Job
    tip_lost: bool


@dataclass(slots=True)
class _Entry:
    job: Job
    superseded_at: float | None = None
    retired: bool = False


@dataclass(frozen=True, slots=True)
class _Tip:
    """A prev hash, as the records of its shares know it, and the hashes credited on it."""

    number: int
    seen: SeenTable


class TipNumbers:
    """Numbers for the tips of all books that share it, rising from `first`."""

    def __init__(self, first: int = 0) -> None:
        self.next = first

    def skip(self, number: int) -> None:
        """This number is some tip's already: those given out later are above it."""
        self.next = max(self.next, number + 1)


class JobBook:
    """The jobs of the present tip and of the last ones, and the hashes credited on each tip.

    A superseded job of the present tip is good for `grace_s` seconds. At most `capacity` jobs are kept, the
    oldest go first; at most `duplicates` hashes for each tip: a full table takes no more, because forgetting
    one could credit it twice. Tips are numbered from `first_tip_number` in the order of their coming, or by the `numbers`
    that books share. One thread owns the book; `now` (unix seconds) is given, never read.

    `board`, which may be several books', shows the C core the same jobs, those whose id is a number, with the same
    tables: a share is remembered by whoever judged it.
    """

    def __init__(
        self,
        grace_s: float,
        capacity: int = 32,
        duplicates: int = 64_000_000,
        first_tip_number: int = 0,
        *,
        board: Board | None = None,
        numbers: TipNumbers | None = None,
    ) -> None:
        if capacity < 1 or duplicates < 1:
            raise ValueError("a job book holds at least one job and one hash")
        self.board: Final = board or Board()
        self._grace_s = grace_s
        self._capacity = capacity
        self._duplicates = duplicates
        self._numbers = numbers or TipNumbers(first_tip_number)
        self._entries: dict[str, _Entry] = {}  # by job id, in order of arrival
        self._tips: dict[bytes, _Tip] = {}  # by prev hash, in order of use
        self._tip: bytes | None = None
        self._current: _Entry | None = None

    @property
    def current(self) -> Job | None:
        """The job to be mined; None before the first one and after `withdraw`."""
        return self._current.job if self._current else None

    @property
    def tip(self) -> bytes | None:
        """The prev hash to be mined on, as the book was last told; None if it never was."""
        return self._tip

    def tips(self) -> list[tuple[int, bytes]]:
        """Numbers and prev hashes of the tips in the book, the present one last."""
        return [(tip.number, prev_hash) for prev_hash, tip in self._tips.items()]

    def tip_number(self, prev_hash: bytes) -> int:
        """The number that records of shares on this tip bear. Raises KeyError for a tip that is not in the book."""
        return self._tips[prev_hash].number

    def add(self, job: Job, now: float) -> None:
        """Make `job` the current one; a new prev hash makes the jobs of all others stale.

        A prev hash that comes back after a reorganisation finds its jobs and hashes as it left them. Raises
        ValueError if the id is in the book.
        """
        if job.id in self._entries:
            raise ValueError(f"job id {job.id!r} is in the book already")
        self.set_tip(job.prev_hash, now)
        self.withdraw(now)
        self._current = self._entries[job.id] = _Entry(job)
        while len(self._entries) > self._capacity:
            self._forget(next(iter(self._entries)))
        self._show(job)

    def set_tip(self, prev_hash: bytes, now: float) -> None:
        """The chain goes on from `prev_hash`: jobs of other tips are stale, even if there is no new one yet."""
        if prev_hash == self._tip:
            return
        self.withdraw(now)
        self._tip = prev_hash
        self._enter_tip(prev_hash, self._numbers.next)
        for entry in self._entries.values():
            self._date(entry)

    def restore(self, prev_hash: bytes, number: int, records: bytes) -> int:
        """Take over the shares that were credited on a tip before: RECORDs, of which those of tip `number` count.

        A tip that is not in the book enters it under this number, without becoming the present one; one that is keeps its
        own. Numbers given out later are above both. Returns how many hashes it remembers that it did not before.
        """
        self._enter_tip(prev_hash, number)
        self._numbers.skip(number)
        if self._tip is not None:
            self._tips[self._tip] = self._tips.pop(self._tip)
        return self._tips[prev_hash].seen.add_records(records, number)

    def withdraw(self, now: float) -> None:
        """There is no valid work: the current job is superseded, and nothing takes its place until `add`."""
        if self._current:
            self._current.superseded_at = now
            self._date(self._current)
        self._current = None

    def retire(self, now: float) -> None:
        """None of the jobs so far is good for shares any more: the pool says so, or the connection they came by is gone."""
        self.withdraw(now)
        for entry in self._entries.values():
            entry.retired = True
            self._date(entry)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._entries

    def lookup(self, job_id: str, now: float) -> Active | Past | Stale | None:
        """What the job is good for at `now`; None for one never added, or forgotten."""
        entry = self._entries.get(job_id)
        if entry is None:
            return None
        if entry.superseded_at is None:
            return Active(entry.job)
        if now <= self._good_until(entry):
            return Past(entry.job)
        return Stale(entry.job, tip_lost=entry.job.prev_hash != self._tip)

    def is_duplicate(self, prev_hash: bytes, digest: bytes) -> bool:
        """Whether the header hash `digest` was remembered under this prev hash."""
        tip = self._tips.get(prev_hash)
        return tip is not None and digest in tip.seen

    def is_full(self, prev_hash: bytes) -> bool:
        """Whether no further hash can be remembered under this prev hash."""
        tip = self._tips.get(prev_hash)
        return tip is not None and tip.seen.is_full

    def remember(self, prev_hash: bytes, digest: bytes) -> None:
        """Never credit the header hash `digest` again under this prev hash.

        Raises ValueError for a prev hash that has left the book, or whose table is full.
        """
        tip = self._tips.get(prev_hash)
        if tip is None or tip.seen.is_full:
            raise ValueError("a hash needs room under a tip that is in the book")
        tip.seen.add(digest)

    def _good_until(self, entry: _Entry) -> float:
        """The last time at which shares of the job are good."""
        if entry.superseded_at is None:
            return math.inf
        if entry.retired or entry.job.prev_hash != self._tip:
            return -math.inf
        return entry.superseded_at + self._grace_s

    def _enter_tip(self, prev_hash: bytes, number: int) -> None:
        """Put a tip last in the order of use, under `number` if it is new, and drop the one that was not used longest."""
        known = self._tips.pop(prev_hash, None)
        self._tips[prev_hash] = known or _Tip(number, SeenTable(self._duplicates))
        self._numbers.skip(self._tips[prev_hash].number)
        if len(self._tips) > KEPT_TIPS:
            gone = next(tip for tip in self._tips if tip != self._tip)
            del self._tips[gone]
            for job_id in [i for i, entry in self._entries.items() if entry.job.prev_hash == gone]:
                self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        job = self._entries.pop(job_id).job
        if job.serial is not None:
            self.board.remove(job.serial)

    def _date(self, entry: _Entry) -> None:
        """Tell the board how long the job is good."""
        if entry.job.serial is not None:
            self.board.good_until(entry.job.serial, self._good_until(entry))

    def _show(self, job: Job) -> None:
        """Put the current job on the board, if the core can judge it."""
        # The clock lets a header's time be later the longer the job is out; what the core may take is good at any time.
        latest_s = min(job.ntime_s + MAX_FUTURE_S, MAX_UINT32)
        if job.serial is None or not 0 <= job.min_time_s <= latest_s:
            return
        tip = self._tips[job.prev_hash]
        self.board.put(
            job.serial,
            job.share_job,
            tip.seen,
            tip=tip.number,
            target=job.handed_on_target,
            versions=(job.version, job.version_mask),
            times_s=(job.min_time_s, latest_s),
            extranonce_sizes=(job.extranonce1_size, job.extranonce2_size),
        )
