"""How many units change within a minute: turning up is limited, turning down is not."""

from __future__ import annotations

from dataclasses import replace

from controller.decisions import Reason
from controller.fleet import CHANGED, RAISED
from controller.overrides import Override
from controller.units import OFF, Mode, PowerCurve, Unit
from tests.controller.fleet_rig import LIVE, NOW, TICK, UNIT, Fleet, reasons


def test_no_more_units_than_allowed_are_turned_up_within_a_minute_those_that_add_least_first() -> None:
    units = [replace(UNIT, id=f"u{index}", min_off_s=0) for index in range(5)]
    fleet = Fleet(*units, config=replace(LIVE, max_changes_per_minute=2), mode=OFF)
    fleet.modes["u4"] = "eco"
    fleet.decide(NOW - TICK, 0.05)
    first = fleet.decide(NOW, 0.02)
    assert [one.unit_id for one in first if one.changes] == ["u0", "u4"], "a step adds less than a start"
    assert reasons(first[1:4]) == [Reason.BATCH_LIMIT] * 3
    assert first[1].flip == "changes to full when fewer units were turned up within a minute"
    assert not any(one.changes for one in fleet.decide(NOW + 59, 0.02))
    assert sum(one.changes for one in fleet.decide(NOW + 60, 0.02)) == 2


def test_turning_down_is_immediate_however_many_units_there_are_for_a_price_or_for_a_person() -> None:
    units = [replace(UNIT, id=f"u{index:03}", min_on_s=0) for index in range(100)]
    fleet = Fleet(*units, config=replace(LIVE, max_changes_per_minute=2))
    fleet.overrides = {"u099": Override("u099", OFF, NOW, NOW + 9e9, "ann", "smoke")}
    first = fleet.decide(NOW, 5.0)
    assert {one.to_mode for one in first} == {OFF}
    assert set(fleet.modes.values()) == {OFF}
    assert not any(RAISED in one.numbers for one in first)
    fleet.decide(NOW + 200, 0.02)
    for seconds in (210, 220):
        told = [one for one in fleet.decide(NOW + seconds, 0.02) if one.changes]
        assert len(told) == (2 if seconds == 210 else 0), "turning up is not"


def test_what_a_person_asked_for_is_turned_up_before_what_merely_pays() -> None:
    units = [replace(UNIT, id=f"u{index}", min_off_s=0) for index in range(4)]
    fleet = Fleet(*units, config=replace(LIVE, max_changes_per_minute=1), mode=OFF)
    fleet.decide(NOW, 0.05)
    fleet.overrides = {"u3": Override("u3", "full", NOW, NOW + 9e9, "ann")}
    told = [one.unit_id for one in fleet.decide(NOW + TICK, 0.05) if one.changes]
    assert told == ["u3"]


def test_a_step_down_takes_no_step_ups_place() -> None:
    eager = Unit("a", PowerCurve([Mode("eco", 90, 1000), Mode("full", 100, 1100)]))
    weary = Unit("b", PowerCurve([Mode("eco", 10, 1000), Mode("full", 12, 2000)]))
    fleet = Fleet(eager, weary, config=replace(LIVE, max_changes_per_minute=1), mode="eco")
    assert reasons(fleet.decide(NOW, 0.05)) == [Reason.STEP_UP, Reason.PAUSE]


def test_a_unit_that_waits_for_its_turn_need_not_confirm_its_price_again() -> None:
    units = [replace(UNIT, id=f"u{index}") for index in range(2)]
    fleet = Fleet(*units, config=replace(LIVE, max_changes_per_minute=1), mode="off")
    assert reasons(fleet.decide(NOW, 0.02)) == [Reason.CONFIRMING] * 2
    assert reasons(fleet.decide(NOW + TICK, 0.02)) == [Reason.RESUME, Reason.BATCH_LIMIT]
    assert reasons(fleet.decide(NOW + TICK + 60, 0.02)) == [Reason.HOLD_ON, Reason.RESUME]


def test_units_that_fail_on_and_on_leave_the_turns_of_a_minute_to_the_others() -> None:
    deaf = [replace(UNIT, id=f"a{index}", min_off_s=0) for index in range(2)]
    others = replace(UNIT, id="b", min_off_s=0)
    fleet = Fleet(*deaf, others, config=replace(LIVE, max_changes_per_minute=2), mode=OFF)
    fleet.deaf = {"a0", "a1"}
    fleet.modes["b"] = "full"
    fleet.decide(NOW - TICK, 0.02)
    assert [one.unit_id for one in fleet.decide(NOW, 0.02) if one.changes] == ["a0", "a1"]
    for seconds in range(10, 200, 10):
        fleet.decide(NOW + seconds, 0.02)
    fleet.modes["b"] = OFF
    found = {one.unit_id: one for one in fleet.decide(NOW + 200, 0.02)}
    assert found["b"].changes
    assert found["a0"].numbers[CHANGED] == NOW, "it has not changed since it was first told"


def test_units_that_do_not_start_are_told_again_in_turns_and_no_faster_than_allowed() -> None:
    units = [replace(UNIT, id=f"u{index}", min_off_s=0) for index in range(4)]
    fleet = Fleet(*units, config=replace(LIVE, max_changes_per_minute=2), mode=OFF)
    fleet.deaf = {unit.id for unit in units}
    fleet.decide(NOW - TICK, 0.02)
    told = [
        [one.unit_id for one in fleet.decide(NOW + seconds, 0.02) if one.changes]
        for seconds in range(0, 300, 30)
    ]
    assert told[::2] == [["u0", "u1"], ["u2", "u3"]] * 2 + [["u0", "u1"]]
    assert not any(told[1::2])


def test_units_that_do_not_stop_are_told_again_on_each_tick() -> None:
    units = [replace(UNIT, id=f"u{index}", min_on_s=0) for index in range(4)]
    fleet = Fleet(*units, config=replace(LIVE, max_changes_per_minute=2))
    fleet.deaf = {unit.id for unit in units}
    for seconds in range(0, 90, 30):
        assert all(one.changes for one in fleet.decide(NOW + seconds, 0.5))
        assert all(one.numbers[CHANGED] == NOW for one in fleet.last.values())
