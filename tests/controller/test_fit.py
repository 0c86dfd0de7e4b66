from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import controller.fit
from controller.fit import LEAST_DAYS, FitReport, fit
from controller.fit_value import SETTINGS, FitError, learn
from controller.model import read_model
from controller.recorded import Series
from controller.synthetic import synthetic_market
from controller.worth_seen import Sees

SMALL = replace(SETTINGS, rows=1500, rounds=2, trees=5, early_trees=3, leaves=15, fits=1)
MARKET = synthetic_market(45)


def fitted(
    rt: Series = MARKET.real_time, day_ahead: Series | None = MARKET.day_ahead, seed: int = 1
) -> tuple[bytes, FitReport]:
    return fit(rt, day_ahead, name="nowhere", seed=seed, progress=lambda _, __: None, settings=SMALL)


@pytest.fixture(scope="module")
def both() -> tuple[bytes, FitReport]:
    return fitted()


def test_a_model_has_trees_for_all_that_may_be_seen_and_chains_and_spans(
    both: tuple[bytes, FitReport],
) -> None:
    model = read_model(both[0])
    for day_ahead in (True, False):
        assert all(model.trees(sees, day_ahead=day_ahead) is not None for sees in Sees)
        assert model.span(day_ahead=day_ahead) is not None
        assert model.markov(day_ahead=day_ahead) is not None


def test_facts_say_where_it_comes_from_and_how_well_it_does(both: tuple[bytes, FitReport]) -> None:
    data, report = both
    facts = read_model(data).facts
    assert facts == report.facts
    assert (facts["market"], facts["from"], facts["until"]) == (
        "nowhere",
        "2024-01-01T00:00:00Z",
        "2024-02-15T00:00:00Z",
    )
    assert (facts["quarters"], facts["day_ahead"], facts["gaps"], facts["seed"]) == (45 * 96, True, 0, 1)
    assert facts["held_out_from"] == "2024-02-06T00:00:00Z"
    assert set(facts["checks"]) == {"A", "B"}
    for row in (row for rows in facts["checks"].values() for row in rows):
        assert set(row["regret"]) == set(row["starts"]) == {"fitted", "band", "threshold", "always_on"}
    assert report.notes == ("45 days do not show every season: fit again as the history grows",)


def test_what_is_held_out_has_no_say_in_what_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    between: list[object] = []

    def learned(*given: Any, **how: Any) -> Any:
        between.append(given[2])
        return learn(*given, **how)

    monkeypatch.setattr(controller.fit, "learn", learned)
    held_out = MARKET.real_time.starts >= MARKET.real_time.starts[0] + 36 * 86_400
    for values in (MARKET.real_time.values, np.where(held_out, 900.0, MARKET.real_time.values)):
        fitted(replace(MARKET.real_time, values=values), None)
    assert between[0] == between[1] == between[4] == between[5]
    assert between[2] != between[6]


def test_the_same_seed_gives_the_same_bytes(both: tuple[bytes, FitReport]) -> None:
    assert fitted()[0] == both[0]


def test_a_market_of_another_currency_and_level_learns_the_same(both: tuple[bytes, FitReport]) -> None:
    # A power of two changes no digit of a price, only its size.
    rt, ahead = (replace(each, values=each.values * 8) for each in (MARKET.real_time, MARKET.day_ahead))
    other, here = read_model(fitted(rt, ahead)[0]), read_model(both[0])
    for sees in Sees:
        one, two = (model.trees(sees, day_ahead=False) for model in (other, here))
        assert one is not None
        assert two is not None
        assert len(one.starts) == len(two.starts)


def test_without_a_day_ahead_file_a_model_is_for_decisions_without(both: tuple[bytes, FitReport]) -> None:
    data, report = fitted(day_ahead=None)
    model = read_model(data)
    assert model.trees(Sees.A, day_ahead=True) is None
    assert model.trees(Sees.A, day_ahead=False) is not None
    assert len(data) < len(both[0])
    assert any("no day-ahead prices" in note for note in report.notes)


def test_progress_rises_to_the_end_and_says_what_is_done() -> None:
    told: list[tuple[float, str]] = []
    fit(
        MARKET.real_time,
        None,
        name="x",
        progress=lambda part, doing: told.append((part, doing)),
        settings=replace(SMALL, trees=3, early_trees=3),
    )
    parts = [part for part, _ in told]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0, 1)
    assert {doing for _, doing in told} == {
        "looking at the history",
        "checking A on 2024-02-06, without day-ahead prices",
        "checking B on 2024-02-06, without day-ahead prices",
        "learning A, without day-ahead prices",
        "learning B, without day-ahead prices",
        "done",
    }


def test_gaps_are_left_out_and_told() -> None:
    rt = MARKET.real_time
    kept = np.ones(len(rt.starts), np.bool_)
    kept[1000:1100] = kept[2000:2003] = False
    holed = Series(rt.starts[kept], rt.values[kept], 900.0, "p.csv")
    _, report = fitted(holed)
    assert report.facts["quarters"] == 45 * 96 - 103
    assert any("2 gaps were left out, the first: p.csv: nothing" in note for note in report.notes)


def test_hours_are_repeated_negative_prices_are_prices() -> None:
    hours = replace(MARKET.day_ahead, values=MARKET.day_ahead.values - 60.0)
    data, report = fitted(hours, None)
    assert read_model(data).trees(Sees.B, day_ahead=False) is not None
    assert report.facts["step_s"] == 3600
    assert report.facts["breakevens_usd_per_mwh"][0] < 0
    assert any("60 minutes" in note for note in report.notes)


def test_a_market_that_stands_still_has_nothing_to_teach() -> None:
    rt = replace(MARKET.real_time, values=np.full(len(MARKET.real_time.values), 50.0))
    with pytest.raises(FitError, match="the price does not move"):
        fitted(rt, None)


def test_a_market_that_hardly_ever_moves_is_fitted_all_the_same() -> None:
    values = np.full(len(MARKET.real_time.values), 50.0)
    values[::40] = 51.0
    values[::15] = 49.0
    data, _ = fitted(replace(MARKET.real_time, values=values), None)
    assert read_model(data).trees(Sees.A, day_ahead=False) is not None


def test_too_short_a_history_is_refused() -> None:
    rt, ahead = MARKET.real_time, MARKET.day_ahead
    with pytest.raises(FitError, match=rf"has 20.0 days: {LEAST_DAYS:g} are needed"):
        fitted(rt.between(rt.starts[0], rt.starts[0] + 20 * 86_400))
    with pytest.raises(FitError, match=r"day-ahead prices are known on .* days of the price history"):
        fitted(rt, ahead.between(rt.starts[0], rt.starts[0] + 20 * 86_400))
