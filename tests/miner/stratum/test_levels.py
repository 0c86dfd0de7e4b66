"""Difficulty levels: which one a share is judged by."""

from hypothesis import given
from hypothesis import strategies as st

from miner.chain.difficulty import difficulty_of_target, target_of_difficulty
from miner.stratum.levels import KEPT_LEVELS, Levels


def test_the_old_difficulty_counts_for_jobs_sent_before_it_changed() -> None:
    levels = Levels(1.0)
    levels.change(8.0, from_serial=101)
    assert levels.of(100, None) == (0, 0, 1.0, target_of_difficulty(1.0), 1.0)
    assert levels.of(101, None) == levels.of(9999, None) == levels.newest
    assert levels.newest.difficulty == 8.0


def test_a_level_named_by_the_job_counts_unless_the_job_was_sent_under_a_later_one() -> None:
    levels = Levels(1.0)
    levels.change(8.0, from_serial=101)
    assert (named := levels.of(100, 1)) is not None
    assert named.difficulty == 8.0
    assert levels.of(500, 0) == levels.of(500, None) == levels.newest


def test_a_level_that_was_never_given_out_is_none() -> None:
    assert Levels(1.0).of(1, 1) is None


def test_levels_that_are_forgotten_count_as_the_oldest_that_is_not() -> None:
    levels = Levels(1.0, number=5)
    for step in range(1, 12):
        levels.change(1.0 + step, from_serial=100 * step)
    oldest = levels.of(0, None)
    assert oldest is not None
    assert oldest.number == levels.newest.number - KEPT_LEVELS + 1
    assert levels.of(0, 0) == levels.of(0, 6) == levels.of(0, oldest.number) == oldest


def test_two_changes_while_one_job_lasts_are_two_levels() -> None:
    levels = Levels(1.0)
    levels.change(2.0, from_serial=101)
    levels.change(4.0, from_serial=101)
    assert [level.difficulty for number in range(3) if (level := levels.of(100, number))] == [1.0, 2.0, 4.0]
    assert levels.of(101, None) == levels.newest


def test_what_is_credited_is_the_difficulty_of_the_target_also_where_that_saturates() -> None:
    level = Levels(1e-10).newest
    assert level.target == 2**256 - 1
    assert level.credit == difficulty_of_target(2**256 - 1) > level.difficulty


@given(
    st.lists(st.tuples(st.floats(1e-9, 1e9), st.integers(0, 5)), max_size=20),
    st.integers(0, 99),
    st.integers(0, 30),
)
def test_there_is_a_level_for_every_job_and_every_number_given_out(
    changes: list[tuple[float, int]], serial: int, number: int
) -> None:
    levels, at = Levels(1.0), 0
    for difficulty, jobs in changes:
        at += jobs
        levels.change(difficulty, at)
    assert levels.of(serial, None) is not None
    assert (levels.of(serial, number) is None) == (number > len(changes))


def test_all_that_are_kept_can_be_had_the_oldest_first() -> None:
    levels = Levels(1.0)
    assert levels.kept == (levels.newest,)
    for step in range(1, 12):
        levels.change(1.0 + step, from_serial=100 * step)
    assert [level.number for level in levels.kept] == list(range(4, 12))
