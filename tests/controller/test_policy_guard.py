"""The last guard: never more power than allowed, whatever is planned."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.decisions import Reason
from controller.policy import PolicyConfig, SiteConfig
from controller.units import OFF, Mode, PowerCurve, Unit
from tests.controller.fleet_rig import CURVE, LIVE, NOW, TICK, Fleet, no_plan, reasons

THRIFTY = PowerCurve([Mode("on", 100, 2000)])
HUNGRY = PowerCurve([Mode("eco", 60, 1500), Mode("on", 100, 3000)])


def capped(kw: float, most: int | None = None) -> PolicyConfig:
    return replace(LIVE, site=SiteConfig(kw), max_changes_per_minute=most)


def test_ups_wait_until_the_downs_that_make_room_were_read_back() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", HUNGRY), config=capped(3.5), mode=OFF)
    fleet.modes["b"] = "on"
    fleet.deaf = {"b"}
    for count in range(12):
        decisions = fleet.decide(NOW + count * TICK, 0.02)
        assert fleet.modes["a"] == OFF, "the other one still draws"
    assert decisions[0].reason in {Reason.HOLD_SITE_CAP, Reason.CONFIRMING}
    assert decisions[0].flip.startswith("changes to on when 2 kW are free")
    fleet.deaf = set()
    fleet.decide(NOW + 12 * TICK, 0.02)
    assert fleet.decide(NOW + 13 * TICK, 0.02)[0].reason is Reason.RESUME


def test_over_the_limit_without_a_plan_the_least_efficient_watts_go_first() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", HUNGRY), Unit("c", HUNGRY), config=capped(7.0), mode="on")
    decisions = fleet.decide(NOW, 0.02, make_plan=no_plan)
    assert [(one.unit_id, one.to_mode, one.reason) for one in decisions] == [
        ("a", "on", Reason.NO_PLAN),
        ("b", "eco", Reason.SITE_CAP),
        ("c", "on", Reason.NO_PLAN),
    ]
    assert decisions[1].flip == "up to on when 1.5 kW are free; the site's limit of 7 kW"
    fleet.config = capped(2.5)
    assert [one.to_mode for one in fleet.decide(NOW + TICK, 0.02, make_plan=no_plan)] == ["on", OFF, OFF]


def test_over_the_limit_without_prices_units_are_turned_down_too_and_stay_down() -> None:
    fleet = Fleet(
        *(Unit(f"u{index}", THRIFTY, safe_mode="run") for index in range(4)), config=capped(4.5), mode="on"
    )
    for count in range(40):
        fleet.decide(NOW + count * TICK, None)
        assert fleet.drawn_kw() <= 4.5
    assert sorted(str(mode) for mode in fleet.modes.values()) == ["off", "off", "on", "on"]


def test_a_limit_that_is_exceeded_waits_for_no_limit_of_changes() -> None:
    units = [Unit(f"u{index}", THRIFTY) for index in range(6)]
    fleet = Fleet(*units, config=capped(12.0, most=1), mode="on")
    fleet.decide(NOW, 0.02)
    fleet.config = capped(4.0, most=1)
    fleet.decide(NOW + TICK, 0.02)
    assert fleet.drawn_kw() <= 4.0
    fleet.config = capped(12.0, most=1)
    for count in range(2, 6):
        fleet.decide(NOW + count * TICK, 0.02)
    assert fleet.drawn_kw() <= 6.0, "up it goes one by one"


def test_a_unit_that_draws_more_than_its_mode_says_is_measured_and_others_make_room() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", HUNGRY), config=capped(5.2), mode="on")
    fleet.power_w = {"a": 2000.0, "b": 3000.0}
    assert reasons(fleet.decide(NOW, 0.02)) == [Reason.HOLD_ON] * 2
    fleet.power_w["a"] = 2600.0
    decisions = fleet.decide(NOW + TICK, 0.02)
    assert [one.to_mode for one in decisions] == ["on", "eco"]
    assert decisions[1].reason is Reason.SITE_CAP


def test_a_unit_that_does_not_go_down_is_not_believed_to_and_others_make_room() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", HUNGRY), config=capped(10.0), mode="on")
    fleet.decide(NOW, 0.02)
    fleet.config = capped(3.9)
    fleet.deaf = {"b"}
    for count in range(1, 20):
        fleet.decide(NOW + count * TICK, 0.02)
    assert fleet.modes == {"a": OFF, "b": "on"}


def test_without_a_limit_nothing_of_this_stands_in_a_decision() -> None:
    numbers = Fleet().one(NOW, 0.02).numbers
    assert not {"cap_kw", "drawn_kw", "shadow_price_usd_per_kwh"} & set(numbers)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([None, 1, 3]), st.floats(1.0, 12.0))
def test_what_is_drawn_never_rises_above_the_limit_whatever_happens(
    seed: int, most: int | None, kw: float
) -> None:
    chance = random.Random(seed)
    curves = (CURVE, THRIFTY, HUNGRY)
    units = [
        Unit(f"u{index}", chance.choice(curves), min_on_s=chance.choice([0, 60, 600]), safe_mode="run")
        for index in range(5)
    ]
    fleet = Fleet(*units, config=capped(kw, most), mode=OFF)
    for count in range(15):
        power = chance.choice([0.02, 0.05, 0.2, -0.1, None])
        fleet.unreachable = {unit.id for unit in units if chance.random() < 0.1}
        before = fleet.drawn_kw()
        fleet.decide(NOW + count * TICK, power, chance.choice([30.0, 40.0, 90.0]))
        assert fleet.drawn_kw() <= max(kw, before) + 1e-9


def test_the_same_is_decided_in_whatever_order_units_are_given() -> None:
    units = [Unit(f"u{index}", (THRIFTY, HUNGRY)[index % 2]) for index in range(6)]
    one = Fleet(*units, config=capped(7.0, 2), mode="on")
    other = Fleet(*reversed(units), config=capped(7.0, 2), mode="on")
    for count in range(3):
        told = {each.unit_id: each for each in one.decide(NOW + count * TICK, 0.02)}
        assert told == {each.unit_id: each for each in other.decide(NOW + count * TICK, 0.02)}


@pytest.mark.parametrize("mode", ["on", OFF])
def test_a_limit_below_what_all_draw_when_off_turns_all_off_and_goes_on(mode: str) -> None:
    standby = PowerCurve([Mode("off", 0, 500), Mode("on", 100, 2000)])
    fleet = Fleet(Unit("a", standby), Unit("b", standby), config=capped(0.5), mode=mode)
    for count in range(3):
        decisions = fleet.decide(NOW + count * TICK, 0.02)
    assert {one.to_mode for one in decisions} == {OFF}


def test_a_unit_that_was_off_and_stops_answering_counts_with_all_it_can_draw() -> None:
    units = [Unit(name, CURVE) for name in ("a", "b", "c")]
    most_kw = CURVE.modes[-1].watts / 1000
    fleet = Fleet(*units, config=replace(LIVE, site=SiteConfig(2.2 * most_kw)), mode="full")
    fleet.modes["a"] = OFF
    fleet.decide(NOW, 0.02)
    fleet.unreachable = {"a"}  # it may have started again by itself
    for number in range(1, 4):
        decisions = {each.unit_id: each for each in fleet.decide(NOW + number * TICK, 0.02)}
        assert decisions["a"].numbers["assumed_power_w"] == CURVE.modes[-1].watts
    drawn = sum(CURVE.mode(decisions[name].to_mode).watts for name in "bc") / 1000
    assert drawn <= 1.2 * most_kw
