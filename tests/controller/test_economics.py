"""The formulas of the specification, with its figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.economics import (
    best_mode,
    best_of,
    breakeven_hashprice,
    breakeven_power_price,
    cash_cost_usd_per_btc,
    margin_usd_per_hour,
    marginal_steps,
    power_usd_per_hour,
    restart_loss_usd,
    revenue_usd_per_hour,
    step_margin_usd_per_hour,
)
from controller.hashprice import hashprice_usd_per_ph_day
from controller.units import Mode, PowerCurve, Step

LADDER = PowerCurve(
    [
        Mode("1850", 76, 1850),
        Mode("2000", 80, 2000),
        Mode("2300", 87, 2300),
        Mode("2500", 92, 2500),
        Mode("2700", 96, 2700),
        Mode("2970", 100, 2970),
    ]
)


@pytest.mark.parametrize(("j_per_th", "cents"), [(13.5, 12.3), (17.5, 9.5), (21.5, 7.8), (29.5, 5.65)])
def test_breakeven_power_prices_at_40_dollars(j_per_th: float, cents: float) -> None:
    assert breakeven_power_price(j_per_th, 40) * 100 == pytest.approx(cents, abs=0.06)


def test_the_last_step_of_the_ladder_breaks_even_at_24_7_while_the_average_says_56() -> None:
    last = marginal_steps(LADDER, 40, 0.05)[-1]
    assert last.breakeven_power_usd_per_kwh * 1000 == pytest.approx(24.7, abs=0.05)
    assert breakeven_power_price(LADDER.full.j_per_th, 40) * 1000 == pytest.approx(56, abs=0.2)


def test_the_lowest_mode_of_the_ladder_still_pays_at_68() -> None:
    first = marginal_steps(LADDER, 40, 0.068)[0]
    assert first.step.upper.name == "1850"
    assert first.margin_usd_per_hour > 0
    assert first.breakeven_power_usd_per_kwh * 1000 == pytest.approx(68.5, abs=0.05)


def test_throttling_comes_before_pausing_as_power_gets_dearer() -> None:
    prices = [0.02, 0.03, 0.035, 0.042, 0.06, 0.07]
    assert [best_mode(LADDER, 40, price).name for price in prices] == [
        "2970",
        "2700",
        "2500",
        "2000",
        "1850",
        "off",
    ]


def test_breakeven_hashprice_is_what_a_day_of_power_costs() -> None:
    # One PH/s at 20 J/TH draws 20 kW: 480 kWh a day.
    assert breakeven_hashprice(20, 0.05) == pytest.approx(24)


@given(st.floats(1, 200), st.floats(0.001, 5))
def test_breakevens_are_each_others_inverse(j_per_th: float, power: float) -> None:
    assert breakeven_power_price(j_per_th, breakeven_hashprice(j_per_th, power)) == pytest.approx(power)


@given(st.floats(1, 500), st.floats(0.001, 1))
def test_margin_is_zero_at_breakeven(hashprice: float, watts_scale: float) -> None:
    mode = Mode("full", 100, 3000 * watts_scale)
    power = breakeven_power_price(mode.j_per_th, hashprice)
    assert margin_usd_per_hour(mode, hashprice, power) == pytest.approx(0, abs=1e-9)


def test_off_costs_its_standby_watts() -> None:
    assert margin_usd_per_hour(Mode("off", 0, 12), 40, 0.10) == pytest.approx(-0.0012)


def test_revenue_and_power_by_the_hour() -> None:
    assert revenue_usd_per_hour(1000, 48) == pytest.approx(2)
    assert power_usd_per_hour(3000, 0.05) == pytest.approx(0.15)
    assert power_usd_per_hour(3000, -0.05) == pytest.approx(-0.15)


def test_a_step_is_worth_the_difference_of_its_modes() -> None:
    step = Step(LADDER.mode("2700"), LADDER.mode("2970"))
    margins = [margin_usd_per_hour(mode, 40, 0.03) for mode in (step.lower, step.upper)]
    assert step_margin_usd_per_hour(step, 40, 0.03) == pytest.approx(margins[1] - margins[0])


def test_breakeven_of_no_efficiency_is_refused() -> None:
    with pytest.raises(ValueError, match="J/TH"):
        breakeven_power_price(0, 40)


def test_at_equal_margins_the_mode_that_draws_least_wins() -> None:
    curve = PowerCurve([Mode("full", 1000, 20_000)])
    assert best_mode(curve, 24.0, 0.05).name == "off"


def test_a_dead_band_keeps_a_mode_that_is_barely_beaten() -> None:
    off, full = PowerCurve([Mode("full", 1000, 20_000)]).modes
    for hashprice, chosen in ((24.2, off), (25.0, full)):
        best = best_of([off, full], hashprice, 0.05, away_from=off, dead_band=0.02)
        assert best is chosen


def test_cash_cost_of_a_bitcoin_is_its_price_at_breakeven() -> None:
    difficulty, reward, j_per_th = 146.47e12, 312_500_000 + 1_550_000, 20.0
    cost = cash_cost_usd_per_btc(difficulty, j_per_th, 0.06, reward, 0.98)
    hashprice = hashprice_usd_per_ph_day(difficulty, 312_500_000, 1_550_000, cost) * 0.98
    assert breakeven_power_price(j_per_th, hashprice) == pytest.approx(0.06)
    with pytest.raises(ValueError, match="reward"):
        cash_cost_usd_per_btc(difficulty, j_per_th, 0.06, 0)


def test_a_restart_loses_its_minutes_of_revenue_and_wear() -> None:
    assert restart_loss_usd(Mode("full", 1000, 20_000), 600, 48, wear_usd=0.1) == pytest.approx(2 / 6 + 0.1)
