"""How sure a regret is."""

import numpy as np
import pytest

from controller.backtest_intervals import WEEK, regret_interval, regret_of


def test_regret_is_the_part_that_is_left_to_the_oracle() -> None:
    assert regret_of(90.0, 100.0) == pytest.approx(0.1)


def test_where_the_oracle_earns_nothing_there_is_no_regret() -> None:
    assert regret_of(-5.0, 0.0) is None
    assert regret_interval(np.zeros(3 * WEEK), np.zeros(3 * WEEK), 1) is None


def test_one_week_says_nothing_of_another() -> None:
    assert regret_interval(np.ones(WEEK), np.ones(WEEK), 1) is None
    assert regret_interval(np.ones(2 * WEEK - 1), np.ones(2 * WEEK - 1), 1) is None
    assert regret_interval(np.ones(2 * WEEK), np.ones(2 * WEEK), 1) is not None


def test_the_same_regret_every_week_is_sure() -> None:
    low, high = regret_interval(np.full(5 * WEEK, 0.9), np.ones(5 * WEEK), 1) or (0.0, 0.0)
    assert (low, high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_one_bad_week_of_ten_makes_it_unsure_and_the_seed_makes_it_the_same_again() -> None:
    oracle = np.ones(10 * WEEK)
    policy = np.where(np.arange(10 * WEEK) < WEEK, 0.0, 1.0)
    found = regret_interval(policy, oracle, 7)
    assert found == regret_interval(policy, oracle, 7)
    assert found is not None
    assert found[0] == pytest.approx(0.0)
    assert 0.2 <= found[1] <= 0.5
