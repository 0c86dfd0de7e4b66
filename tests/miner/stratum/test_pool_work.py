"""What is in force when a job comes: difficulty and place count for the jobs that follow, a mask at once."""

from typing import Any

import pytest

from miner.chain.difficulty import target_of_difficulty
from miner.stratum.pool_events import Work
from miner.stratum.pool_work import CALLS, PoolWork
from miner.stratum.v1 import ProtocolError

CAN_ROLL = 0x1FFFE000


def job(job_id: str, *, clean: bool = False) -> list[Any]:
    return [job_id, "00" * 32, "01", "02", [], "20000000", "1d00ffff", "6553f3bc", clean]


def opened(mask: str | None = "1fffe000") -> PoolWork:
    """A connection that is logged in, with place 0a0b, and has had its first job."""
    work = PoolWork(CAN_ROLL)
    if mask is not None:
        work.configured({"version-rolling": True, "version-rolling.mask": mask}, None)
    work.subscribed([[], "0a0b", 4])
    assert work.open() is None
    work.notify(job("first"))
    return work


def given_by(work: PoolWork, job_id: str, *, clean: bool = False) -> Work:
    made = work.notify(job(job_id, clean=clean))
    assert made is not None
    return made


def test_without_a_difficulty_it_is_one() -> None:
    made = given_by(opened(), "a")
    assert (made.difficulty, made.share_target) == (1.0, target_of_difficulty(1.0))


def test_the_old_difficulty_counts_for_jobs_that_came_before_it_changed() -> None:
    work = opened()
    work.set_difficulty([8])
    eight = given_by(work, "a")
    work.set_difficulty([0.5])
    work.set_difficulty([0.25])
    assert (eight.difficulty, given_by(work, "b").difficulty) == (8, 0.25)
    work.set_target(["00ff"])
    assert given_by(work, "c").share_target == 0xFF


def test_another_extranonce_counts_from_the_next_job_on() -> None:
    work = opened()
    before = given_by(work, "a")
    work.set_extranonce(["0c", 6])
    after = given_by(work, "b")
    assert (before.extranonce1, before.extranonce2_size) == (b"\x0a\x0b", 4)
    assert (after.extranonce1, after.extranonce2_size) == (b"\x0c", 6)


def test_the_first_job_of_a_connection_is_clean_and_later_ones_as_the_pool_says() -> None:
    work = PoolWork(0)
    work.subscribed([[], "0a0b", 4])
    work.open()
    assert [given_by(work, "a", clean=clean).notify.clean for clean in (False, False, True)] == [
        True,
        False,
        True,
    ]


def test_jobs_that_come_before_the_login_wait_for_it_and_the_newest_is_the_first() -> None:
    work = PoolWork(CAN_ROLL)
    work.subscribed([[], "0a0b", 4])
    work.set_difficulty([7])
    assert work.notify(job("a", clean=True)) is None
    assert work.notify(job("b")) is None
    work.set_difficulty([9])
    work.configured({"version-rolling": True, "version-rolling.mask": "1fffffff"}, None)
    made = work.open()
    assert made is not None
    assert (made.notify.job_id, made.notify.clean, made.difficulty) == ("b", True, 7)
    assert made.version_mask == CAN_ROLL


def test_a_job_that_comes_before_the_subscription_is_kept_for_it() -> None:
    work = PoolWork(0)
    assert work.notify(["whatever"]) is None
    assert work.notify(job("a")) is None
    assert work.early_job() == job("a")
    assert work.early_job() is None


def test_the_mask_is_what_both_can_roll() -> None:
    assert opened("00ffffff").mask == 0x00FFE000
    assert opened("00000001").mask == 0
    assert opened(None).mask is None


def test_bits_that_are_taken_end_the_job_as_it_was_and_it_comes_again_without_them() -> None:
    work = opened()
    work.set_difficulty([8])
    before = given_by(work, "a")
    work.set_difficulty([16])
    work.set_extranonce(["0c", 6])
    again = work.set_version_mask(["0000e000"])
    assert again is not None
    assert (again.notify.job_id, again.notify.clean, again.version_mask) == ("a", True, 0xE000)
    assert (again.difficulty, again.extranonce1) == (8, before.extranonce1)  # it is the same job
    assert given_by(work, "b").version_mask == 0xE000


def test_bits_that_are_given_wait_for_the_next_job() -> None:
    work = opened("0000e000")
    assert work.set_version_mask(["1fffe000"]) is None
    assert given_by(work, "b").version_mask == CAN_ROLL
    never_asked = opened(None)
    assert never_asked.set_version_mask(["1fffe000"]) is None
    assert given_by(never_asked, "b").version_mask == CAN_ROLL


def test_who_cannot_roll_is_given_no_mask() -> None:
    work = PoolWork(0)
    work.set_version_mask(["1fffe000"])
    assert work.mask is None


def test_bits_taken_before_the_login_are_not_in_the_first_job() -> None:
    work = PoolWork(CAN_ROLL)
    work.configured({"version-rolling": True, "version-rolling.mask": "1fffe000"}, None)
    work.subscribed([[], "0a0b", 4])
    work.notify(job("a"))
    assert work.set_version_mask(["0000e000"]) is None
    made = work.open()
    assert made is not None
    assert made.version_mask == 0xE000


@pytest.mark.parametrize("method", CALLS)
def test_what_cannot_be_understood_changes_nothing(method: str) -> None:
    work = opened()
    before = given_by(work, "a")
    for params in ([], [None], ["x"], [[]], [{}]):
        with pytest.raises(ProtocolError):
            CALLS[method](work, params)
    after = given_by(work, "a")
    assert after == before
