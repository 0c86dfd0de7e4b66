"""The band is as wide as its formula says, and where a price has a way back it is not all that counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.recent import KEPT
from controller.worth_band import CALM, band, half_width, unfitted, volatility_of
from controller.worth_seen import AHEAD, Sees

HOURS = 0.25
costs = st.floats(1e-9, 1.0)
prices = st.floats(-1.0, 10.0)
volatilities = st.floats(0.0, 5.0)


def now(sees: Sees, price: float, volatility: float, breakeven: float, cost: float) -> float:
    """What being on is worth from the quarter hour on that the decision is for, as a share of the cost."""
    told = band(price, volatility, np.array([breakeven]), np.array([cost]), sees)[0]
    return float(told) if sees is Sees.B else (breakeven - price) * HOURS / cost + float(told)


@pytest.mark.parametrize("sees", Sees)
def test_a_unit_stops_half_a_width_below_and_starts_half_a_width_above(sees: Sees) -> None:
    volatility, cost, breakeven = 0.02, 0.008, 0.05
    half = (3 * volatility**2 * cost / 4) ** (1 / 3)
    assert half_width(volatility, np.array([cost])) == pytest.approx([half])
    narrow = {"sees": sees, "volatility": volatility, "breakeven": breakeven, "cost": cost}
    assert now(price=breakeven + 0.99 * half, **narrow) > 0 > now(price=breakeven + 1.2 * half, **narrow)
    assert now(price=breakeven - 0.99 * half, **narrow) < 1 < now(price=breakeven - 1.2 * half, **narrow)
    assert now(price=breakeven, **narrow) == pytest.approx(0.5)


def test_a_price_that_stands_still_is_judged_by_its_breakeven_alone() -> None:
    assert now(Sees.B, 0.051, 0.0, 0.05, 0.01) < 0
    assert now(Sees.B, 0.049, 0.0, 0.05, 0.01) > 1


@given(price=prices, volatility=volatilities, breakeven=prices, cost=costs)
def test_the_worth_is_a_number_within_bounds_and_falls_with_the_price(
    price: float, volatility: float, breakeven: float, cost: float
) -> None:
    one, other = np.array([breakeven]), np.array([cost])
    told = band(price, volatility, one, other, Sees.A)[0]
    assert 0 <= told <= 1
    following = band(price, volatility, one, other, Sees.B)[0]
    dearer = band(price + 0.01, volatility, one, other, Sees.B)[0]
    assert np.isfinite(following)
    assert dearer <= following


@given(
    price=prices,
    volatility=st.floats(1e-5, 5.0),
    breakeven=prices,
    cost=st.floats(1e-5, 1.0),
    rate=st.floats(0.01, 100),
    adder=st.floats(-1, 1),
)
def test_neither_currency_nor_what_comes_on_top_matters(
    price: float, volatility: float, breakeven: float, cost: float, rate: float, adder: float
) -> None:
    here = band(price, volatility, np.array([breakeven]), np.array([cost]), Sees.B)
    there = band(
        (price + adder) * rate,
        volatility * rate,
        np.array([(breakeven + adder) * rate]),
        np.array([cost * rate]),
        Sees.B,
    )
    assert there == pytest.approx(here, rel=1e-6, abs=1e-6)


def test_a_spike_does_not_make_the_band_wide() -> None:
    calm = 0.04 + 0.001 * (np.arange(KEPT) % 2)
    spiked = calm.copy()
    spiked[-3] = 5.0
    assert volatility_of(calm, KEPT) == pytest.approx(0.001 * 2)
    assert volatility_of(spiked, KEPT) == pytest.approx(CALM * 0.001 * 2)


def test_a_price_known_once_does_not_move() -> None:
    assert volatility_of(np.full(KEPT, 0.05), 1) == 0.0
    assert volatility_of(np.arange(KEPT) * 1.0, 2) == 2.0


@pytest.mark.parametrize("sees", Sees)
def test_without_a_model_the_worth_lies_between_a_walk_and_the_way_back(sees: Sees) -> None:
    recent = 0.03 + 0.001 * (np.arange(KEPT) % 2)
    recent[-3:] = 0.055  # above the breakeven, but it will not last
    breakeven, cost = np.array([0.05]), np.array([0.008])
    level = np.full(1 + AHEAD, 0.03)
    walk = band(0.055, volatility_of(recent, KEPT), breakeven, cost, sees)
    told = unfitted(recent, KEPT, level, breakeven, cost, sees)
    assert walk < told
    if sees is Sees.A:
        assert told <= 1
