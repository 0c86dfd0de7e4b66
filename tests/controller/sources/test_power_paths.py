"""Feeds of which only the paths are told."""

import json
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from controller.sources.power_paths import Paths, Table
from controller.sources.power_shapes import ShapeError
from controller.sources.power_terms import price_unit
from tests.power_servers import at

EUR = price_unit("eur_per_mwh")
ROWS = {
    "rows": [
        {"p": 10, "s": 3600, "e": 4500},
        {"p": None, "s": 4500, "e": 5400},
        {"p": "-5.5", "s": 5400, "e": 6300},
    ]
}


def paths(**more: object) -> Paths:
    return Paths(unit=EUR, zone=UTC, **more)  # type: ignore[arg-type]


def test_prices_with_starts_and_ends_are_intervals() -> None:
    said = paths(price="rows[*].p", start="rows[*].s", end="rows[*].e")(json.dumps(ROWS), "")
    assert said.currency == "EUR"
    assert [(each.start, each.end) for each in said.intervals] == [(3600, 4500), (5400, 6300)]
    assert [each.value for each in said.intervals] == pytest.approx([0.01, -0.0055])


def test_without_ends_each_lasts_to_the_next_or_as_long_as_told() -> None:
    assert [e.end for e in paths(price="rows[*].p", start="rows[*].s")(json.dumps(ROWS), "").intervals] == [
        4500,
        6300,
    ]
    one = json.dumps({"p": 1, "s": "2026-01-01T00:00Z"})
    (interval,) = paths(price="p", start="s", step_s=900.0)(one, "").intervals
    assert interval.end - interval.start == 900
    with pytest.raises(ShapeError, match="how long it holds"):
        paths(price="p", start="s")(one, "")


def test_without_starts_it_is_the_price_of_the_moment() -> None:
    said = paths(price="data.price")('{"data": {"price": 81.5}}', "")
    assert (said.latest, said.seen_at, said.intervals) == (pytest.approx(0.0815), None, ())
    said = paths(price="p", time="t")('{"p": 81.5, "t": 1792875600000}', "")
    assert said.seen_at == 1_792_875_600


def test_times_without_an_offset_go_by_the_clock_told() -> None:
    berlin = Paths("p", EUR, ZoneInfo("Europe/Berlin"), start="s", step_s=3600.0)
    (interval,) = berlin('{"p": 1, "s": "2026-06-01T12:00:00"}', "").intervals
    assert interval.start == at("2026-06-01T12:00+02:00")
    (interval,) = berlin('{"p": 1, "s": "2026-06-01T12:00:00Z"}', "").intervals
    assert interval.start == at("2026-06-01T12:00+00:00")
    (interval,) = berlin('{"p": 1, "s": "1792875600"}', "").intervals
    assert interval.start == 1_792_875_600


@pytest.mark.parametrize(
    ("given", "text", "wrong"),
    [
        ({"price": "a[*]", "start": "b[*]"}, '{"a": [1, 2], "b": [1]}', "lead to 2 prices, 1 starts"),
        ({"price": "a", "start": "a", "end": "b[*]"}, '{"a": 1, "b": [1, 2]}', "1 starts, 2 ends"),
        ({"price": "c"}, '{"a": 1}', 'no "c"'),
        ({"price": "a"}, '{"a": "cheap"}', "is no number"),
        ({"price": "a", "time": "b"}, '{"a": 1, "b": "soon"}', "is no time"),
        ({"price": "a", "start": "a", "end": "a"}, '{"a": 1}', "is empty"),
        ({"price": "a"}, "<html>", "HTML"),
    ],
)
def test_what_does_not_fit_is_told(given: dict[str, str], text: str, wrong: str) -> None:
    with pytest.raises(ShapeError) as caught:
        paths(**given)(text, "")
    assert wrong in str(caught.value)


def test_a_table_from_the_web_is_read_like_one_from_a_file() -> None:
    text = "start_utc,price\n2026-01-01T00:00Z,50\n2026-01-01T01:00Z,60\n"
    said = Table(EUR)(text, "")
    assert (said.currency, len(said.intervals)) == ("EUR", 2)
    with pytest.raises(ShapeError, match='unit of "price" is not known'):
        Table()(text, "")
