"""The controller over real hashing threads: a tape of prices, stale prices, a dry run, a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from regtest.demo import demo_difficulty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from regtest.bitcoind import Bitcoind
    from regtest.process import HashmillProcess

pytestmark = pytest.mark.bitcoind

TICK_S = 0.5
RATE = 40e6
CPU = {
    "threads": 1,
    "share_difficulty": 1e-4,
    "modes": [{"name": "full", "threads": 1, "watts": 15.0, "th_s": RATE / 1e12}],
}
"""With these the unit breaks even at 6 ct/kWh under `demo_difficulty(RATE)`, whatever this machine is."""


def tape(folder: Path, prices: Sequence[float | None], row_s: float) -> dict[str, Any]:
    """A tape section whose power price takes each of `prices` for `row_s` seconds; None is a feed fallen silent."""
    difficulty = demo_difficulty(RATE)
    lines = ["offset_s,usd_per_kwh,btc_usd,difficulty,subsidy_sat,fees_sat"]
    lines += [
        f"{number * row_s},{'' if price is None else price},90000,{difficulty:.8g},312500000,0"
        for number, price in enumerate(prices)
    ]
    file = folder / "tape.csv"
    file.write_text("\n".join(lines) + "\n")
    return {"file": str(file)}


def control(**settings: Any) -> dict[str, Any]:
    return {
        "enabled": True,
        "dry_run": False,
        "tick_s": TICK_S,
        "min_on_s": 0.0,
        "min_off_s": 0.0,
        **settings,
    }


def unit(daemon: HashmillProcess) -> dict[str, Any]:
    units = daemon.status()["units"]
    return dict(units[0]) if units else {"mode": None, "hashes": 0}


def changes(daemon: HashmillProcess) -> list[dict[str, Any]]:
    """Decisions that moved the unit, oldest first."""
    return [d for d in reversed(daemon.decisions()) if d["from_mode"] != d["to_mode"]]


def test_power_over_breakeven_stops_the_unit_within_a_tick_and_it_resumes_after_its_dwell(
    tmp_path: Path, bitcoind: Bitcoind, start_daemon: Callable[..., HashmillProcess]
) -> None:
    daemon = start_daemon(
        [bitcoind],
        solo={"min_block_interval_s": 2.0},
        cpu=CPU,
        tape=tape(tmp_path, [0.03, 0.12, 0.03], 4.0),
        controller=control(min_off_s=6.0),
    )
    daemon.wait_until(lambda: unit(daemon)["mode"] == "full", "run while power is cheap")
    daemon.wait_until(lambda: unit(daemon)["mode"] == "off", "pause while it is dear")
    at_pause = unit(daemon)["hashes"]
    daemon.wait_until(lambda: unit(daemon)["mode"] == "full", "resume when it is cheap again")
    daemon.wait_until(lambda: unit(daemon)["hashes"] > at_pause, "hash again")
    *_, pause, resume = changes(daemon)
    decisions = list(reversed(daemon.decisions()))
    assert daemon.stop() == 0

    assert (pause["to_mode"], pause["reason"]) == ("off", "pause_unprofitable")
    assert (resume["to_mode"], resume["reason"]) == ("full", "resume_profitable")
    assert "runs again above $" in pause["flip"]
    assert "or below" in pause["flip"]
    assert "pauses below $" in resume["flip"]
    assert pause["numbers"]["power_usd_per_kwh"] == 0.12
    assert resume["numbers"]["power_usd_per_kwh"] == 0.03
    # The first tick that saw the dear price is the one that paused.
    assert next(d for d in decisions if d["numbers"].get("power_usd_per_kwh") == 0.12)["id"] == pause["id"]
    assert resume["at"] - pause["at"] >= 6.0
    assert any(d["reason"] == "hold_min_off" for d in decisions)
    for decision in (pause, resume):
        assert decision["outcomes"][-1]["outcome"] == "confirmed"
        assert decision["outcomes"][-1]["mode_read"] == decision["to_mode"]


def test_when_prices_go_stale_the_last_decision_is_held_and_then_the_safe_mode_applies(
    tmp_path: Path, bitcoind: Bitcoind, start_daemon: Callable[..., HashmillProcess]
) -> None:
    daemon = start_daemon(
        [bitcoind],
        solo={"min_block_interval_s": 2.0},
        cpu=CPU,
        tape=tape(tmp_path, [0.03, None, None], 3.0),
        controller=control(safe_mode="pause", grace_s=2.0, max_age_s={"power_usd_per_kwh": 1.0}),
    )
    daemon.wait_until(lambda: unit(daemon)["mode"] == "full", "run while prices are known")
    daemon.wait_until(lambda: unit(daemon)["mode"] == "off", "go to the safe mode")
    decisions = list(reversed(daemon.decisions()))
    safe = changes(daemon)[-1]
    assert (safe["to_mode"], safe["reason"]) == ("off", "safe_mode")
    held = [d for d in decisions if d["reason"] == "hold_stale"]
    assert held
    assert all(d["to_mode"] == "full" for d in held)
    assert safe["at"] - held[0]["at"] >= 1.5
    assert daemon.metric("hashmill_hashprice_usd_per_ph_day") is None


def test_in_a_dry_run_everything_is_decided_and_nothing_is_touched(
    tmp_path: Path, bitcoind: Bitcoind, start_daemon: Callable[..., HashmillProcess]
) -> None:
    daemon = start_daemon(
        [bitcoind],
        solo={"min_block_interval_s": 2.0},
        cpu=CPU,
        tape=tape(tmp_path, [0.03, 0.12], 2.0),
        controller=control(dry_run=True),
    )
    daemon.wait_until(
        lambda: any(d["reason"] == "pause_unprofitable" for d in daemon.decisions()), "decide to pause"
    )
    hashes = unit(daemon)["hashes"]
    daemon.wait_until(lambda: unit(daemon)["hashes"] > hashes + RATE / 100, "hash all the same")
    assert unit(daemon)["mode"] == "full"
    decisions = daemon.decisions()
    assert all(decision["dry_run"] for decision in decisions)
    assert all(decision["outcomes"] == [] for decision in decisions)
    assert "hashmill_actuations_total{" not in daemon.http("/metrics")[1]


def test_after_a_kill_the_dwell_goes_on_where_it_was(
    tmp_path: Path, bitcoind: Bitcoind, make_daemon: Callable[..., HashmillProcess]
) -> None:
    daemon = make_daemon(
        [bitcoind],
        cpu=CPU,
        solo={"min_block_interval_s": 2.0},
        tape=tape(tmp_path, [0.03, 0.12], 3.0),
        controller=control(min_off_s=9.0),
    )
    daemon.start()
    daemon.wait_until(lambda: any(d["reason"] == "pause_unprofitable" for d in daemon.decisions()), "pause")
    pause = changes(daemon)[-1]
    daemon.kill()
    tape(tmp_path, [0.03], 3.0)
    daemon.start()
    daemon.wait_until(lambda: unit(daemon)["mode"] == "full", "resume after its dwell")
    resume = changes(daemon)[-1]
    assert resume["reason"] == "resume_profitable"
    assert resume["at"] - pause["at"] >= 9.0
