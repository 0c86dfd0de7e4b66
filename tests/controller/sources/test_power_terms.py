"""Units of prices, and the one formula of what a kWh costs in the end."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.sources.power_terms import PriceUnit, Terms, all_in, price_unit

money = st.floats(min_value=-10, max_value=10)
ratios = st.floats(min_value=0, max_value=3)


@pytest.mark.parametrize(
    ("name", "currency", "per_kwh"),
    [
        ("usd_per_kwh", "USD", 1.0),
        ("eur_per_mwh", "EUR", 0.001),
        ("gbp_cents_per_kwh", "GBP", 0.01),
        ("pence_per_kwh", "GBP", 0.01),
        ("usd_cents_per_mwh", "USD", 0.00001),
    ],
)
def test_a_unit_says_currency_and_factor(name: str, currency: str, per_kwh: float) -> None:
    unit = price_unit(name)
    assert unit.currency == currency
    assert unit.per_kwh == pytest.approx(per_kwh)


@pytest.mark.parametrize(
    "name", ["", "usd", "usd_per_gwh", "USD_PER_KWH", "euro_per_mwh", "price", "usd_per_kwh "]
)
def test_what_is_no_unit_is_refused_with_words(name: str) -> None:
    with pytest.raises(ValueError, match="write it like usd_per_kwh or eur_per_mwh"):
        price_unit(name)


def test_the_formula_taxes_the_sum_and_then_counts_the_overhead() -> None:
    paid = all_in(0.08, 0.11, Terms(tax_ratio=0.19, overhead_ratio=0.05))
    assert paid == pytest.approx((0.08 + 0.11) * 1.19 * 1.05)


def test_without_terms_a_price_is_what_it_is_to_the_last_bit() -> None:
    assert all_in(0.0612345, 0.0, Terms()) == 0.0612345


def test_a_negative_price_is_taxed_too_and_stays_negative() -> None:
    assert all_in(-0.3, 0.1, Terms(tax_ratio=0.2)) == pytest.approx(-0.24)


@settings(deadline=None)
@given(money, money, money, ratios, ratios)
def test_a_higher_energy_price_never_costs_less(
    low: float, step: float, adder: float, tax: float, overhead: float
) -> None:
    terms = Terms(tax, overhead)
    assert all_in(low + abs(step), adder, terms) >= all_in(low, adder, terms)


@pytest.mark.parametrize("value", [-0.01, math.inf, math.nan])
def test_terms_that_turn_a_price_around_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        Terms(tax_ratio=value)
    with pytest.raises(ValueError, match="must be at least 0"):
        Terms(overhead_ratio=value)


def test_units_can_be_compared() -> None:
    assert price_unit("eur_per_mwh") == PriceUnit("EUR", 0.001)
