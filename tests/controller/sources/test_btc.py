from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from controller.book import TickBook
from controller.sources import btc
from controller.sources.base import Source, SourceError
from controller.sources.btc import BtcFeedSpec, BtcPrice
from controller.sources.fx import FxFeedSpec, Rates
from controller.sources.quotes import QuoteRules
from controller.ticks import BTC_USD, Tick
from controller.validate import MAINNET_RULES
from tests.price_servers import (
    KRAKEN_ERROR,
    Answer,
    PriceServer,
    bitstamp,
    coinbase,
    cut,
    down,
    frankfurter,
    hangs,
    html,
    says,
    torn,
    truncated,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = 1_795_400_000.0


@pytest.fixture
async def server() -> AsyncIterator[PriceServer]:
    async with PriceServer() as running:
        yield running


def feed(server: PriceServer, name: str, *answers: Answer, **options: Any) -> BtcFeedSpec:
    """A feed that answers as Coinbase does."""
    options = {"path": "data.amount", "timeout_s": 0.3, **options}
    return BtcFeedSpec(name, server.serve(f"/{name}", *answers), **options)


async def prices(source: BtcPrice, *times: float) -> list[float | str]:
    """What the source says at each of these seconds after NOW: a price, or what is wrong."""
    found: list[float | str] = []
    for at in times:
        try:
            (tick,) = await source.read(NOW + at)
        except SourceError as error:
            found.append(str(error))
        else:
            found.append(tick.value)
    await source.close()
    return found


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.message, str(vars(record).get("feed"))) for record in caplog.records]


async def test_one_feed_gives_its_price_as_a_tick_that_is_believed(server: PriceServer) -> None:
    source = BtcPrice([feed(server, "coinbase", coinbase("92000.10"))])
    assert isinstance(source, Source)
    (tick,) = await source.read(NOW)
    assert tick == Tick(BTC_USD, 92_000.10, "USD/BTC", NOW, math.inf, NOW, "btc")
    assert TickBook(MAINNET_RULES).admit([tick], 0, NOW) == ([tick], [])
    await source.close()


async def test_of_several_feeds_the_median_counts(server: PriceServer) -> None:
    feeds = [feed(server, str(price), coinbase(price)) for price in (92_000, 92_100, 92_500)]
    assert await prices(BtcPrice(feeds), 0) == [92_100.0]


async def test_each_feed_is_asked_at_its_own_pace(server: PriceServer) -> None:
    fast = feed(server, "fast", coinbase(92_000), every_s=60.0)
    slow = feed(server, "slow", coinbase(92_000), every_s=300.0)
    await prices(BtcPrice([fast, slow]), *range(0, 600, 60))
    assert (server.times("/fast"), server.times("/slow")) == (10, 2)


async def test_what_was_not_seen_anew_grows_old(server: PriceServer) -> None:
    source = BtcPrice([feed(server, "a", coinbase(92_000), down(500))])
    for at, observed in ((0, 0), (60, 0), (840, 0)):
        (tick,) = await source.read(NOW + at)
        assert (tick.value, tick.observed_at) == (92_000.0, NOW + observed)
    assert await prices(source, 900) == [
        f"no fresh quote; a: {server.url[7:]}: HTTP status 500: the server is in trouble"
    ]


async def test_a_server_that_repeats_an_old_price_is_not_fresh(server: PriceServer) -> None:
    frozen = feed(server, "bitstamp", bitstamp(92_000, NOW - 800), path="last", time_path="timestamp")
    source = BtcPrice([frozen])
    (tick,) = await source.read(NOW)
    assert tick.observed_at == NOW - 800
    assert await prices(source, 60, 120) == [92_000.0, "no fresh quote"]


async def test_a_price_of_the_future_counts_from_now(server: PriceServer) -> None:
    spec = feed(server, "bitstamp", bitstamp(92_000, NOW + 500), path="last", time_path="timestamp")
    source = BtcPrice([spec])
    (tick,) = await source.read(NOW)
    assert tick.observed_at == NOW
    await source.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (coinbase(0), '"data.amount": 0 is no price'),
        (coinbase(-92_000), '"data.amount": -92000 is no price'),
        (coinbase("NaN"), '"data.amount": "NaN" is no number'),
        (coinbase("92,000"), '"data.amount": "92,000" is no number'),
        (coinbase("N/A"), '"data.amount": "N/A" is no number'),
        (coinbase(""), '"data.amount": "" is no number'),
        (says({"data": {"amount": None}}), '"data.amount": null is no number'),
        (says({"data": {"amount": True}}), '"data.amount": true is no number'),
        (says({"data": {"amount": {}}}), '"data.amount": an object is no number'),
        (says({"data": []}), '$.data is an empty list without names: there is no "amount"'),
        (says([]), '$ is an empty list without names: there is no "data"'),
        (says(None), '$ is null: there is no "data" in it'),
        (says({"error": "rate limited"}), '$ has no "data": there are error'),
        (KRAKEN_ERROR, '$ has no "data": there are error'),
        (html(), "it answered with a page of HTML or XML, not JSON"),
        (html(403), "HTTP status 403: it refuses us"),
        (down(429, "30"), "HTTP status 429: too many requests: raise every_s"),
        (truncated({"data": {"amount": "92000"}}), "the answer is not JSON, or cut off"),
        (cut({"data": {"amount": "92000"}}), "the connection broke"),
        (torn(), "the connection broke"),
        (hangs(), "no whole answer within 0.3 s"),
    ],
    ids=lambda value: value.partition(":")[0][:40] if isinstance(value, str) else "",
)
async def test_a_feed_that_fails_is_left_out_and_said(
    server: PriceServer, answer: Answer, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = feed(server, "good", coinbase("92,000.10")), feed(server, "bad", answer)
    source = BtcPrice([bad, good])
    (tick,) = await source.read(NOW)
    assert tick.value == 92_000.10
    states = {view.name: view for view in source.feeds(NOW)}
    assert states["good"].state == "used"
    assert (states["bad"].state, states["bad"].usd) == ("never seen", None)
    assert why in states["bad"].error
    assert messages(caplog) == [("feed_failed", "bad")]
    assert why in vars(caplog.records[0])["error"]
    await source.close()


async def test_a_feed_that_hangs_holds_no_other_up(
    server: PriceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btc, "READ_LIMIT_S", 0.2)
    source = BtcPrice([feed(server, "slow", hangs(), timeout_s=8.0), feed(server, "good", coinbase(92_000))])
    began = time.monotonic()
    assert (await source.read(NOW))[0].value == 92_000.0
    assert time.monotonic() - began < 2
    assert [view.error for view in source.feeds(NOW)] == ["no answer in time", ""]
    await source.close()


async def test_whoever_gives_up_waiting_loses_nothing_that_was_answered(server: PriceServer) -> None:
    source = BtcPrice([feed(server, "slow", hangs(), timeout_s=8.0), feed(server, "good", coinbase(92_000))])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await source.read(NOW)
    assert await prices(source, 1) == [92_000.0]


async def test_an_outlier_is_left_out_and_told_once(
    server: PriceServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wild = feed(server, "wild", coinbase(9_200), coinbase(9_200), coinbase(92_050))
    source = BtcPrice([feed(server, "a", coinbase(92_000)), wild, feed(server, "b", coinbase(92_100))])
    await source.read(NOW)
    assert [view.state for view in source.feeds(NOW)] == ["used", "left out", "used"]
    assert await prices(source, 0, 60, 120) == [92_050.0, 92_050.0, 92_050.0]
    assert messages(caplog) == [("btc_quote_left_out", "wild"), ("btc_quote_back", "wild")]
    assert vars(caplog.records[0])["usd"] == 9200.0
    assert vars(caplog.records[0])["believed_usd"] == 92050.0


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_one_of_three_does_the_price_stays_that_of_the_others(
    server: PriceServer, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    chance = random.Random(seed)
    whims = [
        coinbase(1),
        coinbase(0),
        coinbase("NaN"),
        coinbase(1e12),
        coinbase(80_000),
        says(None),
        says([]),
    ]
    whims += [
        down(500),
        html(),
        torn(),
        cut({"data": {"amount": "9"}}),
        truncated({"data": {"amount": "92000"}}),
    ]
    mad = feed(server, "mad", *(chance.choice(whims) for _ in range(100)))
    sane = [92_000 + 10 * step + chance.uniform(-300, 300) for step in range(100)]
    pair = [feed(server, name, *(coinbase(f"{usd:.2f}") for usd in sane)) for name in ("a", "b")]
    source = BtcPrice([pair[0], mad, pair[1]])
    for usd in sane[:60]:
        (tick,) = await source.read(NOW + 60 * sane.index(usd))
        assert tick.value == pytest.approx(usd, abs=0.01)
    await source.close()


async def test_a_jump_of_a_single_feed_waits_until_it_has_lasted(server: PriceServer) -> None:
    source = BtcPrice([feed(server, "a", coinbase(92_000), coinbase(40_000))])
    found = await prices(source, 0, 60, 120, 300, 360, 420)
    assert [price for price in found if isinstance(price, float)] == [92_000.0, 40_000.0, 40_000.0]
    assert found[1] == "a 40000.00 is a jump from 92000.00: believed if it lasts 300 s, so far 0"


async def test_two_feeds_that_see_the_same_jump_are_believed(server: PriceServer) -> None:
    pair = [feed(server, name, coinbase(92_000), coinbase(60_000)) for name in ("a", "b")]
    assert await prices(BtcPrice(pair), 0, 60) == [92_000.0, 60_000.0]


async def test_while_nothing_is_believed_no_feed_counts_as_used(server: PriceServer) -> None:
    source = BtcPrice([feed(server, "a", coinbase(92_000)), feed(server, "b", coinbase(50_000))])
    with pytest.raises(SourceError, match="two feeds differ"):
        await source.read(NOW)
    assert [view.state for view in source.feeds(NOW)] == ["not judged", "not judged"]
    assert [view.state for view in source.feeds(NOW + 900)] == ["too old", "too old"]
    await source.close()


async def test_the_time_of_the_price_never_runs_back(server: PriceServer) -> None:
    failing = [feed(server, name, coinbase(92_000), down(500)) for name in ("a", "b")]
    lone = feed(server, "c", coinbase(92_000), every_s=10.0)
    source = BtcPrice([*failing, lone], QuoteRules(max_age_s=100))
    seen = [(await source.read(NOW + at))[0].observed_at - NOW for at in range(0, 300, 10)]
    assert seen == sorted(seen)
    assert seen[-1] == 290
    await source.close()


async def test_a_price_in_euros_is_converted_by_the_rate_of_its_day(server: PriceServer) -> None:
    rate = FxFeedSpec(server.serve("/rate", frankfurter(1.15, "2026-11-20")), "rates.USD", "date")
    rates = Rates({"EUR": rate})
    source = BtcPrice([feed(server, "kraken", coinbase(80_000), currency="EUR")], rates=rates)
    assert await prices(source, 0) == [80_000 * 1.15]
    await rates.close()


async def test_a_price_without_a_rate_is_none(server: PriceServer) -> None:
    rates = Rates({"EUR": FxFeedSpec(server.serve("/rate", down(503)), "rates.USD")})
    source = BtcPrice([feed(server, "kraken", coinbase(80_000), currency="EUR")], rates=rates)
    (why,) = await prices(source, 0)
    assert "no fresh quote; kraken: no exchange rate of EUR was ever seen: " in str(why)
    await rates.close()


async def test_headers_are_sent_and_never_told(server: PriceServer) -> None:
    spec = feed(server, "a", down(401), headers={"Authorization": "Bearer t0ps3cret"})
    (why,) = await prices(BtcPrice([spec]), 0)
    assert server.asked[0].headers["Authorization"] == "Bearer t0ps3cret"
    assert "t0ps3cret" not in str(why)


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_feeds_need_names_of_their_own(names: list[str]) -> None:
    with pytest.raises(ValueError, match="feeds need names of their own"):
        BtcPrice([BtcFeedSpec(name, "http://h/", "p") for name in names])
