from __future__ import annotations

import pytest

from controller.decisions import Decision, Reason
from controller.flip import (
    Between,
    FlipPoint,
    StartCost,
    flip_point,
    flips_text,
    hashprice_text,
    paused_text,
    power_text,
    time_text,
)
from controller.market import Market
from controller.units import Mode, PowerCurve, Step

CURVE = PowerCurve([Mode("eco", 76, 1850), Mode("full", 100, 2970)])
OFF, ECO, FULL = CURVE.modes


def market(hashprice: float = 40.0, power: float = 0.05) -> Market:
    return Market(0.0, hashprice, hashprice, None, power, (), None)


def test_a_flip_point_is_breakeven_moved_by_the_band() -> None:
    point = flip_point(Step(OFF, ECO), market(), 0.98)
    assert point.hashprice_usd_per_ph_day == pytest.approx(24 * 1850 / 76 * 0.05 / 0.98)
    assert point.power_usd_per_kwh == pytest.approx(40 / (24 * 1850 / 76) * 0.98)


def test_no_hashprice_matters_while_power_is_paid_for() -> None:
    assert flip_point(Step(OFF, ECO), market(power=-0.01), 1.0).hashprice_usd_per_ph_day is None
    assert flips_text(CURVE, OFF, market(power=-0.01), 0.0) == "runs again below 6.85 ct/kWh"


def test_a_step_that_gains_no_hashrate_turns_on_a_negative_price_alone() -> None:
    step = Step(FULL, Mode("heater", 90, 3970))
    point = flip_point(step, market(), 1.0)
    assert point.hashprice_usd_per_ph_day is None
    assert point.power_usd_per_kwh == pytest.approx(-40 / 24e3 * 10)


def test_each_direction_is_said_in_words() -> None:
    assert flips_text(CURVE, OFF, market(), 0.0) == "runs again above $29.21/PH/day or below 6.85 ct/kWh"
    assert flips_text(CURVE, ECO, market(), 0.0) == (
        "pauses below $29.21/PH/day or above 6.85 ct/kWh; up to full above $56.00/PH/day or below 3.57 ct/kWh"
    )
    assert flips_text(CURVE, FULL, market(), 0.0) == "down to eco below $56.00/PH/day or above 3.57 ct/kWh"


def test_small_and_large_prices_keep_their_meaning() -> None:
    assert hashprice_text(41.2) == "$41.20/PH/day"
    assert hashprice_text(0.00123) == "$0.00123/PH/day"
    assert hashprice_text(1234567.8) == "$1,234,567.80/PH/day"
    assert power_text(0.059) == "5.9 ct/kWh"
    assert power_text(-0.0321) == "-3.21 ct/kWh"
    assert power_text(123.4) == "12,340 ct/kWh"


def test_prices_of_a_chain_without_value_are_told_by_their_power_of_ten() -> None:
    assert hashprice_text(1.944e26) == "$1.94e+26/PH/day"
    assert hashprice_text(999_999_999.0) == "$999,999,999.00/PH/day"
    assert power_text(3.3e19) == "3.3e+21 ct/kWh"
    assert len(flips_text(CURVE, FULL, market(hashprice=1.944e26), 0.02)) < 80


def test_times_are_utc_and_rounded_up() -> None:
    assert time_text(1_700_000_000.2) == "2023-11-14 22:13:21Z"


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        (
            {"hashprice_usd_per_ph_day": 38.1, "breakeven_hashprice_usd_per_ph_day": 41.2},
            "hashprice $38.10/PH/day is below its breakeven of $41.20/PH/day",
        ),
        (
            {"hashprice_usd_per_ph_day": 44.0, "breakeven_hashprice_usd_per_ph_day": 41.2},
            "hashing pays again and its turn is near",
        ),
        ({"hashprice_usd_per_ph_day": 44.0}, "hashing does not pay"),
        ({"stale_since_s": 1.0}, "prices are not known"),
    ],
)
def test_who_is_paused_is_told_why_and_that_it_ends(numbers: dict[str, float], why: str) -> None:
    decision = Decision("1", 0.0, "u", "on", "off", Reason.PAUSE, numbers)
    assert paused_text(decision) == f"paused: {why}; comes back by itself"


def test_who_was_paused_before_a_restart_is_told_so() -> None:
    assert paused_text(None) == "paused: prices are not known; comes back by itself"


def test_where_power_is_short_its_price_counts_for_more_of_it_and_room_would_do_too() -> None:
    cheap = market(power=0.03)
    assert flips_text(CURVE, ECO, cheap, 0.0, 0.02).partition("; ")[2] == (
        "up to full above $56.00/PH/day, below 1.57 ct/kWh, or when 1.12 kW are free"
    )


def test_what_others_would_make_of_the_power_is_no_price_at_which_a_unit_pauses() -> None:
    # Where prices fall, they fall for those others too, and the limit binds no more.
    for shadow in (0.0, 0.01, 0.5):
        down = flips_text(CURVE, ECO, market(), 0.0, shadow).partition("; ")[0]
        assert down == "pauses below $29.21/PH/day or above 6.85 ct/kWh"


def test_a_unit_that_stands_where_the_shadow_price_alone_would_not_have_it_is_told_plain_prices() -> None:
    assert flips_text(CURVE, FULL, market(power=0.03), 0.0, 0.5) == (
        "down to eco below $33.60/PH/day or above 3.57 ct/kWh"
    )
    assert flips_text(CURVE, OFF, market(power=0.03), 0.0, 0.001) == "runs again when 1.85 kW are free"


def test_who_pays_for_a_step_is_asked_with_the_dead_band_and_the_shadow_price() -> None:
    step, dear = Step(OFF, ECO), market(power=0.068)
    assert flip_point(step, dear, 1.0).is_reached(dear)
    assert not flip_point(step, dear, 0.98).is_reached(dear)
    assert not flip_point(step, dear, 1.0, 0.01).is_reached(dear)


def test_a_start_must_earn_what_it_costs_within_the_horizon() -> None:
    costs = StartCost(restart_s=600, wear_usd=2.0, hours=36)
    assert flips_text(CURVE, OFF, market(power=0.08), 0.02, 0.0, costs) == (
        "runs again above $64.58/PH/day or below 3.81 ct/kWh, to earn a start within 36 h"
    )
    assert flips_text(CURVE, FULL, market(), 0.0, 0.0, costs) == flips_text(CURVE, FULL, market(), 0.0)


def test_a_start_that_costs_less_than_the_dead_band_asks_for_changes_no_price() -> None:
    costs = StartCost(restart_s=600, wear_usd=0.0, hours=36)
    assert flips_text(CURVE, OFF, market(power=0.08), 0.02, 0.0, costs) == (
        flips_text(CURVE, OFF, market(power=0.08), 0.02)
    )


def test_a_start_that_takes_longer_than_the_horizon_is_told_as_one_that_no_price_makes_up_for() -> None:
    costs = StartCost(restart_s=3600, wear_usd=0.0, hours=1)
    assert costs.point(CURVE, market()) is None
    assert flips_text(CURVE, OFF, market(), 0.0, 0.0, costs) == (
        "a start costs more than it could earn within 1 h"
    )


def test_a_start_that_is_paid_for_by_a_negative_price_needs_no_hashprice() -> None:
    costs = StartCost(restart_s=0, wear_usd=2.0, hours=36)
    assert flips_text(CURVE, OFF, market(power=-0.05), 0.0, 0.0, costs).startswith("runs again below ")


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (Reason.SIGNAL, "the grid or its operator asks for it"),
        (Reason.OVERRIDE, "its operator asks for it"),
        (Reason.HOLD_THERMAL, "it is too hot"),
        (Reason.SITE_CAP, "the site's power is limited"),
    ],
)
def test_who_is_paused_for_another_reason_than_prices_is_told_that_one(reason: Reason, why: str) -> None:
    decision = Decision("1", 0.0, "u", "on", "off", reason, {"hashprice_usd_per_ph_day": 44.0})
    assert paused_text(decision) == f"paused: {why}; comes back by itself"


def test_where_the_coming_prices_are_not_known_the_prices_between_which_a_unit_stays_are_told() -> None:
    down, up = (OFF, FlipPoint(31.2, 0.083)), (FULL, FlipPoint(None, -0.012))
    assert Between(down, up).text(ECO) == (
        "pauses below $31.20/PH/day or above 8.3 ct/kWh; up to full below -1.2 ct/kWh, by what is expected now"
    )
    assert Between(None, (ECO, FlipPoint(41.2, 0.059)), is_seen=False).text(OFF) == (
        "runs again above $41.20/PH/day or below 5.9 ct/kWh, by the last known price and what is expected now"
    )
    assert Between((ECO, FlipPoint(31.2, 0.083)), None).text(FULL).startswith("down to eco below $31.20")


def test_a_step_up_pays_the_shadow_price_of_power_too() -> None:
    between = Between(None, (ECO, FlipPoint(41.2, 0.059)))
    assert between.text(OFF, 0.02) == "runs again below 3.9 ct/kWh, by what is expected now"
