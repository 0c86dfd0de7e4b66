from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import flip
from miner import render
from miner.checks import CheckRow
from miner.ledger.rows import BlockRow, DecisionRow, OutcomeRow, PoolShareRow, PoolShareSums, ShareRow

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


def test_checks_show_what_was_found_brackets_and_all(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        CheckRow("network", ok=True, detail="regtest"),
        CheckRow("unit cpu", ok=None, detail="[cpu] threads = 0: nothing will hash"),
        CheckRow("payout", ok=False, detail="refused", exit_code=2),
    ]
    text = printed(capsys, render.checks(rows))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "ok network regtest" in lines
    assert "warning unit cpu [cpu] threads = 0: nothing will hash" in lines
    assert "failed payout refused" in lines


def test_a_plan_says_what_happens_to_each_unit_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *render.plan(PLAN))
    assert text.startswith("Dry run: ")
    assert "Hashprice  $38.83/PH/day" in text
    assert "Power      6 ct/kWh" in text
    assert "cpu goes from full to off" in text
    assert "why      hashing costs more than it earns (pause_unprofitable)" in text
    assert "changes  runs again above $41.20/PH/day" in text
    assert "later    off until 2026-01-12 13:00:00Z, then full until 2026-01-12 14:00:00Z" in text
    assert "> off" in text
    assert "20 MH/s" in text
    assert "$1,440,000.00/PH/day" in text
    assert "-$0.0012" in text
    assert "Worth $4.20 until 2026-01-14 00:00:00Z; no plan could earn more than $4.20 (gap 0.0000%)." in text


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
    text = printed(capsys, *render.plan(unknown))
    assert text.startswith("Prices are not known:\n  btc_usd: last seen 4000 s ago\n")
    assert "cpu stays full" in text
    assert "not planned: prices are not known" in text
    assert "Worth" not in text


def test_a_long_path_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    stretches = [{"from_s": NOON, "to_s": NOON, "mode": "off"}] * 9
    text = printed(capsys, *render.plan({**PLAN, "units": [{**PLAN["units"][0], "next": stretches}]}))
    assert ", and 3 more changes" in text


def test_hashprice_shows_now_then_and_the_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *render.hashprice(HASHPRICE))
    assert "Hashprice  $38.00/PH/day as it is paid, $38.83/PH/day before (0.00043142 BTC)" in text
    assert "Power      -0.4 ct/kWh" in text
    assert "in 1,200 blocks, about 2026-01-13 12:00:00Z: difficulty x 1.0210" in text
    assert "then $37.20/PH/day" in text
    assert "146,472,570,619,931" in text
    assert "3.3 min" in text


def test_what_is_paid_of_hashprice_is_told_with_what_the_rest_goes_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pool = printed(capsys, *render.hashprice(HASHPRICE))
    assert (
        "Paid       97.86% of it by pool.example:3333 (pps): 1.00% fee, 0.15% of the work rejected, "
        "99.50% of the reward, without transaction fees, 25.00% of the work mined solo"
        in " ".join(pool.split("\n"))
    )
    usual = {"pool": None, "rejected_is_measured": False, "paid_reward_ratio": 1.0, "pool_work_ratio": 1.0}
    solo = printed(capsys, *render.hashprice({**HASHPRICE, "earnings": {**HASHPRICE["earnings"], **usual}}))
    assert "Paid       97.86% of it: 1.00% fee, 0.15% of the work expected to be late" in solo


def test_bench_shows_rates_and_cycles(capsys: pytest.CaptureFixture[str]) -> None:
    row: Any = {
        "kernel": "shani",
        "versions": 8,
        "threads": 1,
        "mh_s_best": 12.25,
        "mh_s_median": 12.0,
        "mh_s_worst": 11.5,
        "cycles_per_hash": 199.96,
    }
    lines = [" ".join(line.split()) for line in printed(capsys, render.bench([row])).splitlines()]
    assert "shani 8 1 12.25 12.00 11.50 200.0" in lines


def test_decisions_show_their_numbers_and_what_came_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    row = DecisionRow(
        id="1",
        at=NOON,
        unit_id="cpu",
        from_mode=None,
        to_mode="off",
        reason="pause_unprofitable",
        numbers={"hashprice_usd_per_ph_day": 38.0, "power_usd_per_kwh": None},
        flip="runs again above $41.20/PH/day",
        dry_run=False,
    )
    outcome = OutcomeRow(decision_id="1", at=NOON, outcome="confirmed", mode_read="off")
    text = printed(capsys, render.decisions([row], {"1": [outcome]}))
    for word in ("2026-01-12", "unknown", "off", "$38.00/PH/day", "confirmed", "runs again above"):
        assert word in text
    dry = DecisionRow("2", NOON, "cpu", "full", "off", "pause_unprofitable", {}, "", dry_run=True)
    assert "dry run" in printed(capsys, render.decisions([dry], {}))


def test_shares_show_whose_they_are_what_was_credited_and_what_they_were_worth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = ShareRow("rack.1", NOON, 16384.0, 1234567.8, "00" * 31 + "a1", "1f", "00" * 31 + "b2")
    text = printed(capsys, render.shares([row]))
    for part in ("2026-01-12 12:00:00Z", "rack.1", "16,384", "1,234,568", "1f", row.hash, row.prev_hash):
        assert part in text


def test_blocks_show_their_whole_hash_and_their_fate(capsys: pytest.CaptureFixture[str]) -> None:
    row = BlockRow(
        hash="00" * 31 + "ff",
        height=123456,
        prev_hash="11" * 32,
        found_at=NOON,
        unit_id="cpu",
        job_id="a",
        origin="solo",
        reward_sat=312_500_001,
        difficulty=1.0,
        payout_script="0014",
        raw=b"",
        stale=True,
        status="orphaned",
    )
    text = printed(capsys, render.blocks([row]))
    for word in ("123,456", "00" * 31 + "ff", "orphaned, found stale", "3.12500001"):
        assert word in text


@pytest.mark.parametrize(
    ("th_s", "text"),
    [
        (0, "0 H/s"),
        (2e-5, "20 MH/s"),
        (1e-9, "1 kH/s"),
        (0.9999, "1e+03 GH/s"),
        (110, "110 TH/s"),
        (2e9, "2e+03 EH/s"),
    ],
)
def test_hashrates_have_the_unit_people_use(th_s: float, text: str) -> None:
    assert render.rate_text(th_s) == text


def test_money_is_told_to_the_cent_or_to_three_digits() -> None:
    assert render.usd_text(1234.5) == "$1,234.50"
    assert render.usd_text(0) == "$0.00"
    assert render.usd_text(1.944e26) == "$1.94e+26"
    assert render.power_text(2.8e19) == "2.8e+21 ct/kWh"
    assert render.usd_text(-0.00123456) == "-$0.00123"
    assert render.power_text(0.0591) == "5.91 ct/kWh"
    assert render.power_text(9.0) == "900 ct/kWh"


def test_durations_are_told_in_what_fits() -> None:
    assert [render.duration_text(s) for s in (5, 300, 10800)] == ["5 s", "5.0 min", "3.0 h"]


@given(st.floats(-1e30, 1e30))
def test_prices_are_told_in_the_same_words_as_in_a_decisions_flip(price: float) -> None:
    assert render.hashprice_text(price) == flip.hashprice_text(price)
    assert render.power_text(price) == flip.power_text(price)


def test_a_unit_whose_mode_is_not_known_is_not_said_to_come_from_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    unit = {**PLAN["units"][0], "from_mode": "unknown", "to_mode": "full"}
    render.show(*render.plan({**PLAN, "units": [unit]}))
    assert "cpu goes to full (the mode it is in is not known)" in capsys.readouterr().out


def test_a_plan_without_units_says_that_nothing_hashes(capsys: pytest.CaptureFixture[str]) -> None:
    render.show(*render.plan({**PLAN, "units": [], "value_usd": 0.0, "bound_usd": 0.0}))
    out = capsys.readouterr().out
    assert "No unit to plan for: [cpu] threads = 0" in out
    assert "Worth" not in out


def test_a_plan_of_a_controller_that_is_off_says_that_it_will_not_happen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render.show(*render.plan({**PLAN, "enabled": False}))
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
    render.show(*render.plan({**PLAN, "units": [{**PLAN["units"][0], "modes": [off, bad, full]}]}))
    out = capsys.readouterr().out
    assert "$68.00/PH/day" in out
    assert "$40.00/PH/day" not in out
    assert "never best" in out


def test_shares_handed_to_pools_show_the_pool_s_word_and_how_long_it_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = PoolShareRow(1, NOON, "main", 1, "account", "5f", "ab" * 32, 9000.5, 4096.0, unit_name="rack[1]")
    rejected = replace(row, result="rejected", code=21, detail="stale [job]", answered_at=NOON + 0.0421)
    render.show(render.pool_shares([rejected, row]))
    shown = capsys.readouterr().out
    for told in ("rack[1]", "rejected 21 stale [job]", "0.042 s", "waiting", "4,096", "9,000.5", "ab" * 32):
        assert told in shown


def test_sums_of_a_pool_show_its_rejected_part_once_it_answered(capsys: pytest.CaptureFixture[str]) -> None:
    render.show(render.pool_sums({"main": PoolShareSums(1999, 1, 2, 0, 3999.0, 1.0), "new": PoolShareSums()}))
    shown = capsys.readouterr().out
    assert "2,002" in shown
    assert shown.count("%") == 1
    assert "0.03%" in shown
