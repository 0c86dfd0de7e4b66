"""The CPU unit as its owner sees it: named modes with hashrate and watts, a share target, readings."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from miner import kernel
from miner.chain.difficulty import HASHES_PER_DIFFICULTY, target_of_difficulty
from miner.config import CpuConfig
from miner.hashing.cpu import CpuReading, CpuUnit, Work, rolled_versions
from miner.hashing.rapl import Rapl
from miner.work.hashrate import ShareRate
from miner.work.job import DEFAULT_VERSION_MASK, Job
from miner.work.share import Submission

log = logging.getLogger(__name__)

UNIT_ID: Final = "cpu"
OFF: Final = "off"
SECONDS_PER_SHARE: Final = 1.0
"""Aim of the automatic share difficulty: two minutes of shares then tell the hashrate to about a tenth."""
MOST_SHARES_PER_SECOND: Final = 50.0
"""Where a pool asks for more, only the hardest hashes are handed in."""
MEASURE_SECONDS: Final = 0.25
MEASURE_NONCES: Final = 1 << 14
"""Few enough that on a busy machine some scans fit between two interruptions by others."""


@dataclass(frozen=True, slots=True)
class StationMode:
    """A mode: its hashing threads, hashrate in TH/s and power in W; `measured_th_s` is what this machine does in it."""

    name: str
    threads: int
    th_s: float
    watts: float
    measured_th_s: float


@dataclass(frozen=True, slots=True)
class StationReading:
    """What the unit does: mode by its threads' own account, hashrate by its accepted shares, watts drawn."""

    mode: str | None
    hashrate_th_s: float
    power_w: float | None
    hashes: int
    working: bool


def measured_rate(versions: int, seconds: float = MEASURE_SECONDS) -> float:
    """Hashes per second of one thread with the chosen kernel, best of several short scans; blocks for `seconds`."""
    rolled = rolled_versions(0x2000_0000, DEFAULT_VERSION_MASK, versions)
    job, stop = kernel.ScanJob(bytes(80), rolled, 0), kernel.StopWord()
    best = 0.0
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        scanned = kernel.scan(job, 0, MEASURE_NONCES, stop).scanned
        best = max(best, scanned * len(rolled) / (time.perf_counter() - started))
    return best


def station_modes(config: CpuConfig, cores: int, thread_hashes_per_second: float) -> tuple[StationMode, ...]:
    """The unit's modes with hashrate and watts filled in, `off` first."""
    return tuple(
        StationMode(
            mode.name,
            mode.threads,
            mode.threads * thread_hashes_per_second / 1e12 if mode.th_s is None else mode.th_s,
            mode.watts or 0.0,
            mode.threads * thread_hashes_per_second / 1e12,
        )
        for mode in config.resolved_modes(cores)
    )


def share_difficulty(config: CpuConfig, modes: tuple[StationMode, ...]) -> float:
    """Difficulty of the unit's shares: the configured one, or what its fastest mode finds in a second."""
    if config.share_difficulty != "auto":
        return config.share_difficulty
    return max(mode.measured_th_s for mode in modes) * 1e12 * SECONDS_PER_SHARE / HASHES_PER_DIFFICULTY


class CpuStation:
    """Runs the CPU unit in one of its modes and reads it back.

    `paced`: the chain is a regtest, where the network's target is no proof of work; the unit then hashes against its own
    share target only. Elsewhere whatever meets the network's target is handed in, however hard a share is; of a pool's job, what
    meets the pool's.
    """

    def __init__(
        self,
        config: CpuConfig,
        modes: tuple[StationMode, ...],
        *,
        paced: bool,
        extranonce1: bytes,
        on_submission: Callable[[Submission, int], None],
        on_failure: Callable[[BaseException], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.modes = {mode.name: mode for mode in modes}
        self.full = max(modes, key=lambda mode: mode.threads).name
        self.rate = ShareRate()
        self._paced = paced
        self._clock = clock
        self._own_target = target_of_difficulty(share_difficulty(config, modes))
        fastest_th_s = max(mode.measured_th_s for mode in modes)
        self._easiest_target = target_of_difficulty(
            fastest_th_s * 1e12 / MOST_SHARES_PER_SECOND / HASHES_PER_DIFFICULTY
        )
        self._rapl = Rapl()
        self._told = ""
        self._unit = CpuUnit(
            UNIT_ID,
            {mode.name: mode.threads for mode in modes},
            versions=config.versions,
            extranonce1=extranonce1,
            on_submission=on_submission,
            on_failure=on_failure,
            clock=clock,
        )

    def start(self, mode: str) -> None:
        """Start the threads in `mode`. Raises ValueError for a mode the unit has not."""
        self._unit.start(mode)
        self._follow(mode)

    def stop(self) -> None:
        """End the threads."""
        self._unit.stop()

    def set_mode(self, name: str) -> None:
        """Run in `name` from now on. Raises ValueError for a mode the unit has not."""
        self._unit.set_mode(name)
        if name != self._told:
            self._follow(name)

    def set_job(self, job: Job | None) -> None:
        """Hash this job from now on; None is no work."""
        self._unit.set_work(None if job is None else Work(job, self._target(job)))

    def read(self) -> StationReading:
        """What the unit does now."""
        reading = self._unit.read()
        now = self._clock()
        return StationReading(
            mode=reading.mode,
            hashrate_th_s=self.rate.hashes_per_second(now) / 1e12,
            power_w=self._power_w(reading, now),
            hashes=reading.hashes,
            working=reading.working,
        )

    def _target(self, job: Job) -> int:
        if job.upstream is not None:
            # What the pool wants, even if that is easier than our own shares, but no flood of it.
            return max(self._own_target, min(job.handed_on_target, self._easiest_target))
        return self._own_target if self._paced else max(self._own_target, job.network_target)

    def _power_w(self, reading: CpuReading, now: float) -> float | None:
        """The packages' own counters where they can be read, else what the mode is configured to draw."""
        measured = self._rapl.watts(now)
        if measured is not None or reading.mode is None:
            return measured
        return self.modes[reading.mode].watts

    def _follow(self, mode: str) -> None:
        """Begin to count anew: the hashrate of one mode says nothing of another."""
        self._told = mode
        if self.modes[mode].threads:
            self.rate.start(self._clock())
        else:
            self.rate.stop()
