"""The shapes of public feeds, on days of 23, 24 and 25 hours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.sources import power_shapes as shapes
from controller.sources.power_intervals import Interval
from controller.sources.power_shapes import Said, ShapeError
from tests import power_servers as feeds
from tests.power_servers import HOUR, at

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.price_servers import Answer

DAYS = {
    23: at("2026-03-29T00:00+01:00"),
    24: at("2026-06-01T00:00+02:00"),
    25: at("2026-10-25T00:00+02:00"),
}
US_DAYS = {
    23: at("2026-03-08T00:00-05:00"),
    24: at("2026-06-01T00:00-04:00"),
    25: at("2026-11-01T00:00-04:00"),
}


def body(answer: Answer) -> str:
    return answer.body.decode()


def per_kwh(start: float, prices: list[float], factor: float = 0.001, step: float = HOUR) -> list[Interval]:
    return [Interval(a, b, price * factor) for a, b, price in feeds.spans(start, prices, step)]


def same(found: tuple[Interval, ...], wanted: list[Interval]) -> bool:
    return len(found) == len(wanted) and all(
        (a.start, a.end) == (b.start, b.end) and a.value == pytest.approx(b.value)
        for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("count", [23, 24, 25])
@pytest.mark.parametrize(
    ("make", "read", "currency", "days", "factor"),
    [
        (feeds.awattar, shapes.awattar, "EUR", DAYS, 0.001),
        (feeds.energy_charts, shapes.energy_charts, "EUR", DAYS, 0.001),
        (feeds.tibber, shapes.tibber, "NOK", DAYS, 1.0),
        (feeds.nordpool, shapes.nordpool, "EUR", DAYS, 0.001),
        (feeds.energyzero, shapes.energyzero, "EUR", DAYS, 1.0),
        (feeds.nyiso, shapes.nyiso_day_ahead, "USD", US_DAYS, 0.001),
        (feeds.pjm, shapes.pjm, "USD", US_DAYS, 0.001),
    ],
)
def test_a_day_of_any_length_is_read_whole(
    make: Callable[..., Answer],
    read: Callable[[str, str], Said],
    currency: str,
    days: dict[int, float],
    factor: float,
    count: int,
) -> None:
    prices = [float(n - 3) for n in range(count)]  # negative ones and a zero too
    said = read(body(make(days[count], prices)), {"NOK": "", "USD": "N.Y.C."}.get(currency, "SE3"))
    assert said.currency == currency
    assert same(said.intervals, per_kwh(days[count], prices, factor))
    assert said.intervals[-1].end - said.intervals[0].start == count * HOUR


@pytest.mark.parametrize("count", [23, 24, 25])
def test_the_day_ahead_prices_of_ercot_are_named_by_their_end(count: int) -> None:
    day = {
        23: at("2026-03-08T00:00-06:00"),
        24: at("2026-06-01T00:00-05:00"),
        25: at("2026-11-01T00:00-05:00"),
    }
    prices = [float(n) for n in range(count)]
    answer = body(feeds.ercot(day[count], prices, day[count], [1.0]))
    for name in ("HB_NORTH", "hbNorth"):
        assert same(shapes.ercot_day_ahead(answer, name).intervals, per_kwh(day[count], prices))


def test_the_last_real_time_price_of_ercot_is_of_the_quarter_that_ended() -> None:
    said = shapes.ercot_real_time(body(feeds.ercot(0, [1.0], DAYS[24], [20.0, -31.5])), "LZ_WEST")
    assert (said.latest, said.seen_at, said.intervals) == (pytest.approx(-0.0305), DAYS[24] + 1800, ())


def test_octopus_gives_half_hours_before_tax_newest_first_and_a_next_page() -> None:
    said = shapes.octopus(body(feeds.octopus(DAYS[24], [10.0, -2.5, 0.0], "https://x/?page=2")), "C")
    assert said.currency == "GBP"
    assert same(said.intervals, per_kwh(DAYS[24], [10.0, -2.5, 0.0], 0.01, HOUR / 2))
    assert said.more == "https://x/?page=2"


def test_a_tariff_of_octopus_without_an_end_holds_for_ever() -> None:
    row = {"value_exc_vat": 20.0, "valid_from": "2026-01-01T00:00:00Z", "valid_to": None}
    other = {**row, "value_exc_vat": 99.0, "payment_method": "NON_DIRECT_DEBIT"}
    said = shapes.octopus(json.dumps({"results": [row, other], "next": None}), "C")
    assert [(each.end, each.value) for each in said.intervals] == [(float("inf"), pytest.approx(0.2))]


def test_a_price_that_energy_charts_does_not_know_is_a_hole() -> None:
    said = shapes.energy_charts(body(feeds.energy_charts(DAYS[24], [1, 2, None, 4])), "")
    assert [each.start - DAYS[24] for each in said.intervals] == [0, HOUR, 3 * HOUR]
    assert said.intervals[1].end == DAYS[24] + 2 * HOUR


def test_tomorrow_follows_today_at_tibber_and_the_currency_is_as_told() -> None:
    said = shapes.tibber(body(feeds.tibber(DAYS[24], [1.0] * 24, [2.0] * 24, currency="SEK")), "home-1")
    assert (said.currency, len(said.intervals)) == ("SEK", 48)


@pytest.mark.parametrize("count", [1, 13])
def test_nyiso_names_real_time_prices_by_their_end(count: int) -> None:
    start = US_DAYS[25] + HOUR  # the hour that comes twice
    answer = body(feeds.nyiso(start, [float(n) for n in range(count)], step=300, ends=True))
    said = shapes.nyiso_real_time(answer, "N.Y.C.")
    assert (said.latest, said.seen_at) == (pytest.approx((count - 1) * 0.001), start + count * 300)


def test_aemo_tells_the_price_of_the_five_minutes_under_way() -> None:
    said = shapes.aemo(body(feeds.aemo(at("2026-10-04T02:35:00+10:00"), -38.47)), "NSW1")
    assert (said.currency, said.latest) == ("AUD", pytest.approx(-0.03847))
    assert said.seen_at == at("2026-10-04T02:30:00+10:00")


def test_comed_tells_cents_the_newest_first() -> None:
    said = shapes.comed(body(feeds.comed(DAYS[24], [2.5, -0.4])), "")
    assert (said.latest, said.seen_at) == (pytest.approx(-0.004), DAYS[24] + 300)


HTML = "<!DOCTYPE html><html><body>busy</body></html>"
ALL = [
    shapes.awattar,
    shapes.octopus,
    shapes.energy_charts,
    shapes.tibber,
    shapes.nordpool,
    shapes.energyzero,
    shapes.ercot_day_ahead,
    shapes.ercot_real_time,
    shapes.nyiso_day_ahead,
    shapes.nyiso_real_time,
    shapes.aemo,
    shapes.comed,
    shapes.pjm,
]


@pytest.mark.parametrize("read", ALL)
@pytest.mark.parametrize(
    "text", ["", HTML, "{", "[]", "{}", "null", "3", '{"data": 1}', '{"data": [1]}', "\x00"]
)
def test_what_is_no_answer_of_the_feed_is_refused_in_words(
    read: Callable[[str, str], Said], text: str
) -> None:
    with pytest.raises(ShapeError):
        read(text, "x")


@pytest.mark.parametrize(
    ("read", "text", "area", "wrong"),
    [
        (shapes.awattar, HTML, "", "a page of HTML or XML, not JSON"),
        (shapes.awattar, body(feeds.awattar(0, [1.0], "Eur/GWh")), "", 'unit "Eur/GWh" is not known'),
        (shapes.awattar, '{"data":[{"unit":"Eur/MWh"}]}', "", 'no "start_timestamp"'),
        (
            shapes.energy_charts,
            '{"unix_seconds":[1],"price":[],"unit":"EUR/MWh"}',
            "",
            "1 times, but 0 prices",
        ),
        (
            shapes.energy_charts,
            '{"unix_seconds":[0,3600],"price":["x",1],"unit":"EUR/MWh"}',
            "",
            "is no number",
        ),
        (shapes.nordpool, body(feeds.nordpool(0, [1.0])), "NO9", 'there is no area "NO9", only SE3'),
        (shapes.nyiso_day_ahead, body(feeds.nyiso(0, [1.0])), "NYC", 'no zone "NYC", only CAPITL, N.Y.C.'),
        (shapes.nyiso_day_ahead, HTML, "", "did not answer with a table"),
        (shapes.nyiso_day_ahead, '"Time Stamp","Name","LBMP ($/MWHr)"\n"noon","N",1\n', "N", "is no time"),
        (shapes.aemo, body(feeds.aemo(0, 1.0)), "WA1", 'there is no region "WA1"'),
        (shapes.ercot_day_ahead, body(feeds.ercot(0, [1.0], 0, [])), "HB_X", "only hbNorth, lzWest"),
        (shapes.ercot_real_time, body(feeds.ercot(0, [1.0], 0, [])), "HB_NORTH", "no real-time price yet"),
        (shapes.tibber, body(feeds.tibber(0, [1.0])), "villa", "no home with a subscription"),
        (shapes.tibber, '{"errors":[{"message":"invalid token"}],"data":null}', "", "invalid token"),
        (shapes.comed, "[]", "", "it has no prices"),
        (
            shapes.octopus,
            '{"results":[{"value_exc_vat":1,"valid_from":"x","valid_to":"y"}]}',
            "",
            "is no time",
        ),
    ],
)
def test_words_say_what_is_wrong(read: Callable[[str, str], Said], text: str, area: str, wrong: str) -> None:
    with pytest.raises(ShapeError) as caught:
        read(text, area)
    assert wrong in str(caught.value)


def test_prices_of_several_units_or_currencies_are_no_prices() -> None:
    rows = json.loads(body(feeds.awattar(0, [1.0, 2.0])))
    rows["data"][1]["unit"] = "Chf/MWh"
    with pytest.raises(ShapeError, match="several units"):
        shapes.awattar(json.dumps(rows), "")


def test_a_franc_is_told_as_a_franc() -> None:
    assert shapes.awattar(body(feeds.awattar(0, [1.0], "Chf/MWh")), "").currency == "CHF"


SOUND = {
    "awattar": (shapes.awattar, feeds.awattar(DAYS[24], [1.0, 2.0])),
    "octopus": (shapes.octopus, feeds.octopus(DAYS[24], [1.0, 2.0])),
    "energy-charts": (shapes.energy_charts, feeds.energy_charts(DAYS[24], [1.0, 2.0])),
    "tibber": (shapes.tibber, feeds.tibber(DAYS[24], [1.0, 2.0])),
    "nordpool": (shapes.nordpool, feeds.nordpool(DAYS[24], [1.0, 2.0], area="x")),
    "energyzero": (shapes.energyzero, feeds.energyzero(DAYS[24], [1.0, 2.0])),
    "ercot-day-ahead": (shapes.ercot_day_ahead, feeds.ercot(DAYS[24], [1.0], DAYS[24], [1.0])),
    "ercot-real-time": (shapes.ercot_real_time, feeds.ercot(DAYS[24], [1.0], DAYS[24], [1.0])),
    "aemo": (shapes.aemo, feeds.aemo(DAYS[24], 1.0, "x")),
    "comed": (shapes.comed, feeds.comed(DAYS[24], [1.0, 2.0])),
    "pjm": (shapes.pjm, feeds.pjm(DAYS[24], [1.0, 2.0])),
}
strange = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = (
        range(len(document)) if isinstance(document, list) else document if isinstance(document, dict) else ()
    )
    return [path, *(place for key in keys for place in places(document[key], (*path, key)))]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = list(document) if isinstance(document, list) else dict(document)
    copy[path[0]] = put(document[path[0]], path[1:], value)
    return copy


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(sorted(SOUND)), strange)
def test_an_answer_with_something_strange_in_it_is_read_or_refused_and_never_worse(
    data: st.DataObject, name: str, value: Any
) -> None:
    read, answer = SOUND[name]
    document = json.loads(answer.body)
    path = data.draw(st.sampled_from(places(document)))
    try:
        said = read(json.dumps(put(document, path, value)), "x")
    except ValueError:
        return
    assert all(each.start < each.end for each in said.intervals)
