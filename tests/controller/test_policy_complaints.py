"""What operators complain of in such tools, and what outranks profit: each is a test with that name."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from controller.decisions import Reason
from controller.fleet import STARTS
from controller.overrides import Override
from controller.policy import PolicyConfig, SiteConfig
from controller.policy_scene import Scene
from controller.signals import Action, SignalRule
from controller.units import OFF, UNKNOWN, Mode, PowerCurve, Unit
from controller.view import plan_report
from tests.controller.fleet_rig import CURVE, LIVE, NOW, TICK, UNIT, Fleet, modes, no_plan, reasons, window

FREE = Unit("u1", CURVE, safe_mode="pause")
PAUSE = SignalRule("grid", Action.PAUSE)


def under(
    *rules: SignalRule, cap_kw: float | None = None, max_changes_per_minute: int | None = None
) -> PolicyConfig:
    site = SiteConfig(cap_kw, tuple(rules))
    return replace(LIVE, site=site, max_changes_per_minute=max_changes_per_minute)


# --- complaints ---------------------------------------------------------------------------------------


def test_resume_that_never_resumes_is_seen_told_again_and_never_taken_for_running() -> None:
    fleet = Fleet(FREE, mode="off")
    fleet.one(NOW, 0.02)
    fleet.deaf = {"u1"}
    assert fleet.one(NOW + TICK, 0.02).reason is Reason.RESUME
    again = fleet.one(NOW + 2 * TICK, 0.02)
    assert (again.reason, again.from_mode, again.to_mode, again.changes) == (
        Reason.RESTORE,
        OFF,
        "full",
        True,
    )


def test_a_unit_that_was_told_and_never_says_what_it_does_is_told_again() -> None:
    fleet = Fleet(replace(FREE, restart_s=60, change_s=60), mode="off")
    fleet.one(NOW, 0.02)
    assert fleet.one(NOW + TICK, 0.02).reason is Reason.RESUME
    fleet.modes["u1"] = None  # "in between", it says, for ever
    assert fleet.one(NOW + TICK + 180, 0.02).reason is Reason.HOLD_ON
    again = fleet.one(NOW + TICK + 181, 0.02)
    assert (again.reason, again.from_mode, again.to_mode, again.changes) == (
        Reason.RESTORE,
        UNKNOWN,
        "full",
        True,
    )


def test_is_mining_true_while_stopped_is_shown_as_silent_and_earns_nothing() -> None:
    fleet = Fleet(replace(FREE, restart_s=60))
    fleet.th_s["u1"] = 0.0  # it says "full" all the time
    assert fleet.one(NOW, 0.02).reason is Reason.HOLD_ON
    assert fleet.one(NOW + LIVE.silent_after_s + 59, 0.02).reason is Reason.HOLD_ON
    silent = fleet.one(NOW + LIVE.silent_after_s + 60, 0.02)
    assert (silent.reason, silent.to_mode, silent.changes) == (Reason.SILENT, "full", False)
    assert silent.numbers["margin_usd_per_hour"] == pytest.approx(-0.02 * 2.97)
    assert silent.flip == "no work since 2023-11-14 22:13:20Z: counts again with its first share"
    fleet.th_s["u1"] = 99.0
    assert fleet.one(NOW + 1000, 0.02).reason is Reason.HOLD_ON


def test_a_silent_unit_is_paused_like_any_other_when_hashing_does_not_pay() -> None:
    fleet = Fleet(FREE)
    fleet.th_s["u1"] = 0.0
    fleet.one(NOW, 0.02)
    assert fleet.one(NOW + 2000, 0.02).reason is Reason.SILENT
    assert fleet.one(NOW + 2010, 0.5).reason is Reason.PAUSE


def test_a_pause_that_never_pauses_is_seen_by_its_shares_and_counts_as_drawing() -> None:
    fleet = Fleet(FREE, config=under(cap_kw=100.0))
    fleet.one(NOW, 0.5)
    fleet.th_s["u1"] = 95.0  # it says "off" all the time
    assert fleet.one(NOW + TICK, 0.5).reason is Reason.HOLD_OFF
    still = fleet.one(NOW + TICK + LIVE.silent_after_s, 0.5)
    assert (still.reason, still.to_mode) == (Reason.STILL_HASHING, OFF)
    assert still.numbers["drawn_kw"] == 2.97


def test_hashrate_of_dead_miners_shown_for_hours_is_not_shown_at_all() -> None:
    fleet = Fleet(FREE)
    fleet.th_s["u1"] = 100.0
    fleet.unreachable = {"u1"}
    fleet.one(NOW, 0.02)
    assert fleet.view is not None
    (unit,) = plan_report(fleet.view)["units"]
    assert (unit["reason"], unit["hashrate_th_s"], unit["mode_read"], unit["power_w"]) == (
        "unreachable",
        None,
        None,
        None,
    )


def test_resume_restores_the_mode_the_plan_wants_and_never_a_vendor_default() -> None:
    fleet = Fleet(FREE, mode="off")
    for count in range(3):
        fleet.one(NOW + count * TICK, 0.05)
    assert fleet.modes["u1"] == "eco"
    fleet.modes["u1"] = "full"  # it was power cycled and came up as the vendor likes it
    back = fleet.one(NOW + 3 * TICK, 0.05)
    assert (back.reason, back.from_mode, back.to_mode) == (Reason.RESTORE, "full", "eco")


@pytest.mark.parametrize("power", [None, math.nan])
def test_a_tariff_server_that_is_down_counted_as_price_zero_never_starts_a_unit(power: float | None) -> None:
    fleet = Fleet(replace(FREE, safe_mode="pause"), mode="off")
    fleet.one(NOW, 0.5)
    for count in range(1, 40):
        assert fleet.one(NOW + count * TICK, power).to_mode == OFF


def test_power_of_unreachable_units_forgotten_would_overload_the_site() -> None:
    units = [replace(FREE, id=f"u{index}") for index in range(3)]
    fleet = Fleet(*units, config=under(cap_kw=6.0), mode="off")
    fleet.modes["u0"] = "full"
    fleet.unreachable = {"u0"}
    for count in range(10):
        decisions = fleet.decide(NOW + count * TICK, 0.02)
        assert decisions[0].numbers["assumed_power_w"] == 2970
        assert fleet.drawn_kw() <= 6.0
    assert modes(decisions[1:]) == ["full", OFF]


def test_flapping_a_price_that_jitters_around_breakeven_switches_nothing() -> None:
    fleet = Fleet(FREE, mode="eco")
    told = [fleet.one(NOW + count * TICK, 0.0685 + 0.0010 * (-1) ** count).changes for count in range(60)]
    assert not any(told)


def test_flapping_a_spike_shorter_than_a_restart_is_worth_pauses_nothing_when_it_is_known_to_end() -> None:
    fleet = Fleet(replace(FREE, restart_s=600, change_s=600, wear_usd=0.5))
    fleet.later = [(NOW + 300, 0.02)]
    held = fleet.one(NOW, 0.09)
    assert (held.reason, held.to_mode) == (Reason.HOLD_CHANGE_COST, "full")
    assert fleet.one(NOW + TICK, 8.0).reason is Reason.PAUSE, "a real spike costs more than a start"


def test_a_real_spike_within_the_bounds_pauses_at_once_and_resuming_waits() -> None:
    fleet = Fleet(FREE)
    fleet.one(NOW, 0.02)
    assert fleet.one(NOW + TICK, 9.0).reason is Reason.PAUSE
    assert fleet.one(NOW + 2 * TICK, 0.02).reason is Reason.CONFIRMING
    assert fleet.one(NOW + 3 * TICK, 0.02).reason is Reason.RESUME


# --- heat ---------------------------------------------------------------------------------------------

HOT = Unit("u1", CURVE, max_temp_c=80.0)


def test_a_unit_too_hot_steps_down_whatever_it_earns_and_up_only_when_it_is_cool() -> None:
    fleet = Fleet(HOT)
    fleet.temp_c["u1"] = 80.1
    first = fleet.one(NOW, -0.5)
    assert (first.reason, first.to_mode) == (Reason.THERMAL, "eco")
    assert first.flip == "is turned up again below 77 °C; it has 80.1 of 80 °C"
    assert fleet.one(NOW + TICK, -0.5).to_mode == OFF
    held = fleet.one(NOW + 2 * TICK, -0.5)
    assert (held.reason, held.to_mode) == (Reason.HOLD_THERMAL, OFF)
    fleet.temp_c["u1"] = 77.5
    for count in (3, 4, 5):
        held = fleet.one(NOW + count * TICK, -0.5)
        assert held.to_mode == OFF
    fleet.temp_c["u1"] = 77.0
    assert fleet.one(NOW + 6 * TICK, 0.02).reason is Reason.RESUME


def test_heat_comes_before_a_signal_a_person_and_the_minimum_time() -> None:
    fleet = Fleet(replace(HOT, min_on_s=9e9), config=under(SignalRule("run", Action.RUN)))
    fleet.signals = [window("run", NOW, NOW + 1e4)]
    fleet.overrides = {"u1": Override("u1", "full", NOW, math.inf, "ann")}
    fleet.temp_c["u1"] = 90.0
    assert [fleet.one(NOW + count, 0.02).to_mode for count in range(3)] == ["eco", OFF, OFF]


@pytest.mark.parametrize("price", [0.02, None])
def test_a_pause_signal_for_a_hot_unit_turns_it_off_at_once_and_not_one_mode_a_tick(
    price: float | None,
) -> None:
    fleet = Fleet(HOT, config=under(PAUSE))
    fleet.temp_c["u1"] = 85.0
    fleet.signals = [window("grid", NOW, NOW + 600)]
    told = fleet.one(NOW, price)
    assert (told.reason, told.to_mode) == (Reason.SIGNAL, OFF)


def test_a_hot_unit_that_a_person_or_its_price_turns_off_is_off_at_once() -> None:
    for wish, power, reason in ((True, 0.02, Reason.OVERRIDE), (False, 0.5, Reason.PAUSE)):
        fleet = Fleet(HOT)
        fleet.temp_c["u1"] = 85.0
        if wish:
            fleet.overrides = {"u1": Override("u1", OFF, NOW, math.inf, "ann")}
        told = fleet.one(NOW, power)
        assert (told.reason, told.to_mode) == (reason, OFF)


def test_a_hot_unit_goes_down_by_heat_where_what_else_asks_for_less_must_wait() -> None:
    fleet = Fleet(replace(HOT, min_on_s=9e9))
    fleet.modes["u1"] = OFF
    fleet.overrides = {"u1": Override("u1", "full", NOW, NOW + 1, "ann")}
    fleet.one(NOW, 0.02)
    fleet.overrides = {}
    fleet.temp_c["u1"] = 85.0
    told = fleet.one(NOW + TICK, 0.5)
    assert (told.reason, told.to_mode) == (Reason.THERMAL, "eco")


def test_a_warm_unit_in_its_mode_stays_in_it_and_is_told_why_it_gets_no_more() -> None:
    fleet = Fleet(HOT, mode="eco")
    fleet.temp_c["u1"] = 78.0
    held = fleet.one(NOW, 0.02)
    assert (held.reason, held.to_mode) == (Reason.HOLD_THERMAL, "eco")
    assert fleet.one(NOW + TICK, 0.5).reason is Reason.PAUSE, "down is always allowed"


def test_a_hot_unit_that_is_to_be_off_anyhow_does_not_go_down_mode_by_mode() -> None:
    for power, asked in ((0.5, Reason.PAUSE), (0.02, Reason.SIGNAL)):
        fleet = Fleet(replace(FREE, max_temp_c=80), config=under(PAUSE))
        fleet.temp_c["u1"] = 85.0
        if asked is Reason.SIGNAL:
            fleet.signals = [window("grid", NOW, NOW + 600)]
        decision = fleet.one(NOW, power)
        assert (decision.to_mode, decision.reason) == (OFF, asked)


def test_a_unit_that_turned_itself_down_since_it_is_warm_is_not_turned_up_before_it_is_cool() -> None:
    fleet = Fleet(replace(FREE, max_temp_c=80))
    fleet.temp_c["u1"] = 60.0
    assert fleet.one(NOW, 0.02).to_mode == "full"
    fleet.modes["u1"], fleet.temp_c["u1"] = "eco", 79.0
    held = fleet.one(NOW + TICK, 0.02)
    assert (held.reason, held.changes) == (Reason.HOLD_THERMAL, False)
    fleet.temp_c["u1"] = 76.0
    assert fleet.one(NOW + 2 * TICK, 0.02).reason is Reason.RESTORE


def test_a_unit_that_goes_off_by_itself_again_and_again_is_started_no_more_often_than_allowed() -> None:
    fleet = Fleet(replace(FREE, starts_per_day=2))
    starts = 0
    for count in range(40):
        if count % 8 == 0:
            fleet.modes["u1"] = OFF
        decision = fleet.one(NOW + TICK * count, 0.02)
        starts += decision.changes
    assert starts == 2
    assert (decision.reason, fleet.modes["u1"]) == (Reason.HOLD_STARTS, OFF)
    assert fleet.one(NOW + 86_400, 0.02).reason in {Reason.CONFIRMING, Reason.RESUME}


def test_telling_a_unit_once_more_is_no_other_start() -> None:
    fleet = Fleet(replace(FREE, starts_per_day=2), mode=OFF)
    fleet.deaf = {"u1"}
    for count in range(6):
        decision = fleet.one(NOW + TICK * count, 0.02)
    assert (decision.reason, decision.numbers[STARTS]) == (Reason.RESTORE, 1)


# --- signals and persons ------------------------------------------------------------------------------


def test_a_demand_response_signal_is_obeyed_at_once_in_dwell_or_not() -> None:
    units = [replace(UNIT, id=f"u{index}", min_on_s=9e9) for index in range(4)]
    fleet = Fleet(*units, config=under(PAUSE, max_changes_per_minute=1), mode="off")
    for unit in units:
        fleet.modes[unit.id] = None
    fleet.decide(NOW, 0.02)
    for count in range(1, 30):
        fleet.decide(NOW + 60 * count, 0.02)
    assert set(fleet.modes.values()) == {"full"}
    now = NOW + 3600
    fleet.signals = [window("grid", now, now + 600)]
    decisions = fleet.decide(now, 0.02)
    assert reasons(decisions) == [Reason.SIGNAL] * 4, "no limit of changes a minute holds it up"
    assert set(fleet.modes.values()) == {OFF}
    assert decisions[0].flip == "signal grid asks it to pause until 2023-11-14 23:23:20Z"


def test_a_signal_is_obeyed_without_prices_and_without_a_plan() -> None:
    fleet = Fleet(FREE, config=under(PAUSE))
    fleet.signals = [window("grid", NOW, NOW + 600)]
    assert fleet.one(NOW, None).reason is Reason.SIGNAL
    fleet.modes["u1"] = "full"
    (decision,) = fleet.decide(NOW + TICK, 0.02, make_plan=no_plan)
    assert (decision.reason, decision.to_mode, decision.changes) == (Reason.SIGNAL, OFF, True)


def test_a_unit_that_missed_a_signal_is_told_again_at_once_whatever_else_changes() -> None:
    units = [replace(FREE, id=f"u{index}") for index in range(3)]
    fleet = Fleet(*units, config=under(PAUSE, max_changes_per_minute=1))
    fleet.signals = [window("grid", NOW, NOW + 600)]
    fleet.deaf = {"u0", "u1", "u2"}
    fleet.decide(NOW, 0.02)
    fleet.deaf = set()
    assert reasons(fleet.decide(NOW + TICK, 0.02)) == [Reason.SIGNAL] * 3
    assert set(fleet.modes.values()) == {OFF}


@pytest.mark.parametrize("reason", [Reason.SIGNAL, Reason.OVERRIDE, Reason.THERMAL])
def test_a_unit_still_on_its_way_up_is_turned_off_at_once_however_many_others_changed(reason: Reason) -> None:
    units = [replace(HOT, id=f"u{index}", restart_s=600) for index in range(4)]
    fleet = Fleet(*units, config=under(PAUSE, max_changes_per_minute=2), mode=OFF)
    fleet.horizon_hours = 36
    fleet.decide(NOW, 0.05)
    fleet.deaf = {"u0", "u1"}  # they were told and read `off` until their boards are up
    told = [one.unit_id for one in fleet.decide(NOW + TICK, 0.05) if one.changes]
    assert told == ["u0", "u1"]
    now = NOW + 2 * TICK
    if reason is Reason.SIGNAL:
        fleet.signals = [window("grid", now, now + 600)]
    elif reason is Reason.OVERRIDE:
        fleet.overrides = {name: Override(name, OFF, now, math.inf, "ann") for name in told}
    else:
        fleet.temp_c = dict.fromkeys(told, 85.0)
    for one in fleet.decide(now, 0.05)[:2]:
        assert one.to_mode == OFF
        assert one.reason is reason or reason is Reason.THERMAL


def test_the_end_of_a_signal_is_a_ramp_and_not_a_jump() -> None:
    units = [replace(FREE, id=f"u{index}") for index in range(10)]
    rule = SignalRule("grid", Action.PAUSE, ramp_s=600)
    fleet = Fleet(*units, config=under(rule))
    fleet.signals = [window("grid", NOW, NOW + 60)]
    drawn = []
    for count in range(80):
        fleet.decide(NOW + count * TICK, 0.02)
        drawn.append(fleet.drawn_kw())
        since_end = count * TICK - 60
        assert drawn[-1] <= max(since_end, 0) / 600 * 29.7 + 1e-6 or since_end >= 600
    assert drawn[0] == 0
    assert 0 < drawn[36] < 15
    assert drawn[-1] == pytest.approx(29.7)
    assert all(after >= before - 1.2 for before, after in pairwise(drawn))


def test_a_signal_that_is_coming_is_planned_for() -> None:
    fleet = Fleet(replace(FREE, restart_s=600, wear_usd=1.0), config=under(PAUSE), mode="off")
    fleet.signals = [window("grid", NOW + 300, NOW + 900)]
    held = fleet.one(NOW, 0.02)
    assert (held.to_mode, held.reason) == (OFF, Reason.HOLD_CHANGE_COST)


def test_a_must_run_signal_runs_at_a_loss_in_the_mode_that_loses_least() -> None:
    fleet = Fleet(FREE, config=under(SignalRule("run", Action.RUN)), mode="off")
    fleet.signals = [window("run", NOW, NOW + 600)]
    run = fleet.one(NOW, 0.5)
    assert (run.reason, run.to_mode) == (Reason.SIGNAL, "eco")
    assert fleet.one(NOW + 600, 0.5).reason is Reason.PAUSE


def test_a_signal_for_other_units_or_for_a_mode_a_unit_does_not_have_changes_nothing() -> None:
    rules = (
        SignalRule("others", Action.PAUSE, units=frozenset({"u9"})),
        SignalRule("turbo", Action.MODE, mode="turbo"),
    )
    fleet = Fleet(FREE, config=under(*rules))
    fleet.signals = [window("others", NOW, NOW + 600), window("turbo", NOW, NOW + 600)]
    assert fleet.one(NOW, 0.02).reason is Reason.HOLD_ON


def test_a_persons_override_outranks_profit_until_its_time_and_never_a_signal() -> None:
    fleet = Fleet(FREE, config=under(PAUSE))
    fleet.overrides = {"u1": Override("u1", "full", NOW, NOW + 100, "ann", "test run")}
    kept = fleet.one(NOW, 0.5)
    assert (kept.reason, kept.to_mode) == (Reason.OVERRIDE, "full")
    assert kept.flip == "ann asked for it until 2023-11-14 22:15:00Z: test run"
    fleet.signals = [window("grid", NOW + 20, NOW + 40)]
    assert fleet.one(NOW + 20, 0.02).reason is Reason.SIGNAL
    assert (fleet.one(NOW + 40, 0.5).reason, fleet.modes["u1"]) == (Reason.OVERRIDE, "full")
    assert fleet.one(NOW + 100, 0.5).reason is Reason.PAUSE


def test_a_persons_override_never_outranks_the_limit_of_power() -> None:
    units = [replace(FREE, id=f"u{index}") for index in range(3)]
    fleet = Fleet(*units, config=under(cap_kw=5.0), mode="off")
    fleet.overrides = {unit.id: Override(unit.id, "full", NOW, math.inf, "bob") for unit in units}
    decisions = fleet.decide(NOW, 0.02)
    assert reasons(decisions) == [Reason.OVERRIDE, Reason.HOLD_SITE_CAP, Reason.HOLD_SITE_CAP]
    assert decisions[0].flip == "bob asked for it until it is taken back"
    assert "when 2.97 kW are free; the site's limit of 5 kW" in decisions[1].flip
    assert fleet.drawn_kw() <= 5.0


def test_a_unit_that_does_not_answer_is_unreachable_even_under_a_signal() -> None:
    fleet = Fleet(FREE, config=under(PAUSE))
    fleet.signals = [window("grid", NOW, NOW + 600)]
    fleet.unreachable = {"u1"}
    assert fleet.one(NOW, 0.02).reason is Reason.UNREACHABLE


# --- what else -----------------------------------------------------------------------------------------


def test_a_unit_that_needs_minutes_to_start_is_given_them_before_it_is_told_again() -> None:
    fleet = Fleet(replace(FREE, restart_s=120, change_s=120), mode="off")
    fleet.one(NOW, 0.02)
    fleet.deaf = {"u1"}  # it boots, and says "off" until it hashes
    assert fleet.one(NOW + TICK, 0.02).reason is Reason.RESUME
    settling = fleet.one(NOW + 2 * TICK, 0.02)
    assert (settling.reason, settling.to_mode, settling.changes) == (Reason.SETTLING, "full", False)
    assert settling.flip.startswith("told again at 2023-11-14 22:15:30Z if it is not there; ")
    assert fleet.one(NOW + 140, 0.02).reason is Reason.RESTORE


def test_a_mode_of_an_override_that_the_unit_does_not_have_is_no_override() -> None:
    fleet = Fleet(FREE)
    fleet.overrides = {"u1": Override("u1", "turbo", NOW, math.inf, "ann")}
    assert fleet.one(NOW, 0.02).reason is Reason.HOLD_ON


def test_a_unit_nobody_could_read_yet_takes_a_signal_and_an_override() -> None:
    fleet = Fleet(FREE, mode=None)
    fleet.overrides = {"u1": Override("u1", "eco", NOW, math.inf, "ann")}
    decision = fleet.one(NOW, 0.02)
    assert (decision.from_mode, decision.to_mode, decision.reason) == (UNKNOWN, "eco", Reason.OVERRIDE)


def test_a_scene_tells_no_plan_from_a_plan_without_a_unit() -> None:
    fleet = Fleet(Unit("u1", PowerCurve([Mode("on", 10, 500)])), mode="on")
    fleet.one(NOW, 0.02)
    assert fleet.view is not None
    assert fleet.view.limits is not None
    scene = Scene(NOW, LIVE, fleet.view.market, None, fleet.view.limits)
    assert (scene.planned("u1"), scene.by_plan("u1", "on")) == (None, "decides again when there is a plan")
    assert replace(scene, plan=fleet.view.plan, known={}).by_plan("u1", "on") == (
        "no change pays within the plan's horizon"
    )
