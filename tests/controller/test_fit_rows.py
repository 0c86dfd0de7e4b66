from __future__ import annotations

import numpy as np
import pytest

from controller.fit_rows import KEPT, History, Reach, draw, history, margin, reach, rows
from controller.synthetic import synthetic_market
from controller.worth_features import LEADS, features
from controller.worth_seen import AHEAD

MARKET = synthetic_market(40)
PRICES = MARKET.real_time.values * 0.001
AHEAD_PRICES = np.repeat(MARKET.day_ahead.values * 0.001, 4)
FIRST = int(MARKET.real_time.starts[0] // 900)


def whole() -> History:
    return history(FIRST, PRICES, AHEAD_PRICES)


def between() -> Reach:
    found = reach(PRICES)
    assert found is not None
    return found


def test_a_row_is_what_a_decision_would_look_at_then() -> None:
    of, at = whole(), 1500
    drawn = draw(of, np.array([at]), between(), 20, np.random.default_rng(1))
    count = len(drawn.at)
    then = features(
        np.tile(PRICES[at - KEPT + 1 : at + 1], (count, 1)),
        np.tile(AHEAD_PRICES[at : at + AHEAD + 1], (count, 1)),
        np.full(count, FIRST + at),
        drawn.breakeven,
        drawn.cost,
    )
    assert np.array_equal(rows(of, drawn), then)


def test_what_comes_after_a_moment_does_not_change_its_row_nor_whether_it_is_drawn() -> None:
    changed = PRICES.copy()
    changed[2001:] = PRICES[2001:][::-1]
    of, other = whole(), history(FIRST, changed, AHEAD_PRICES)
    moments = np.arange(100, 2001)
    one = draw(of, moments, between(), 500, np.random.default_rng(3))
    two = draw(other, moments, between(), 500, np.random.default_rng(3))
    assert np.array_equal(one.at, two.at)
    assert np.array_equal(rows(of, one), rows(other, two))


def test_breakevens_and_costs_are_drawn_within_reach_and_mostly_where_it_is_not_plain() -> None:
    of, reached = whole(), between()
    drawn = draw(of, of.moments(1, day_ahead=True), reached, 4000, np.random.default_rng(1))
    assert len(drawn.at) == len(drawn.breakeven) == len(drawn.cost) == 4000
    assert (reached.low <= drawn.breakeven).all()
    assert (drawn.breakeven <= reached.high).all()
    assert (reached.least_cost <= drawn.cost).all()
    assert (drawn.cost <= reached.most_cost).all()
    assert np.mean(np.abs(margin(of, drawn, 0)) < 4) > 0.6


def test_reach_follows_the_prices_below_zero_too_and_says_when_they_stand_still() -> None:
    here = between()
    higher = reach(PRICES - 1.0)
    assert higher is not None
    assert higher.low == pytest.approx(here.low - 1)
    assert higher.high == pytest.approx(here.high - 1)
    assert reach(np.full(1000, 0.05)) is None


def test_moments_in_and_around_gaps_are_left_out() -> None:
    prices = PRICES.copy()
    prices[1000:1010] = np.nan
    found = history(FIRST, prices, AHEAD_PRICES).moments(8, day_ahead=True)
    assert found[0] >= 23
    assert found[-1] == len(PRICES) - 1 - max(LEADS) - 8
    assert not set(range(992, 1010)) & set(found.tolist())
    assert 991 in found
    assert 1100 in found


def test_without_day_ahead_prices_only_moments_that_need_none_are_there() -> None:
    of = history(FIRST, PRICES, None)
    assert not len(of.moments(1, day_ahead=True))
    assert len(of.moments(1, day_ahead=False)) > 3000


def test_moments_end_before_what_is_held_out() -> None:
    assert whole().moments(8, day_ahead=True, stop=2000)[-1] == 1991
