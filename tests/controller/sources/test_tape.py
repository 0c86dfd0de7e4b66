from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controller.sources.tape import Tape, TapeError, TapeSource, load_tape
from controller.ticks import BTC_USD, DIFFICULTY, FEES, HASHPRICE, POWER, POWER_DAY_AHEAD, SUBSIDY

if TYPE_CHECKING:
    from controller.ticks import Tick

START = 1_700_000_000.0


def tape(tmp_path: Path, text: str) -> Tape:
    file = tmp_path / "prices.csv"
    file.write_text(text)
    return load_tape(file)


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(TapeError) as caught:
        tape(tmp_path, text)
    return [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


async def read(source: TapeSource, seconds: float) -> dict[str, float]:
    return {tick.series: tick.value for tick in await source.read(START + seconds)}


async def test_every_column_becomes_its_series_in_its_unit(tmp_path: Path) -> None:
    made = tape(
        tmp_path,
        "start_utc,usd_per_mwh,btc_usd,difficulty,subsidy_sat,fees_sat,hashprice_usd_per_ph_day\n"
        "2026-01-12T00:00:00Z,50,91000,146e12,312500000,1500000,39.5\n",
    )
    assert await read(TapeSource(made, START), 0) == {
        POWER: pytest.approx(0.05),
        BTC_USD: 91_000,
        DIFFICULTY: 146e12,
        SUBSIDY: 312_500_000,
        FEES: 1_500_000,
        HASHPRICE: 39.5,
    }
    assert made.begins_at == 1_768_176_000
    assert made.series == {POWER, BTC_USD, DIFFICULTY, SUBSIDY, FEES, HASHPRICE}


async def test_a_tape_plays_at_its_speed_from_its_start(tmp_path: Path) -> None:
    made = tape(tmp_path, "offset_s,usd_per_kwh\n0,0.01\n900,0.02\n1800,0.03\n")
    source = TapeSource(made, START, speed=90, start_at_s=450)
    assert await read(source, 0) == {POWER: 0.01}
    assert await read(source, 4.9) == {POWER: 0.01}
    assert await read(source, 5) == {POWER: 0.02}
    (tick,) = await source.read(START + 5)
    assert (tick.valid_from, tick.observed_at) == (START + 5, START + 5)
    (later,) = await source.read(START + 10)
    assert later.same_fact(tick), "one row is one fact"


async def test_an_empty_cell_is_a_feed_that_fell_silent(tmp_path: Path) -> None:
    made = tape(tmp_path, "offset_s,usd_per_kwh,btc_usd\n0,0.01,90000\n10,,90000\n20,0.03,\n")
    source = TapeSource(made, START)
    assert await read(source, 10) == {BTC_USD: 90_000}
    assert await read(source, 20) == {POWER: 0.03}


async def test_at_its_end_a_tape_holds_its_last_row(tmp_path: Path) -> None:
    made = tape(tmp_path, "offset_s,usd_per_kwh\n0,0.01\n10,0.02\n")
    assert await read(TapeSource(made, START), 1e6) == {POWER: 0.02}


async def test_a_tape_can_begin_again(tmp_path: Path) -> None:
    made = tape(tmp_path, "offset_s,usd_per_kwh\n0,0.01\n10,0.02\n")
    source = TapeSource(made, START, loop=True)
    seen = [(await read(source, seconds))[POWER] for seconds in (0, 10, 19.9, 20, 30, 40)]
    assert seen == [0.01, 0.02, 0.02, 0.01, 0.02, 0.01]
    (tick,) = await source.read(START + 31)
    assert tick.valid_from == START + 30


async def test_a_gap_is_named_and_nothing_is_guessed_in_it(tmp_path: Path) -> None:
    made = tape(
        tmp_path,
        "start_utc,usd_per_mwh\n"
        "2026-01-12T00:00:00Z,50\n2026-01-12T00:15:00Z,51\n2026-01-12T00:30:00Z,52\n2026-01-12T02:00:00Z,53\n",
    )
    (gap,) = made.gaps
    assert gap.endswith("prices.csv:5: nothing from 2026-01-12T00:45:00Z to 2026-01-12T02:00:00Z (4500 s)")
    source = TapeSource(made, START)
    assert await read(source, 2699) == {POWER: pytest.approx(0.052)}
    assert await read(source, 2700) == {}
    assert await read(source, 7200) == {POWER: pytest.approx(0.053)}


async def test_a_daily_tape_names_its_days(tmp_path: Path) -> None:
    made = tape(tmp_path, "date,hashprice_usd_per_ph_day\n2026-01-12,39.5\n2026-01-13,40\n")
    assert made.length_s == 2 * 86_400
    assert await read(TapeSource(made, START), 86_400) == {HASHPRICE: 40}


async def test_before_its_first_row_a_tape_says_nothing(tmp_path: Path) -> None:
    made = tape(tmp_path, "offset_s,usd_per_kwh\n10,0.01\n")
    assert await read(TapeSource(made, START), 9) == {}
    assert await read(TapeSource(made, START), 10) == {POWER: 0.01}


async def test_a_single_row_holds_for_ever_and_loops_into_itself(tmp_path: Path) -> None:
    made = tape(tmp_path, "offset_s,usd_per_kwh\n0,0.01\n")
    for loop in (False, True):
        assert await read(TapeSource(made, START, loop=loop), 1e9) == {POWER: 0.01}


def test_every_fault_is_named_with_its_line_and_column(tmp_path: Path) -> None:
    text = (
        "start_utc,usd_per_kwh,btc_usd\n"
        "2026-01-12T00:00:00Z,cheap,90000\n"
        "2026-01-12T00:15:00,0.05,nan\n"
        "yesterday,0.05\n"
        "2026-01-12T01:00:00+01:00,0.05,1\n"
        "never,0.05,inf\n"
        "2026-01-12T00:00:00Z,0.05,1\n"
    )
    assert faults(tmp_path, text) == [
        "prices.csv:2: column 'usd_per_kwh': 'cheap' is not a number",
        "prices.csv:3: column 'start_utc': '2026-01-12T00:15:00' is not in UTC: write it as 2026-01-12T00:15:00Z",
        "prices.csv:3: column 'btc_usd': 'nan' is not a finite number",
        "prices.csv:4: 2 cells, but the header has 3",
        "prices.csv:5: column 'start_utc': '2026-01-12T01:00:00+01:00' is not in UTC: write it as 2026-01-12T00:15:00Z",
        "prices.csv:6: column 'start_utc': 'never' is not in ISO 8601",
        "prices.csv:6: column 'btc_usd': 'inf' is not a finite number",
        "prices.csv:7: column 'start_utc': times must rise from row to row",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "prices.csv:1: the header needs one of start_utc, date, offset_s"),
        ("usd_per_kwh\n1\n", "prices.csv:1: the header needs one of start_utc, date, offset_s"),
        ("offset_s\n1\n", "prices.csv:1: the header needs one of usd_per_mwh, usd_per_kwh, "),
        ("offset_s,weather\n1,2\n", "prices.csv:1: column 'weather': unknown; known are start_utc, "),
        ("offset_s,btc_usd,btc_usd\n1,2,3\n", "prices.csv:1: column 'btc_usd': given more than once"),
        (
            "offset_s,usd_per_mwh,usd_per_kwh\n1,2,3\n",
            "prices.csv:1: column 'usd_per_kwh': given beside usd_per_mwh",
        ),
        ("offset_s,date,btc_usd\n1,2,3\n", "prices.csv:1: the header needs one of start_utc"),
        ("offset_s,btc_usd\n", "prices.csv: the tape has no rows"),
        ("offset_s,btc_usd\n-1,2\n", "prices.csv:2: column 'offset_s': '-1' is below zero"),
    ],
)
def test_a_file_that_is_no_tape_says_what_is_missing(tmp_path: Path, text: str, fault: str) -> None:
    assert faults(tmp_path, text)[0].startswith(fault)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TapeError, match="UTF-8"):
        load_tape(file)


@pytest.mark.parametrize(
    "how", [{"speed": 0.0}, {"speed": float("inf")}, {"start_at_s": -1.0}, {"start_at_s": 1e9}]
)
def test_a_tape_that_could_not_play_is_refused(tmp_path: Path, how: dict[str, float]) -> None:
    made = tape(tmp_path, "offset_s,usd_per_kwh\n0,0.01\n10,0.02\n")
    with pytest.raises(ValueError, match=r"speed|start"):
        TapeSource(made, START, **how)  # type: ignore[arg-type] # by name


ERCOT = Path(__file__).parents[4] / "shared" / "data" / "ercot_hubavg_rt_2024-01_2025-07.csv"


@pytest.mark.skipif(not ERCOT.exists(), reason="shared data is not beside the checkout")
async def test_recorded_market_prices_load_as_they_are() -> None:
    made = load_tape(ERCOT)
    assert len(made.rows) > 50_000
    assert await read(TapeSource(made, START), 0) == {POWER: pytest.approx(0.02855)}


HOURS = "offset_s,usd_per_kwh,day_ahead_usd_per_mwh\n" + "".join(
    f"{hour * 3600},0.05,{hour + 1}\n" for hour in range(24)
)


def ahead(ticks: list[Tick]) -> list[tuple[float, float, float]]:
    """Start and end in hours of the tape, and price in USD/MWh, of what is told of the day ahead."""
    return [
        ((tick.valid_from - START) / 3600, (tick.valid_to - START) / 3600, round(tick.value * 1000, 9))
        for tick in ticks
        if tick.series == POWER_DAY_AHEAD
    ]


async def test_day_ahead_prices_are_told_ten_hours_ahead_and_no_others(tmp_path: Path) -> None:
    source = TapeSource(tape(tmp_path, HOURS), START)
    ticks = await source.read(START + 1800)
    assert ahead(ticks) == [(hour, hour + 1, hour + 1) for hour in range(11)]
    assert [tick.series for tick in ticks].count(POWER) == 1
    assert (await read(source, 1800))[POWER] == 0.05


async def test_a_day_ahead_price_stays_the_same_fact_until_its_hour_is_over(tmp_path: Path) -> None:
    source = TapeSource(tape(tmp_path, HOURS), START, speed=3)
    told: dict[float, Tick] = {}
    for second in range(0, 24 * 1200, 100):
        for tick in await source.read(START + second):
            if tick.series == POWER_DAY_AHEAD:
                assert tick.same_fact(told.setdefault(tick.valid_from, tick))
                assert tick.observed_at <= START + second
    assert len(told) == 24


async def test_the_last_day_ahead_price_holds_with_the_last_row_and_a_loop_goes_on_with_the_first(
    tmp_path: Path,
) -> None:
    made = tape(tmp_path, HOURS)
    assert ahead(await TapeSource(made, START).read(START + 30 * 3600)) == [(23, float("inf"), 24)]
    looped = ahead(await TapeSource(made, START, loop=True).read(START + 22 * 3600))
    assert looped[:4] == [(22, 23, 23), (23, 24, 24), (24, 25, 1), (25, 26, 2)]
    assert len(looped) == 11


async def test_hours_without_a_day_ahead_price_are_left_out(tmp_path: Path) -> None:
    source = TapeSource(tape(tmp_path, "offset_s,day_ahead_usd_per_mwh\n0,10\n3600,\n7200,30\n"), START)
    assert ahead(await source.read(START)) == [(0, 1, 10), (2, 3, 30)]
