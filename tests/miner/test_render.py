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


def test_what_came_of_deciding_again_names_all_that_is_not_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    difference = {"unit_id": "rack[1]", "at": NOON, "what": "flip", "kept": "always", "recomputed": "never"}
    report = {
        "ticks": 3,
        "since_s": NOON,
        "same": 5,
        "different": 2,
        "unreadable": 1,
        "not_compared": 4,
        "differences": [difference, difference],
        "unreadable_why": [{"why": "cut off", "decisions": 1}],
        "not_compared_why": [{"why": "of another version", "decisions": 4}],
    }
    shown = printed(capsys, *render.verification(report, 1))
    for told in (
        "3 ticks since 2026-01-12 12:00:00Z: 5 decisions made again, the same to the bit; 2 different, 1 unreadable, 4 not compared",
        "unreadable: 1 decisions: cut off",
        "not compared: 4 decisions: of another version",
        "rack[1]",
        "and 1 more",
    ):
        assert told in shown
