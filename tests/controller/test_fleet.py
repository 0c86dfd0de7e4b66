from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.decisions import Decision, Reason
from controller.fleet import (
    CHANGED,
    CONTRADICTS,
    DAY,
    RATIO,
    RATIO_W,
    SINCE,
    STARTS,
    TOLD,
    Case,
    cases_of,
    draws_ratio,
    members_of,
    same_side,
    taken_kw,
)
from controller.limits import SiteConfig, local_day, obliged_slots, read_limits
from controller.overrides import Override
from controller.plan import Slot, Standing
from controller.signals import Action, SignalRule
from controller.snapshot import Snapshot
from controller.units import OFF, UNKNOWN, PowerCurve, Unit, UnitState
from tests.controller.fleet_rig import LIVE, NOW, UNIT, window

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOTS = [Slot(NOW, 100, 40, 0.05), Slot(NOW + 100, 900, 40, 0.05)]


def case(
    mode: str | None = "full",
    intended: str | None = None,
    unit: Unit = UNIT,
    *,
    reachable: bool = True,
    th_s: float | None = None,
    power_w: float | None = None,
    temp_c: float | None = None,
    numbers: Mapping[str, float] | None = None,
) -> Case:
    last = {}
    if intended is not None:
        last[unit.id] = Decision(
            "1", NOW - 60, unit.id, "full", intended, Reason.RESUME, numbers or {}, dry_run=False
        )
    states = {unit.id: UnitState(unit.id, mode, th_s, power_w, temp_c, NOW, reachable)}
    return cases_of(Snapshot(NOW, {}, (unit,), states), last, LIVE)[0]


def test_what_a_unit_is_meant_to_be_in_is_what_was_decided_last_else_what_was_found() -> None:
    assert (case("eco").intended, case("eco").actual) == ("eco", "eco")
    assert (case("eco", "full").intended, case("eco", "full").actual) == ("full", "eco")
    assert case(None).intended == UNKNOWN
    assert case("eco", "turbo").intended == "eco", "a mode that left the curve is forgotten"


def test_decisions_of_a_dry_run_mean_nothing_to_a_live_one() -> None:
    last = {"u1": Decision("1", NOW, "u1", "full", OFF, Reason.PAUSE, dry_run=True)}
    state = {"u1": UnitState("u1", "full", None, None, None, NOW)}
    assert cases_of(Snapshot(NOW, {}, (UNIT,), state), last, LIVE)[0].last is None


def test_the_planner_learns_the_mode_the_dwell_and_the_starts_that_are_left() -> None:
    limited = replace(UNIT, starts_per_day=3)
    today = float(local_day(NOW, "UTC"))
    each = case("full", "full", limited, numbers={SINCE: NOW - 20, STARTS: 2.0, DAY: today})
    (member,) = members_of([each], SLOTS, read_limits(Snapshot(NOW, {}, (), {}), SiteConfig(), 1000))
    assert member.standing == Standing("full", 40.0, 1)
    yesterday = case("full", "full", limited, numbers={STARTS: 3.0, DAY: today - 1})
    assert yesterday.starts_left == 3
    assert case().starts_left is None


def test_a_unit_that_stands_still_although_it_should_run_need_not_be_started_to_serve_its_time() -> None:
    limits = read_limits(Snapshot(NOW, {}, (), {}), SiteConfig(), 1000)
    (member,) = members_of([case(OFF, "full", numbers={SINCE: NOW})], SLOTS, limits)
    assert member.standing == Standing("full", 0.0, None)
    slow = replace(UNIT, restart_s=300)
    starting = case(OFF, "full", slow, numbers={SINCE: NOW, CHANGED: NOW, TOLD: NOW})
    assert members_of([starting], SLOTS, limits)[0].standing.dwell_left_s == 60


def test_units_that_do_not_answer_are_not_planned_and_their_power_is_taken() -> None:
    gone, here = case("eco", "full", reachable=False), case("eco")
    limits = read_limits(Snapshot(NOW, {}, (), {}), SiteConfig(), 1000)
    assert len(members_of([gone, here], SLOTS, limits)) == 1
    assert taken_kw([gone, here]) == 2.97, "of all that is known of it the most"


def test_units_bound_alike_share_their_obligations() -> None:
    rule = SignalRule("grid", Action.PAUSE)
    signals = {rule.series: (window("grid", NOW, NOW + 100),)}
    units = tuple(replace(UNIT, id=f"u{index}") for index in range(3))
    states = {unit.id: UnitState(unit.id, "full", None, None, None, NOW) for unit in units}
    world = Snapshot(NOW, signals, units, states)
    limits = read_limits(world, SiteConfig(None, (rule,)), 1000)
    members = members_of(cases_of(world, {}, LIVE), SLOTS, limits)
    assert members[0].allowed == (frozenset({OFF}), None)
    assert members[0].allowed is members[2].allowed


def test_every_unit_is_bound_as_it_would_be_by_itself() -> None:
    rule = SignalRule("grid", Action.RUN, units=frozenset({"u1", "u4"}))
    signals = {rule.series: (window("grid", NOW + 100, NOW + 1000),)}
    quiet = PowerCurve([mode for mode in UNIT.curve.modes if mode.name != "eco"])
    units = tuple(
        replace(UNIT, id=f"u{index}", curve=quiet if index > 2 else UNIT.curve, safe_mode="run")
        for index in range(6)
    )
    states = {unit.id: UnitState(unit.id, "full", None, None, None, NOW) for unit in units}
    wishes = {
        name: Override(name, "eco", NOW, NOW + until, "ann")
        for name, until in (("u0", 50), ("u1", 50), ("u2", 90), ("u5", 50))
    }
    limits = read_limits(
        Snapshot(NOW, signals, units, states, overrides=wishes), SiteConfig(None, (rule,)), 1000
    )
    members = members_of(cases_of(Snapshot(NOW, signals, units, states), {}, LIVE), SLOTS, limits)
    assert [each.allowed for each in members] == [obliged_slots(limits, unit, SLOTS) for unit in units]
    assert len({each.allowed for each in members}) == 4


def test_heat_binds_the_first_slot() -> None:
    hot = replace(UNIT, max_temp_c=80)
    limits = read_limits(Snapshot(NOW, {}, (), {}), SiteConfig(), 1000)
    allowed = [
        members_of([case("eco", unit=hot, temp_c=temp_c)], SLOTS, limits)[0].allowed
        for temp_c in (77.0, 78.0, 81.0)
    ]
    assert allowed == [(), (frozenset({OFF, "eco"}), None), (frozenset({OFF}), None)]


def test_a_hot_unit_goes_one_mode_down_from_the_lowest_it_was_told_or_is_in() -> None:
    hot = replace(UNIT, max_temp_c=80)
    names = [
        each.name if (each := case(mode, intended, hot, temp_c=81.0).cooler()) else None
        for mode, intended in (("full", None), ("full", "eco"), (OFF, OFF), (None, None))
    ]
    assert names == ["eco", OFF, OFF, "eco"]
    assert case(unit=hot, temp_c=80.0).cooler() is None
    assert case(unit=hot).cooler() is None
    assert case(temp_c=200.0).cooler() is None, "without a limit heat says nothing"
    assert case(unit=hot, temp_c=81.0, reachable=False).cooler() is None


@pytest.mark.parametrize(
    ("mode", "intended", "power_w", "told", "watts"),
    [
        ("eco", "eco", None, False, 1850),
        ("eco", "eco", 2100.0, False, 2100),
        ("full", "eco", None, True, 2970),  # not down before it says so
        ("eco", "full", None, True, 2970),  # on its way up
        ("eco", "full", None, False, 1850),
        (None, None, None, False, 2970),
    ],
)
def test_what_a_unit_certainly_may_draw(
    mode: str | None, intended: str | None, power_w: float | None, watts: float, *, told: bool
) -> None:
    numbers = {TOLD: NOW} if told else {}
    assert case(mode, intended, power_w=power_w, numbers=numbers).drawn_w == watts


def test_measured_power_counts_when_the_unit_has_been_in_its_mode_for_long_enough() -> None:
    fresh = case("eco", "eco", power_w=2500.0, numbers={CHANGED: NOW - 10})
    settled = case("eco", "eco", power_w=2500.0, numbers={CHANGED: NOW - 1000})
    assert (fresh.steady_w("eco"), settled.steady_w("eco")) == (1850, 2500)


def test_a_contradiction_is_counted_from_its_first_sight_and_ends_with_the_first_share() -> None:
    assert case("full", th_s=0.0).contradicts_since == NOW
    assert case("full", "full", th_s=0.0, numbers={CONTRADICTS: NOW - 2000}).contradicts
    assert case("full", "full", th_s=1.0, numbers={CONTRADICTS: NOW - 2000}).contradicts_since is None
    assert case("full", th_s=None).contradicts_since is None, "who does not say is not doubted"
    assert case(OFF, th_s=5.0).contradicts_since == NOW


def test_a_mode_not_known_is_on_neither_side() -> None:
    assert same_side("eco", "full")
    assert not same_side(OFF, "full")
    assert not same_side(UNKNOWN, "full")
    assert same_side(UNKNOWN, UNKNOWN)


# --- what a unit draws beyond its modes ---------------------------------------------------------------


def test_a_ratio_rises_with_a_reading_at_once_and_fades_in_the_mode_it_was_measured_in() -> None:
    assert (case("full", "full", power_w=3118.5).ratio, case("full", "full").ratio) == (1.05, 1.0)
    kept = {RATIO: 1.1, RATIO_W: 2970.0}
    faded = case("full", "full", power_w=2970.0, numbers=kept)
    assert 1.09 < faded.ratio < 1.1
    in_eco = case("eco", "eco", power_w=1850.0, numbers=kept)
    assert 1.0999 < in_eco.ratio < 1.1, "eco says little of full"
    assert in_eco.ratio_w == 2970
    assert case(OFF, OFF, power_w=5.0, numbers=kept).ratio == 1.1, "and off nothing"


@pytest.mark.parametrize(
    "said",
    [
        {"mode": OFF, "intended": OFF, "power_w": 300.0},
        {"mode": "eco", "intended": "full", "power_w": 2970.0},
        {"mode": "full", "intended": "full", "power_w": 3300.0, "reachable": False},
        {"mode": "full", "intended": "full", "power_w": 3300.0, "numbers": {CHANGED: NOW - 60}},
        {"mode": "full", "intended": "full", "power_w": 2900.0},
        {"mode": "full", "intended": "full", "power_w": 2971.0},
    ],
)
def test_no_ratio_comes_of_a_reading_that_is_not_of_a_mode_it_is_steadily_in(said: Any) -> None:
    assert case(**said).ratio == 1.0


def test_a_reading_beyond_what_a_machine_can_draw_is_not_believed() -> None:
    each = case("full", "full", power_w=65_535.0)
    assert (each.ratio, each.drawn_w, each.steady_w("full")) == (1.5, 4455.0, 4455.0)


def test_what_a_unit_draws_beyond_its_modes_counts_wherever_its_power_is_reckoned() -> None:
    each = case("eco", "eco", numbers={RATIO: 1.1, RATIO_W: 1850.0})
    assert each.drawn_w == each.steady_w("eco") == 2035
    assert each.steady_w("full") == 3267
    gone = case("eco", "eco", reachable=False, numbers={RATIO: 1.1, RATIO_W: 1850.0})
    assert gone.drawn_w == 3267


def test_the_plan_has_so_much_less_as_units_that_run_draw_more() -> None:
    kept = {RATIO: 1.1, RATIO_W: 1850.0}
    eco, full, stands = case("eco", "eco", numbers=kept), case("full", "full"), case(OFF, OFF, numbers=kept)
    assert draws_ratio([eco, full, stands]) == pytest.approx((1.1 * 1850 + 2970) / (1850 + 2970))
    assert draws_ratio([stands, case(OFF, OFF)]) == pytest.approx(1.05), "nobody runs: all of them"
    assert draws_ratio([full]) == draws_ratio([]) == 1.0
    limits = read_limits(Snapshot(NOW, {}, (), {}), SiteConfig(5.0), 1000)
    assert limits.rooms([(NOW, NOW + 100)], 0.6, 1.1)[0][0] == pytest.approx(4.0)
