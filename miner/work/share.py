"""A submission judged: what it is worth, or why nothing.

`judge` is total: whatever numbers a submission holds, it gets one verdict and no exception.
"""

from dataclasses import dataclass
from enum import StrEnum, auto

from miner.chain.block import MAX_UINT32
from miner.chain.difficulty import difficulty_of_hash, difficulty_of_target, hash_to_int
from miner.work.job import MAX_FUTURE_S, Active, Job, JobBook, Past, Stale, ntime_at


@dataclass(frozen=True, slots=True)
class Submission:
    """What a miner found: extranonces as bytes, the rest numbers.

    `version_bits` are those of the mask that was negotiated, None if the miner does not roll. `payout_script` is paid by
    the coinbase instead of the job's, None for the job's.
    """

    unit_id: str
    job_id: str
    extranonce1: bytes
    extranonce2: bytes
    ntime_s: int
    nonce: int
    version_bits: int | None = None
    payout_script: bytes | None = None


class Reason(StrEnum):
    """Why a submission is worth nothing; the values stay the same in ledger, metrics and API.

    A reason's place in this list is its number in a Tally and in the C core: new ones go to the end.
    """

    JOB_NOT_FOUND = auto()
    """The job was never handed out, or so long ago that it is forgotten."""
    STALE = auto()
    """The job is not on the present tip, or was superseded longer than the grace time ago."""
    DUPLICATE = auto()
    """The same header was credited before."""
    LOW_DIFFICULTY = auto()
    """The hash does not meet the share target."""
    TIME_TOO_OLD = auto()
    """The header's time is below the least the chain allows."""
    TIME_TOO_NEW = auto()
    """The header's time is more than two hours ahead of the node's clock."""
    BAD_VERSION = auto()
    """The version bits are not a 32-bit number."""
    BAD_NONCE = auto()
    """The nonce is not a 32-bit number."""
    BAD_EXTRANONCE = auto()
    """An extranonce is not of the job's size."""
    TABLE_FULL = auto()
    """No further share of this tip can be remembered, so none can be credited."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A share: its header hash, and the difficulty credited for it (that of the share target)."""

    hash: bytes
    difficulty: float


@dataclass(frozen=True, slots=True)
class Block:
    """A hash that meets the network target, with its header, its own difficulty and its job.

    `stale`: its prev hash is no longer the tip, so it goes out as a competitor. `credited`: difficulty
    credited for it as a share; 0 if it is none, because it misses the share target, its job is stale, or the
    table is full.
    """

    hash: bytes
    header: bytes
    difficulty: float
    stale: bool
    job: Job
    credited: float


@dataclass(frozen=True, slots=True)
class PoolShare:
    """A hash on a pool's job that meets the pool's own target, so that it goes up: the hash, its difficulty, its job.

    `credited`: difficulty credited for it here; 0 if it is none of ours, because it misses the session's share target.
    `is_block`: it meets the network's target, too.
    """

    hash: bytes
    difficulty: float
    job: Job
    credited: float
    is_block: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A submission worth nothing, and why."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Pending:
    """Instead of a verdict: the pool's word is waited for, and comes under this token. `credited` as in PoolShare."""

    token: int
    credited: float = 0.0


Verdict = Accepted | Block | PoolShare | Rejected


def judge(book: JobBook | None, submission: Submission, share_target: int, now: float) -> Verdict:
    """The verdict on `submission`, remembered in `book` if it is credited or goes up; `share_target` is the session's.

    `book` is the one that holds the job, None if none does.

    The version hashed is (job's version & ~mask) | (version_bits & mask), BIP310; bits outside the mask are
    ignored, since the hash shows what was mined. A hash that meets the network target is a Block whatever
    `share_target` is, also on a stale tip, unless it was one before. On a pool's job there are no blocks of ours: a hash
    that meets the pool's target is a PoolShare whatever `share_target` is, and never on a stale job, which the pool would
    refuse. `now` is local unix seconds.
    """
    found = book.lookup(submission.job_id, now) if book is not None else None
    if book is None or found is None:
        return Rejected(Reason.JOB_NOT_FOUND)
    job = found.job.paying(submission.payout_script)
    refusal = _refusal(job, submission, now)
    if refusal:
        return Rejected(refusal)
    header, digest = job.header(
        submission.extranonce1,
        submission.extranonce2,
        ntime_s=submission.ntime_s,
        nonce=submission.nonce,
        version=job.version | ((submission.version_bits or 0) & job.version_mask),
    )
    if hash_to_int(digest) <= job.handed_on_target:
        if job.upstream is not None:
            return _pool_share(book, found, digest, share_target)
        return _block(book, found, job, header, digest, share_target)
    refusal = _share_refusal(book, found, digest, share_target)
    if refusal:
        return Rejected(refusal)
    book.remember(job.prev_hash, digest)
    return Accepted(digest, difficulty_of_target(share_target))


def _block(
    book: JobBook,
    found: Active | Past | Stale,
    job: Job,
    header: bytes,
    digest: bytes,
    share_target: int,
) -> Block | Rejected:
    """Verdict on a hash that meets the network target; a full table cannot hold it back, only its credit.

    `job` is the one found, with the payout that was hashed.
    """
    if book.is_duplicate(job.prev_hash, digest):
        return Rejected(Reason.DUPLICATE)
    creditable = _share_refusal(book, found, digest, share_target) is None
    if not book.is_full(job.prev_hash):
        book.remember(job.prev_hash, digest)
    return Block(
        hash=digest,
        header=header,
        difficulty=difficulty_of_hash(digest),
        stale=isinstance(found, Stale) and found.tip_lost,
        job=job,
        credited=difficulty_of_target(share_target) if creditable else 0.0,
    )


def _pool_share(
    book: JobBook, found: Active | Past | Stale, digest: bytes, share_target: int
) -> PoolShare | Rejected:
    """Verdict on a hash that meets the pool's target: it goes up once, whatever it is worth here."""
    job = found.job
    refusal = _share_refusal(book, found, digest, job.handed_on_target)
    if refusal:
        return Rejected(refusal)
    book.remember(job.prev_hash, digest)
    number = hash_to_int(digest)
    return PoolShare(
        hash=digest,
        difficulty=difficulty_of_hash(digest),
        job=job,
        credited=difficulty_of_target(share_target) if number <= share_target else 0.0,
        is_block=number <= job.network_target,
    )


def _share_refusal(
    book: JobBook, found: Active | Past | Stale, digest: bytes, share_target: int
) -> Reason | None:
    """Why a hash is no share; None if it is one."""
    if isinstance(found, Stale):
        return Reason.STALE
    if hash_to_int(digest) > share_target:
        return Reason.LOW_DIFFICULTY
    if book.is_duplicate(found.job.prev_hash, digest):
        return Reason.DUPLICATE
    return Reason.TABLE_FULL if book.is_full(found.job.prev_hash) else None


def _refusal(job: Job, submission: Submission, now: float) -> Reason | None:
    """What is wrong with the submission before anything is hashed; None if nothing is."""
    if (len(submission.extranonce1), len(submission.extranonce2)) != (
        job.extranonce1_size,
        job.extranonce2_size,
    ):
        return Reason.BAD_EXTRANONCE
    if not 0 <= submission.nonce <= MAX_UINT32:
        return Reason.BAD_NONCE
    if submission.version_bits is not None and not 0 <= submission.version_bits <= MAX_UINT32:
        return Reason.BAD_VERSION
    if submission.ntime_s < job.min_time_s:
        return Reason.TIME_TOO_OLD
    if submission.ntime_s > min(ntime_at(job, now) + MAX_FUTURE_S, MAX_UINT32):
        return Reason.TIME_TOO_NEW
    return None
