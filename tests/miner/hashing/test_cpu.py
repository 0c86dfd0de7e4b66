import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import pytest

from miner import kernel
from miner.chain.difficulty import hash_to_int, target_of_difficulty
from miner.hashing.cpu import (
    LEAST_NONCES,
    MOST_NONCES,
    SLICE_SECONDS,
    CpuUnit,
    Work,
    again_and_again,
    rolled_versions,
    slice_nonces,
)
from miner.kernel import share_header
from miner.work.job import Job
from miner.work.share import Submission

MODES = {"off": 0, "half": 1, "full": 2}
EASY = target_of_difficulty(1e-6)
NEVER = 0


def job(job_id: str = "1", extranonce2_size: int = 8) -> Job:
    return Job(
        id=job_id,
        origin="solo",
        height=101,
        version=0x20000000,
        version_mask=0x1FFFE000,
        prev_hash=bytes(range(32)),
        coinbase1=b"\x01" * 50,
        coinbase2=b"\x02" * 60,
        branch=(b"\x03" * 32,),
        bits=0x1D00FFFF,
        ntime_s=1_700_000_000,
        min_time_s=1_600_000_000,
        extranonce1_size=4,
        extranonce2_size=extranonce2_size,
        clean=True,
        reward_sat=50,
        payout_script=b"\x51",
        created_at=time.time(),
    )


class Found:
    """Keeps what a unit hands in."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.failures: list[BaseException] = []
        self.arrived = threading.Event()

    def take(self, submission: Submission, share_target: int) -> None:
        assert share_target in {EASY, NEVER}
        self.submissions.append(submission)
        self.arrived.set()


def eventually(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@pytest.fixture
def found() -> Found:
    return Found()


@pytest.fixture
def unit(found: Found) -> Iterator[CpuUnit]:
    made = CpuUnit(
        "cpu",
        MODES,
        versions=8,
        extranonce1=b"\xaa" * 4,
        on_submission=found.take,
        on_failure=found.failures.append,
    )
    yield made
    made.stop()
    assert found.failures == []


def test_what_is_handed_in_meets_the_share_target_and_names_its_job(unit: CpuUnit, found: Found) -> None:
    work = Work(job(), EASY)
    unit.set_work(work)
    unit.start("full")
    eventually(lambda: len(found.submissions) >= 20)
    unit.stop()
    for submission in found.submissions:
        assert submission.job_id == "1"
        assert submission.version_bits is not None
        assert submission.version_bits & ~work.job.version_mask == 0
        _, digest = share_header(
            work.job.share_job,
            submission.extranonce1,
            submission.extranonce2,
            submission.ntime_s,
            submission.nonce,
            work.job.version | submission.version_bits,
        )
        assert hash_to_int(digest) <= EASY


def test_no_header_is_hashed_twice_by_any_thread(unit: CpuUnit, found: Found) -> None:
    unit.start("full")
    for number in range(5):
        unit.set_work(Work(job(), EASY))
        wanted = 20 * (number + 1)
        eventually(lambda wanted=wanted: len(found.submissions) >= wanted)  # type: ignore[misc]
    unit.stop()
    hashed = [(s.extranonce2, s.ntime_s, s.nonce, s.version_bits) for s in found.submissions]
    assert len(set(hashed)) == len(hashed)


def test_threads_take_different_slices_of_the_extranonce(unit: CpuUnit, found: Found) -> None:
    unit.set_work(Work(job(), EASY))
    unit.start("full")
    eventually(lambda: len({s.extranonce2[-1] % 2 for s in found.submissions}) == 2)


def test_a_pause_ends_the_hashing_and_a_resume_begins_it_again(unit: CpuUnit) -> None:
    unit.set_work(Work(job(), NEVER))
    unit.start("full")
    eventually(lambda: unit.read().hashes > 0)
    unit.set_mode("off")
    eventually(lambda: unit.read().mode == "off")
    paused_at = unit.read().hashes
    time.sleep(0.1)
    reading = unit.read()
    assert (reading.hashes, reading.threads, reading.working) == (paused_at, 0, False)
    unit.set_mode("full")
    eventually(lambda: unit.read().mode == "full" and unit.read().hashes > paused_at)


def test_the_mode_read_back_is_the_threads_own_account_not_the_wish(unit: CpuUnit) -> None:
    unit.set_work(Work(job(), NEVER))
    assert unit.read().mode == "off"
    unit.set_mode("full")
    assert unit.read().mode == "off"
    unit.start("half")
    eventually(lambda: unit.read().mode == "half")


def test_new_work_replaces_the_old_at_once(unit: CpuUnit, found: Found) -> None:
    unit.set_work(Work(job("old"), NEVER))
    unit.start("full")
    eventually(lambda: unit.read().hashes > 0)
    unit.set_work(Work(job("new"), EASY))
    assert found.arrived.wait(20)
    assert found.submissions[0].job_id == "new"


def test_without_work_the_threads_wait(unit: CpuUnit) -> None:
    unit.set_work(Work(job(), NEVER))
    unit.start("full")
    eventually(lambda: unit.read().hashes > 0)
    unit.set_work(None)
    time.sleep(0.1)
    hashes = unit.read().hashes
    time.sleep(0.1)
    reading = unit.read()
    assert (reading.hashes, reading.mode, reading.working) == (hashes, "full", False)


def test_a_job_may_have_another_extranonce_size(unit: CpuUnit, found: Found) -> None:
    unit.start("full")
    for size in (8, 2, 4):
        found.arrived.clear()
        unit.set_work(Work(job(str(size), size), EASY))
        eventually(lambda size=size: found.submissions != [] and found.submissions[-1].job_id == str(size))  # type: ignore[misc]
        assert len(found.submissions[-1].extranonce2) == size


def test_of_a_narrow_extranonce1_the_unit_hashes_its_first_bytes(unit: CpuUnit, found: Found) -> None:
    unit.start("full")
    unit.set_work(Work(replace(job("n", 2), extranonce1_size=2), EASY))
    eventually(lambda: found.submissions)
    whole = unit._extranonce1
    assert {submission.extranonce1 for submission in found.submissions} == {whole[:2]}


def test_the_extranonces_of_a_thread_begin_anew_after_the_last_one() -> None:
    taken = list(islice(again_and_again(1, 2, 1), 256))
    assert taken == [bytes([value]) for value in (*range(1, 256, 2), *range(1, 256, 2))]


def test_where_there_are_fewer_extranonces_than_threads_some_share_one() -> None:
    assert next(again_and_again(300, 1024, 1)) == bytes([300 % 256])


def test_an_unknown_mode_is_refused_and_changes_nothing(unit: CpuUnit) -> None:
    with pytest.raises(ValueError, match="no mode 'turbo'; it has off, half, full"):
        unit.set_mode("turbo")


def test_a_unit_that_could_never_hash_is_refused(found: Found) -> None:
    with pytest.raises(ValueError, match="no mode with a hashing thread"):
        CpuUnit(
            "cpu",
            {"off": 0},
            versions=1,
            extranonce1=bytes(4),
            on_submission=found.take,
            on_failure=found.failures.append,
        )


def test_a_thread_that_fails_says_so_and_does_not_count_as_hashing(found: Found) -> None:
    def broken(_submission: Submission, _target: int) -> None:
        raise RuntimeError("nobody listens")

    unit = CpuUnit(
        "cpu", MODES, versions=1, extranonce1=bytes(4), on_submission=broken, on_failure=found.failures.append
    )
    unit.set_work(Work(job(), EASY))
    unit.start("half")
    eventually(lambda: bool(found.failures))
    eventually(lambda: unit.read().threads == 0)
    unit.stop()
    assert str(found.failures[0]) == "nobody listens"


def test_the_time_in_the_header_follows_the_clock(found: Found) -> None:
    now = 1_700_000_500.0
    work = Work(replace(job(), created_at=now - 100.0), EASY)
    unit = CpuUnit(
        "cpu",
        MODES,
        versions=1,
        extranonce1=bytes(4),
        on_submission=found.take,
        on_failure=found.failures.append,
        clock=lambda: now,
    )
    unit.set_work(work)
    unit.start("half")
    assert found.arrived.wait(20)
    unit.stop()
    assert found.submissions[0].ntime_s == 1_700_000_100


def test_a_scan_is_so_long_that_a_hit_waits_for_its_end_only_briefly() -> None:
    assert slice_nonces(40_000, 4 * SLICE_SECONDS) == 10_000
    assert slice_nonces(40_000, SLICE_SECONDS / 2) == 80_000


def test_a_scan_that_told_nothing_of_the_speed_does_not_end_the_hashing_or_run_away() -> None:
    assert slice_nonces(0, 0.0) == LEAST_NONCES
    assert slice_nonces(64, 60.0) == LEAST_NONCES
    assert slice_nonces(1 << 32, 0.0) == MOST_NONCES


def test_the_length_of_scans_follows_the_speed_of_each_thread(
    unit: CpuUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[int] = []

    def scan(_job: kernel.ScanJob, _first: int, count: int, _stop: kernel.StopWord) -> kernel.ScanResult:
        scanned.append(count)
        time.sleep(SLICE_SECONDS)
        return kernel.ScanResult((), 50_000)

    monkeypatch.setattr(kernel, "scan", scan)
    unit.set_work(Work(job(), NEVER))
    unit.start("half")
    eventually(lambda: len(scanned) >= 3)
    unit.stop()
    assert scanned[0] == LEAST_NONCES
    assert all(LEAST_NONCES < count <= 50_000 for count in scanned[1:])


def test_versions_differ_within_the_mask_only() -> None:
    versions = rolled_versions(0x20000000, 0x1FFFE000, 16)
    assert len(set(versions)) == 16
    assert all(version & ~0x1FFFE000 == 0x20000000 for version in versions)
    assert versions[0] == 0x20000000


def test_a_narrow_mask_gives_as_many_versions_as_it_has() -> None:
    assert rolled_versions(0x20000000, 0x00004000, 8) == (0x20000000, 0x20004000)
    assert rolled_versions(0x20000000, 0, 8) == (0x20000000,)
