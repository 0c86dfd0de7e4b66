"""A price goes back to its usual level, which the last day and the day-ahead price tell."""

from __future__ import annotations

import numpy as np
import pytest

from controller.recent import KEPT
from controller.worth_course import by_course, levels
from controller.worth_seen import AHEAD, Sees

COST = np.array([0.01])


def test_the_level_lies_between_the_median_yesterday_and_the_day_ahead_price() -> None:
    prices = np.full(KEPT, 0.04)
    prices[3:13] = 0.06  # yesterday's evening, and no spike
    level = levels(prices[None, :], None)[0]
    assert level[[2, 3, 12, 13]] == pytest.approx([0.04, 0.05, 0.05, 0.04])
    ahead = np.full((1, 1 + AHEAD), 0.08)
    ahead[0, 5] = np.nan
    told = levels(prices[None, :], ahead)[0]
    assert told[[2, 3, 5]] == pytest.approx([0.06, 0.065, 0.05])


def test_a_spike_of_yesterday_is_not_expected_again() -> None:
    prices = np.full(KEPT, 0.04)
    prices[7:9] = 5.0
    assert levels(prices[None, :], None)[0] == pytest.approx(np.full(1 + AHEAD, 0.04))


def test_a_high_price_over_a_low_level_is_sat_out_only_if_it_is_high_enough() -> None:
    level = np.full(1 + AHEAD, 0.03)
    breakeven = np.array([0.05])
    dt = 0.25
    for price, stays in ((0.055, True), (0.2, False)):
        ratio = by_course(level, price, breakeven, COST, Sees.A)
        now = (breakeven - price) * dt + ratio * COST
        assert (now > 0) == stays
        following = by_course(level, price, breakeven, COST, Sees.B)
        assert (following > 0) == stays
        assert 0 <= ratio[0] <= 1


def test_far_from_the_breakeven_it_is_worth_all_or_nothing() -> None:
    level = np.full(1 + AHEAD, 0.03)
    for breakeven, worth in ((1.0, 1.0), (-1.0, 0.0)):
        assert by_course(level, 0.03, np.array([breakeven]), COST, Sees.A) == worth
        following = by_course(level, 0.03, np.array([breakeven]), COST, Sees.B)
        assert following == pytest.approx(worth + (breakeven - 0.03) * 0.25 / 0.01)
