from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.recorded import (
    MOST_TOLD,
    RecordedError,
    Series,
    modes_of,
    on_quarters,
    prices_of,
)

START = 1_768_176_000.0  # 2026-01-12T00:00:00Z


def faults(text: str, column: str = "usd_per_mwh") -> list[str]:
    with pytest.raises(RecordedError) as caught:
        prices_of(text, column, "p.csv")
    return list(caught.value.problems)


def hours(*cells: str) -> str:
    rows = "".join(f"2026-01-12T{hour:02}:00:00Z,{cell}\n" for hour, cell in enumerate(cells))
    return "start_utc,usd_per_mwh\n" + rows


def test_a_history_is_read_with_its_step() -> None:
    series = prices_of(hours("20", "-5.5", "30"), "usd_per_mwh", "p.csv")
    assert series.starts.tolist() == [START, START + 3600, START + 7200]
    assert series.values.tolist() == [20, -5.5, 30]
    assert (series.step_s, series.gaps, series.end) == (3600, (), START + 10_800)


def test_days_are_read_from_a_file_with_other_columns() -> None:
    text = "\ufeffdate,btc_usd,hashprice_usd_per_ph_day\n2026-01-12,90000,39.5\n2026-01-13,91000,40\n"
    series = prices_of(text, "hashprice_usd_per_ph_day", "h.csv")
    assert (series.starts.tolist(), series.values.tolist(), series.step_s) == (
        [START, START + 86_400],
        [39.5, 40],
        86_400,
    )


def test_one_day_holds_for_a_day_and_one_interval_says_nothing() -> None:
    assert prices_of("date,x\n2026-01-12,1\n", "x", "h.csv").end == START + 86_400
    assert faults("start_utc,usd_per_mwh\n2026-01-12T00:00:00Z,1\n") == [
        "p.csv:2: one row does not say how long it holds: give two at least"
    ]


def test_a_part_of_a_history_has_the_gaps_within_it() -> None:
    series = prices_of(hours("20", "", "30", "31", "", "32"), "usd_per_mwh", "p.csv")
    (gap,) = series.between(START + 7200, START + 86_400).gaps
    assert gap == "p.csv: nothing from 2026-01-12T04:00:00Z to 2026-01-12T05:00:00Z (3600 s)"
    assert series.gaps_within(START + 5000, START + 6000) == series.gaps[:1]


def test_what_no_market_pays_is_refused() -> None:
    assert faults(
        "date,hashprice_usd_per_ph_day\n2026-01-12,0\n2026-01-13,-5\n", "hashprice_usd_per_ph_day"
    ) == [
        "p.csv:2: column 'hashprice_usd_per_ph_day': '0' is no hashprice: it must be above zero",
        "p.csv:3: column 'hashprice_usd_per_ph_day': '-5' is no hashprice: it must be above zero",
    ]
    assert faults(hours("20", "-1e6", "20")) == [
        "p.csv:3: column 'usd_per_mwh': '-1e6' is no market's price of a MWh"
    ]


def test_holes_and_empty_cells_are_gaps_with_a_name() -> None:
    text = hours("20", "", "30", "31") + "2026-01-12T06:00:00Z,40\n2026-01-12T07:00:00Z,41\n"
    series = prices_of(text, "usd_per_mwh", "p.csv")
    assert series.gaps == (
        "p.csv: nothing from 2026-01-12T01:00:00Z to 2026-01-12T02:00:00Z (3600 s)",
        "p.csv: nothing from 2026-01-12T04:00:00Z to 2026-01-12T06:00:00Z (7200 s)",
    )
    assert np.isnan(on_quarters(series).values).nonzero()[0].tolist() == [4, 5, 6, 7, *range(16, 24)]


def test_every_fault_is_told_with_its_line_and_column() -> None:
    text = (
        "start_utc,usd_per_mwh\n2026-01-12T00:00:00Z,20\nyesterday,20\n2026-01-12T02:00:00Z,much\n\n"
        "2026-01-12T03:00:00+01:00,20\n2026-01-12T04:00:00Z,inf\n2026-01-12T05:00:00Z\n2026-01-12T00:00:00Z,1\n"
    )
    assert faults(text) == [
        "p.csv:8: 1 cells, but the header has 2",
        "p.csv:3: column 'start_utc': 'yesterday' is not in ISO 8601",
        "p.csv:4: column 'usd_per_mwh': 'much' is not a number",
        "p.csv:6: column 'start_utc': '2026-01-12T03:00:00+01:00' is not in UTC: write it as 2026-01-12T00:15:00Z",
        "p.csv:7: column 'usd_per_mwh': 'inf' is not a finite number",
        "p.csv:9: column 'start_utc': times must rise from row to row",
    ]


def test_a_leap_of_many_years_is_a_fault() -> None:
    assert faults("date,usd_per_mwh\n2025-01-01,20\n2205-01-02,20\n") == [
        "p.csv:3: column 'date': more than ten years after the row before: a slip of the pen?"
    ]


def test_of_many_faults_some_are_told_and_all_are_counted() -> None:
    with pytest.raises(RecordedError) as caught:
        prices_of(hours(*["x"] * 24), "usd_per_mwh", "p.csv")
    assert len(caught.value.problems) == 24
    assert str(caught.value).splitlines()[MOST_TOLD:] == [f"and {24 - MOST_TOLD} more"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "p.csv:1: the header needs a column start_utc or date"),
        ("start_utc,eur\n", "p.csv:1: the header needs a column 'usd_per_mwh', and has 'start_utc', 'eur'"),
        ("date,usd_per_mwh\n", "p.csv: the file has no rows"),
        ("date,usd_per_mwh\n2026-01-12,\n", "p.csv:1: column 'usd_per_mwh' has no values"),
        ("date,date,usd_per_mwh\n", "p.csv:1: column 'date' is given more than once"),
    ],
)
def test_a_useless_file_is_refused(text: str, problem: str) -> None:
    assert faults(text) == [problem]


def test_a_market_that_went_from_hours_to_quarter_hours_has_no_gaps() -> None:
    quarters = "".join(
        f"2026-01-12T{hour:02}:{minute:02}:00Z,{hour}\n"
        for hour in range(4, 24)
        for minute in (0, 15, 30, 45)
    )
    series = prices_of(hours("20", "21", "22", "23") + quarters, "usd_per_mwh", "p.csv")
    assert (series.step_s, series.gaps) == (900, ())
    assert on_quarters(series).values[:16].tolist() == [20] * 4 + [21] * 4 + [22] * 4 + [23] * 4


def test_five_minutes_are_averaged_and_what_is_not_whole_is_not_known() -> None:
    starts = START + 300.0 * np.array([0, 1, 2, 3, 4, 6, 7, 8])
    made = on_quarters(Series(starts, np.array([1.0, 2, 6, 4, 5, 7, 8, 9]), 300.0))
    assert made.first == START / 900
    assert np.allclose(made.values, [3, np.nan, 8], equal_nan=True)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=30), st.sampled_from([1, 2, 4, 96]))
def test_longer_rows_are_repeated_to_the_bit(values: list[float], each: int) -> None:
    step_s = 900.0 * each
    series = Series(START + step_s * np.arange(len(values)), np.array(values), step_s)
    assert on_quarters(series).values.tolist() == np.repeat(values, each).tolist()


def test_quarters_are_cut_anywhere_and_unknown_outside() -> None:
    made = on_quarters(Series(START + 900.0 * np.arange(3), np.array([1.0, 2, 3]), 900.0))
    found = made.over(made.first - 1, 5)
    assert np.allclose(found, [np.nan, 1, 2, 3, np.nan], equal_nan=True)
    assert np.isnan(made.over(made.first + 10, 2)).all()


def test_a_stretch_of_a_history_is_cut_by_the_begin_of_rows() -> None:
    series = prices_of(hours("1", "2", "3", "4"), "usd_per_mwh", "p.csv").between(START + 1, START + 10_800)
    assert series.values.tolist() == [2, 3]


CURVES = "model,watts,th_s\nS19,1850,76\nS19,2970,100\nS21,3500,200\n"


def test_a_ladder_is_read_and_a_model_chosen() -> None:
    curve = modes_of(CURVES, "m.csv", "S19")
    assert [(mode.name, mode.th_s, mode.watts) for mode in curve.modes] == [
        ("off", 0, 0),
        ("76 TH/s", 76, 1850),
        ("100 TH/s", 100, 2970),
    ]


def test_modes_may_have_names_and_a_standby_power() -> None:
    curve = modes_of("mode,watts,th_s\noff,12,0\neco,1850,76\n", "m.csv")
    assert [(mode.name, mode.watts) for mode in curve.modes] == [("off", 12), ("eco", 1850)]


@pytest.mark.parametrize(
    ("text", "model", "problem"),
    [
        (CURVES, None, "m.csv:1: the file has several models, choose one of them: 'S19', 'S21'"),
        (CURVES, "S17", "m.csv:1: there is no model 'S17': the file has 'S19', 'S21'"),
        ("watts,th_s\n1850,many\n", None, "m.csv:2: column 'th_s': 'many' is not a number"),
        ("watts,th_s\n-1,76\n", None, "m.csv:2: mode '76 TH/s': watts must be zero or more, not -1.0"),
        ("watts,th_s\n1850,76\n1900,76\n", None, "m.csv: a power curve names each mode once"),
        ("watts\n1850\n", None, "m.csv:1: the header needs a column 'th_s', and has 'watts'"),
        ("watts,th_s\n", None, "m.csv: the file has no rows"),
    ],
)
def test_a_useless_ladder_is_refused(text: str, model: str | None, problem: str) -> None:
    with pytest.raises(RecordedError) as caught:
        modes_of(text, "m.csv", model)
    assert caught.value.problems == (problem,)


@pytest.mark.parametrize("rows", ["0,100", "50,0\n50,100"])
def test_a_mode_that_draws_no_more_than_off_is_refused(rows: str) -> None:
    with pytest.raises(RecordedError, match=r"'100 TH/s' must draw more than off, (0|50) W"):
        modes_of(f"watts,th_s\n{rows}\n", "m.csv")
