"""A planner that fails: units hold for the grace time and then follow prices alone."""

from __future__ import annotations

from dataclasses import replace

from controller.decisions import Reason
from controller.fleet import PLANLESS
from controller.units import OFF
from tests.controller.fleet_rig import CURVE, LIVE, NOW, TICK, UNIT, Fleet, no_plan


def test_without_a_plan_everything_stays_for_the_grace_time() -> None:
    fleet = Fleet()
    for seconds in (0, LIVE.grace_s - 1):
        (held,) = fleet.decide(NOW + seconds, 0.5, make_plan=no_plan)
        assert (held.reason, held.to_mode) == (Reason.NO_PLAN, "full")
    assert held.flip == (
        "decides again when there is a plan; by the prices of then alone at 2023-11-14 22:15:20Z"
    )
    assert held.numbers[PLANLESS] == NOW
    assert fleet.view is not None
    assert fleet.view.plan_fault == "ZeroDivisionError: a planner with a fault"


def test_a_planner_that_fails_for_long_leaves_no_unit_running_at_a_loss_nor_off_for_ever() -> None:
    fleet, now = Fleet(), NOW + LIVE.grace_s
    fleet.decide(NOW, 0.5, make_plan=no_plan)
    (paused,) = fleet.decide(now, 0.5, make_plan=no_plan)
    assert (paused.reason, paused.to_mode, paused.changes) == (Reason.PRICES_ALONE, OFF, True)
    assert paused.flip.startswith("runs again above ")
    (held,) = fleet.decide(now + TICK, 0.5, make_plan=no_plan)
    assert (held.reason, held.to_mode) == (Reason.NO_PLAN, OFF)
    wait = [fleet.decide(now + 20 + seconds, 0.05, make_plan=no_plan)[0] for seconds in range(0, 110, 10)]
    assert {one.reason for one in wait[:7]} == {Reason.MIN_OFF}, "dwell holds without a plan too"
    assert wait[-1].reason in {Reason.PRICES_ALONE, Reason.NO_PLAN}
    assert fleet.modes["u1"] == "eco"
    near = 24 * CURVE.steps()[0].j_per_th * 0.05 * 0.99
    (kept,) = fleet.decide(now + 1000, 0.05, near, make_plan=no_plan)
    assert kept.to_mode == "eco", "and so does the dead band"
    (back,) = fleet.decide(now + 1010, 0.05)
    assert PLANLESS not in back.numbers
    (again,) = fleet.decide(now + 1020, 0.5, make_plan=no_plan)
    assert again.reason is Reason.NO_PLAN, "a new grace time"


def test_without_a_plan_a_unit_nobody_knows_starts_and_one_started_often_enough_does_not() -> None:
    units = (replace(UNIT, id="a"), replace(UNIT, id="b", starts_per_day=1))
    fleet = Fleet(*units, config=replace(LIVE, grace_s=0.0), mode=None)
    fleet.modes["b"] = OFF
    first = fleet.decide(NOW, 0.05, make_plan=no_plan)
    assert [(one.to_mode, one.reason) for one in first] == [
        ("eco", Reason.PRICES_ALONE),
        (OFF, Reason.CONFIRMING),
    ]
    fleet.decide(NOW + TICK, 0.05, make_plan=no_plan)
    assert fleet.modes["b"] == "eco"
    fleet.decide(NOW + 200, 0.5, make_plan=no_plan)
    assert fleet.modes["b"] == OFF
    (_, held) = fleet.decide(NOW + 400, 0.05, make_plan=no_plan)
    assert (held.reason, held.to_mode) == (Reason.HOLD_STARTS, OFF)
