"""Hashprice and retarget against what was published and what the chain did."""

from __future__ import annotations

import csv
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.hashprice import (
    Earned,
    difficulty_of_bits,
    hashprice_btc_per_ph_day,
    hashprice_usd_per_ph_day,
    next_difficulty,
    project_retarget,
    retarget_ratio,
    subsidy_sat,
)

SUBSIDY = 312_500_000
DATA = Path(__file__).parents[3] / "shared" / "data"
BLOCKS = DATA / "btc_blocks_2025-08_2026-02.csv"
DOLLARS = DATA / "btcusd_daily_2025-08_2026-02.csv"

# Mainnet headers: first block of the epoch, its time, the time of its last block, difficulty before and after.
EPOCHS = [
    (911232, 1755895678, 1757048905, 129699156960680.9, 136039872848261.31),
    (915264, 1758206848, 1759348314, 142342602928674.94, 150839487445890.5),
    (931392, 1767859543, 1769110170, 146472570619930.78, 141668107417558.25),
]


def test_hashprice_of_2026_01_12_is_the_published_one() -> None:
    # Published: 0.00043143 BTC. Fees: the mean of the 144 blocks up to noon.
    found = hashprice_btc_per_ph_day(146472570619930.78, SUBSIDY, 1_552_873.16)
    assert found == pytest.approx(0.00043143, rel=0.0005)


def test_hashprice_of_2025_11_03_is_within_a_quarter_per_cent_of_the_published_one() -> None:
    # Published: 0.00040577 BTC. Fees: the mean of the 144 blocks up to noon.
    found = hashprice_btc_per_ph_day(155973032196071.94, SUBSIDY, 1_726_978.73)
    assert found == pytest.approx(0.00040577, rel=0.0025)


def test_the_difficulty_of_the_epoch_before_would_be_an_error_of_more_than_one_per_cent() -> None:
    stale = hashprice_btc_per_ph_day(148258433855481.3, SUBSIDY, 1_552_873.16)
    assert abs(stale / 0.00043143 - 1) > 0.01


def test_dollars_are_bitcoin_times_the_price() -> None:
    assert hashprice_usd_per_ph_day(1e14, SUBSIDY, 0, 90_000) == pytest.approx(
        90_000 * hashprice_btc_per_ph_day(1e14, SUBSIDY, 0)
    )


@pytest.mark.parametrize("difficulty", [0.0, -1.0, float("nan")])
def test_a_difficulty_that_is_none_is_refused(difficulty: float) -> None:
    with pytest.raises(ValueError, match="difficulty"):
        hashprice_btc_per_ph_day(difficulty, SUBSIDY, 0)
    with pytest.raises(ValueError, match="difficulty"):
        next_difficulty(difficulty, 0, 1)
    with pytest.raises(ValueError, match="difficulty"):
        project_retarget(difficulty, 1, 0, 0, 0)


def test_what_is_earned_is_less_fee_stale_work_and_downtime() -> None:
    assert Earned(pool_fee=0.02, stale=0.01, uptime=0.97).ratio == pytest.approx(0.98 * 0.99 * 0.97)
    for bad in ({"pool_fee": 1.0}, {"stale": -0.1}, {"uptime": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            Earned(**bad)


@pytest.mark.parametrize(("height", "first", "last", "before", "after"), EPOCHS)
def test_the_next_difficulty_is_the_real_one(
    height: int, first: int, last: int, before: float, after: float
) -> None:
    assert height % 2016 == 0
    assert next_difficulty(before, first, last) == pytest.approx(after, rel=1e-5)


def test_a_retarget_changes_difficulty_by_at_most_a_factor_of_four() -> None:
    assert retarget_ratio(0) == 4
    assert retarget_ratio(1e9) == 0.25
    assert retarget_ratio(1_209_600) == 1


@pytest.mark.parametrize(("height", "first", "last", "before", "after"), EPOCHS)
def test_at_the_last_block_of_an_epoch_the_projection_is_certain(
    height: int, first: int, last: int, before: float, after: float
) -> None:
    found = project_retarget(before, height + 2015, first, last, last)
    assert found.difficulty == pytest.approx(after, rel=1e-5)
    assert found.ratio_low == found.ratio == found.ratio_high
    assert found.blocks_left == 1


def test_at_the_first_block_the_projection_is_no_change_and_wide() -> None:
    found = project_retarget(1e14, 2016 * 400, 1_700_000_000, 1_700_000_000, 1_700_000_000)
    assert found.ratio == pytest.approx(1, abs=0.01)
    assert 0.9 < found.ratio_low < 0.97
    assert 1.03 < found.ratio_high < 1.15


@given(st.integers(0, 2015), st.floats(60, 3000), st.floats(0, 10_000))
def test_a_projection_lies_within_its_own_bounds(done: int, pace_s: float, late_s: float) -> None:
    tip = 1_700_000_000 + done * pace_s
    found = project_retarget(1e14, 2016 * 400 + done, 1_700_000_000, tip, tip + late_s)
    assert found.ratio_low <= found.ratio <= found.ratio_high
    assert tip + late_s <= found.at_low <= found.at <= found.at_high
    assert found.difficulty == pytest.approx(1e14 * found.ratio)


@given(st.integers(0, 2015), st.floats(0, 100_000))
def test_a_block_that_is_late_brings_no_retarget_nearer_than_its_blocks_take(
    done: int, late_s: float
) -> None:
    tip = 1_700_000_000 + 600 * done
    found = project_retarget(1e14, 2016 * 400 + done, 1_700_000_000, tip, tip + late_s)
    assert found.at >= tip + late_s + 500 * found.blocks_left


def test_the_retarget_after_the_last_block_of_an_epoch_stays_certain_however_late_the_next_one_is() -> None:
    found = [project_retarget(1e14, 2015, 0.0, 2015 * 540.0, 2015 * 540.0 + late) for late in (0.0, 7200.0)]
    assert found[0].difficulty == found[1].difficulty
    assert found[1].at > 2015 * 540.0 + 7200


def test_a_tip_that_claims_to_be_older_than_its_epoch_still_projects() -> None:
    assert project_retarget(1e14, 1, 1_700_000_600, 1_700_000_000, 1_700_000_700).ratio < 1.1


@pytest.mark.skipif(not BLOCKS.exists(), reason="shared data is not beside the checkout")
def test_every_retarget_of_the_shared_data_is_projected_and_nine_of_ten_lie_within_the_bounds() -> None:
    with BLOCKS.open() as lines:
        blocks = [(int(r["height"]), int(r["time"]), float(r["difficulty"])) for r in csv.DictReader(lines)]
    starts = [index for index, (height, _, _) in enumerate(blocks) if height % 2016 == 0]
    inside = total = 0
    for start, after in pairwise(starts):
        first, last, before = blocks[start][1], blocks[after - 1][1], blocks[start][2]
        assert next_difficulty(before, first, last) == pytest.approx(blocks[after][2], rel=1e-5)
        for done in (144, 500, 1000, 1500, 1900):
            height, tip, _ = blocks[start + done]
            found = project_retarget(before, height, first, tip, tip)
            inside += found.ratio_low <= blocks[after][2] / before <= found.ratio_high
            total += 1
    assert total == 55
    assert inside / total > 0.8


@pytest.mark.skipif(not BLOCKS.exists(), reason="shared data is not beside the checkout")
def test_the_mean_of_november_2025_is_the_published_one() -> None:
    # Published: $39.82. Each hour with the difficulty in force and the mean fees of the 144 blocks before it; the price of a
    # day is the mean of its open and close.
    with BLOCKS.open() as lines:
        rows = [
            (int(r["time"]), int(r["total_fee_sat"]), float(r["difficulty"])) for r in csv.DictReader(lines)
        ]
    with DOLLARS.open() as lines:
        price = {r["date"]: (float(r["open"]) + float(r["close"])) / 2 for r in csv.DictReader(lines)}
    times, fees, difficulties = zip(*rows, strict=True)
    paid = [0, *accumulate(fees)]
    found = []
    for hour in range(30 * 24):
        at = datetime(2025, 11, 1, tzinfo=UTC) + timedelta(hours=hour)
        tip = bisect_right(times, at.timestamp())
        mean_fees = (paid[tip] - paid[tip - 144]) / 144
        usd = price[f"{at:%Y-%m-%d}"]
        found.append(hashprice_usd_per_ph_day(difficulties[tip], SUBSIDY, mean_fees, usd))
    assert fmean(found) == pytest.approx(39.82, rel=0.0025)


def test_the_subsidy_halves_at_its_heights() -> None:
    heights = (0, 209_999, 210_000, 931_901, 64 * 210_000)
    assert [subsidy_sat(height) for height in heights] == [
        5_000_000_000,
        5_000_000_000,
        2_500_000_000,
        SUBSIDY,
        0,
    ]
    assert subsidy_sat(300, 150) == 1_250_000_000
    for bad in ((-1, 150), (1, 0)):
        with pytest.raises(ValueError, match="height"):
            subsidy_sat(*bad)


def test_bits_give_the_difficulty_that_nodes_show() -> None:
    # The first difficulty, regtest's, and one of 2010, as bitcoind shows them.
    assert difficulty_of_bits(0x1D00FFFF) == 1
    assert difficulty_of_bits(0x207FFFFF) == pytest.approx(4.656542373906925e-10, rel=1e-12)
    assert difficulty_of_bits(0x1B0404CB) == pytest.approx(16307.420938523983, rel=1e-12)


@pytest.mark.parametrize("bits", [0, -1, 0x1D000000, 0x1D800000, 2**32 + 0x1D00FFFF])
def test_bits_that_are_no_target_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="no target"):
        difficulty_of_bits(bits)
