"""One tick as a pure function: what goes in decides, and nothing else."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.deciding import DecidingConfig, decide_tick
from controller.decisions import Reason
from controller.planner import plan
from controller.policy import SiteConfig
from controller.signals import Action, SignalRule
from controller.units import Unit
from tests.controller.fleet_rig import CURVE, LIVE, NOW, UNIT, Fleet, no_plan, window

if TYPE_CHECKING:
    from controller.plan import Member, Plan

RULE = SignalRule("grid", Action.PAUSE, ramp_s=300)
SITE = replace(LIVE, site=SiteConfig(8.0, (RULE,), "Europe/Berlin"))


def fleet() -> Fleet:
    units = [
        replace(UNIT, id=f"u{index}", restart_s=60.0 * (index % 3), starts_per_day=4) for index in range(6)
    ]
    made = Fleet(*units, config=SITE)
    made.signals = [window("grid", NOW + 400, NOW + 700)]
    made.later = [(NOW + 200, 0.08)]
    return made


def test_the_same_in_gives_the_same_out_bit_for_bit_and_the_past_of_the_process_does_not_matter() -> None:
    one = fleet()
    one.decide(NOW, 0.02)
    snapshot, last = one.snapshot(NOW + 60, 0.03, 40.0, 0.0), dict(one.last)
    config = DecidingConfig(SITE, 1.0)
    first = decide_tick(snapshot, last, config)
    its_snapshot, its_last = pickle.loads(pickle.dumps((snapshot, last)))
    again = decide_tick(its_snapshot, its_last, config)
    assert repr(first.decisions) == repr(again.decisions)
    assert first.plan == again.plan


def test_last_decisions_of_other_units_mean_nothing() -> None:
    one = fleet()
    one.decide(NOW, 0.02)
    snapshot, config = one.snapshot(NOW + 60, 0.03, 40.0, 0.0), DecidingConfig(SITE, 1.0)
    others = {**one.last, "gone": replace(one.last["u0"], unit_id="gone")}
    assert (
        decide_tick(snapshot, one.last, config).decisions == decide_tick(snapshot, others, config).decisions
    )


def test_what_is_planned_are_the_units_that_answer_under_what_is_left_of_the_limit() -> None:
    seen: list[Any] = []

    def noting(members: list[Member], slots: Any, **named: Any) -> Plan:
        seen.extend((members, slots, named))
        return plan(members, slots, **named)

    made = fleet()
    made.unreachable = {"u0"}
    made.decide(NOW, 0.02, make_plan=noting)
    members, slots, named = seen
    assert [member.unit.id for member in members] == ["u1", "u2", "u3", "u4", "u5"]
    assert slots[0].cap_kw == pytest.approx(8.0 - 2.97)
    assert [slot.start - NOW for slot in slots[:4]] == [0, 100, 200, 400]
    assert named["dead_band"] == LIVE.dead_band


def test_a_planner_that_fails_leaves_signals_and_heat_their_way() -> None:
    hot = Unit("hot", CURVE, max_temp_c=80)
    made = Fleet(hot, Unit("u", CURVE), config=SITE)
    made.temp_c["hot"] = 85.0
    first = made.decide(NOW, 0.02, make_plan=no_plan)
    assert [one.reason for one in first] == [Reason.THERMAL, Reason.NO_PLAN]
    assert made.view is not None
    assert made.view.plan is None
    made.signals = [window("grid", NOW, NOW + 100)]
    assert made.decide(NOW + 1, 0.02, make_plan=no_plan)[1].reason is Reason.SIGNAL


@pytest.mark.parametrize("name", ["horizon_hours", "slot_s"])
def test_a_horizon_that_never_passes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        DecidingConfig(**{name: 0.0})  # type: ignore[arg-type] # by name
