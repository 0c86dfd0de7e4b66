"""What the daemon's hashing threads reach of the kernel's own rate, and how soon they take up new work.

Usage: python bench/scan_efficiency.py [--json] [--versions K] [--seconds N]

The CPU unit hashes as in the daemon: slices, stop word, hand-over of shares (about one a second and thread), a new
header now and then. A period is the time from the end of one scan to the end of the next, so that all of this is in it. It is
compared with one bare call of the core for as many nonces, on as many threads, taken in turns. Minimum against
minimum shows the cost of the machinery, median against median that of everything that happens beside it too. Slices
are about as long as the daemon makes them (10 ms), but all of one size, so that they can be compared.
"""

import argparse
import json
import os
import statistics
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, TypedDict

from miner import kernel
from miner.chain.difficulty import target_of_difficulty
from miner.hashing import cpu
from miner.hashing.bench import cpu_name
from miner.hashing.calibration import choose
from miner.hashing.cpu import NICENESS, CpuUnit, Work, rolled_versions
from miner.work.job import DEFAULT_VERSION_MASK, Job
from miner.work.share import Submission

TURNS = 3
SLICE_HASHES = 1 << 19
SHARE = target_of_difficulty(0.01)
EASIEST = 2**256 - 1
NEW_WORKS = 30


class Efficiency(TypedDict):
    """Seconds for a slice, by the unit and bare; parts of the bare rate that the unit reaches; new work."""

    kernel: str
    versions: int
    threads: int
    unit_s_min: float
    unit_s_median: float
    bare_s_min: float
    bare_s_median: float
    efficiency_of_minima: float
    efficiency_of_medians: float
    new_work_ms_median: float
    new_work_ms_max: float


@dataclass(slots=True)
class Options:
    """What to measure."""

    versions: int
    threads: int
    seconds: float


def job(number: int) -> Job:
    """Some job."""
    return Job(
        id=f"{number:x}",
        origin="solo",
        height=1,
        version=0x2000_0000 & ~DEFAULT_VERSION_MASK,
        version_mask=DEFAULT_VERSION_MASK,
        prev_hash=bytes(32),
        coinbase1=bytes(100),
        coinbase2=bytes(100),
        branch=(bytes(32),) * 12,
        bits=0x1D00FFFF,
        ntime_s=int(time.time()),
        min_time_s=0,
        extranonce1_size=4,
        extranonce2_size=8,
        clean=True,
        reward_sat=0,
        payout_script=b"",
        created_at=time.time(),
    )


def fail(error: BaseException) -> None:
    """A hashing thread must not end."""
    raise error


class Watched:
    """A unit whose scans are timed."""

    def __init__(self, options: Options) -> None:
        self.ends: dict[int, list[float]] = {}
        self.first_of: dict[str, float] = {}
        self._nonces = SLICE_HASHES // options.versions
        self._scan = kernel.scan
        self.unit = CpuUnit(
            "cpu",
            {"full": options.threads},
            versions=options.versions,
            extranonce1=bytes(4),
            on_submission=self._submitted,
            on_failure=fail,
        )

    def __enter__(self) -> Self:
        kernel.scan = self._timed
        return self

    def __exit__(self, *_: object) -> None:
        self.unit.stop()
        kernel.scan = self._scan

    def periods(self) -> list[float]:
        """Times between the ends of whole slices that followed each other."""
        return [later - earlier for ends in self.ends.values() for earlier, later in pairwise(ends)]

    def _timed(
        self, scanned: kernel.ScanJob, first: int, count: int, stop: kernel.StopWord, capacity: int = 64
    ) -> kernel.ScanResult:
        result = self._scan(scanned, first, count, stop, capacity)
        if result.scanned == self._nonces:
            self.ends.setdefault(threading.get_ident(), []).append(time.perf_counter())
        return result

    def _submitted(self, submission: Submission, _target: int) -> None:
        self.first_of.setdefault(submission.job_id, time.perf_counter())


def unit_periods(options: Options) -> list[float]:
    """The unit at work."""
    with Watched(options) as watched:
        watched.unit.set_work(Work(job(0), SHARE))
        watched.unit.start("full")
        time.sleep(options.seconds)
    return watched.periods()


def bare_periods(options: Options) -> list[float]:
    """Calls of the core alone, for as many nonces as a slice has."""
    versions = rolled_versions(job(0).version, DEFAULT_VERSION_MASK, options.versions)
    scanned, stop, nonces = (
        kernel.ScanJob(bytes(80), versions, 0),
        kernel.StopWord(),
        SLICE_HASHES // len(versions),
    )
    until = time.perf_counter() + options.seconds
    periods: list[float] = []

    def work() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # as the unit's threads
        while (began := time.perf_counter()) < until:
            kernel.scan(scanned, 0, nonces, stop)
            periods.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work) for _ in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return periods


def new_work_s(options: Options) -> list[float]:
    """Times from set_work to the first hash of the new job that is handed in, the unit hashing all the while."""
    took = []
    with Watched(options) as watched:
        watched.unit.set_work(Work(job(0), 0))
        watched.unit.start("full")
        for number in range(1, NEW_WORKS + 1):
            time.sleep(0.05)
            began = time.perf_counter()
            watched.unit.set_work(Work(job(number), EASIEST))
            while f"{number:x}" not in watched.first_of:
                time.sleep(0.0002)
            took.append(watched.first_of[f"{number:x}"] - began)
            watched.unit.set_work(Work(job(0), 0))
    return took


def measure(options: Options) -> Efficiency:
    """One line of the result."""
    unit: list[float] = []
    bare: list[float] = []
    for _ in range(TURNS):
        unit += unit_periods(options)
        bare += bare_periods(options)
    new_work = new_work_s(options)
    return Efficiency(
        kernel=kernel.selected(),
        versions=options.versions,
        threads=options.threads,
        unit_s_min=min(unit),
        unit_s_median=statistics.median(unit),
        bare_s_min=min(bare),
        bare_s_median=statistics.median(bare),
        efficiency_of_minima=min(bare) / min(unit),
        efficiency_of_medians=statistics.median(bare) / statistics.median(unit),
        new_work_ms_median=1000 * statistics.median(new_work),
        new_work_ms_max=1000 * max(new_work),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--versions", type=int, default=8, help="versions that share a scan (default: 8)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each of the turns (default: 3)")
    arguments = parser.parse_args()
    choose(arguments.versions)
    cpu.slice_nonces = lambda _scanned, _took_s: SLICE_HASHES // arguments.versions
    counts = sorted({1, os.cpu_count() or 1})
    rows = [measure(Options(arguments.versions, count, arguments.seconds)) for count in counts]
    if arguments.json:
        print(json.dumps({"cpu": cpu_name(), "efficiency": rows}, indent=2))
        return
    print(f"{cpu_name()}, kernel {kernel.selected()}, {arguments.versions} versions")
    print("threads   efficiency of minima   of medians   new work: median      max")
    for row in rows:
        print(
            f"{row['threads']:>7}{row['efficiency_of_minima']:>22.2%}{row['efficiency_of_medians']:>13.2%}"
            f"{row['new_work_ms_median']:>16.2f} ms{row['new_work_ms_max']:>6.2f} ms"
        )


if __name__ == "__main__":
    main()
