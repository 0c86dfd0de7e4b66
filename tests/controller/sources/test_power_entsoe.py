"""ENTSO-E's document of day-ahead prices."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.sources.power_entsoe import entsoe
from controller.sources.power_shapes import ShapeError
from tests import power_servers as feeds
from tests.power_servers import HOUR, at

START = at("2026-10-25T00:00+02:00")


def read(*series: str) -> list[tuple[float, float, float]]:
    said = entsoe(feeds.entsoe(*series).body.decode(), "")
    assert not series or said.currency == "EUR"
    return [
        ((a.start - START) / HOUR, (a.end - START) / HOUR, round(a.value * 1000, 6)) for a in said.intervals
    ]


@pytest.mark.parametrize("count", [23, 24, 25])
def test_a_day_of_any_length_is_read_whole(count: int) -> None:
    prices = [float(n - 2) for n in range(count)]
    assert read(feeds.entsoe_series(START, prices)) == [(n, n + 1, n - 2) for n in range(count)]


def test_a_position_left_out_repeats_the_price_before_it_up_to_the_periods_end() -> None:
    assert read(feeds.entsoe_series(START, [1, None, None, 4, None])) == [(0, 3, 1), (3, 5, 4)]


def test_where_every_position_is_written_one_left_out_is_a_hole() -> None:
    assert read(feeds.entsoe_series(START, [1, None, 3], curve="A01")) == [(0, 1, 1), (2, 3, 3)]


def test_of_several_auctions_the_one_numbered_first_counts_wherever_it_stands() -> None:
    exaa = feeds.entsoe_series(START, [99, 99], sequence=2)
    assert read(exaa, feeds.entsoe_series(START, [1, 2], sequence=1)) == [(0, 1, 1), (1, 2, 2)]
    assert read(exaa, feeds.entsoe_series(START, [1, 2], sequence=None)) == [(0, 1, 1), (1, 2, 2)]


def test_intraday_auctions_are_no_day_ahead_prices() -> None:
    intraday = feeds.entsoe_series(START, [99], contract="A07")
    assert read(intraday, feeds.entsoe_series(START, [1])) == [(0, 1, 1)]


def test_quarters_come_before_hours_of_the_same_time() -> None:
    quarters, hours = feeds.entsoe_series(START, [1, 2, 3, 4], minutes=15), feeds.entsoe_series(START, [9, 8])
    assert read(quarters, hours) == read(hours, quarters)
    assert read(hours, quarters)[-2:] == [(0.75, 1, 4), (1, 2, 8)]


def test_the_currency_is_as_told() -> None:
    assert (
        entsoe(feeds.entsoe(feeds.entsoe_series(START, [1], currency="PLN")).body.decode(), "").currency
        == "PLN"
    )


def test_a_document_without_series_has_no_prices() -> None:
    assert read() == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (feeds.entsoe_refuses().body.decode(), "it has no prices for this zone and time: No matching data"),
        (feeds.entsoe_refuses("401", "bad token").body.decode(), "it refused the question: bad token"),
        ("<html><body>busy</body></html>", "no list of prices but <html>"),
        ("<!DOCTYPE html><html></html>", "declarations"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declarations"),
        ("<a", "not XML, or cut off"),
        ("", "not XML, or cut off"),
        (feeds.entsoe(feeds.entsoe_series(START, [1], currency="")).body.decode(), "is not known"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, wrong: str) -> None:
    with pytest.raises(ShapeError) as caught:
        entsoe(text, "")
    assert wrong in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<position>1<", "<position>x<"),
        ("<position>1<", "<position>0<"),
        ("<position>1<", "<position>99999<"),
        ("<price.amount>1<", "<price.amount><"),
        ("PT60M", "P1M"),
        ("PT60M", "PT0M"),
        ("<start>2026", "<start>2O26"),
        ("<end>2026", "<end>2025"),
        ("<end>2026", "<end>9026"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(old: str, new: str) -> None:
    text = feeds.entsoe(feeds.entsoe_series(START, [1, 2])).body.decode()
    assert old in text
    with pytest.raises(ShapeError):
        entsoe(text.replace(old, new), "")


def test_a_price_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite number"):
        entsoe(feeds.entsoe(feeds.entsoe_series(START, [float("nan")])).body.decode(), "")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1200), st.integers(0, 30), st.text(alphabet="<>/&;x0-9 \x00", max_size=6))
def test_a_document_damaged_anywhere_is_read_or_refused_and_never_worse(
    start: int, cut: int, put: str
) -> None:
    text = feeds.entsoe(feeds.entsoe_series(START, [1, 2])).body.decode()
    try:
        said = entsoe(text[:start] + put + text[start + cut :], "")
    except ValueError:
        return
    assert all(each.start < each.end for each in said.intervals)
