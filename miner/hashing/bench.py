"""How fast the kernels are on this machine, in hashes a second and in clock cycles a hash.

A hash is one double SHA-256 of a header. Machines are noisy and change their clock: kernels are measured in
turns, many times and shortly, and each thread measures its core's clock beside every scan, by dependent
additions, of which a core makes one a cycle. Compare numbers of one run; do not quote one alone.
"""

import os
import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypedDict

from miner import kernel

VERSIONS: Final = (1, 4, 8, 16)
"""Header versions that share a scan, as they are measured."""

_ADDS: Final = 400_000
_VERSION_BASE: Final = 0x20000000
_VERSION_SHIFT: Final = 13
_TRIAL_HASHES: Final = 4096


class Measurement(TypedDict):
    """Rates in million hashes a second, of all `threads` together; cycles are those of one thread's core."""

    kernel: str
    versions: int
    threads: int
    mh_s_best: float
    mh_s_median: float
    mh_s_worst: float
    cycles_per_hash: float


@dataclass(slots=True)
class _Case:
    """One line of the result while it is measured."""

    kernel: str
    versions: int
    threads: int
    nonces: int = 0
    mh_s: list[float] = field(default_factory=list)
    seconds_per_hash: float = float("inf")


@dataclass(slots=True)
class _Run:
    """What one thread saw: when its scan began and ended, and the fastest additions beside it."""

    began_s: float = 0.0
    ended_s: float = 0.0
    adds_per_s: float = 0.0


def measure(
    kernels: Sequence[str] | None = None,
    versions: Sequence[int] = VERSIONS,
    threads: Iterable[int] | None = None,
    rounds: int = 15,
    slice_s: float = 0.02,
) -> list[Measurement]:
    """Measure kernels (None: all that this machine can run) with one thread and with all (or as given).

    Takes about kernels * versions * threads * rounds * slice_s seconds. The kernel in use is the same
    afterwards as before; do not scan elsewhere meanwhile. Raises KernelError for a kernel that cannot be used.
    """
    names = kernels or [info.name for info in kernel.kernels() if info.supported]
    counts = sorted(set(threads or (1, os.cpu_count() or 1)))
    cases = [_Case(name, k, count) for name in names for k in versions for count in counts]
    clock_hz = dict.fromkeys(counts, 0.0)
    before = kernel.selected()
    try:
        for case in cases:
            case.nonces = _nonces_for(case, slice_s)
        for _ in range(rounds):
            for case in cases:
                runs = _run(case)
                clock_hz[case.threads] = max(clock_hz[case.threads], *(run.adds_per_s for run in runs))
                _note(case, runs)
    finally:
        kernel.select(before)
    return [_result(case, clock_hz[case.threads]) for case in cases]


def cpu_name() -> str:
    """The name that the CPU gives itself; "unknown CPU" where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown CPU")


def _job(versions: int) -> kernel.ScanJob:
    """A job that no hash meets."""
    return kernel.ScanJob(bytes(80), [_VERSION_BASE | k << _VERSION_SHIFT for k in range(versions)], 0)


def _nonces_for(case: _Case, slice_s: float) -> int:
    """As many nonces as take about slice_s, by a short trial."""
    kernel.select(case.kernel)
    nonces = _TRIAL_HASHES // case.versions
    began_s = time.perf_counter()
    kernel.scan(_job(case.versions), 0, nonces, kernel.StopWord())
    took_s = max(time.perf_counter() - began_s, 1e-9)
    return min(2**32, max(1, round(nonces * slice_s / took_s)))


def _run(case: _Case) -> list[_Run]:
    """The case once, in as many threads as it asks for, all beginning together."""
    kernel.select(case.kernel)
    barrier = threading.Barrier(case.threads)
    runs = [_Run() for _ in range(case.threads)]
    job, stop = _job(case.versions), kernel.StopWord()

    def work(run: _Run) -> None:
        barrier.wait()
        before = _adds_per_s()
        run.began_s = time.perf_counter()
        kernel.scan(job, 0, case.nonces, stop)
        run.ended_s = time.perf_counter()
        run.adds_per_s = max(before, _adds_per_s())

    workers = [threading.Thread(target=work, args=(run,)) for run in runs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return runs


def _adds_per_s() -> float:
    began_s = time.perf_counter()
    kernel.calibrate(_ADDS)
    return _ADDS / (time.perf_counter() - began_s)


def _note(case: _Case, runs: Sequence[_Run]) -> None:
    hashes = case.nonces * case.versions
    for run in runs:
        case.seconds_per_hash = min(case.seconds_per_hash, (run.ended_s - run.began_s) / hashes)
    case.mh_s.append(sum(hashes / (run.ended_s - run.began_s) for run in runs) / 1e6)


def _result(case: _Case, clock_hz: float) -> Measurement:
    return Measurement(
        kernel=case.kernel,
        versions=case.versions,
        threads=case.threads,
        mh_s_best=max(case.mh_s),
        mh_s_median=statistics.median(case.mh_s),
        mh_s_worst=min(case.mh_s),
        cycles_per_hash=case.seconds_per_hash * clock_hz,
    )
