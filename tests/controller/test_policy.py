"""Rules of the policy: each by its name, and properties over any run of prices."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.deciding import DecidingConfig, decide_tick
from controller.decisions import Decision, Reason
from controller.earnings import GROSS, Earnings, Paid, Scheme
from controller.hashprice import Earned
from controller.policy import CHANGED, SINCE, STALE, TOLD, WANTED, PolicyConfig
from controller.snapshot import Snapshot
from controller.ticks import HASHPRICE, POWER
from controller.units import OFF, UNKNOWN, Unit, UnitState
from tests.controller.fleet_rig import CURVE, LIVE, NOW, RULES, TICK, UNIT, Fleet, reasons, tick


def test_every_unit_gets_a_decision_hold_included() -> None:
    fleet = Fleet(UNIT, replace(UNIT, id="u2"))
    decisions = fleet.decide(NOW, 0.02)
    assert [(one.unit_id, one.from_mode, one.to_mode) for one in decisions] == [
        ("u1", "full", "full"),
        ("u2", "full", "full"),
    ]
    assert reasons(decisions) == [Reason.HOLD_ON, Reason.HOLD_ON]


def test_a_price_spike_pauses_at_once_and_says_what_would_flip_it() -> None:
    fleet = Fleet()
    fleet.one(NOW, 0.02)
    pause = fleet.one(NOW + TICK, 4.0)
    assert (pause.to_mode, pause.reason) == (OFF, Reason.PAUSE)
    assert pause.flip == "runs again above $2,384.53/PH/day or below 6.71 ct/kWh"
    assert pause.numbers["hashprice_usd_per_ph_day"] == 40
    assert pause.numbers["power_usd_per_kwh"] == 4.0
    assert pause.numbers["marginal_margin_usd_per_hour"] == pytest.approx(40 / 24e3 * 76 - 4 * 1.85)
    assert pause.numbers["breakeven_power_usd_per_kwh"] == pytest.approx(0.0685, abs=1e-4)
    assert pause.numbers["age_power_usd_per_kwh_s"] == 0
    assert pause.numbers[SINCE] == NOW + TICK


def test_throttles_before_pausing() -> None:
    fleet = Fleet()
    step = fleet.one(NOW, 0.05)
    assert (step.to_mode, step.reason) == ("eco", Reason.STEP_DOWN)
    assert step.flip == (
        "pauses below $28.64/PH/day or above 6.98 ct/kWh; up to full above $57.14/PH/day or below 3.5 ct/kWh"
    )
    up = fleet.one(NOW + TICK, 0.02)
    assert (up.to_mode, up.reason) == ("full", Reason.STEP_UP)


def test_prices_within_the_dead_band_change_nothing_in_either_direction() -> None:
    for mode in ("off", "eco"):
        fleet = Fleet(mode=mode)
        for power in (0.0680, 0.0690):
            decision = fleet.one(NOW, power)
            assert decision.to_mode == mode
    assert Fleet(mode="off").one(NOW, 0.0680).reason is Reason.DEAD_BAND
    assert Fleet(mode="eco").one(NOW, 0.0690).reason is Reason.DEAD_BAND


def test_a_unit_that_must_run_for_its_minimum_time_is_throttled_and_pauses_after_it() -> None:
    fleet = Fleet(mode="off")
    fleet.one(NOW, 0.02)
    assert fleet.one(NOW + TICK, 0.02).reason is Reason.RESUME
    throttled = fleet.one(NOW + 20, 0.5)
    assert (throttled.to_mode, throttled.reason) == ("eco", Reason.STEP_DOWN)
    held = fleet.one(NOW + 69, 0.5)
    assert (held.to_mode, held.reason) == ("eco", Reason.MIN_ON)
    assert held.flip == "pauses at 2023-11-14 22:14:30Z if it still does not pay"
    assert fleet.one(NOW + 70, 0.5).reason is Reason.PAUSE


def test_resuming_waits_for_its_dwell_and_not_again_for_the_next_tick() -> None:
    fleet = Fleet()
    fleet.one(NOW, 0.5)
    assert fleet.one(NOW + 90, 0.02).reason is Reason.MIN_OFF
    assert fleet.one(NOW + 100, 0.02).reason is Reason.RESUME


def test_a_clock_that_is_set_back_makes_no_dwell_longer_than_it_is() -> None:
    fleet = Fleet()
    fleet.one(NOW, 0.02)
    assert fleet.one(NOW + TICK, 0.2).reason is Reason.PAUSE
    back = NOW - 7200
    assert fleet.one(back, 0.02).reason is Reason.MIN_OFF
    assert fleet.one(back + UNIT.min_off_s - 1, 0.02).reason is Reason.MIN_OFF
    assert fleet.one(back + UNIT.min_off_s, 0.02).reason is Reason.RESUME


def test_resuming_waits_until_the_price_was_observed_again() -> None:
    fleet = Fleet(mode="off")
    assert fleet.one(NOW, 0.02).reason is Reason.CONFIRMING
    assert fleet.one(NOW + TICK, 0.02, age_s=TICK).reason is Reason.CONFIRMING
    assert fleet.one(NOW + 2 * TICK, 0.02).reason is Reason.RESUME


def test_a_price_that_does_not_hold_starts_the_wait_again() -> None:
    fleet = Fleet(mode="off")
    first = fleet.one(NOW, 0.02)
    assert first.numbers[WANTED] == NOW
    assert WANTED not in fleet.one(NOW + TICK, 0.5).numbers
    assert fleet.one(NOW + 2 * TICK, 0.02).reason is Reason.CONFIRMING


def test_a_unit_whose_mode_nobody_knows_starts_in_the_planned_mode() -> None:
    start = Fleet(mode=None).one(NOW, 0.02)
    assert (start.from_mode, start.to_mode, start.reason) == (UNKNOWN, "full", Reason.START)
    assert start.numbers[SINCE] == NOW


def test_a_mode_that_left_the_curve_counts_as_unknown() -> None:
    assert Fleet(mode="turbo").one(NOW, 0.02).reason is Reason.START


def test_stale_prices_hold_for_the_grace_time_then_the_safe_mode_applies() -> None:
    fleet = Fleet()
    fleet.one(NOW, 0.02)
    held = fleet.one(NOW + 70, 0.02, age_s=70)
    assert (held.to_mode, held.reason) == ("full", Reason.STALE)
    assert held.numbers[STALE] == NOW + 60
    assert fleet.one(NOW + 179, 0.02, age_s=179).reason is Reason.STALE
    safe = fleet.one(NOW + 180, 0.02, age_s=180)
    assert (safe.to_mode, safe.reason) == (OFF, Reason.SAFE_MODE)
    assert fleet.one(NOW + 190, 0.02, age_s=190).reason is Reason.SAFE_MODE


def test_grace_counts_from_the_first_sight_when_a_series_was_never_there() -> None:
    fleet = Fleet()
    assert fleet.one(NOW, None).reason is Reason.STALE
    assert fleet.one(NOW + 119, None).reason is Reason.STALE
    assert fleet.one(NOW + 120, None).reason is Reason.SAFE_MODE


def test_the_safe_mode_run_turns_a_paused_unit_on_after_its_dwell() -> None:
    fleet = Fleet(replace(UNIT, safe_mode="run", min_off_s=500))
    fleet.one(NOW, 0.5)
    fleet.one(NOW + TICK, None)
    waiting = fleet.one(NOW + 200, None)
    assert (waiting.reason, waiting.to_mode) == (Reason.MIN_OFF, OFF)
    assert (fleet.one(NOW + 500, None).to_mode) == "full"


def test_the_safe_mode_pause_waits_for_the_minimum_time_on() -> None:
    fleet = Fleet(replace(UNIT, min_on_s=1000), mode=None)
    fleet.one(NOW, 0.02)
    fleet.one(NOW + TICK, None)
    assert fleet.one(NOW + 400, None).reason is Reason.MIN_ON
    assert fleet.one(NOW + 1000, None).reason is Reason.SAFE_MODE


def test_a_unit_nobody_knows_goes_to_the_safe_mode_when_there_are_no_prices() -> None:
    safe = Fleet(mode=None).one(NOW, None)
    assert (safe.to_mode, safe.reason) == (OFF, Reason.SAFE_MODE)


@pytest.mark.parametrize("power", [math.nan, math.inf, -math.inf, 11.0, -2.0])
def test_a_price_that_is_none_never_turns_a_unit_on_or_off(power: float) -> None:
    for mode in ("off", "full"):
        assert Fleet(mode=mode).one(NOW, power).reason is Reason.STALE


def test_a_unit_that_does_not_answer_is_unreachable_and_counts_as_drawing() -> None:
    fleet = Fleet()
    fleet.one(NOW, 0.02)
    fleet.unreachable.add("u1")
    gone = fleet.one(NOW + TICK, 0.5)
    assert (gone.reason, gone.to_mode, gone.changes) == (Reason.UNREACHABLE, "full", False)
    assert gone.numbers["assumed_power_w"] == 2970
    fleet.unreachable.clear()
    assert fleet.one(NOW + 2 * TICK, 0.5).reason is Reason.PAUSE


def test_a_unit_never_seen_counts_as_drawing_all_it_can() -> None:
    snapshot = Snapshot(NOW, {POWER: (tick(POWER, 0.02, NOW),)}, (UNIT,), {})
    gone = decide_tick(snapshot, {}, DecidingConfig(LIVE)).decisions["u1"]
    assert (gone.reason, gone.from_mode, gone.to_mode) == (Reason.UNREACHABLE, UNKNOWN, UNKNOWN)
    assert gone.numbers["assumed_power_w"] == 2970


def test_a_state_that_is_too_old_says_nothing() -> None:
    state = UnitState("u1", "off", None, 3100.0, None, NOW - 181)
    snapshot = Snapshot(NOW, {}, (UNIT,), {"u1": state})
    gone = decide_tick(snapshot, {}, DecidingConfig(LIVE)).decisions["u1"]
    assert (gone.reason, gone.numbers["assumed_power_w"]) == (Reason.UNREACHABLE, 3100)


def test_a_unit_found_in_another_mode_is_put_back() -> None:
    fleet = Fleet()
    fleet.one(NOW, 0.5)
    fleet.modes["u1"] = "full"
    back = fleet.one(NOW + TICK, 0.5)
    assert (back.from_mode, back.to_mode, back.reason, back.changes) == ("full", OFF, Reason.RESTORE, True)
    assert back.numbers[SINCE] == NOW, "its dwell goes on"


def test_a_unit_that_takes_its_mode_late_counts_as_changed_when_it_was_last_told() -> None:
    fleet = Fleet(replace(UNIT, min_on_s=0), config=replace(LIVE, max_changes_per_minute=1))
    fleet.deaf = {"u1"}
    fleet.one(NOW, 0.5)
    fleet.deaf.clear()
    again = fleet.one(NOW + 100, 0.5)
    assert (again.reason, again.numbers[CHANGED], again.numbers[TOLD]) == (Reason.RESTORE, NOW, NOW + 100)
    there = fleet.one(NOW + 110, 0.5)
    assert (there.reason, there.numbers[CHANGED]) == (Reason.HOLD_OFF, NOW + 100)
    assert TOLD not in there.numbers


def test_a_unit_that_already_stands_still_is_not_started_to_serve_its_minimum_time() -> None:
    fleet = Fleet(replace(UNIT, min_on_s=1000), mode=None)
    fleet.one(NOW, 0.02)
    fleet.modes["u1"] = "off"
    assert fleet.one(NOW + TICK, 0.5).reason is Reason.PAUSE
    assert fleet.modes["u1"] == "off"


def test_a_dry_run_takes_units_to_be_as_decided_and_means_nothing_to_a_live_one() -> None:
    fleet = Fleet(config=replace(LIVE, dry_run=True))
    assert fleet.one(NOW, 0.5).reason is Reason.PAUSE
    assert fleet.one(NOW + TICK, 0.5).reason is Reason.HOLD_OFF
    assert fleet.modes["u1"] == "full"
    fleet.config = LIVE
    live = fleet.one(NOW + 2 * TICK, 0.5)
    assert (live.from_mode, live.reason) == ("full", Reason.PAUSE)


def test_what_the_pool_keeps_is_not_earned() -> None:
    config = replace(LIVE, earned=Earned(pool_fee=0.5))
    decision = Fleet(config=config).one(NOW, 0.08)
    assert (decision.reason, decision.numbers["hashprice_usd_per_ph_day"]) == (Reason.PAUSE, 20)
    assert decision.numbers["breakeven_power_usd_per_kwh"] == pytest.approx(0.0342, abs=1e-4)


def test_a_decisions_numbers_say_what_the_pool_paid_and_give_its_hashprice_again() -> None:
    fleet = Fleet(config=replace(LIVE, earned=Earned(stale=0.03)))
    fleet.earnings = Earnings(Scheme.FPPS, fee=0.02, rejected_ratio=0.01, pool_work_ratio=0.75)
    numbers = fleet.one(NOW, 0.02).numbers
    assert (numbers[GROSS], numbers["pool_fee_ratio"], numbers["rejected_ratio"]) == (40, 0.02, 0.01)
    net = 40 * (0.75 * 0.98 * 0.99 + 0.25 * 0.97)
    assert numbers["hashprice_usd_per_ph_day"] == pytest.approx(net)
    assert numbers["hashprice_usd_per_ph_day"] == numbers[GROSS] * Paid.of_numbers(numbers).ratio
    assert numbers["margin_usd_per_hour"] == pytest.approx(net / 24e3 * 100 - 0.02 * 2.97)


def test_a_unit_is_paused_when_the_pool_refuses_too_much_of_its_work() -> None:
    fleet = Fleet()
    assert fleet.one(NOW, 0.06).to_mode == "eco"  # which breaks even at 6.85 ct
    fleet.earnings = Earnings(Scheme.FPPS, rejected_ratio=0.2)
    assert fleet.one(NOW + TICK, 0.06).reason is Reason.PAUSE


def test_negative_prices_pay_for_hashing() -> None:
    fleet = Fleet()
    decision = fleet.one(NOW, -0.03)
    assert (decision.reason, decision.to_mode) == (Reason.HOLD_ON, "full")
    assert decision.flip == "down to eco above 3.64 ct/kWh"


@pytest.mark.parametrize(
    "bad",
    [
        {"dead_band": 1.0},
        {"dead_band": -0.1},
        {"grace_s": -1},
        {"unit_max_age_s": 0},
        {"max_changes_per_minute": 0},
    ],
)
def test_a_policy_that_could_never_decide_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        PolicyConfig(**bad)  # type: ignore[arg-type] # wrong on purpose


# --- properties -------------------------------------------------------------------------------------

PRICES = st.one_of(
    st.none(), st.floats(), st.sampled_from([0.02, 0.05, 0.067, 0.069, 0.5, 9.0, -0.1, 10.5, math.nan])
)
HASHPRICES = st.one_of(st.none(), st.floats(), st.sampled_from([20.0, 40.0, 41.0, 80.0, 0.0]))
STEPS = st.lists(
    st.tuples(st.floats(0.5, 200), PRICES, HASHPRICES, st.sampled_from([0.0, 30.0, 59.0, 61.0, 500.0])),
    min_size=1,
    max_size=25,
)
ANY_UNIT = st.builds(
    Unit,
    id=st.just("u1"),
    curve=st.just(CURVE),
    min_on_s=st.sampled_from([0.0, 60.0, 600.0]),
    min_off_s=st.sampled_from([0.0, 60.0, 600.0]),
    safe_mode=st.sampled_from(["run", "pause", "eco"]),
)
PRICE_MOVES = {Reason.START, Reason.PAUSE, Reason.RESUME, Reason.STEP_UP, Reason.STEP_DOWN}


def is_good(value: float | None, series: str, age_s: float) -> bool:
    rule = RULES[series]
    return value is not None and math.isfinite(value) and rule.low <= value <= rule.high and age_s < 60


@settings(deadline=None)
@given(ANY_UNIT, STEPS, st.sampled_from([None, "off", "eco", "full"]))
def test_the_policy_never_acts_on_a_stale_or_unbelievable_price(
    unit: Unit, steps: list[tuple[float, float | None, float | None, float]], mode: str | None
) -> None:
    fleet, now = Fleet(unit, mode=mode), NOW
    for wait, power, hashprice, age_s in steps:
        now += wait
        decision = fleet.one(now, power, hashprice, age_s=age_s)
        good = is_good(power, POWER, age_s) and is_good(hashprice, HASHPRICE, age_s)
        assert good or decision.reason not in PRICE_MOVES
        assert all(math.isfinite(value) for value in decision.numbers.values())
        assert decision.flip


@settings(deadline=None)
@given(ANY_UNIT, STEPS, st.sampled_from(["one process", "restarted each tick"]))
def test_dwell_is_never_violated_not_even_by_the_safe_mode_or_a_restart(
    unit: Unit, steps: list[tuple[float, float | None, float | None, float]], how: str
) -> None:
    fleet, now = Fleet(unit, mode="off"), NOW
    switched: float | None = None
    for wait, power, hashprice, age_s in steps:
        now += wait
        if how == "restarted each tick":  # a new process that has read the last decisions from the ledger
            again = Fleet(unit, mode=fleet.modes["u1"])
            again.last = fleet.last
            fleet = again
        before = fleet.modes["u1"]
        decision = fleet.one(now, power, hashprice, age_s=age_s)
        if (before == OFF) != (decision.to_mode == OFF):
            least = unit.min_off_s if before == OFF else unit.min_on_s
            assert switched is None or now - switched >= least - 1e-6
            switched = now


@settings(deadline=None)
@given(ANY_UNIT, STEPS)
def test_the_same_history_gives_the_same_decisions(
    unit: Unit, steps: list[tuple[float, float | None, float | None, float]]
) -> None:
    def run() -> list[Decision]:
        fleet, now, made = Fleet(unit), NOW, []
        for wait, power, hashprice, age_s in steps:
            now += wait
            made.append(fleet.one(now, power, hashprice, age_s=age_s))
        return made

    assert run() == run()


@settings(deadline=None)
@given(st.floats(0.001, 0.2), st.floats(20, 80), st.floats(0.5, 0.999))
def test_a_flip_point_is_where_the_decision_flips(power: float, hashprice: float, nearly: float) -> None:
    off = Fleet(Unit("u1", CURVE), mode="off").one(NOW, power, hashprice)
    step = CURVE.steps()[0]
    runs_above = 24 * step.j_per_th * power / (1 - LIVE.dead_band)
    assert (off.reason is Reason.CONFIRMING) == (hashprice > runs_above)
    below = Fleet(Unit("u1", CURVE), mode="off").one(NOW, power, max(runs_above * nearly, 1.0))
    assert below.to_mode == OFF
    assert below.reason in {Reason.HOLD_OFF, Reason.DEAD_BAND} or runs_above * nearly < 1.0
