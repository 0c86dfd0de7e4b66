from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ticks import BTC_USD, POWER, UNITS, Tick
from controller.validate import (
    FX_RULE,
    MAINNET_RULES,
    SIGNAL_RULE,
    TEST_CHAIN_RULES,
    Refused,
    SeriesRule,
    aged_from,
    check_tick,
    rule_for,
    stale_at,
)

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


def test_what_was_known_before_its_time_grows_old_from_its_beginning_on() -> None:
    rule = SeriesRule(0, 1, 60)
    announced = replace(GOOD, valid_from=10_000.0, valid_to=20_000.0)
    assert aged_from(announced) == 10_000
    assert stale_at(announced, rule) == 10_060
    assert stale_at(replace(announced, valid_to=10_030.0), rule) == 10_030
    seen_again = replace(announced, observed_at=10_500.0)
    assert stale_at(seen_again, rule) == 10_560


def test_an_exchange_rate_is_believed_within_bounds_that_fit_every_currency() -> None:
    rate = Tick("usd_per_eur", 1.08, "USD/EUR", 0.0, math.inf, 100.0, "rates")
    assert why(rate) == "good"
    assert why(replace(rate, value=0.0)) == "0 USD/EUR is outside 1e-06 .. 100"
    assert why(replace(rate, unit="EUR/USD")) == "unit 'EUR/USD' is not 'USD/EUR'"


def test_a_signal_is_in_force_or_a_power_and_never_grows_old() -> None:
    signal = Tick("signal:grid", 1.0, "1", 0.0, 900.0, 0.0, "inbox")
    assert why(signal) == "good"
    assert why(replace(signal, value=500.0, unit="kW")) == "good"
    assert why(replace(signal, unit="MW")) == "unit 'MW' is not '1' or 'kW'"
    assert why(replace(signal, value=-1.0, unit="kW")) == "-1 kW is outside 0 .. 1e+09"
    assert stale_at(replace(signal, valid_to=1e9), SIGNAL_RULE) == 1e9


def test_a_rule_that_is_given_outranks_that_of_its_kind() -> None:
    own = SeriesRule(1.0, 2.0, 60.0)
    assert rule_for("usd_per_eur", {"usd_per_eur": own}) is own
    assert rule_for("usd_per_eur", {}) is FX_RULE
    assert rule_for("signal:x", {}) is SIGNAL_RULE
    assert rule_for("btc_usd", {}) is None
    assert rule_for("weather", MAINNET_RULES) is None


def test_both_presets_know_every_series() -> None:
    assert set(MAINNET_RULES) == set(TEST_CHAIN_RULES) == set(UNITS)


@pytest.mark.parametrize("numbers", [(1, 0, 60), (0, math.inf, 60), (0, 1, 0)])
def test_a_rule_that_admits_nothing_or_anything_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"bounds|max_age_s"):
        SeriesRule(*numbers)
