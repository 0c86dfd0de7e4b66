from typing import Any

import pytest

from miner import render, render_plan

NOON = 1768219200.0  # 2026-01-12 12:00:00 UTC

PLAN: dict[str, Any] = {
    "at_s": NOON,
    "dry_run": True,
    "known": True,
    "hashprice_usd_per_ph_day": 38.829,
    "power_usd_per_kwh": 0.06,
    "problems": [],
    "value_usd": 4.2,
    "bound_usd": 4.2,
    "gap_ratio": 0.0,
    "horizon_ends_at_s": NOON + 36 * 3600,
    "next_tick_at_s": None,
    "units": [
        {
            "unit": "cpu",
            "from_mode": "full",
            "to_mode": "off",
            "reason": "pause_unprofitable",
            "why": "hashing costs more than it earns",
            "flip": "runs again above $41.20/PH/day or below 5.9 ct/kWh",
            "numbers": {},
            "mode_read": "full",
            "hashrate_th_s": 0.00002,
            "power_w": 20.0,
            "value_usd": 4.2,
            "next": [
                {"from_s": NOON, "to_s": NOON + 3600, "mode": "off"},
                {"from_s": NOON + 3600, "to_s": NOON + 7200, "mode": "full"},
            ],
            "modes": [
                {"mode": "off", "th_s": 0.0, "watts": 0.0, "on_hull": True, "margin_usd_per_hour": 0.0},
                {
                    "mode": "full",
                    "th_s": 0.00002,
                    "watts": 20.0,
                    "margin_usd_per_hour": -0.0012,
                    "on_hull": True,
                    "j_per_th": 1e6,
                    "breakeven_hashprice_usd_per_ph_day": 1440000.0,
                    "breakeven_power_usd_per_kwh": 1.6e-6,
                    "step_breakeven_hashprice_usd_per_ph_day": 1440000.0,
                    "step_breakeven_power_usd_per_kwh": 1.6e-6,
                },
            ],
        }
    ],
}

HASHPRICE: dict[str, Any] = {
    "at_s": NOON,
    "known": True,
    "hashprice_usd_per_ph_day": 38.0,
    "gross_hashprice_usd_per_ph_day": 38.829,
    "gross_hashprice_btc_per_ph_day": 0.00043142,
    "power_usd_per_kwh": -0.004,
    "earnings": {
        "pool": "pool.example:3333",
        "scheme": "pps",
        "earned_ratio": 0.9786,
        "pool_fee_ratio": 0.01,
        "rejected_ratio": 0.0015,
        "rejected_is_measured": True,
        "paid_reward_ratio": 0.995,
        "pool_work_ratio": 0.75,
    },
    "retarget": {
        "at_s": NOON + 86400,
        "at_low_s": NOON,
        "at_high_s": NOON,
        "blocks_left": 1200,
        "difficulty": 1.5e14,
        "ratio": 1.021,
        "ratio_low": 1.0,
        "ratio_high": 1.04,
        "hashprice_usd_per_ph_day": 37.2,
    },
    "inputs": [
        {
            "series": "network_difficulty",
            "value": 146472570619930.8,
            "unit": "1",
            "source": "node",
            "age_s": 200.0,
            "valid_to_s": None,
        }
    ],
    "problems": [],
}


def printed(capsys: pytest.CaptureFixture[str], *parts: Any) -> str:
    render.show(*parts)
    return capsys.readouterr().out


def test_a_plan_says_what_happens_to_each_unit_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *render_plan.plan(PLAN))
    assert text.startswith("Dry run: ")
    assert "Hashprice  $38.83/PH/day" in text
    assert "Power      6 ct/kWh" in text
    assert "cpu: goes from full to off" in text
    assert "why      hashing costs more than it earns (pause_unprofitable)" in text
    assert "changes  runs again above $41.20/PH/day" in text
    assert "later    off until 2026-01-12 13:00:00Z, then full until 2026-01-12 14:00:00Z" in text
    assert "> off" in text
    assert "20 MH/s" in text
    assert "$1,440,000.00/PH/day" in text
    assert "-$0.0012" in text
    assert "Worth $4.20 until 2026-01-14 00:00:00Z; no plan could earn more than $4.20 (gap 0.0000%)." in text


@pytest.mark.parametrize(
    ("until", "expected", "words"),
    [
        (NOON + 3600, "typical_day", ", known until 2026-01-12 13:00:00Z, then expected as on a typical day"),
        (NOON + 3600, "as_last", ", known until 2026-01-12 13:00:00Z, then taken to stay so"),
        (NOON, "typical_day", ", known for the moment, then expected as on a typical day"),
        (None, None, ""),
    ],
)
def test_a_plan_says_until_when_power_is_known_and_what_is_expected_then(
    capsys: pytest.CaptureFixture[str], until: float | None, expected: str | None, words: str
) -> None:
    report = {**PLAN, "power_known_until_s": until, "power_expected": expected}
    assert f"Power      6 ct/kWh{words}\n" in printed(capsys, *render_plan.plan(report))


def test_a_plan_without_prices_says_which_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    unit = {
        **PLAN["units"][0],
        "to_mode": "full",
        "next": [],
        "modes": [{"mode": "off", "th_s": 0.0, "watts": 0.0, "on_hull": True}],
    }
    unknown = {
        **PLAN,
        "dry_run": False,
        "known": False,
        "value_usd": None,
        "problems": [{"series": "btc_usd", "why": "last seen 4000 s ago", "since": NOON}],
        "units": [unit],
    }
    text = printed(capsys, *render_plan.plan(unknown))
    assert text.startswith("Prices are not known:\n  btc_usd: last seen 4000 s ago\n")
    assert "cpu: stays full" in text
    assert "not planned: prices are not known" in text
    assert "Worth" not in text


def test_a_long_path_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    stretches = [{"from_s": NOON, "to_s": NOON, "mode": "off"}] * 9
    text = printed(capsys, *render_plan.plan({**PLAN, "units": [{**PLAN["units"][0], "next": stretches}]}))
    assert ", and 3 more changes" in text


def test_hashprice_shows_now_then_and_the_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *render_plan.hashprice(HASHPRICE))
    assert "Hashprice  $38.00/PH/day as it is paid, $38.83/PH/day before (0.00043142 BTC)" in text
    assert "Power      -0.4 ct/kWh" in text
    assert "in 1,200 blocks, about 2026-01-13 12:00:00Z: difficulty x 1.0210" in text
    assert "then $37.20/PH/day" in text
    assert "146,472,570,619,931" in text
    assert "3.3 min" in text


def test_what_is_paid_of_hashprice_is_told_with_what_the_rest_goes_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pool = printed(capsys, *render_plan.hashprice(HASHPRICE))
    assert (
        "Paid       97.86% of it by pool.example:3333 (pps): 1.00% fee, 0.15% of the work rejected, "
        "99.50% of the reward, without transaction fees, 25.00% of the work mined solo"
        in " ".join(pool.split("\n"))
    )
    usual = {"pool": None, "rejected_is_measured": False, "paid_reward_ratio": 1.0, "pool_work_ratio": 1.0}
    solo = printed(
        capsys, *render_plan.hashprice({**HASHPRICE, "earnings": {**HASHPRICE["earnings"], **usual}})
    )
    assert "Paid       97.86% of it: 1.00% fee, 0.15% of the work expected to be late" in solo


def test_a_unit_whose_mode_is_not_known_is_not_said_to_come_from_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    unit = {**PLAN["units"][0], "from_mode": "unknown", "to_mode": "full"}
    render.show(*render_plan.plan({**PLAN, "units": [unit]}))
    assert "cpu: goes to full (the mode it is in is not known)" in capsys.readouterr().out


def test_a_plan_without_units_says_that_nothing_hashes(capsys: pytest.CaptureFixture[str]) -> None:
    render.show(*render_plan.plan({**PLAN, "units": [], "value_usd": 0.0, "bound_usd": 0.0}))
    out = capsys.readouterr().out
    assert "No unit to plan for: [cpu] threads = 0" in out
    assert "Worth" not in out


def test_a_plan_of_a_controller_that_is_off_says_that_it_will_not_happen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render.show(*render_plan.plan({**PLAN, "enabled": False}))
    out = capsys.readouterr().out
    assert "The controller is off ([controller] enabled = false): every unit runs, whatever it costs." in out
    assert "Dry run" not in out


def test_a_mode_pays_where_its_last_step_does_and_some_never(capsys: pytest.CaptureFixture[str]) -> None:
    off, full = PLAN["units"][0]["modes"]
    bad = {**full, "mode": "bad", "on_hull": False}
    full = {
        **full,
        "breakeven_hashprice_usd_per_ph_day": 40.0,
        "step_breakeven_hashprice_usd_per_ph_day": 68.0,
    }
    render.show(*render_plan.plan({**PLAN, "units": [{**PLAN["units"][0], "modes": [off, bad, full]}]}))
    out = capsys.readouterr().out
    assert "$68.00/PH/day" in out
    assert "$40.00/PH/day" not in out
    assert "never best" in out


LIMITS: dict[str, Any] = {
    "cap_kw": 400.0,
    "cap": "signal dr: 400 kW",
    "drawn_kw": 380.5,
    "shadow_price_usd_per_kwh": 0.012,
    "signals": [
        {
            "signal": "dr",
            "action": "cap",
            "from_s": NOON,
            "to_s": NOON + 3600,
            "ramp_to_s": NOON + 4500,
            "cap_kw": 400.0,
            "active": True,
        },
        {
            "signal": "peak",
            "action": "pause",
            "from_s": NOON + 7200,
            "to_s": None,
            "ramp_to_s": None,
            "cap_kw": None,
            "active": False,
        },
    ],
    "overrides": [
        {
            "unit": "cpu",
            "mode": "off",
            "from_s": NOON,
            "to_s": None,
            "who": "ana",
            "why": "fan",
            "active": True,
        }
    ],
    "broken": [
        {
            "start": NOON,
            "stop": NOON + 900,
            "why": "3 kW over the cap: cpu",
            "unit_ids": ["cpu"],
            "over_kw": 3.0,
        }
    ],
}


def test_what_binds_the_site_stands_above_its_units(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *render_plan.plan({**PLAN, "limits": LIMITS, "plan_fault": "no memory"}))
    assert "380.5 kW are drawn, the most is signal dr: 400 kW; one kWh more would be worth 1.2 ct/kWh" in text
    assert "dr (cap 400 kW) in force until 2026-01-12 13:00:00Z" in text
    assert "peak (pause) from 2026-01-12 14:00:00Z until it is ended by hand" in text
    assert "Override   cpu off until it is ended by hand, by ana: fan" in text
    assert "3 kW over the cap: cpu (from 2026-01-12 12:00:00Z until 2026-01-12 12:15:00Z)" in text
    assert "No plan    no memory" in text


def test_units_to_which_the_same_happens_stand_together(capsys: pytest.CaptureFixture[str]) -> None:
    units = [{**PLAN["units"][0], "unit": f"rack{number}"} for number in range(1, 8)]
    units.append({**PLAN["units"][0], "unit": "other", "to_mode": "full", "reason": "hold_profitable"})
    text = printed(capsys, *render_plan.plan({**PLAN, "units": units}))
    assert "Now        8 units: 1 on and staying so, 7 to stop" in text
    assert "rack1, rack2, rack3 ... rack7 (7 units): goes from full to off" in text
    assert text.count("pause_unprofitable") == 1
    assert "other: stays full" in text


def told(report: dict[str, Any]) -> str:
    return "\n".join(str(line) for line in render_plan.plan(report))


REAL_TIME = {"sees": "A", "method": "fitted", "why": "", "model": "0123456789ab"}
STANDING = {"method": "fitted", "why": "", "ratio": 0.62, "worth_usd": 0.31}


def with_standing(standing: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    (unit,) = PLAN["units"]
    return {**PLAN, "real_time": REAL_TIME, "units": [{**unit, "standing": standing, **changes}]}


def test_where_prices_are_not_known_it_is_told_by_what_being_on_is_reckoned() -> None:
    text = told(with_standing(STANDING, from_mode="full", to_mode="full"))
    assert (
        "To come    reckoned by the fitted model (0123456789ab), from the price of this quarter hour\n"
        in text
    )
    assert (
        "  worth    being on is worth 62% of what stopping and starting again costs, $0.31 in all, by the fitted model\n"
        in text
    )
    off = told(with_standing({**STANDING, "ratio": -1.5}))
    assert "being on is worth -150% of what stopping and starting again costs, by the fitted model\n" in off


def test_a_fallback_is_told_with_why() -> None:
    left = {
        "sees": "B",
        "method": "band",
        "why": "5 prices of the last day were seen",
        "model": "0123456789ab",
    }
    text = told({**with_standing({**STANDING, "method": "band"}), "real_time": left})
    assert (
        "To come    reckoned by the band, from prices up to the last quarter hour; not by the model: 5 prices of the last day were seen\n"
        in text
    )
    assert "not by the model" not in told({**with_standing(None), "real_time": {**left, "model": None}})


def test_units_that_start_for_nothing_have_nothing_reckoned() -> None:
    free = {**REAL_TIME, "method": None}
    text = told({**with_standing({**STANDING, "method": None, "ratio": None}), "real_time": free})
    assert "To come    nothing to reckon with: starts are free, from the price of this quarter hour\n" in text
    assert "being on is worth" not in text


def test_without_real_time_nothing_is_said_of_it() -> None:
    assert "To come" not in told(PLAN)
    assert "To come" not in told({**PLAN, "real_time": None})
    assert "expected as the market said a day ahead" in told(
        {**PLAN, "power_known_until_s": NOON, "power_expected": "day_ahead"}
    )
