from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from controller import fit_check
from controller.fit_check import TYPICAL, _hindsight, _lived, check
from controller.fit_rows import History, Reach, history, reach
from controller.synthetic import synthetic_market
from controller.worth_seen import Sees
from controller.worth_trees import Tree, grown

NOTHING = np.zeros(1, np.int64)
HALF = grown([Tree(NOTHING, NOTHING * 0.0, NOTHING, NOTHING, NOTHING * 0.0, NOTHING == 0)], 0.5)
MARKET = synthetic_market(40)
PRICES = MARKET.real_time.values * 0.001
START = 3000


def of(prices: np.ndarray = PRICES) -> History:
    return history(0, prices, None)


def between() -> Reach:
    found = reach(PRICES)
    assert found is not None
    return found


def test_hindsight_earns_what_the_best_of_all_ways_does() -> None:
    random = np.random.default_rng(4)
    for _ in range(20):
        margins = random.normal(0, 1, 8)
        best = -math.inf
        for ways in product((0, 1), repeat=8):
            starts = sum(1 for before, now in zip((1, *ways), ways, strict=False) if now > before)
            best = max(best, float(np.dot(ways, margins)) - starts)
        assert _hindsight(margins) == pytest.approx(best)


def test_a_life_stops_at_nothing_and_starts_above_the_cost() -> None:
    margins = np.array([1.0, -2.0, 0.4, 1.5, 1.0])
    worth = np.array([1.0, 0.0, 0.9, 1.1, math.nan])
    assert _lived(margins, worth) == (1.0 + 1.5 + 1.0 - 1.0, 1)


def test_always_on_and_threshold_stand_beside_the_rules() -> None:
    for sees in Sees:
        found = check(of(), START, between(), sees, HALF)
        assert [each.percentile for each in found] == list(TYPICAL)
        for each in found:
            assert set(each.regret) == {"fitted", "band", "threshold", "always_on"}
            assert all(regret >= 0 for regret in each.regret.values())
            assert each.starts["always_on"] == 0
    for sighted, blind in zip(check(of(), START, between(), Sees.A, HALF), found, strict=True):
        for policy in ("band", "threshold"):
            assert sighted.regret[policy] < blind.regret[policy]
        assert sighted.regret["band"] < sighted.regret["threshold"]


@pytest.mark.parametrize("sees", Sees)
def test_no_rule_is_told_what_comes(sees: Sees, monkeypatch: pytest.MonkeyPatch) -> None:
    lives: list[np.ndarray] = []
    monkeypatch.setattr(fit_check, "_lived", lambda _, worth: (lives.append(worth), (0.0, 0))[1])
    changed = PRICES.copy()
    changed[3400:] = changed[3400:][::-1]  # the same prices in another order: percentiles and breakevens stay
    for prices in (PRICES, changed):
        check(of(prices), START, between(), sees, HALF)
    count = len(lives) // 2
    last = 400 if sees is Sees.A else 401
    for one, two in zip(lives[:count], lives[count:], strict=True):
        assert np.array_equal(one[:last], two[:last])
    assert any(one[last] != two[last] for one, two in zip(lives[:count], lives[count:], strict=True))


def test_in_gaps_nothing_is_earned_and_nothing_changes() -> None:
    prices = PRICES.copy()
    prices[3100:3200] = np.nan
    found = check(of(prices), START, between(), Sees.A, HALF)
    assert len(found) == len(TYPICAL)
    assert all(0 <= regret < math.inf for each in found for regret in each.regret.values())


def test_where_nothing_was_to_be_earned_there_is_no_share_of_it() -> None:
    assert check(of(np.full(4000, 0.05)), START, between(), Sees.A, HALF) == ()
    assert check(of(np.append(PRICES[:START], np.full(50, np.nan))), START, between(), Sees.A, HALF) == ()
