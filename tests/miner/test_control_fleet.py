"""The fleet's report from the configuration: prices, every unit with modes, cash; and its picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miner.control_fleet import PlotRefusedError, draw_fleet
from miner.control_preview import Preview
from tests.miner.control_harness import CHEAP, MODES, config_of, silent_nodes

WORKERS = {
    "stratum": {"listen": "127.0.0.1:3333"},
    "unit": [
        {
            "id": "gated",
            "worker": "a.1",
            "control": "gate",
            "modes": [{"name": "on", "th_s": 100.0, "watts": 3000.0}],
        },
        {
            "id": "measured",
            "worker": "a.2",
            "control": "none",
            "modes": [{"name": "on", "th_s": 100.0, "watts": 3000.0}],
        },
        {"id": "without-modes", "worker": "a.3", "control": "none"},
    ],
}


async def fleet_of(tape: dict[str, Any], tmp_path: Path, **sections: Any) -> dict[str, Any]:
    config = config_of(tape=tape, ledger={"url": f"sqlite:///{tmp_path}/none.db"}, **sections)
    return (await Preview.make(config, silent_nodes(config), MODES)).fleet()


async def test_every_unit_with_modes_is_in_the_fleet_also_one_that_is_only_measured(
    tape_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    report = await fleet_of(tape_of(usd_per_kwh=CHEAP), tmp_path, **WORKERS)
    assert report["known"]
    assert [kind["unit_ids"] for kind in report["fleet"]["classes"]] == [["cpu"], ["gated", "measured"]]


async def test_fees_and_cash_are_those_of_the_configuration(
    tape_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    treasury = {"cash_usd": 1000.0, "fixed_usd_per_day": 5.0}
    report = await fleet_of(
        tape_of(usd_per_kwh=CHEAP), tmp_path, treasury=treasury, controller={"pool_fee": 0.02}
    )
    assert report["fleet"]["paid_ratio"] == pytest.approx(0.98)
    assert report["fleet"]["hashprice_usd_per_ph_day"] == report["gross_hashprice_usd_per_ph_day"]
    assert report["fleet"]["cash"]["treasury_usd"] == 1000.0
    assert report["fleet"]["cash"]["fixed_usd_per_day"] == 5.0


async def test_a_bitcoin_has_its_cost_where_the_chain_is_known(
    tape_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    known = await fleet_of(tape_of(usd_per_kwh=CHEAP), tmp_path)
    assert known["fleet"]["classes"][0]["modes"][-1]["cash_cost_usd_per_btc"] > 0
    given = await fleet_of(tape_of(usd_per_kwh=CHEAP, hashprice_usd_per_ph_day=40), tmp_path)
    assert given["fleet"]["classes"][0]["modes"][-1]["cash_cost_usd_per_btc"] is None


async def test_without_prices_there_is_no_fleet_report_and_no_picture_but_the_reason(
    tape_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    report = await fleet_of(tape_of(), tmp_path)
    assert not report["known"]
    assert report["fleet"] is None
    assert [problem["series"] for problem in report["problems"]] == ["power_usd_per_kwh"]
    with pytest.raises(PlotRefusedError, match="nothing to show"):
        draw_fleet(report, tmp_path / "fleet.svg")


async def test_the_picture_is_drawn_or_refused_in_words(
    tape_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    report = await fleet_of(tape_of(usd_per_kwh=CHEAP), tmp_path)
    draw_fleet(report, tmp_path / "fleet.svg")
    assert (tmp_path / "fleet.svg").stat().st_size > 0
    with pytest.raises(PlotRefusedError, match=r"\.svg or \.png"):
        draw_fleet(report, tmp_path / "fleet.jpg")
