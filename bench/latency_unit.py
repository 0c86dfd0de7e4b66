"""How fast the CPU unit's threads take in new work, pause and resume, measured inside this process.

A thread has begun a job when it hands in its first hash of it. Jobs nearly every hash meets, for which it is waited, take turns
with jobs no hash meets, so that every thread is within a scan, as it is in mining, when it is interrupted.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final

from report import Series
from setting import MS, NEVER_A_SHARE

from miner.config import CpuConfig
from miner.hashing.station import OFF, CpuStation, station_modes
from miner.work.job import DEFAULT_VERSION_MASK, Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miner.work.share import Submission

GOAL_MS: Final = 50.0
LIMIT_S: Final = 30.0
HASHING_S: Final = (0.005, 0.03)
"""For how long threads hash between two interruptions, shortest and longest: they are met anywhere in a scan."""
LOOK_S: Final = 0.0001
EASY_BITS: Final = 0x207FFFFF
"""Every second hash meets it."""
HARD_BITS: Final = 0x17034219
"""No hash of ours meets it: the target of mainnet."""
BRANCHES: Final = 12
"""Merkle branches of a full block."""


class Gate:
    """Notes when each thread hands in its first hash of a job, and holds it there until all have and `release` is called.

    Held threads do not take the interpreter from those that have yet to begin, as shares by the million would.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._job_id = ""
        self._first: dict[int, float] = {}
        self._changed = threading.Condition()

    def expect(self, job_id: str) -> None:
        """From now on, wait for this job."""
        with self._changed:
            self._job_id, self._first = job_id, {}

    def take(self, submission: Submission, _share_target: int) -> None:
        """A thread's hash; called in that thread."""
        now = time.perf_counter()
        thread = int.from_bytes(submission.extranonce2, "big") % self._threads
        with self._changed:
            if submission.job_id == self._job_id:
                self._first.setdefault(thread, now)
                self._changed.notify_all()
                self._changed.wait_for(lambda: submission.job_id != self._job_id, LIMIT_S)

    def all_began(self) -> float:
        """When the last of the threads began, on the clock of time.perf_counter. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._first) == self._threads, LIMIT_S):
                raise TimeoutError(f"{len(self._first)} of {self._threads} threads began in {LIMIT_S:.0f} s")
            return max(self._first.values())

    def release(self) -> None:
        """Let the threads go on."""
        with self._changed:
            self._job_id = ""
            self._changed.notify_all()


def measure(threads: int, rounds: int) -> list[Series]:
    """New work, pause and resume of a unit with so many threads, `rounds` times each."""
    of = "1 thread" if threads == 1 else f"{threads} threads"
    taken = Series(
        f"new work hashed by each of {of}" if threads > 1 else f"new work hashed by {of}", "ms", GOAL_MS
    )
    paused = Series(f"pause of {of}", "ms", GOAL_MS)
    resumed = Series(f"resume of {of}", "ms", GOAL_MS)
    gate, failures = Gate(threads), list[BaseException]()
    config = CpuConfig(threads=threads, share_difficulty=NEVER_A_SHARE)
    modes = [mode for mode in station_modes(config, threads, 1.0) if mode.threads in {0, threads}]
    station = CpuStation(
        config,
        tuple(modes),
        paced=False,
        extranonce1=bytes(4),
        on_submission=gate.take,
        on_failure=failures.append,
    )
    station.set_job(_job("first", HARD_BITS))
    station.start(station.full)
    try:
        for number in range(rounds):
            taken.values.append(MS * _new_work(station, gate, number))
            paused.values.append(MS * _pause(station))
            resumed.values.append(MS * _resume(station, gate, number))
    finally:
        gate.release()
        station.stop()
    _assert_well(failures)
    return [taken, paused, resumed]


def _new_work(station: CpuStation, gate: Gate, number: int) -> float:
    """Seconds from `set_job` until the last thread hashed the new job."""
    _hash_a_while()
    easy, hard = _job(f"easy {number}", EASY_BITS), _job(f"hard {number}", HARD_BITS)
    gate.expect(easy.id)
    began = time.perf_counter()
    station.set_job(easy)
    took = gate.all_began() - began
    station.set_job(hard)
    gate.release()
    return took


def _pause(station: CpuStation) -> float:
    """Seconds from `set_mode` until the unit reads back that no thread hashes."""
    _hash_a_while()
    began = time.perf_counter()
    station.set_mode(OFF)
    while station.read().mode != OFF:
        time.sleep(LOOK_S)
        if time.perf_counter() - began > LIMIT_S:
            raise TimeoutError(f"no pause in {LIMIT_S:.0f} s")
    return time.perf_counter() - began


def _resume(station: CpuStation, gate: Gate, number: int) -> float:
    """Seconds from `set_mode` until the last thread hashed again."""
    easy, hard = _job(f"resumed {number}", EASY_BITS), _job(f"then {number}", HARD_BITS)
    at_pause = station.read().hashes
    station.set_job(easy)
    gate.expect(easy.id)
    _hash_a_while()
    assert station.read().hashes == at_pause, "a thread hashed in the pause"
    began = time.perf_counter()
    station.set_mode(station.full)
    took = gate.all_began() - began
    station.set_job(hard)
    gate.release()
    return took


def _hash_a_while() -> None:
    time.sleep(random.uniform(*HASHING_S))  # noqa: S311 - no secret


def _assert_well(failures: Sequence[BaseException]) -> None:
    assert not failures, f"a hashing thread failed: {failures[0]!r}"


def _job(job_id: str, bits: int) -> Job:
    """A job as large as those of mainnet."""
    now = time.time()
    return Job(
        id=job_id,
        origin="solo",
        height=900_000,
        version=0x20000000,
        version_mask=DEFAULT_VERSION_MASK,
        prev_hash=random.randbytes(32),  # noqa: S311 - no secret
        coinbase1=bytes(60),
        coinbase2=bytes(100),
        branch=tuple(bytes(32) for _ in range(BRANCHES)),
        bits=bits,
        ntime_s=int(now),
        min_time_s=int(now) - 3600,
        extranonce1_size=4,
        extranonce2_size=8,
        clean=True,
        reward_sat=312_500_000,
        payout_script=b"\x51",
        created_at=now,
    )
