"""The last guard: never more power than allowed, whatever is planned."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.decisions import Reason
from controller.fleet import RATIO, RATIO_W, SETTLE_S, SHED
from controller.overrides import Override
from controller.policy import PolicyConfig, SiteConfig
from controller.signals import Action, SignalRule
from controller.units import OFF, Mode, PowerCurve, Unit
from tests.controller.fleet_rig import CURVE, LIVE, NOW, TICK, Fleet, no_plan, reasons, window

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


# --- machines that draw more than their modes say -----------------------------------------------------


@pytest.mark.parametrize(("over", "cap_kw"), [(1.06, 27.0), (1.1, 20.3), (1.1, 35.0), (1.03, 20.0)])
def test_machines_that_draw_more_than_their_nameplate_keep_the_limit_and_do_not_flap(
    over: float, cap_kw: float
) -> None:
    units = [Unit(f"u{index:02}", CURVE, restart_s=60) for index in range(12)]
    fleet = Fleet(*units, config=capped(cap_kw), mode="full")
    changes = 0
    for count in range(60):
        before = dict(fleet.modes)
        fleet.power_w = {unit_id: CURVE.mode(str(mode)).watts * over for unit_id, mode in before.items()}
        fleet.decide(NOW + 60 * count, 0.02)
        changes += sum(before[unit_id] != mode for unit_id, mode in fleet.modes.items())
        assert fleet.drawn_kw() * over <= cap_kw, f"tick {count}"
    assert changes <= 14


def test_a_machine_that_draws_more_in_its_highest_mode_alone_goes_up_once_and_stays_down() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", HUNGRY, restart_s=60), config=capped(5.1), mode="on")
    fleet.modes["b"] = "eco"
    over = ups = 0
    for count in range(300):
        before = fleet.modes["b"]
        fleet.power_w = {"b": 3200.0 if before == "on" else 1500.0}
        fleet.decide(NOW + 60 * count, 0.02)
        ups += before == "eco" and fleet.modes["b"] == "on"
        over += fleet.modes["b"] == "on"
    assert (ups, fleet.modes["b"]) == (1, "eco")
    assert over <= 5


def test_what_a_machine_draws_more_stands_in_its_decisions_and_no_other_s() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", THRIFTY), config=capped(9.0), mode="on")
    fleet.power_w = {"a": 2100.0, "b": 1990.0}
    one, other = fleet.decide(NOW, 0.02)
    assert (one.numbers[RATIO], one.numbers[RATIO_W]) == (1.05, 2000.0)
    assert not {RATIO, RATIO_W, SHED} & set(other.numbers)


def test_a_unit_shed_since_too_much_was_drawn_waits_a_quarter_of_an_hour_for_room() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", HUNGRY), Unit("c", THRIFTY), config=capped(7.1), mode="on")
    fleet.decide(NOW, 0.02)
    fleet.power_w = {"a": 2900.0}
    shed = fleet.decide(NOW + 60, 0.02)[1]
    assert (shed.reason, shed.to_mode, shed.numbers[SHED]) == (Reason.SITE_CAP, "eco", NOW + 60)
    fleet.power_w = {}
    fleet.last["a"].numbers.pop(RATIO)  # type: ignore[attr-defined] # as if it had never been measured
    held = fleet.decide(NOW + 120, 0.02)[1]
    assert (held.reason, held.to_mode) == (Reason.HOLD_SITE_CAP, "eco")
    assert held.flip.startswith("changes to on at 2023-11-14 22:29:20Z if there is room")
    assert fleet.decide(NOW + 60 + SETTLE_S, 0.02)[1].reason is Reason.STEP_UP


def test_a_unit_shed_since_too_much_was_drawn_comes_back_as_soon_as_more_is_allowed() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", HUNGRY), config=capped(5.1), mode="on")
    fleet.decide(NOW, 0.02)
    fleet.power_w = {"a": 2400.0}
    assert fleet.decide(NOW + 60, 0.02)[1].reason is Reason.SITE_CAP
    fleet.config = capped(6.0)
    assert fleet.decide(NOW + 120, 0.02)[1].reason is Reason.STEP_UP


def test_less_power_announced_makes_nobody_wait_when_it_is_over() -> None:
    fleet = Fleet(Unit("a", THRIFTY), Unit("b", HUNGRY), config=capped(5.1), mode="on")
    fleet.decide(NOW, 0.02)
    fleet.config = capped(4.0)
    assert SHED not in fleet.decide(NOW + 60, 0.02)[1].numbers


def test_one_meter_s_nonsense_does_not_turn_the_site_off() -> None:
    units = [Unit(f"u{index}", THRIFTY) for index in range(8)]
    fleet = Fleet(*units, config=capped(20.0), mode="on")
    fleet.power_w = {"u0": 65_535.0}
    for count in range(10):
        fleet.decide(NOW + 60 * count, 0.02)
    assert set(fleet.modes.values()) == {"on"}


# --- whoever was told to start and is not there yet ---------------------------------------------------


def test_a_unit_on_its_way_up_is_turned_off_by_a_signal_at_once_whatever_else_changes() -> None:
    rule = SignalRule("grid", Action.PAUSE)
    config = replace(LIVE, site=SiteConfig(signals=(rule,)), max_changes_per_minute=1)
    units = [Unit(f"u{index}", THRIFTY, restart_s=600) for index in range(3)]
    fleet = Fleet(*units, config=config, mode=OFF)
    fleet.deaf = {unit.id for unit in units}  # they take ten minutes
    for count in range(5):
        fleet.decide(NOW + 60 * count, 0.02)
    fleet.signals = [window("grid", NOW + 300, NOW + 900)]
    decisions = fleet.decide(NOW + 300, 0.02)
    assert [(one.to_mode, one.reason) for one in decisions] == [(OFF, Reason.SIGNAL)] * 3


def test_a_person_s_off_waits_for_nobody() -> None:
    units = [Unit(f"u{index}", THRIFTY) for index in range(4)]
    fleet = Fleet(*units, config=replace(LIVE, max_changes_per_minute=1), mode="on")
    fleet.decide(NOW, 0.02)
    fleet.overrides = {unit.id: Override(unit.id, OFF, NOW + 60, NOW + 900, "ann", "smoke") for unit in units}
    assert reasons(fleet.decide(NOW + 60, 9.0)) == [Reason.OVERRIDE] * 4
