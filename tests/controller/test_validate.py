from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ticks import BTC_USD, POWER, UNITS, Tick
from controller.validate import MAINNET_RULES, TEST_CHAIN_RULES, Refused, SeriesRule, check_tick, stale_at

GOOD = Tick(POWER, 0.05, "USD/kWh", 0.0, math.inf, 100.0, "feed")


def why(tick: Tick, now: float = 100.0) -> str:
    verdict = check_tick(tick, MAINNET_RULES, now)
    return verdict.why if isinstance(verdict, Refused) else "good"


def test_a_price_within_its_bounds_is_good_and_a_negative_one_is_normal() -> None:
    assert why(GOOD) == "good"
    assert why(replace(GOOD, value=-0.2)) == "good"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 11.0, -1.5])
def test_what_is_not_a_price_is_refused(value: float) -> None:
    assert "outside -1 .. 10" in why(replace(GOOD, value=value))


@given(st.floats(), st.sampled_from(sorted(MAINNET_RULES)))
def test_only_finite_values_within_bounds_pass(value: float, series: str) -> None:
    verdict = check_tick(Tick(series, value, UNITS[series], 0, 1, 0, "x"), MAINNET_RULES, 0)
    rule = MAINNET_RULES[series]
    assert isinstance(verdict, Tick) == (math.isfinite(value) and rule.low <= value <= rule.high)


def test_a_zero_by_fault_is_no_bitcoin_price() -> None:
    assert "outside" in why(Tick(BTC_USD, 0.0, "USD/BTC", 0, math.inf, 100, "feed"))


def test_unknown_series_wrong_units_empty_validity_and_the_future_are_refused() -> None:
    assert why(replace(GOOD, series="weather")) == "series 'weather' is not known"
    assert why(replace(GOOD, unit="EUR/MWh")) == "unit 'EUR/MWh' is not 'USD/kWh'"
    assert why(replace(GOOD, valid_to=0.0)) == "its validity is empty"
    assert why(replace(GOOD, observed_at=161.0)) == "it claims to be observed in the future"
    assert why(replace(GOOD, observed_at=math.nan)) == "it claims to be observed in the future"


def test_a_tick_is_stale_at_its_greatest_age_or_when_its_validity_ends() -> None:
    rule = SeriesRule(0, 1, 60)
    assert stale_at(GOOD, rule) == 160
    assert stale_at(replace(GOOD, valid_to=120.0), rule) == 120


def test_both_presets_know_every_series() -> None:
    assert set(MAINNET_RULES) == set(TEST_CHAIN_RULES) == set(UNITS)


@pytest.mark.parametrize("numbers", [(1, 0, 60), (0, math.inf, 60), (0, 1, 0)])
def test_a_rule_that_admits_nothing_or_anything_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"bounds|max_age_s"):
        SeriesRule(*numbers)
