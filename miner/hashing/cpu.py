"""The CPU unit: threads over the C core's scanner, turned up and down by the number of threads that hash."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from miner import kernel
from miner.work.extranonce import thread_extranonces
from miner.work.job import Job, ntime_at
from miner.work.share import Submission

log = logging.getLogger(__name__)

SLICE_SECONDS = 0.01
"""How long a scan should take. What it finds is handed in when it ends, so a block waits up to this long; a stop word ends
a scan sooner.
"""
LEAST_NONCES = 1 << 10
MOST_NONCES = 1 << 20
HEADER_SECONDS = 15.0
"""How long one extranonce is hashed before the next is taken with a fresh time."""
NICENESS = 10
"""Hashing gives way to everything else on the machine: the node, the daemon's own event loop, the operator's shell."""
NONCES = 1 << 32


@dataclass(frozen=True, slots=True)
class Work:
    """A job and the target a hash must meet to be handed in (256-bit; easier than the network's on a real chain)."""

    job: Job
    share_target: int


@dataclass(frozen=True, slots=True)
class CpuReading:
    """What the threads say of themselves: `threads` that hash or wait for work, hashes since the start."""

    mode: str | None
    threads: int
    hashes: int
    working: bool


class CpuUnit:
    """Hashes on as many threads as its mode says and hands in what meets the share target.

    Modes map a name to a number of threads; 0 threads is a pause. `on_submission` is called from a hashing
    thread, with the submission and the share target it met. New work, a pause and a resume stop the running scans through their stop words and are taken up within
    a few microseconds of hashing. Threads are started once and parked when their mode does not want them.
    """

    def __init__(
        self,
        unit_id: str,
        modes: Mapping[str, int],
        *,
        versions: int,
        extranonce1: bytes,
        on_submission: Callable[[Submission, int], None],
        on_failure: Callable[[BaseException], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not any(modes.values()):
            raise ValueError(f"unit {unit_id}: no mode with a hashing thread")
        self.unit_id = unit_id
        self._modes = dict(modes)
        self._versions = versions
        self._extranonce1 = extranonce1
        self._on_submission = on_submission
        self._on_failure = on_failure
        self._clock = clock
        count = max(self._modes.values())
        self._changed = threading.Condition()
        self._generation = 0
        self._work: Work | None = None
        self._wanted = 0
        self._closing = False
        self._awake = [False] * count
        self._hashes = [0] * count
        self._slice_nonces = [LEAST_NONCES] * count
        self._stops = [kernel.StopWord() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._guarded, args=(index,), name=f"{unit_id}-{index}", daemon=True)
            for index in range(count)
        ]

    def start(self, mode: str) -> None:
        """Start the threads in `mode`."""
        self.set_mode(mode)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; what they found before is handed in."""
        with self._changed:
            self._closing = True
            self._interrupt()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=5)

    def set_work(self, work: Work | None) -> None:
        """Hash this from now on; None is no work."""
        with self._changed:
            self._work = work
            self._interrupt()

    def set_mode(self, mode: str) -> None:
        """Hash on as many threads as `mode` has. Raises ValueError for a mode this unit has not."""
        if mode not in self._modes:
            raise ValueError(f"unit {self.unit_id} has no mode {mode!r}; it has {', '.join(self._modes)}")
        with self._changed:
            self._wanted = self._modes[mode]
            self._interrupt()

    def read(self) -> CpuReading:
        """What the threads are doing now, by their own account, whatever was wished."""
        threads = sum(self._awake)
        mode = next((name for name, count in self._modes.items() if count == threads), None)
        working = self._work is not None and threads > 0
        return CpuReading(mode=mode, threads=threads, hashes=sum(self._hashes), working=working)

    def _interrupt(self) -> None:
        self._generation += 1
        for stop in self._stops:
            stop.set()
        self._changed.notify_all()

    def _guarded(self, index: int) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
            self._run(index)
        except BaseException as error:
            log.critical(
                "hashing_thread_failed", extra={"unit": self.unit_id, "hashing_thread": index}, exc_info=True
            )
            self._on_failure(error)
        finally:
            self._awake[index] = False

    def _run(self, index: int) -> None:
        slices: Iterator[bytes] = iter(())
        size = -1
        while (taken := self._take(index)) is not None:
            generation, work = taken
            if work.job.extranonce2_size != size:
                size = work.job.extranonce2_size
                slices = again_and_again(index, len(self._threads), size)
            self._hash(index, generation, work, slices)

    def _take(self, index: int) -> tuple[int, Work] | None:
        """Wait until this thread is wanted and there is work; None when the unit closes."""
        with self._changed:
            while not self._closing:
                self._awake[index] = index < self._wanted
                if self._awake[index] and self._work is not None:
                    self._stops[index].clear()
                    return self._generation, self._work
                self._changed.wait()
            return None

    def _hash(self, index: int, generation: int, work: Work, slices: Iterator[bytes]) -> None:
        """Hash one extranonce after the other until something changes."""
        job = work.job
        extranonce1 = self._extranonce1[: job.extranonce1_size]
        versions = rolled_versions(job.version, job.version_mask, self._versions)
        while generation == self._generation:
            extranonce2 = next(slices)
            ntime_s = ntime_at(job, self._clock())
            header, _ = kernel.share_header(job.share_job, extranonce1, extranonce2, ntime_s, 0, job.version)
            scan_job = kernel.ScanJob(header, versions, work.share_target)
            until = time.monotonic() + HEADER_SECONDS
            nonce = 0
            while nonce < NONCES and generation == self._generation and time.monotonic() < until:
                result = self._scan(index, scan_job, nonce)
                nonce += result.scanned
                self._hashes[index] += result.scanned * len(versions)
                for hit in result.hits:
                    submission = Submission(
                        unit_id=self.unit_id,
                        job_id=job.id,
                        extranonce1=extranonce1,
                        extranonce2=extranonce2,
                        ntime_s=ntime_s,
                        nonce=hit.nonce,
                        version_bits=hit.version & job.version_mask,
                    )
                    self._on_submission(submission, work.share_target)

    def _scan(self, index: int, scan_job: kernel.ScanJob, nonce: int) -> kernel.ScanResult:
        """One scan from `nonce` on, of about SLICE_SECONDS by what this thread's last one took."""
        count = min(self._slice_nonces[index], NONCES - nonce)
        began = time.monotonic()
        result = kernel.scan(scan_job, nonce, count, self._stops[index])
        self._slice_nonces[index] = slice_nonces(result.scanned, time.monotonic() - began)
        return result


def again_and_again(thread: int, threads: int, size: int) -> Iterator[bytes]:
    """The extranonces of a thread, from the first again after the last: the time has moved on meanwhile, where they are few.

    Where there are fewer than threads, some threads share one.
    """
    of = min(threads, 256**size)
    while True:
        yield from thread_extranonces(thread % of, of, size)


def slice_nonces(scanned: int, took_s: float) -> int:
    """How many nonces fit into SLICE_SECONDS if `scanned` took `took_s` seconds, within what a scan may be."""
    fitting = scanned * SLICE_SECONDS / max(took_s, 1e-6)
    return min(max(round(fitting), LEAST_NONCES), MOST_NONCES)


def rolled_versions(version: int, mask: int, count: int) -> tuple[int, ...]:
    """Up to `count` versions that differ from `version` only within `mask`, lowest bits first (BIP320)."""
    bits = [1 << bit for bit in range(32) if mask >> bit & 1]
    count = min(count, 1 << min(len(bits), 32))
    rolled = []
    for index in range(count):
        value = sum(bit for place, bit in enumerate(bits) if index >> place & 1)
        rolled.append(version & ~mask | value)
    return tuple(rolled)
