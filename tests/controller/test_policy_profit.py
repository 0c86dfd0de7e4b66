"""Following the plan, and naming why it stays or goes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller import standing
from controller.deciding import RealTime, Sees, decide_tick
from controller.decisions import Reason
from controller.policy import DAY, SINCE, STARTS, WANTED, PolicyConfig, SiteConfig
from controller.signals import Action, SignalRule
from controller.ticks import POWER, Tick
from controller.units import OFF, Mode, PowerCurve, Unit
from tests.controller.fleet_rig import CURVE, LIVE, NOW, TICK, Fleet, reasons
from tests.controller.real_time_rig import NOW as QUARTER_AT
from tests.controller.real_time_rig import SINGLE, Market, pinned

SLOW = Unit("u1", CURVE, restart_s=600, change_s=600, wear_usd=0.2, safe_mode="pause")
FREE = Unit("u1", CURVE)


def capped(kw: float) -> PolicyConfig:
    return replace(LIVE, site=SiteConfig(kw))


def test_a_pause_that_saves_less_than_the_start_after_it_costs_is_not_made() -> None:
    fleet = Fleet(SLOW, mode="eco")
    fleet.later = [(NOW + 200, 0.05)]
    held = fleet.one(NOW, 0.08)
    assert (held.reason, held.to_mode) == (Reason.HOLD_CHANGE_COST, "eco")
    assert held.flip == "no change pays within the plan's horizon"


def test_a_start_that_earns_less_than_it_costs_waits_for_the_time_the_plan_names() -> None:
    fleet = Fleet(SLOW, mode="off")
    fleet.horizon_hours = 4.0
    fleet.later = [(NOW + 100, 0.5), (NOW + 1000, -0.2)]
    held = fleet.one(NOW, 0.04)
    assert (held.reason, held.to_mode) == (Reason.HOLD_CHANGE_COST, OFF)
    assert held.flip == "runs again (full) at 2023-11-14 22:30:00Z by the plan"
    assert held.numbers[WANTED] == NOW, (
        "the price does want it; when its time comes it need not be seen twice"
    )


def test_a_unit_is_stopped_ahead_when_its_minimum_time_would_hold_it_in_what_comes() -> None:
    slow_off = Unit("u1", CURVE, min_on_s=3600, safe_mode="pause")
    fleet = Fleet(slow_off, mode="off")
    fleet.horizon_hours = 4.0
    fleet.later = [(NOW + 1000, 2.0)]
    assert reasons([fleet.one(NOW, 0.02)]) == [Reason.HOLD_CHANGE_COST]


def test_acting_for_what_comes_is_named_so() -> None:
    # A stop in a hundred seconds, when power gets dear, would last into the hours in which it is paid for.
    fleet = Fleet(Unit("u1", CURVE, min_off_s=1000))
    fleet.horizon_hours = 1.0
    fleet.later = [(NOW + 100, 2.0), (NOW + 1000, -1.0)]
    stopped = fleet.one(NOW, 0.02)
    assert (stopped.reason, stopped.to_mode) == (Reason.PLAN_AHEAD, OFF)
    assert stopped.flip == "runs again (full) at 2023-11-14 22:30:00Z by the plan"


def test_starts_per_day_are_counted_and_end_at_the_sites_midnight() -> None:
    site = SiteConfig(zone="Pacific/Auckland")  # 11:13 there
    fleet = Fleet(replace(FREE, starts_per_day=1), config=replace(LIVE, site=site), mode="off")
    fleet.one(NOW, 0.02)
    first = fleet.one(NOW + TICK, 0.02)
    assert (first.reason, first.numbers[STARTS]) == (Reason.RESUME, 1)
    fleet.one(NOW + 2 * TICK, 0.5)
    for count in (3, 4):
        held = fleet.one(NOW + count * TICK, 0.02)
    assert (held.reason, held.to_mode) == (Reason.HOLD_STARTS, OFF)
    assert held.flip == "runs again (full) after midnight if it still pays"
    tomorrow = NOW + 13 * 3600
    fleet.one(tomorrow, 0.02)
    again = fleet.one(tomorrow + TICK, 0.02)
    assert again.to_mode == "full"
    assert (again.numbers[STARTS], again.numbers[DAY]) == (1, first.numbers[DAY] + 1)


def test_what_the_limit_of_power_holds_back_waits_for_room_and_says_how_much() -> None:
    thrifty = Unit("a", PowerCurve([Mode("on", 100, 2000)]))
    hungry = Unit("b", PowerCurve([Mode("on", 100, 3000)]))
    fleet = Fleet(thrifty, hungry, config=capped(3.5), mode="on")
    fleet.modes["a"] = OFF
    first = fleet.decide(NOW, 0.02)
    assert reasons(first) == [Reason.CONFIRMING, Reason.SITE_CAP]
    assert first[1].to_mode == OFF
    assert first[1].flip.endswith("the site's limit of 3.5 kW")
    then = fleet.decide(NOW + TICK, 0.02)
    assert reasons(then) == [Reason.RESUME, Reason.HOLD_SITE_CAP]
    assert then[1].flip == "runs again when 3 kW are free; the site's limit of 3.5 kW"
    assert then[1].numbers["cap_kw"] == 3.5
    assert then[1].numbers["shadow_price_usd_per_kwh"] > 0
    fleet.config = capped(100.0)
    fleet.decide(NOW + 2 * TICK, 0.02)
    assert reasons(fleet.decide(NOW + 3 * TICK, 0.02))[1] is Reason.HOLD_ON


def test_the_limit_of_power_is_kept_at_once_and_waives_the_minimum_time() -> None:
    fleet = Fleet(replace(FREE, min_on_s=9e9), mode=None)
    fleet.one(NOW, 0.02)
    fleet.config = capped(1.0)
    forced = fleet.one(NOW + TICK, 0.02)
    assert (forced.reason, forced.to_mode) == (Reason.SITE_CAP, OFF)
    assert forced.numbers[SINCE] == NOW + TICK


def test_between_hours_a_unit_follows_its_hashprice_with_the_dead_band_of_the_plan() -> None:
    fleet = Fleet(FREE, mode="eco")
    assert fleet.one(NOW, 0.0355).reason is Reason.DEAD_BAND, "3.57 ct less 2 %"
    assert fleet.one(NOW + TICK, 0.0345).reason is Reason.STEP_UP
    assert fleet.one(NOW + 2 * TICK, 0.0360).reason is Reason.DEAD_BAND
    assert fleet.one(NOW + 3 * TICK, 0.0370).reason is Reason.STEP_DOWN


def test_prices_that_are_not_known_leave_nothing_to_this_rule() -> None:
    assert Fleet(FREE).one(NOW, math.nan).reason is Reason.STALE


def test_units_of_one_model_are_told_the_same_though_each_has_a_curve_of_its_own() -> None:
    def decided(curves: list[PowerCurve], mode: str, power: float) -> list[tuple[str, str, str]]:
        units = [Unit(f"u{number}", curve, restart_s=300) for number, curve in enumerate(curves)]
        found = Fleet(*units, mode=mode).decide(NOW, power)
        return [(one.to_mode, one.reason.value, one.flip) for one in found]

    for mode, power in (("full", 0.02), ("off", 0.2)):
        told = decided([PowerCurve(map(replace, CURVE.modes)) for _ in range(4)], mode, power)
        assert told == decided([CURVE] * 4, mode, power)
        assert len(set(told)) == 1


@pytest.mark.parametrize("side", [0.99, 1.01])
def test_a_unit_that_is_off_runs_again_at_the_hashprice_it_was_told_with_what_a_start_costs(
    side: float,
) -> None:
    unit = Unit("u1", CURVE, restart_s=600, wear_usd=2.0)
    fleet = Fleet(unit, mode=OFF)
    fleet.horizon_hours = 36
    told = fleet.one(NOW, 0.08)
    assert told.flip == "runs again above $64.58/PH/day or below 3.81 ct/kWh, to earn a start within 36 h"
    for count in (1, 2):
        after = fleet.one(NOW + count * TICK, 0.08, 64.58 * side)
    assert (after.to_mode == OFF) == (side < 1)


def test_under_a_limit_of_power_a_unit_pauses_at_the_hashprice_it_was_told() -> None:
    thrifty, hungry = (
        Unit(name, PowerCurve([Mode("on", th_s, 3000)])) for name, th_s in (("a", 150), ("b", 100))
    )
    fleet = Fleet(thrifty, hungry, config=replace(LIVE, site=SiteConfig(3.5)), mode=OFF)
    fleet.modes["a"] = "on"
    told = fleet.decide(NOW, 0.04)[0]
    assert fleet.view is not None
    assert told.numbers["shadow_price_usd_per_kwh"] > 0
    assert told.flip.startswith("pauses below $18.82/PH/day")
    assert fleet.decide(NOW + TICK, 0.04, 19.0)[0].to_mode == "on"
    assert fleet.decide(NOW + 2 * TICK, 0.04, 18.6)[0].to_mode == OFF


# --- where the next prices are not known --------------------------------------------------------------


def spot(
    monkeypatch: pytest.MonkeyPatch, price: float, ratio: float, mode: str, sees: Sees = Sees.A
) -> Market:
    monkeypatch.setattr(standing, "expected", pinned(lambda _: ratio))
    unit = Unit("u", SINGLE, restart_s=600.0, safe_mode="pause")
    return Market([unit], (price,) * 99, RealTime(sees), mode)


def test_a_unit_that_runs_on_at_a_loss_for_what_may_come_says_at_which_prices_it_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = spot(monkeypatch, 0.09, 0.4, "full").decide(QUARTER_AT).decisions["u"]
    assert (held.reason, held.to_mode) == (Reason.HOLD_CHANGE_COST, "full")
    stop = (
        40 / 480 + 0.4 * (40 / 480 / 6) * 4
    )  # breakeven, and what being on is worth spread over a quarter hour
    assert held.flip == (
        f"pauses below ${40 * 0.09 / stop:.2f}/PH/day or above {100 * stop:.3g} ct/kWh, by what is expected now"
    )


def test_a_unit_that_waits_with_a_start_says_at_which_prices_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = spot(monkeypatch, 0.08, 0.4, OFF).decide(QUARTER_AT).decisions["u"]
    assert (held.reason, held.to_mode) == (Reason.HOLD_CHANGE_COST, OFF)
    start = 40 / 480 - 0.6 * (40 / 480 / 6) * 4
    assert f"or below {100 * start:.3g} ct/kWh, by what is expected now" in held.flip


def test_who_sees_only_earlier_prices_acts_for_the_one_that_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = spot(monkeypatch, 0.05, -0.2, "full", Sees.B).decide(QUARTER_AT).decisions["u"]
    assert (gone.reason, gone.to_mode) == (Reason.PLAN_AHEAD, OFF)
    assert gone.flip.endswith("by the last known price and what is expected now")


def test_a_signal_to_come_is_named_by_its_time_not_by_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    market = spot(monkeypatch, 0.05, 0.9, OFF)
    rule = SignalRule("grid", Action.PAUSE)
    policy = replace(market.policy, site=SiteConfig(signals=(rule,)))
    window = Tick("signal:grid", 1.0, "1", QUARTER_AT + 900, QUARTER_AT + 9000, QUARTER_AT, "grid")
    held = market.but(policy=policy, signals=[window]).decide(QUARTER_AT).decisions["u"]
    assert held.reason is Reason.HOLD_CHANGE_COST
    assert held.flip.endswith("by the plan")


@pytest.mark.parametrize(
    ("sees", "late_s", "reason"),
    [
        (Sees.A, 0.0, Reason.RESUME),
        (Sees.A, 1.0, Reason.CONFIRMING),
        (Sees.B, 0.0, Reason.RESUME),
        (Sees.B, 1.0, Reason.CONFIRMING),
    ],
)
def test_a_price_told_in_time_starts_a_unit_at_once_and_a_later_one_is_seen_twice(
    monkeypatch: pytest.MonkeyPatch, sees: Sees, late_s: float, reason: Reason
) -> None:
    market = spot(monkeypatch, 0.5, 0.0, OFF, sees)
    market.live(QUARTER_AT)
    monkeypatch.setattr(standing, "expected", pinned(lambda _: 1.0 if sees is Sees.A else 1.1))
    market.prices = (0.02,) * 99
    snapshot = market.snapshot(QUARTER_AT + 900)
    (price,) = snapshot.ticks[POWER]
    price = replace(price, observed_at=QUARTER_AT + 900 + late_s)
    snapshot = replace(snapshot, ticks={**snapshot.ticks, POWER: (price,)})
    view = decide_tick(snapshot, market.last, market.config)
    assert view.decisions["u"].reason is reason
