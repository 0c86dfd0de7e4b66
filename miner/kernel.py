"""The C core as Python sees it: kernels, nonce scans, share headers. The only importer of miner._native.

Hashes are 32 bytes in internal order, targets are int, headers are the 80 bytes as hashed. Every call that
computes releases the GIL. native/hashmill.h says what the core promises; this module adds types and checks.

miner.hashing.calibration measures which kernel is the fastest, and selects it. Where nobody selected one, it is
chosen at its first use: the one that HASHMILL_KERNEL names, else the first in order of preference that this machine
supports and that passes its self-test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import environ
from typing import Any, Final

from miner._native import ffi, lib
from miner.kernel_submit import (
    BOARD_JOBS,
    RECORD,
    Board,
    SeenTable,
    ShareBuffer,
    SubmitTaker,
    Tally,
    payout_bytes,
)

__all__ = [
    "BOARD_JOBS",
    "ENVIRONMENT",
    "MAX_BRANCH",
    "MAX_VERSIONS",
    "RECORD",
    "Board",
    "Hit",
    "KernelError",
    "KernelFaultError",
    "KernelInfo",
    "KernelUnknownError",
    "KernelUnsupportedError",
    "ScanJob",
    "ScanResult",
    "SeenTable",
    "ShareBuffer",
    "ShareJob",
    "StopWord",
    "SubmitTaker",
    "Tally",
    "calibrate",
    "faulty",
    "kernels",
    "scan",
    "select",
    "selected",
    "self_test",
    "sha256d",
    "share_header",
]

MAX_VERSIONS: Final = lib.HM_MAX_VERSIONS
"""Header versions that one scan can share."""

MAX_BRANCH: Final = lib.HM_MAX_BRANCH
"""Levels that the merkle branch of a share job can have."""

ENVIRONMENT: Final = "HASHMILL_KERNEL"
"""Name of the environment variable that forces a kernel."""

_HEADER_SIZE: Final = 80
_HASH_SIZE: Final = 32
_NONCES: Final = 2**32
_UINT32_MAX: Final = 2**32 - 1


class KernelError(Exception):
    """A kernel cannot be used; the message says which, why, and what there is instead."""


class KernelUnknownError(KernelError, ValueError):
    """No kernel has this name."""


class KernelUnsupportedError(KernelError):
    """This CPU, or its OS, lacks what the kernel needs."""


class KernelFaultError(KernelError):
    """The kernel gave a wrong result in its self-test: do not mine with this machine before it is checked."""


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """One kernel that was built in; `lanes` is how many nonces it hashes side by side."""

    name: str
    supported: bool
    lanes: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A header that meets its job's target: nonce, version, and the hash in internal order."""

    nonce: int
    version: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found, and how far it came.

    `hits` are in order of nonce, then of the job's versions. `scanned` counts the nonces, from the first, that
    were tried under every version and whose hits are all here: a scan that goes on at first + scanned loses
    no hit and sees none twice.
    """

    hits: tuple[Hit, ...]
    scanned: int


# ---- Kernels -------------------------------------------------------------------------------------------------


def kernels() -> tuple[KernelInfo, ...]:
    """Every kernel that was built in, in order of preference, best first; the last runs everywhere."""
    return tuple(
        KernelInfo(_name(i), bool(lib.hm_kernel_supported(i)), lib.hm_kernel_lanes(i))
        for i in range(lib.hm_kernel_count())
    )


def selected() -> str:
    """Name of the kernel in use, after its self-test; the first call chooses it.

    Raises KernelError if HASHMILL_KERNEL names a kernel that cannot be used here, or if every kernel is faulty.
    """
    number = lib.hm_kernel_selected()
    return _name(number) if number >= 0 else _choose(environ.get(ENVIRONMENT, ""))


def select(name: str) -> None:
    """Use this kernel from now on, in every thread, provided that it passes its self-test.

    Raises KernelUnknownError (a ValueError), KernelUnsupportedError or KernelFaultError; the choice then stays
    as it was.
    """
    match lib.hm_kernel_select(_number(name)):
        case lib.HM_OK:
            return
        case lib.HM_UNSUPPORTED:
            raise KernelUnsupportedError(
                f"this machine cannot run the kernel {name!r}; it can run {_usable()}"
            )
        case _:
            raise KernelFaultError(
                f"the kernel {name!r} failed its self-test; the others here: {_usable(name)}"
            )


def self_test(name: str) -> bool:
    """Whether the kernel agrees with the portable code on every lane and version slot; takes milliseconds.

    Raises KernelUnknownError, or KernelUnsupportedError where it cannot be run at all.
    """
    result = lib.hm_kernel_self_test(_number(name))
    if result == lib.HM_UNSUPPORTED:
        raise KernelUnsupportedError(f"this machine cannot run the kernel {name!r}; it can run {_usable()}")
    return result == lib.HM_OK


def faulty() -> tuple[str, ...]:
    """Names of the kernels that this machine supports and that fail their self-test: its operator must know."""
    return tuple(kernel.name for kernel in kernels() if kernel.supported and not self_test(kernel.name))


def _choose(forced: str) -> str:
    """Select the forced kernel, or the best one that works if none is forced; returns its name."""
    if forced:
        try:
            select(forced)
        except KernelError as error:
            raise type(error)(f"{ENVIRONMENT}: {error}") from error
        return forced
    for kernel in kernels():
        if kernel.supported and lib.hm_kernel_select(_number(kernel.name)) == lib.HM_OK:
            return kernel.name
    raise KernelFaultError(f"every kernel failed its self-test ({_usable()}): this machine computes wrongly")


def _name(number: int) -> str:
    name = ffi.string(lib.hm_kernel_name(number))
    assert isinstance(name, bytes)  # noqa: S101  what cffi makes of a char pointer; for mypy
    return name.decode()


def _number(name: str) -> int:
    for number in range(lib.hm_kernel_count()):
        if _name(number) == name:
            return number
    raise KernelUnknownError(f"there is no kernel {name!r}; this machine can run {_usable()}")


def _usable(without: str = "") -> str:
    return (
        ", ".join(kernel.name for kernel in kernels() if kernel.supported and kernel.name != without)
        or "none"
    )


# ---- Hashing and scanning ------------------------------------------------------------------------------------


def sha256d(data: bytes) -> bytes:
    """SHA-256 applied twice, by the core's portable code; 32 bytes in internal order."""
    digest = ffi.new("uint8_t[32]")
    lib.hm_sha256d(digest, data, len(data))
    return bytes(ffi.buffer(digest))


class StopWord:
    """A flag that ends running scans, from any thread, within a millisecond (portable: 10 ms)."""

    __slots__ = ("_word",)

    def __init__(self) -> None:
        self._word: Any = ffi.new("uint32_t *")

    def set(self) -> None:
        """End the scans that look at this word, now and until it is cleared."""
        self._word[0] = 1

    def clear(self) -> None:
        """Let scans run again."""
        self._word[0] = 0

    def is_set(self) -> bool:
        """Whether scans that look at this word end at once."""
        return bool(self._word[0])


class ScanJob:
    """A header to be searched, prepared for the kernels: immutable, to be shared by any number of threads.

    `header` is 80 bytes whose version and nonce are ignored; `versions` are the 1 to MAX_VERSIONS versions to try
    with each nonce; a hash, read as a little-endian number, is a hit if it is at most `target`. Raises ValueError
    for anything else.
    """

    __slots__ = ("_job", "target", "versions")

    def __init__(self, header: bytes, versions: Sequence[int], target: int) -> None:
        if not 1 <= len(versions) <= MAX_VERSIONS:
            raise ValueError(f"a scan takes 1 to {MAX_VERSIONS} versions, not {len(versions)}")
        if not 0 <= target < 2**256:
            raise ValueError("the target must be a number of 256 bits")
        _require_size("header", header, _HEADER_SIZE)
        self.versions: Final = tuple(_uint32("version", version) for version in versions)
        self.target: Final = target
        self._job: Any = ffi.new("hm_job *")
        lib.hm_job_init(self._job, header, target.to_bytes(32, "little"), self.versions, len(self.versions))


def scan(job: ScanJob, first: int, count: int, stop: StopWord, capacity: int = 64) -> ScanResult:
    """Try `count` nonces from `first` under every version of the job, until done, stopped, or full of hits.

    `capacity` is how many hits fit into one result. Raises ValueError if the range leaves 0..2**32-1 or the
    capacity is less than the number of versions, KernelError if no kernel can be used.
    """
    if not (0 <= first < _NONCES and 0 <= count <= _NONCES - first):
        raise ValueError(f"nonces {first} to {first} + {count} are not all in 0..2**32-1")
    if capacity < len(job.versions):
        raise ValueError(
            f"{capacity} hits are fewer than one nonce may give with {len(job.versions)} versions"
        )
    selected()
    hits = ffi.new("hm_hit[]", capacity)
    scanned = ffi.new("uint64_t *")
    found = lib.hm_scan(hits, capacity, scanned, job._job, first, count, stop._word)  # noqa: SLF001  this module is their home
    if found < 0:
        raise ValueError(f"the core refused the scan ({found}): {capacity=}")
    return ScanResult(
        tuple(Hit(hits[i].nonce, hits[i].version, bytes(ffi.buffer(hits[i].hash))) for i in range(found)),
        scanned[0],
    )


def calibrate(adds: int) -> None:
    """Make so many dependent additions, one a clock cycle: the time it takes tells the clock of the core."""
    lib.hm_calibrate(adds)


# ---- Shares --------------------------------------------------------------------------------------------------


class ShareJob:
    """What all shares of a job have in common, the coinbase's beginning hashed already: immutable, thread-safe.

    The coinbase is coinbase1 + extranonce1 + extranonce2 + coinbase2, without witness. `branch` are the merkle
    branch's hashes, lowest first; `bits` is the compact target; `payout_at` is where in coinbase2 (offset, length) the
    script that is paid lies, with its compact size. Raises ValueError for wrong sizes.
    """

    __slots__ = ("_coinbase2", "_job")

    def __init__(
        self,
        coinbase1: bytes,
        coinbase2: bytes,
        branch: Sequence[bytes],
        prev_hash: bytes,
        bits: int,
        payout_at: tuple[int, int] | None = None,
    ) -> None:
        if len(branch) > MAX_BRANCH:
            raise ValueError(f"a merkle branch of {len(branch)} levels is longer than {MAX_BRANCH}")
        for node in branch:
            _require_size("merkle branch's hash", node, _HASH_SIZE)
        _require_size("previous hash", prev_hash, _HASH_SIZE)
        offset, length = payout_at or (0, 0)
        if min(offset, length) < 0 or offset + length > len(coinbase2):
            raise ValueError(
                f"the payout {payout_at} does not lie within the {len(coinbase2)} bytes of coinbase2"
            )
        selected()
        one, two, nodes = len(coinbase1), len(coinbase2), b"".join(branch)
        self._coinbase2: Any = ffi.new("uint8_t[]", coinbase2)  # the job borrows it
        self._job: Any = ffi.new("hm_share_job *")
        # fmt: off
        lib.hm_share_job_init(
            self._job, coinbase1, one, self._coinbase2, two, offset, length, nodes, len(branch), prev_hash,
            _uint32("bits", bits),
        )
        # fmt: on


def share_header(
    job: ShareJob,
    extranonce1: bytes,
    extranonce2: bytes,
    ntime_s: int,
    nonce: int,
    version: int,
    payout_script: bytes | None = None,
) -> tuple[bytes, bytes]:
    """The header (80 bytes) that a miner claims to have hashed, and its hash (32 bytes, internal order).

    `version` is whole, as it is hashed; `payout_script` is paid instead of the job's, if the job says where that is.
    Raises ValueError for a number that is not of 32 bits, and for a script that is empty or too long.
    """
    header, digest = ffi.new("uint8_t[80]"), ffi.new("uint8_t[32]")
    numbers = _uint32("ntime", ntime_s), _uint32("nonce", nonce), _uint32("version", version)
    extra, payout = (
        (extranonce1, len(extranonce1), extranonce2, len(extranonce2)),
        payout_bytes(payout_script),
    )
    lib.hm_share_header(header, digest, job._job, *extra, payout, len(payout), *numbers)  # noqa: SLF001  this module is its home
    return bytes(ffi.buffer(header)), bytes(ffi.buffer(digest))


def _uint32(what: str, value: int) -> int:
    if not 0 <= value <= _UINT32_MAX:
        raise ValueError(f"the {what} {value} is not a number of 32 bits")
    return value


def _require_size(what: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise ValueError(f"the {what} must have {size} bytes, not {len(value)}")
