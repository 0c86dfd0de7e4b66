from typing import Any

import pytest

from controller.plan import Slot
from controller.report import Chain, Fleet, Treasury, fleet_report
from controller.units import Mode, PowerCurve, Unit
from miner import render, render_fleet
from tests.miner.test_render_plan import HASHPRICE

LADDER = PowerCurve(
    [Mode("off", 0, 12), Mode("eco", 76, 1850), Mode("poor", 78, 2400), Mode("full", 100, 2970)]
)
OLD = PowerCurve([Mode("off", 0, 20), Mode("on", 14, 1400)])


def report_of(**more: Any) -> dict[str, Any]:
    units = (*(Unit(f"r{i}", LADDER) for i in range(6)), Unit("old", OLD))
    settings: dict[str, Any] = {
        "hashprice_usd_per_ph_day": 40.0,
        "paid_ratio": 0.98,
        "slots": (Slot(0.0, 900.0, 40.0, 0.055), Slot(900.0, 900.0, 40.0, 0.07)),
        "treasury": Treasury(10_000.0, 20.0),
        "chain": Chain(146.47e12, 3.14e8),
        **more,
    }
    return {**HASHPRICE, "fleet": fleet_report(Fleet(units=units, **settings))}


def printed(capsys: pytest.CaptureFixture[str], report: dict[str, Any]) -> str:
    render.show(*render_fleet.fleet(report))
    return capsys.readouterr().out


def test_a_fleet_is_told_from_breakevens_to_cash(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, report_of())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for title in ("Breakevens", "Merit order", "Survival", "Cash", "If difficulty falls"):
        assert any(line.startswith(title) for line in lines), title
    assert any("r0, r1, r2 ... r5 (6 units) eco 76 TH/s 1,850 W 24.34" in line for line in lines)
    assert any(line.startswith("poor (never best)") for line in lines)
    assert any(line.startswith("now $40.00/PH/day 0 6 1") for line in lines)
    assert any(line.startswith("$30.00/PH/day 0 0 7") for line in lines)
    assert "Throttle now: r0, r1, r2 ... r5 (6 units)" in lines
    assert "Mothball now: old" in lines
    assert any("in standby until they are unplugged" in line for line in lines)
    assert any("go to fixed costs" in line and "$10,000.00 last" in line for line in lines)


def test_without_cash_it_says_what_would_tell_the_runway(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, report_of(treasury=Treasury(None, 1e6)))
    assert "[treasury] cash_usd tells how long that can go on" in text
    assert "Even at $" in text


def test_without_prices_it_says_which_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [{"series": "btc_usd", "why": "no value was ever seen", "since": None}]
    text = printed(capsys, {**HASHPRICE, "known": False, "problems": problems, "fleet": None})
    assert "btc_usd: no value was ever seen" in text
    assert "Survival" not in text


def test_without_units_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No unit to reckon with" in printed(capsys, {**HASHPRICE, "fleet": None})
