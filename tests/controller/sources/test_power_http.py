"""Power prices from servers that answer as the public ones do, and fail as they do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from controller.book import TickBook, current
from controller.sources import power_http
from controller.sources.base import SourceError
from controller.sources.power import PowerSource
from controller.sources.power_http import PowerHttpFeed
from controller.sources.power_paths import Paths
from controller.sources.power_presets import PRESETS, Ask, FeedSettings
from controller.sources.power_terms import price_unit
from controller.ticks import POWER
from controller.validate import MAINNET_RULES
from tests import power_servers as feeds
from tests.power_servers import HOUR, at
from tests.price_servers import Answer, PriceServer, cut, down, hangs, html, says, sends_to, truncated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.sources.power_timeline import Quotes

TODAY = at("2026-06-01T00:00+02:00")
NOON = TODAY + 12 * HOUR
DAY = [float(n) for n in range(1, 25)]
MARKETDATA = "/v1/marketdata"
AREAS = {"nordpool": "SE3", "aemo": "NSW1", "nyiso-day-ahead": "N.Y.C.", "nyiso-real-time": "N.Y.C."}

MADE: list[PowerHttpFeed] = []
"""Feeds that a test made, to be closed after it."""


@pytest.fixture
async def server() -> AsyncIterator[PriceServer]:
    async with PriceServer() as started:
        yield started
    while MADE:
        await MADE.pop().close()


def feed(server: PriceServer, preset: str = "awattar-de", **more: object) -> PowerHttpFeed:
    known = PRESETS[preset]
    area = AREAS.get(preset, "HB_NORTH" if preset.startswith("ercot") else "c")
    settings = FeedSettings(area=area, token="s3cret", base=server.url)
    given = {"every_s": known.every_s, "area": area, "name": preset, **more}
    MADE.append(PowerHttpFeed(lambda now: known.requests(settings, now), known.shape, **given))  # type: ignore[arg-type]
    return MADE[-1]


def price(said: Quotes, moment: float) -> float | None:
    return next(
        (round(each.value * 1000, 6) for each in said.settled if each.start <= moment < each.end), None
    )


class TestDayAhead:
    """Prices by interval."""

    async def test_todays_prices_are_known_and_tomorrows_from_when_they_are_published(
        self, server: PriceServer
    ) -> None:
        early, late = feeds.awattar(TODAY, DAY), feeds.awattar(TODAY, [*DAY, *[-p for p in DAY]])
        server.serve(MARKETDATA, early, late)
        source = feed(server)
        said = await source.quotes(NOON)
        assert (price(said, NOON), price(said, TODAY + 23.5 * HOUR), price(said, TODAY + 24 * HOUR)) == (
            13,
            24,
            None,
        )
        said = await source.quotes(NOON + HOUR)
        assert (price(said, TODAY + 24 * HOUR), said.problem) == (-1, "")

    async def test_it_asks_no_more_often_than_it_is_told(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, DAY))
        source = feed(server)
        for minute in range(31):
            await source.quotes(NOON + minute * 60)
        assert server.times(MARKETDATA) == 3

    async def test_while_the_server_is_down_what_is_known_stays(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, DAY), down())
        source = feed(server)
        await source.quotes(NOON)
        said = await source.quotes(NOON + 5 * HOUR)
        assert price(said, NOON + 5 * HOUR) == 18
        assert "503" in said.problem

    async def test_when_the_prices_end_that_is_told(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, DAY))
        source = feed(server)
        await source.quotes(NOON)
        said = await source.quotes(TODAY + 24.5 * HOUR)
        assert said.settled == ()
        assert said.problem == "its prices ended at 2026-06-01 22:00Z"

    async def test_a_revised_price_takes_the_place_of_the_first_one(self, server: PriceServer) -> None:
        revised = [*DAY[:20], 99.0, *DAY[21:]]
        server.serve(MARKETDATA, feeds.awattar(TODAY, DAY), feeds.awattar(TODAY, revised))
        source = feed(server)
        await source.quotes(NOON)
        assert price(await source.quotes(NOON + 1000), TODAY + 20 * HOUR) == 99

    async def test_an_older_answer_from_a_cache_takes_nothing_away(self, server: PriceServer) -> None:
        old = feeds.awattar(TODAY, DAY)
        server.serve(MARKETDATA, feeds.awattar(TODAY, [*DAY, *DAY]), old)
        source = feed(server)
        await source.quotes(NOON)
        assert price(await source.quotes(NOON + 1000), TODAY + 30 * HOUR) == 7

    async def test_gaps_are_named_and_not_filled(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, [*DAY[:14], None, *DAY[15:]]))
        said = await feed(server).quotes(NOON)
        assert price(said, TODAY + 14.5 * HOUR) is None
        assert said.problem == "no price is known from 2026-06-01 12:00Z to 2026-06-01 13:00Z"

    async def test_duplicates_do_no_harm(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, *[feeds.awattar(TODAY, DAY)] * 3)
        source = feed(server)
        first = await source.quotes(NOON)
        assert (await source.quotes(NOON + 1000)).settled == first.settled

    async def test_zero_and_negative_prices_are_prices(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, [0.0] * 23 + [-500.0]))
        said = await feed(server).quotes(NOON)
        assert (price(said, NOON), price(said, TODAY + 23 * HOUR)) == (0, -500)

    async def test_a_whole_answer_of_exact_zeros_is_a_fault_unless_accepted(
        self, server: PriceServer
    ) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, [0.0] * 24))
        with pytest.raises(SourceError, match="all of its 24 prices are exactly zero"):
            await feed(server).quotes(NOON)
        assert price(await feed(server, accept_zero=True).quotes(NOON), NOON) == 0

    async def test_prices_in_another_currency_than_before_replace_those_known(
        self, server: PriceServer
    ) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, DAY), feeds.awattar(TODAY, [*DAY[:20]], "Chf/MWh"))
        source = feed(server)
        await source.quotes(NOON)
        said = await source.quotes(NOON + 1000)
        assert (said.currency, price(said, TODAY + 22 * HOUR)) == ("CHF", None)

    @pytest.mark.parametrize(
        ("bad", "wrong"),
        [
            (html(), "HTML"),
            (html(502), "502"),
            (down(429, "120"), "429"),
            (cut({"data": [1] * 99}), "connection broke"),
            (truncated({"data": [1] * 99}), "not JSON, or cut off"),
            (says({"data": []}), "gave no prices"),
            (says({"error": "quota"}), 'no "data"'),
            (says([]), 'no "data"'),
            (Answer(b""), "is empty"),
            (feeds.awattar(TODAY, [1.0], "Eur/Wh"), "is not known"),
            (sends_to("ftp://x/"), "redirects"),
        ],
    )
    async def test_a_bad_answer_is_told_and_asked_again_soon(
        self, server: PriceServer, bad: Answer, wrong: str
    ) -> None:
        server.serve(MARKETDATA, bad, feeds.awattar(TODAY, DAY))
        source = feed(server)
        with pytest.raises(SourceError, match=wrong) as caught:
            await source.quotes(NOON)
        assert "s3cret" not in str(caught.value)
        said = await source.quotes(NOON + 130)
        assert (price(said, NOON), said.problem) == (13, "")

    async def test_a_server_that_stays_down_is_asked_less_and_less(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, down())
        source = feed(server)
        for minute in range(61):
            with pytest.raises(SourceError):
                await source.quotes(NOON + minute * 60)
        assert server.times(MARKETDATA) == 8  # after 1, 3, 7, 15 minutes, then every quarter of an hour

    async def test_a_server_that_hangs_is_given_up_and_not_asked_at_once_again(
        self, server: PriceServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(power_http, "REFRESH_LIMIT_S", 0.2)
        server.serve(MARKETDATA, hangs())
        source = feed(server)
        for _ in range(2):
            with pytest.raises(SourceError, match="no whole answer"):
                await source.quotes(NOON)
        assert server.times(MARKETDATA) <= 1  # none where this machine is busier than patient

    async def test_a_clock_put_back_asks_again(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, DAY))
        source = feed(server)
        await source.quotes(NOON)
        await source.quotes(NOON - HOUR)
        assert server.times(MARKETDATA) == 2

    async def test_prices_that_are_over_are_given_for_as_long_as_asked(self, server: PriceServer) -> None:
        server.serve(MARKETDATA, feeds.awattar(TODAY, DAY))
        over = TODAY + 24 * HOUR + 600
        late = feed(server, late=True)
        said = await late.quotes(over)
        assert (price(said, over - 900), said.problem) == (24, "")
        assert (await late.quotes(over + 5000)).settled == ()
        assert (await feed(server).quotes(over)).problem.startswith("its prices ended at")


class TestPages:
    """Octopus gives its rates in pages."""

    PATH = "/v1/products/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/standard-unit-rates/"

    async def test_all_pages_are_read(self, server: PriceServer) -> None:
        server.serve(self.PATH, feeds.octopus(NOON, [3.0, 4.0], f"{server.url}/page2?x=1"))
        server.serve("/page2", feeds.octopus(NOON - HOUR, [1.0, 2.0]))
        said = await feed(server, "octopus-agile").quotes(NOON - HOUR)
        assert [round(each.value * 100) for each in said.settled] == [1, 2, 3, 4]
        assert said.currency == "GBP"

    async def test_a_page_on_another_server_is_not_read(self, server: PriceServer) -> None:
        server.serve(self.PATH, feeds.octopus(NOON, [3.0], "http://127.0.0.2:9/page2"))
        with pytest.raises(SourceError, match="on another server"):
            await feed(server, "octopus-agile").quotes(NOON)

    async def test_pages_without_an_end_are_given_up(self, server: PriceServer) -> None:
        server.serve(self.PATH, feeds.octopus(NOON, [3.0], f"{server.url}{self.PATH}"))
        with pytest.raises(SourceError, match="more than 10 pages"):
            await feed(server, "octopus-agile").quotes(NOON)
        assert server.times(self.PATH) == 10


class TestOtherFeeds:
    """What is particular to one of them."""

    async def test_tomorrow_may_not_be_published_yet(self, server: PriceServer) -> None:
        server.serve("/api/DayAheadPrices", feeds.nordpool(TODAY, DAY), down(204))
        said = await feed(server, "nordpool").quotes(NOON)
        assert (price(said, NOON), said.problem) == (13, "")
        assert [asked.query["date"] for asked in server.asked] == ["2026-06-01", "2026-06-02"]

    async def test_today_must_be_there(self, server: PriceServer) -> None:
        server.serve("/api/DayAheadPrices", down(404), feeds.nordpool(TODAY, DAY))
        with pytest.raises(SourceError, match="404"):
            await feed(server, "nordpool").quotes(NOON)

    async def test_a_new_york_day_of_25_hours_comes_in_two_files(self, server: PriceServer) -> None:
        day = at("2026-11-01T00:00-04:00")
        server.serve("/public/csv/damlbmp/20261101damlbmp_zone.csv", feeds.nyiso(day, [*DAY, 25.0]))
        server.serve("/public/csv/damlbmp/20261102damlbmp_zone.csv", feeds.nyiso(day + 25 * HOUR, DAY))
        said = await feed(server, "nyiso-day-ahead").quotes(day)
        assert (len(said.settled), said.problem) == (49, "")
        assert [price(said, day + n * HOUR) for n in (1, 2, 24, 25)] == [2, 3, 25, 1]

    async def test_tibber_is_asked_with_the_key_in_a_header(self, server: PriceServer) -> None:
        server.serve("/v1-beta/gql", feeds.tibber(TODAY, DAY))
        said = await feed(server, "tibber", area="", complete=True).quotes(NOON)
        (asked,) = server.asked
        assert asked.headers["Authorization"] == "Bearer s3cret"
        assert asked.headers["Content-Type"] == "application/json"
        assert (asked.method, b"priceInfo" in asked.body) == ("POST", True)
        assert (said.currency, said.complete, price(said, NOON)) == ("NOK", True, 13_000)

    async def test_entsoe_is_asked_with_the_key_as_a_parameter_which_no_error_tells(
        self, server: PriceServer
    ) -> None:
        server.serve("/api", feeds.entsoe_refuses("401", "no"), feeds.entsoe(feeds.entsoe_series(TODAY, DAY)))
        source = feed(server, "entsoe")
        with pytest.raises(SourceError, match="it refused the question") as caught:
            await source.quotes(NOON)
        assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"
        assert server.asked[0].query["securityToken"] == "s3cret"
        assert price(await source.quotes(NOON + 100), NOON) == 13

    async def test_an_answer_that_did_not_change_is_not_sent_again(self, server: PriceServer) -> None:
        tagged = replace(feeds.entsoe(feeds.entsoe_series(TODAY, DAY)), headers={"ETag": '"a"'})
        server.serve("/api", tagged)
        source = feed(server, "entsoe")
        await source.quotes(NOON)
        assert price(await source.quotes(NOON + 1000), NOON) == 13
        assert server.asked[1].headers["If-None-Match"] == '"a"'


class TestOfTheMoment:
    """Prices without an interval."""

    AEMO = "/aemo/apps/api/report/ELEC_NEM_SUMMARY"

    async def test_a_price_has_the_age_that_it_tells(self, server: PriceServer) -> None:
        server.serve(self.AEMO, feeds.aemo(NOON, 80.0))
        present = (await feed(server, "aemo").quotes(NOON)).present
        assert present is not None
        assert (present.value, present.seen_at) == (pytest.approx(0.08), NOON - 300)

    async def test_one_that_tells_none_is_of_when_it_was_asked(self, server: PriceServer) -> None:
        url = server.serve("/now", says({"p": 5}))
        shape = Paths("p", price_unit("usd_cents_per_kwh"), UTC)
        source = PowerHttpFeed(lambda _: [Ask(url)], shape, every_s=60, name="x")
        MADE.append(source)
        present = (await source.quotes(NOON + 90)).present
        assert present is not None
        assert (present.value, present.seen_at) == (pytest.approx(0.05), NOON + 90)

    async def test_the_same_price_again_goes_on_and_only_grows_younger(self, server: PriceServer) -> None:
        server.serve(self.AEMO, *[feeds.aemo(NOON + n * 300, 80.0) for n in range(3)])
        source = feed(server, "aemo")
        await source.quotes(NOON)
        present = (await source.quotes(NOON + 300)).present
        assert present is not None
        assert (present.since, present.seen_at) == (NOON - 300, NOON)

    async def test_a_stale_answer_grows_old_and_is_told(self, server: PriceServer) -> None:
        server.serve(self.AEMO, feeds.aemo(NOON, 80.0))
        source = feed(server, "aemo")
        await source.quotes(NOON)
        said = await source.quotes(NOON + HOUR)
        assert said.present is not None
        assert said.present.seen_at == NOON - 300
        assert said.problem == "its price is of 2026-06-01 09:55Z, not of now"

    async def test_after_the_clock_was_set_back_answers_are_believed_and_the_last_one_is_no_older(
        self, server: PriceServer
    ) -> None:
        server.serve(self.AEMO, feeds.aemo(NOON, 80.0), down(), feeds.aemo(NOON, 70.0))
        source = feed(server, "aemo")
        await source.quotes(NOON)
        back = NOON - 2 * HOUR
        said = await source.quotes(back)
        assert said.present is not None
        assert (said.present.value, said.present.since, said.present.seen_at) == (0.08, back, back)
        said = await source.quotes(back + 300)
        assert said.present is not None
        assert (said.present.value, said.present.seen_at, said.problem) == (0.07, back + 300, "")

    async def test_an_older_answer_from_a_cache_is_not_believed(self, server: PriceServer) -> None:
        server.serve(self.AEMO, feeds.aemo(NOON, 80.0), feeds.aemo(NOON - 900, 20.0))
        source = feed(server, "aemo")
        await source.quotes(NOON)
        said = await source.quotes(NOON + 200)
        assert said.present is not None
        assert said.present.value == pytest.approx(0.08)
        assert "an older price" in said.problem

    async def test_an_exact_zero_is_a_fault_and_no_price_unless_accepted(self, server: PriceServer) -> None:
        server.serve(self.AEMO, feeds.aemo(NOON, 80.0), feeds.aemo(NOON + 300, 0.0))
        source = feed(server, "aemo")
        await source.quotes(NOON)
        said = await source.quotes(NOON + 200)
        assert said.present is not None
        assert said.present.value == pytest.approx(0.08)
        assert "exactly zero" in said.problem
        server.serve(self.AEMO, feeds.aemo(NOON + 300, 0.0))
        accepted = (await feed(server, "aemo", accept_zero=True).quotes(NOON + 300)).present
        assert accepted is not None
        assert accepted.value == 0

    async def test_negative_prices_and_spikes_are_prices(self, server: PriceServer) -> None:
        server.serve(self.AEMO, feeds.aemo(NOON, -1000.0), feeds.aemo(NOON + 300, 17_500.0))
        source = feed(server, "aemo")
        values = []
        for now in (NOON, NOON + 300):
            present = (await source.quotes(now)).present
            assert present is not None
            values.append(present.value)
        assert values == pytest.approx([-1.0, 17.5])

    async def test_a_clock_ahead_of_ours_is_taken_for_now(self, server: PriceServer) -> None:
        server.serve(self.AEMO, feeds.aemo(NOON + HOUR, 80.0))
        present = (await feed(server, "aemo").quotes(NOON)).present
        assert present is not None
        assert present.seen_at == NOON


async def test_real_time_first_and_day_ahead_for_what_is_to_come(server: PriceServer) -> None:
    path = "/api/1/services/read/dashboards/systemWidePrices.json"
    day = at("2026-06-01T00:00-05:00")
    now = day + 12 * HOUR + 120
    server.serve(path, feeds.ercot(day, [50.0] * 24, day, [40.0] * 47 + [900.0]))
    real_time, ahead = feed(server, "ercot-real-time"), feed(server, "ercot-day-ahead")
    source, book = PowerSource([real_time, ahead], rate=_no_rate), TickBook(MAINNET_RULES)
    book.admit(await source.read(now), 0, now)
    ticks = book.ticks()[POWER]

    def value(moment: float) -> float:
        tick = current(ticks, moment)
        assert tick is not None
        return tick.value

    assert value(now) == pytest.approx(0.9)
    assert value(now + 2 * HOUR) == pytest.approx(0.05)
    await source.close()


async def _no_rate(currency: str, _now: float) -> float:
    raise SourceError(currency)
