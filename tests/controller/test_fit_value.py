from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from controller.fit_rows import draw, history, reach, rows
from controller.fit_value import SETTINGS, FitError, Settings, exported, learn, learners
from controller.synthetic import synthetic_market
from controller.worth_features import NAMES, WITHOUT_DAY_AHEAD
from controller.worth_seen import Sees
from controller.worth_trees import LEAF, UNIT, Trees, grown

SMALL = replace(SETTINGS, rows=4000, rounds=2, trees=15, early_trees=8, least_leaf=30, fits=1)
MARKET = synthetic_market(60)
PRICES = MARKET.real_time.values * 0.001
AHEAD = np.repeat(MARKET.day_ahead.values * 0.001, 4)
OF = history(int(MARKET.real_time.starts[0] // 900), PRICES, AHEAD)
REACH = reach(PRICES)


def learned(
    sees: Sees, *, settings: Settings = SMALL, seed: int = 1, day_ahead: bool = True
) -> tuple[Trees, list[float]]:
    told: list[float] = []
    moments = OF.moments(8, day_ahead=day_ahead)
    assert REACH is not None
    trees, _ = learn(
        OF, moments, REACH, sees, day_ahead=day_ahead, seed=seed, settings=settings, progress=told.append
    )
    return trees, told


@pytest.fixture(scope="module")
def seeing_a() -> Trees:
    return learned(Sees.A)[0]


def test_exported_trees_say_what_scikit_learn_says_on_either_side_of_every_threshold() -> None:
    random = np.random.default_rng(1)
    columns = np.array(WITHOUT_DAY_AHEAD)
    look = random.normal(size=(1500, len(NAMES))).astype(np.float32)
    target = np.sin(look[:, columns[0]]) + (look[:, columns[3]] > 0.3) + 10.0
    model = learners()(max_iter=20, max_leaf_nodes=31, early_stopping=False).fit(look[:, columns], target)
    trees = grown(*exported(model, columns))
    asks = trees.feature != LEAF
    edges = np.repeat(look[:1], 3 * asks.sum(), axis=0)
    threshold = trees.threshold[asks]
    for side, at in enumerate((np.nextafter(threshold, -np.inf), threshold, np.nextafter(threshold, np.inf))):
        edges[np.arange(side, len(edges), 3), trees.feature[asks]] = at
    for each in (look, edges):
        assert np.abs(trees.predict(each) - model.predict(each[:, columns])).max() < 21 * UNIT


def test_the_worth_seeing_the_price_is_a_share_of_the_cost_and_falls_as_prices_rise(seeing_a: Trees) -> None:
    assert REACH is not None
    drawn = draw(OF, OF.moments(8, day_ahead=True), REACH, 4000, np.random.default_rng(7))
    worth = seeing_a.predict(rows(OF, drawn))
    assert worth.min() > -0.3
    assert worth.max() < 1.3
    far = (drawn.breakeven - PRICES[drawn.at]) * 0.25 / drawn.cost
    assert worth[far > 2].mean() > 0.7
    assert worth[far < -2].mean() < 0.4


def test_the_worth_not_seeing_the_price_has_its_margin_in_it() -> None:
    trees, _ = learned(Sees.B)
    assert REACH is not None
    drawn = draw(OF, OF.moments(8, day_ahead=True), REACH, 4000, np.random.default_rng(7))
    worth = trees.predict(rows(OF, drawn))
    assert worth.max() > 1.5
    assert worth.min() < -0.5


def test_the_same_seed_gives_the_same_trees_and_another_one_others(seeing_a: Trees) -> None:
    again, other = learned(Sees.A)[0], learned(Sees.A, seed=2)[0]
    assert np.array_equal(seeing_a.value, again.value)
    assert np.array_equal(seeing_a.threshold, again.threshold)
    assert not np.array_equal(seeing_a.value, other.value)


def test_several_fits_tell_their_mean() -> None:
    both, told = learned(Sees.A, settings=replace(SMALL, fits=2))
    assert len(both.starts) == 2 * SMALL.trees
    assert told == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1])
    assert REACH is not None
    drawn = draw(OF, OF.moments(8, day_ahead=True), REACH, 500, np.random.default_rng(7))
    assert 0.2 < both.predict(rows(OF, drawn)).mean() < 0.9


def test_without_day_ahead_prices_no_tree_asks_for_them() -> None:
    trees, _ = learned(Sees.A, day_ahead=False)
    assert set(trees.feature.tolist()) <= {*WITHOUT_DAY_AHEAD, LEAF}


def test_a_short_history_is_not_drawn_from_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def counted(*given: object) -> object:
        counts.append(given[3])  # type: ignore[arg-type]
        return draw(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("controller.fit_value.draw", counted)
    moments = OF.moments(8, day_ahead=True)[:300]
    assert REACH is not None
    learn(
        OF, moments, REACH, Sees.A, day_ahead=True, seed=1, settings=replace(SMALL, rounds=1), progress=print
    )
    assert counts == [3000]


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(FitError, match=r"hashmill\[fit\]"):
        learners()


def test_what_is_learned_is_the_same_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(SMALL, rows=2000, rounds=1, trees=3)
    one = learned(Sees.A, settings=tiny)[0]
    monkeypatch.setattr("controller.fit_value.FEW_ROWS", 0)
    assert np.array_equal(learned(Sees.A, settings=tiny)[0].value, one.value)
