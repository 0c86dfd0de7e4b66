"""A pool's work as a job of ours, and a share of that job as the pool knows it.

The pool makes the coinbase of coinbase1 + its extranonce1 + the extranonce2 of a submission + coinbase2. Of that
extranonce2 our units get the end, cut as everybody's at the time; what is before it is zeros. So our own job's
coinbase1 ends with the pool's extranonce1 and those zeros, and a unit's work looks like any other.
"""

from typing import Final, NoReturn, Protocol

from miner.work.job import Job, UpstreamWork
from miner.work.layout import Layout
from miner.work.share import Submission

_MARKER_AND_FLAG: Final = b"\x00\x01"
_VERSION_SIZE: Final = 4
_OUTPOINT_SIZE: Final = 36
_SEQUENCE_SIZE: Final = 4
_VALUE_SIZE: Final = 8
_LOCK_TIME_SIZE: Final = 4
_SHORT_SIZES: Final = 0xFD
"""Below it a compact size is its own byte; from it on the byte says how many follow."""
_OP_1: Final = 0x51
_OP_16: Final = 0x60
_LONGEST_HEIGHT: Final = 4
_MAX_MONEY_SAT: Final = 21_000_000 * 100_000_000
_SIGN: Final = 0x80


class PoolJobError(ValueError):
    """A pool's work cannot be hashed; the message says what is wrong with it."""


class NotifyFields(Protocol):
    """What mining.notify says, hashes in internal order; `miner.stratum.v1.Notify`."""

    @property
    def job_id(self) -> str:
        """The pool's name of the job."""
        ...

    @property
    def prev_hash(self) -> bytes:
        """The block to build on."""
        ...

    @property
    def coinbase1(self) -> bytes:
        """The coinbase before the pool's extranonce1."""
        ...

    @property
    def coinbase2(self) -> bytes:
        """The coinbase after the extranonce2."""
        ...

    @property
    def branch(self) -> tuple[bytes, ...]:
        """The merkle branch, lowest first."""
        ...

    @property
    def version(self) -> int:
        """The header's version, whole."""
        ...

    @property
    def bits(self) -> int:
        """The network's target in compact form."""
        ...

    @property
    def ntime_s(self) -> int:
        """The pool's clock, unix seconds."""
        ...


def pool_job(  # noqa: PLR0913 - the pool's words, and each of what makes them a job
    notify: NotifyFields,
    job_id: str,
    origin: str,
    *,
    extranonce1: bytes,
    extranonce2_size: int,
    layout: Layout,
    version_mask: int | None,
    share_target: int,
    epoch: int,
    clean: bool,
    now: float,
) -> Job:
    """The job `job_id` that mines a pool's work; `origin` is the pool's name, `now` the local time at which it came.

    `extranonce1` and `extranonce2_size` are the pool's, `version_mask` the bits that it lets us roll (None: none),
    `share_target` what it wants of shares. The height is the coinbase's (BIP34), 0 if it says none; the payout script is
    that of its largest output. Raises PoolJobError for work that nobody could hash, or that has no room for `layout`.
    """
    padding = extranonce2_size - layout.size
    if padding < 0:
        raise PoolJobError(
            f"the pool's extranonce2 of {extranonce2_size} bytes has no room for the {layout.size} that units are given"
        )
    coinbase1 = notify.coinbase1 + extranonce1 + bytes(padding)
    mask = version_mask or 0
    try:
        script_sig, outputs = _parse_coinbase(coinbase1 + bytes(layout.size) + notify.coinbase2)
        reward_sat = sum(value for value, _ in outputs)
        if reward_sat > _MAX_MONEY_SAT:
            raise ValueError(f"its coinbase pays {reward_sat} sat, and there are {_MAX_MONEY_SAT} at most")
        return Job(
            id=job_id,
            origin=origin,
            height=_height(script_sig),
            version=notify.version & ~mask,
            version_mask=mask,
            prev_hash=notify.prev_hash,
            coinbase1=coinbase1,
            coinbase2=notify.coinbase2,
            branch=notify.branch,
            bits=notify.bits,
            ntime_s=notify.ntime_s,
            min_time_s=notify.ntime_s,
            extranonce1_size=layout.extranonce1_size,
            extranonce2_size=layout.extranonce2_size,
            clean=clean,
            reward_sat=reward_sat,
            payout_script=max(outputs)[1],
            created_at=now,
            upstream=UpstreamWork(notify.job_id, share_target, bytes(padding), epoch),
        )
    except ValueError as error:
        raise PoolJobError(f"job {notify.job_id!r} of pool {origin!r}: {error}") from error


def upstream_extranonce2(job: Job, submission: Submission) -> bytes:
    """The extranonce2 of a share as its pool is told. Raises ValueError for a job that is no pool's."""
    return _upstream(job).padding + submission.extranonce1 + submission.extranonce2


def upstream_version_bits(job: Job, submission: Submission) -> int | None:
    """The version bits of a share as its pool is told; None where they are not to be rolled, and no param is sent.

    Where they may be, the pool must be told even of a unit that leaves them alone: our job goes out with the bits of the
    mask clear, the pool's own may have some of them set. Raises ValueError for a job that is no pool's.
    """
    _upstream(job)
    return (submission.version_bits or 0) & job.version_mask if job.version_mask else None


def coinbase_outputs(coinbase: bytes) -> tuple[tuple[int, bytes], ...]:
    """Value in satoshi and script of each output of a coinbase, with or without witness.

    Raises ValueError for bytes that are no transaction of one input and at least one output.
    """
    return _parse_coinbase(coinbase)[1]


def outputs_of(job: Job) -> tuple[tuple[int, bytes], ...]:
    """What the coinbase of a job pays: value in satoshi and script of each output. Raises ValueError as `coinbase_outputs`."""
    extranonces = bytes(job.extranonce1_size + job.extranonce2_size)
    return coinbase_outputs(job.coinbase1 + extranonces + job.coinbase2)


def _upstream(job: Job) -> UpstreamWork:
    if job.upstream is None:
        raise ValueError(f"job {job.id} is no pool's")
    return job.upstream


def _parse_coinbase(coinbase: bytes) -> tuple[bytes, tuple[tuple[int, bytes], ...]]:
    """The scriptSig and the outputs. Raises ValueError."""
    reader = _Reader(coinbase)
    reader.take(_VERSION_SIZE)
    has_witness = coinbase[_VERSION_SIZE:].startswith(_MARKER_AND_FLAG)
    if has_witness:
        reader.take(len(_MARKER_AND_FLAG))
    if reader.size() != 1:
        raise ValueError("its coinbase has not one input")
    reader.take(_OUTPOINT_SIZE)
    script_sig = reader.take(reader.size())
    reader.take(_SEQUENCE_SIZE)
    count = reader.size()
    if count == 0:
        raise ValueError("its coinbase has no output")
    # Each takes nine bytes at least, so a wrong count ends at the end of the bytes.
    outputs = tuple((reader.number(_VALUE_SIZE), reader.take(reader.size())) for _ in range(count))
    if has_witness:
        for _ in range(reader.size()):
            reader.take(reader.size())
    reader.take(_LOCK_TIME_SIZE)
    reader.end()
    return script_sig, outputs


def _height(script_sig: bytes) -> int:
    """The height that a coinbase's script begins with (BIP34); 0 if it begins with none."""
    first = script_sig[0] if script_sig else 0
    if _OP_1 <= first <= _OP_16:
        return first - _OP_1 + 1
    push = script_sig[1 : 1 + first]
    if not 1 <= first <= _LONGEST_HEIGHT or len(push) < first or push[-1] & _SIGN:
        return 0
    return int.from_bytes(push, "little")


class _Reader:
    """A transaction's bytes from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes. Raises ValueError if there are not so many."""
        end = self._at + count
        if end > len(self._data):
            self._fail(f"ends within its {len(self._data)} bytes where {end} are needed")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, count: int) -> int:
        """The next bytes as a little-endian number."""
        return int.from_bytes(self.take(count), "little")

    def size(self) -> int:
        """The next compact size."""
        first = self.number(1)
        return first if first < _SHORT_SIZES else self.number(2 << first - _SHORT_SIZES)

    def end(self) -> None:
        """Raises ValueError if bytes are left."""
        if self._at != len(self._data):
            self._fail(f"has {len(self._data) - self._at} bytes behind its end")

    @staticmethod
    def _fail(what: str) -> NoReturn:
        raise ValueError(f"its coinbase {what}")
