"""Reports are plain data, with and without known prices."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from controller import standing
from controller.deciding import DecidingConfig, RealTime, Sees, decide_tick
from controller.earnings import Earnings, Scheme
from controller.forecast import TypicalDay
from controller.model import Model
from controller.overrides import Override
from controller.policy import SiteConfig
from controller.signals import Action, SignalRule
from controller.snapshot import Snapshot
from controller.ticks import (
    BTC_USD,
    CHAIN_HEIGHT,
    DIFFICULTY,
    EPOCH_START,
    FEES,
    POWER,
    SUBSIDY,
    TIP_TIME,
    UNITS,
    Tick,
)
from controller.units import Mode, PowerCurve, Unit, UnitState
from controller.view import View, faults, hashprice_report, plan_report
from tests.controller.fleet_rig import LIVE, Fleet, window
from tests.controller.fleet_rig import NOW as FLEET_NOW
from tests.controller.real_time_rig import NOW as QUARTER_AT
from tests.controller.real_time_rig import SINGLE, Market, pinned

NOW = 1_768_176_000.0
VALUES = {
    BTC_USD: 91_000.0,
    POWER: 0.05,
    DIFFICULTY: 146472570619930.78,
    SUBSIDY: 312_500_000.0,
    FEES: 1_552_873.0,
    CHAIN_HEIGHT: 931_900.0,
    EPOCH_START: 1_767_859_543.0,
    TIP_TIME: 1_768_175_900.0,
}
UNIT = Unit("rack1-07", PowerCurve([Mode("off", 0, 12), Mode("eco", 76, 1850), Mode("full", 100, 2970)]))


def view(earnings: Earnings | None = None, **changed: float) -> View:
    ticks = {
        series: (Tick(series, value, UNITS[series], 0, math.inf, NOW - 5, "test"),)
        for series, value in {**VALUES, **changed}.items()
    }
    states = {UNIT.id: UnitState(UNIT.id, "full", 99.0, 2950.0, None, NOW)}
    snapshot = Snapshot(NOW, ticks, (UNIT,), states, earnings=earnings)
    return decide_tick(snapshot, {}, DecidingConfig())


def plain(report: dict[str, Any]) -> dict[str, Any]:
    """The report as any client reads it; fails if it is more than plain data."""
    read = json.loads(json.dumps(report, allow_nan=False))
    assert isinstance(read, dict)
    return read


def test_hashprice_now_and_after_the_retarget_with_its_inputs() -> None:
    report = plain(hashprice_report(view()))
    assert report["known"]
    assert report["hashprice_usd_per_ph_day"] == pytest.approx(39.25, abs=0.01)
    assert report["gross_hashprice_btc_per_ph_day"] == pytest.approx(0.00043132, rel=1e-4)
    retarget = report["retarget"]
    assert retarget["ratio_low"] < retarget["ratio"] < retarget["ratio_high"]
    assert retarget["hashprice_usd_per_ph_day"] == pytest.approx(
        report["hashprice_usd_per_ph_day"] / retarget["ratio"]
    )
    assert {row["series"] for row in report["inputs"]} == set(VALUES)
    assert report["inputs"][0] == {
        "series": "btc_usd",
        "value": 91_000.0,
        "unit": "USD/BTC",
        "source": "test",
        "age_s": 5.0,
        "valid_to_s": None,
    }


def test_a_hashprice_that_is_not_known_is_none_and_says_why() -> None:
    report = plain(hashprice_report(view(btc_usd=0.0)))
    assert not report["known"]
    assert report["hashprice_usd_per_ph_day"] is None
    assert report["problems"] == [
        {"series": "btc_usd", "why": "0 USD/BTC is outside 1000 .. 1e+07", "since": None},
    ]


def test_the_plan_says_for_each_unit_what_why_and_what_would_change_it() -> None:
    report = plain(plan_report(view()))
    assert report["gap_ratio"] == 0
    (unit,) = report["units"]
    assert (unit["unit"], unit["from_mode"], unit["to_mode"]) == ("rack1-07", "full", "eco")
    assert (unit["reason"], unit["why"]) == ("step_down", "the last watts do not pay")
    assert "pauses below" in unit["flip"]
    assert unit["next"] == [{"from_s": NOW, "to_s": NOW + 36 * 3600, "mode": "eco"}]
    assert [mode["mode"] for mode in unit["modes"]] == ["off", "eco", "full"]
    assert unit["modes"][2]["breakeven_power_usd_per_kwh"] == pytest.approx(39.25 / 24 / 29.7, rel=1e-3)
    assert "j_per_th" not in unit["modes"][0]
    # The last step alone: (2970 - 1850) W for (100 - 76) TH/s, and from off its standby power is spared.
    steps = [mode.get("step_breakeven_hashprice_usd_per_ph_day") for mode in unit["modes"]]
    assert steps == [None, pytest.approx(24 * 1838 / 76 * 0.05), pytest.approx(24 * 1120 / 24 * 0.05)]


def test_a_mode_off_the_hull_is_marked_as_never_the_best() -> None:
    curve = PowerCurve([Mode("eco", 76, 1850), Mode("bad", 77, 2900), Mode("full", 100, 2970)])
    seen = view()
    snapshot = replace(seen.snapshot, units=(Unit(UNIT.id, curve),))
    (unit,) = plain(plan_report(replace(seen, snapshot=snapshot)))["units"]
    assert [mode["on_hull"] for mode in unit["modes"]] == [True, True, False, True]
    assert "step_breakeven_power_usd_per_kwh" not in unit["modes"][2]


def test_the_plan_says_until_when_power_is_known_and_what_is_expected_then() -> None:
    def told(day: TypicalDay, *ticks: Tick) -> list[Any]:
        snapshot = replace(view().snapshot, typical_day=day)
        snapshot = replace(snapshot, ticks={**snapshot.ticks, POWER: ticks})
        report = plain(plan_report(decide_tick(snapshot, {}, DecidingConfig())))
        return [report["power_known_until_s"], report["power_expected"]]

    usual = TypicalDay("UTC", (0.05,) * 96, (7,) * 96)
    moment = Tick(POWER, 0.05, UNITS[POWER], NOW - 60, math.inf, NOW - 5, "feed")
    hour = replace(moment, valid_to=NOW + 3600)
    assert told(usual, hour) == [NOW + 3600, "typical_day"]
    assert told(TypicalDay(), hour) == [NOW + 3600, "as_last"]
    assert told(usual, moment) == [NOW, "typical_day"]
    assert told(usual, replace(moment, source="configuration")) == [None, None]
    assert told(usual, replace(moment, valid_to=NOW + 37 * 3600)) == [None, None]
    assert told(usual, replace(moment, valid_to=NOW)) == [None, None]  # no price at all


def test_a_plan_without_prices_still_says_what_happens_to_each_unit() -> None:
    report = plain(plan_report(view(btc_usd=0.0)))
    assert (report["known"], report["value_usd"], report["horizon_ends_at_s"]) == (False, None, None)
    (unit,) = report["units"]
    assert (unit["reason"], unit["next"]) == ("hold_stale", [])
    assert "margin_usd_per_hour" not in unit["modes"][1]


def test_both_reports_say_what_is_paid_of_hashprice_and_by_whom() -> None:
    pool = Earnings(Scheme.FPPS, fee=0.02, rejected_ratio=0.01, pool="pool.example")
    report = plain(hashprice_report(view(pool)))
    assert report["hashprice_usd_per_ph_day"] == pytest.approx(39.25 * 0.98 * 0.99, abs=0.01)
    assert report["earnings"] == {
        "pool": "pool.example",
        "scheme": "fpps",
        "earned_ratio": pytest.approx(0.98 * 0.99),
        "pool_fee_ratio": 0.02,
        "rejected_ratio": 0.01,
        "rejected_is_measured": True,
        "paid_reward_ratio": 1.0,
        "pool_work_ratio": 1.0,
    }
    assert plain(plan_report(view(pool)))["earnings"] == report["earnings"]
    assert plain(hashprice_report(view()))["earnings"]["pool"] is None
    assert plain(hashprice_report(view(btc_usd=0.0)))["earnings"] is None


def test_what_limits_the_site_is_told_with_its_power_signals_wishes_and_what_cannot_be_kept() -> None:
    rule = SignalRule("grid", Action.CAP, ramp_s=600)
    site = SiteConfig(2.0, (rule,))
    fleet = Fleet(replace(UNIT, id="u1"), config=replace(LIVE, site=site))
    fleet.signals = [window("grid", FLEET_NOW - 10, FLEET_NOW + 100, 0.005, "kW")]
    fleet.overrides = {"u1": Override("u1", "eco", FLEET_NOW, math.inf, "ann", "a test")}
    fleet.decide(FLEET_NOW, 0.02)
    assert fleet.view is not None
    limits = plain(plan_report(fleet.view))["limits"]
    assert (limits["cap_kw"], limits["cap"]) == (0.005, "signal grid: 0.005 kW")
    assert limits["drawn_kw"] == 2.97
    assert limits["signals"] == [
        {
            "signal": "grid",
            "action": "cap",
            "from_s": FLEET_NOW - 10,
            "to_s": FLEET_NOW + 100,
            "ramp_to_s": FLEET_NOW + 700,
            "cap_kw": 0.005,
            "active": True,
        }
    ]
    assert limits["overrides"][0]["to_s"] is None
    assert "the power cap is exceeded" in limits["broken"][0]["why"]
    assert plain(plan_report(view()))["limits"] == {
        "cap_kw": None,
        "cap": None,
        "drawn_kw": None,
        "shadow_price_usd_per_kwh": 0.0,
        "signals": [],
        "overrides": [],
        "broken": [],
    }


def test_a_meter_that_says_nonsense_is_named() -> None:
    fleet = Fleet()
    fleet.power_w = {"u1": 65_535.0}
    assert fleet.one(FLEET_NOW, 0.02).numbers["power_refused_w"] == 65_535.0
    assert fleet.view is not None
    assert faults(fleet.view) == (
        ("u1", "u1: reads 65,535 W, far more than its greatest mode draws: not believed"),
    )
    fleet.power_w = {"u1": 4_000.0}
    assert "power_refused_w" not in fleet.one(FLEET_NOW + 10, 0.02).numbers
    assert not faults(fleet.view)


def test_where_the_next_prices_are_not_known_the_plan_says_by_what_units_are_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda _: 0.5))
    unit = Unit("u", SINGLE, restart_s=600.0)
    free = Unit("free", SINGLE)
    market = Market([unit, free], (0.05,) * 9, RealTime(Sees.B, Model(b"x")), "full", day_ahead=[0.06] * 9)
    report = plain(plan_report(market.decide(QUARTER_AT)))
    digest = Model(b"x").digest[:12]
    assert report["real_time"] == {
        "sees": "B",
        "method": "band",
        "why": "nothing was fitted",
        "model": digest,
    }
    assert report["power_expected"] == "day_ahead"
    told = {each["unit"]: each["standing"] for each in report["units"]}
    cost = 40 / 24e3 * 100 / 6
    assert told["u"] == {
        "method": "band",
        "why": "nothing was fitted",
        "ratio": 0.5,
        "worth_usd": pytest.approx(cost * 0.5),
    }
    assert (told["free"]["method"], told["free"]["ratio"]) == (None, None)
    known = plain(plan_report(market.but(real_time=None).decide(QUARTER_AT)))
    assert (known["real_time"], known["units"][0]["standing"]) == (None, None)
