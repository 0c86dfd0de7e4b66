"""What `hashmill backtest` prints."""

from typing import Any

import pytest

from controller.backtest_document import document
from miner.control_backtest import POLICIES, Options
from miner.render import show
from miner.render_backtest import backtest
from tests.controller.backtested import backtested


def told(capsys: pytest.CaptureFixture[str], result: dict[str, Any]) -> str:
    show(*backtest(result, POLICIES))
    return capsys.readouterr().out


def result(**how: Any) -> dict[str, Any]:
    settings = Options(None, None, None, adder_usd_per_mwh=25.0, fee=0.02).settings()
    return {**document(backtested(21, **how)), "settings": settings, "notes": ["the sky fell"]}


def test_each_policy_has_a_line_with_money_regret_starts_and_uptime(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = told(capsys, result())
    assert "decisions see the price of the quarter hour that begins (A)" in text
    assert "25 USD/MWh on top, fee 2 %" in text
    assert "504 of 504 hours count" in text
    for policy in ("hashmill", "always_on", "oracle"):
        (line,) = [each for each in text.splitlines() if each.strip().startswith(policy)]
        assert "%" in line
    assert "Note: the sky fell." in text


def test_gaps_are_named_and_many_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    many = {**result(missing=4), "gaps": [f"gap {number}" for number in range(12)]}
    text = told(capsys, many)
    assert "12 gaps" in text
    assert "gap 9" in text
    assert "gap 10" not in text
    assert "and 2 more" in text


def test_less_than_an_hour_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = result()
    found["period"].update(hours=1.25, counted_hours=0.25)
    assert "0.25 of 1.25 hours count" in told(capsys, found)


def test_a_ladder_shows_what_each_mode_earns_alone(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(ladder=True)
    key = next(iter(found["fleets"]))
    found["fleets"][key]["single_modes_usd"] = {"eco": 1.0, "full": 2.5}
    assert "Alone: eco $1.00, full $2.50" in told(capsys, found)


def test_under_a_cap_all_are_shown_together_and_parts_have_no_regret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = result()
    found["together"] = found[next(iter(found["fleets"]))]
    found["settings"]["--cap-kw"] = 500.0
    for policy in found["together"].values():
        policy.update(regret=None, regret_low=None, regret_high=None)
    text = told(capsys, found)
    assert "All together under 500 kW" in text
