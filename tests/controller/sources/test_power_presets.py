"""What public feeds are asked."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from controller.sources.power_presets import PRESETS, Ask, FeedSettings, filled, window

NOW = datetime.fromisoformat("2026-10-24T22:30Z").timestamp()  # in Berlin it is the 25th already
SETTINGS = FeedSettings(area="c", token="s3cret", base="http://127.0.0.1:1/")


def ask(preset: str, **more: str) -> list[Ask]:
    return PRESETS[preset].requests(FeedSettings(**more), NOW)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_asks_its_own_server_over_tls_and_another_where_told(name: str) -> None:
    preset = PRESETS[name]
    assert preset.base.startswith("https://")
    for own, other in zip(
        preset.requests(FeedSettings(area="c"), NOW), preset.requests(SETTINGS, NOW), strict=True
    ):
        assert own.url.startswith(preset.base + "/")
        assert other.url == own.url.replace(preset.base, "http://127.0.0.1:1")


@pytest.mark.parametrize("name", PRESETS)
def test_a_key_is_in_no_url(name: str) -> None:
    asks = PRESETS[name].requests(SETTINGS, NOW)
    assert all("s3cret" not in each.url for each in asks)
    carried = any("s3cret" in f"{each.params}{each.headers}" for each in asks)
    assert carried == bool(PRESETS[name].token)


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_asked_stays_the_same_for_a_while_so_that_an_unchanged_answer_need_not_come_again(
    name: str,
) -> None:
    preset = PRESETS[name]
    assert preset.requests(SETTINGS, NOW) == preset.requests(SETTINGS, NOW + 1500)


def test_two_days_ahead_are_asked_for() -> None:
    start, end = window(NOW)
    assert start <= NOW - 3600 < start + 3600
    assert end >= NOW + 47 * 3600
    assert dict(ask("awattar-de")[0].params) == {"start": f"{start * 1000:.0f}", "end": f"{end * 1000:.0f}"}


def test_octopus_is_asked_by_product_and_region() -> None:
    (one,) = ask("octopus-agile", area="c")
    assert one.url.endswith("/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/standard-unit-rates/")
    assert "E-1R-AGILE-X-C" in ask("octopus-agile", area="C", product="AGILE-X")[0].url


@pytest.mark.parametrize(
    ("preset", "days"),
    [
        ("nordpool", ["2026-10-25", "2026-10-26"]),
        ("nyiso-day-ahead", ["20261024", "20261025"]),
    ],
)
def test_feeds_of_days_are_asked_for_the_days_of_their_own_clock_and_tomorrow_may_be_missing(
    preset: str, days: list[str]
) -> None:
    asks = ask(preset, area="SE3")
    assert [each.optional for each in asks] == [False, True]
    for each, day in zip(asks, days, strict=True):
        assert day in f"{each.url}{each.params}"


def test_entsoe_is_asked_for_whole_days_in_utc() -> None:
    params = dict(ask("entsoe", area="10Y1001A1001A82H", token="k")[0].params)
    assert (params["periodStart"], params["periodEnd"]) == ("202610230000", "202610270000")
    assert params["in_Domain"] == params["out_Domain"] == "10Y1001A1001A82H"


def test_tibber_is_asked_in_graphql() -> None:
    (one,) = ask("tibber", token="k")
    assert one.body is not None
    assert b"QUARTER_HOURLY" in one.body
    assert ("Authorization", "Bearer k") in one.headers


def test_placeholders_of_a_url_are_filled_in_and_other_braces_stay() -> None:
    url = "https://x/{today}/{tomorrow}?a={from}&b={to_s}&c={from_ms}&d={other}"
    assert filled(url, NOW, ZoneInfo("Europe/Berlin")) == (
        "https://x/2026-10-25/2026-10-26?a=2026-10-24T21:00:00Z&b=1793052000&c=1792875600000&d={other}"
    )
    assert "/2026-10-24/" in filled(url, NOW, UTC)


def test_headers_can_be_added() -> None:
    assert Ask("u", headers=(("a", "b"),)).with_headers((("c", "d"),)).headers == (("a", "b"), ("c", "d"))
