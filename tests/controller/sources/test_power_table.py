"""Tables of prices as CSV and JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.sources.power_intervals import Interval
from controller.sources.power_table import TableError, read_table
from controller.sources.power_terms import price_unit

T0 = 1_767_225_600.0  # 2026-01-01T00:00Z
ROWS = "start_utc,usd_per_mwh\n2026-01-01T00:00:00Z,50\n2026-01-01T01:00:00Z,-12.5\n2026-01-01T02:00:00Z,0\n"


def test_a_table_gives_prices_per_kwh_by_interval() -> None:
    table = read_table(ROWS)
    assert table.currency == "USD"
    assert table.intervals == (
        Interval(T0, T0 + 3600, 0.05),
        Interval(T0 + 3600, T0 + 7200, -0.0125),
        Interval(T0 + 7200, T0 + 10800, 0.0),
    )


def test_ends_are_taken_where_they_are_told() -> None:
    table = read_table("start,end,eur_per_kwh\n2026-01-01T01:00+01:00,2026-01-01T01:15+01:00,0.1\n")
    assert table.currency == "EUR"
    assert table.intervals == (Interval(T0, T0 + 900, 0.1),)


def test_json_is_a_list_of_objects_or_an_object_with_one_list() -> None:
    rows = [
        {"start_utc": f"2026-01-01T0{hour}:00:00Z", "price": price} for hour, price in enumerate((10, 20.5))
    ]
    unit = price_unit("pence_per_kwh")
    plain, wrapped = json.dumps(rows), json.dumps({"zone": "C", "prices": rows})
    assert read_table(plain, unit) == read_table(wrapped, unit)
    assert [each.value for each in read_table(plain, unit).intervals] == pytest.approx([0.1, 0.205])


def test_of_rows_for_the_same_time_the_last_counts() -> None:
    table = read_table(ROWS + "2026-01-01T01:00:00Z,99\n")
    assert [each.value for each in table.intervals] == pytest.approx([0.05, 0.099, 0.0])


def test_a_row_without_a_price_is_a_hole() -> None:
    assert len(read_table(ROWS.replace("-12.5", "")).intervals) == 2


def test_rows_may_come_in_any_order_and_with_other_columns() -> None:
    header, *rows = ROWS.splitlines()
    shuffled = "\n".join([header + ",note", *(f"{row},x" for row in reversed(rows))])
    assert read_table(shuffled) == read_table(ROWS)


def test_a_byte_order_mark_and_windows_line_ends_are_no_trouble() -> None:
    assert read_table("\ufeff" + ROWS.replace("\n", "\r\n")) == read_table(ROWS)


def test_the_day_of_25_hours_is_written_in_utc_or_with_offsets() -> None:
    starts = ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]
    table = read_table("start,eur_per_mwh\n" + "".join(f"{start},{n}\n" for n, start in enumerate(starts)))
    assert [each.end - each.start for each in table.intervals] == [3600] * 3


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        ("<html>", "it is a page of HTML"),
        ("start_utc,usd_per_mwh\n", "it has no rows"),
        ("when,usd_per_mwh\n1,2\n", "there is no column start_utc or start, only when, usd_per_mwh"),
        ("start_utc,cost\n2026-01-01,2\n", "there is no price"),
        ("start_utc,price\n2026-01-01T00:00Z,2\n", 'the unit of "price" is not known'),
        ("start_utc,usd_per_mwh,eur_per_mwh\n2026-01-01T00:00Z,2,3\n", "there are several prices"),
        ("start_utc,start_utc,usd_per_mwh\n1,2,3\n", "a column is given more than once"),
        (ROWS.replace("50", "fifty"), 'line 2: usd_per_mwh: "fifty" is no number'),
        (ROWS.replace("50", "nan"), 'line 2: usd_per_mwh: "nan" is no finite number'),
        (ROWS.replace("00:00Z,50", "00:00,50"), "names no offset"),
        (ROWS.replace("2026-01-01T00:00:00Z,50", "yesterday,50"), '"yesterday" is no time'),
        (ROWS + "2026-01-01T03:0", "line 5: 1 cells, but the header has 2"),
        ("start_utc,usd_per_mwh\n2026-01-01T00:00Z,2\n", "a single interval without an end"),
        ("start,end,usd_per_mwh\n2026-01-01T01:00Z,2026-01-01T01:00Z,1\n", "line 2: end is not after start"),
        ("[1,2]", "it must be a list of objects"),
        ("[]", "it must be a list of objects"),
        ('{"a": 1}', "it must be a list of objects"),
        ('[{"start_utc": "2026', "it is not JSON, or cut off"),
        ('[{"start_utc": "2026-01-01T00:00Z", "usd_per_mwh": true}]', '"True" is no number'),
        ('start_utc,usd_per_mwh\n"2026', "it is no CSV"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, wrong: str) -> None:
    with pytest.raises(TableError) as caught:
        read_table(text)
    assert wrong in str(caught.value)


def test_many_faults_are_counted_and_not_all_told() -> None:
    text = "start_utc,usd_per_mwh\n" + "x,y\n" * 9
    with pytest.raises(TableError, match="and 4 more") as caught:
        read_table(text)
    assert len(str(caught.value)) < 400


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 110), st.integers(0, 20), st.text(max_size=6))
def test_a_table_damaged_anywhere_is_read_or_refused_and_never_worse(start: int, cut: int, put: str) -> None:
    try:
        table = read_table(ROWS[:start] + put + ROWS[start + cut :])
    except TableError:
        return
    assert all(each.start < each.end for each in table.intervals)
