from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

from controller.book import TickBook
from controller.sources.base import Source, SourceError
from controller.sources.fx import STEP, FxFeedSpec, Rates, in_steps
from controller.ticks import Tick
from controller.validate import MAINNET_RULES
from tests.price_servers import PriceServer, coinbase_rates, down, er_api, frankfurter, hangs, says

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = 1_795_400_000.0  # 2026-11-23, a Monday
FRIDAY = 1_795_132_800.0  # 2026-11-20
DAY = 86_400.0


@pytest.fixture
async def server() -> AsyncIterator[PriceServer]:
    async with PriceServer() as running:
        yield running


def ecb(url: str, max_age_s: float = 7 * DAY) -> FxFeedSpec:
    return FxFeedSpec(url, "rates.USD", "date", max_age_s=max_age_s)


async def test_a_fixed_rate_is_seen_anew_on_every_read() -> None:
    rates = Rates({"EUR": 1.08})
    assert isinstance(rates, Source)
    await rates.read(NOW)
    assert await rates.read(NOW + 60) == [
        Tick("usd_per_eur", 1.08, "USD/EUR", NOW, math.inf, NOW + 60, "rates")
    ]
    assert await rates.rate("EUR", NOW) == 1.08


async def test_a_dollar_is_a_dollar() -> None:
    rates = Rates({})
    assert await rates.rate("USD", NOW) == 1.0
    assert await rates.read(NOW) == []


async def test_a_rate_is_read_with_the_day_it_is_of(server: PriceServer) -> None:
    rates = Rates({"EUR": ecb(server.serve("/v1/latest", frankfurter(1.1581, "2026-11-20")))})
    (tick,) = await rates.read(NOW)
    assert tick == Tick("usd_per_eur", 1.1581, "USD/EUR", FRIDAY, FRIDAY + 7 * DAY, NOW, "rates")
    assert TickBook(MAINNET_RULES).admit([tick], 0, NOW) == ([tick], [])
    await rates.close()


async def test_public_servers_are_read_as_they_answer(server: PriceServer) -> None:
    rates = Rates(
        {
            "EUR": FxFeedSpec(
                server.serve("/er", er_api(1.16, NOW - 60)), "rates.USD", "time_last_update_unix"
            ),
            "GBP": FxFeedSpec(server.serve("/cb", coinbase_rates(1.31, "GBP")), "data.rates.USD"),
            "JPY": FxFeedSpec(server.serve("/inverse", says({"USDJPY": 160.0})), "USDJPY", inverse=True),
        }
    )
    assert {tick.series: tick.value for tick in await rates.read(NOW)} == {
        "usd_per_eur": 1.16,
        "usd_per_gbp": 1.31,
        "usd_per_jpy": 1 / 160,
    }
    await rates.close()


async def test_a_rate_is_asked_for_once_an_hour_by_all_who_want_it(server: PriceServer) -> None:
    rates = Rates(
        {"EUR": ecb(server.serve("/", frankfurter(1.15, "2026-11-20"), frankfurter(1.16, "2026-11-23")))}
    )
    eur = rates.rate_of("EUR")
    assert await asyncio.gather(rates.read(NOW), eur(NOW), eur(NOW), rates.rate("EUR", NOW + 1800))
    assert server.times("/") == 1
    assert await eur(NOW + 3600) == 1.16
    await rates.close()


async def test_a_rate_outlives_its_server_until_it_is_too_old(server: PriceServer) -> None:
    url = server.serve("/", frankfurter(1.15, "2026-11-20"), down(500))
    rates = Rates({"EUR": ecb(url, max_age_s=5 * DAY)})
    await rates.read(NOW)
    (tick,) = await rates.read(FRIDAY + 5 * DAY - 1)
    assert (tick.value, tick.observed_at) == (1.15, NOW)
    with pytest.raises(SourceError, match=r"rate of EUR is 120 h old; since then: .* HTTP status 500"):
        await rates.rate("EUR", FRIDAY + 5 * DAY)
    with pytest.raises(SourceError, match="is 120 h old"):
        await rates.read(FRIDAY + 5 * DAY)
    await rates.close()


async def test_a_server_that_goes_on_about_an_old_day_is_not_believed(server: PriceServer) -> None:
    rates = Rates({"EUR": ecb(server.serve("/", frankfurter(1.15, "2026-11-20")))})
    with pytest.raises(SourceError, match=r"rate of EUR is 168 h old$"):
        await rates.rate("EUR", FRIDAY + 7 * DAY)
    await rates.close()


async def test_a_rate_of_tomorrow_counts_from_now(server: PriceServer) -> None:
    rates = Rates({"EUR": ecb(server.serve("/", frankfurter(1.15, "2026-11-30")))})
    (tick,) = await rates.read(NOW)
    assert tick.valid_from == NOW
    await rates.close()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"rates": {}, "date": "2026-11-20"}, r'\$\.rates has no "USD": it is empty'),
        ({"rates": {"USD": 0}, "date": "2026-11-20"}, r"0 USD/EUR is outside 1e-06 \.\. 100"),
        ({"rates": {"USD": None}, "date": "2026-11-20"}, '"rates.USD": null is no number'),
        ({"rates": {"USD": "1,08"}, "date": "2026-11-20"}, '"rates.USD": "1,08" is no number'),
        ({"rates": {"USD": 1.08}, "date": "today"}, '"date": "today" is no time'),
        ([], "an empty list"),
    ],
)
async def test_what_is_no_rate_is_refused_with_its_place(
    server: PriceServer, document: object, why: str
) -> None:
    rates = Rates({"EUR": ecb(server.serve("/", says(document)))})
    with pytest.raises(SourceError, match=f"no exchange rate of EUR was ever seen: 127.0.0.1:.*{why}"):
        await rates.rate("EUR", NOW)
    await rates.close()


async def test_one_currency_that_fails_takes_nothing_from_another(server: PriceServer) -> None:
    slow = FxFeedSpec(server.serve("/slow", hangs()), "rates.USD", timeout_s=0.1)
    rates = Rates({"EUR": ecb(server.serve("/", frankfurter(1.15, "2026-11-20"))), "GBP": slow, "CHF": 1.1})
    assert sorted(tick.series for tick in await rates.read(NOW)) == ["usd_per_chf", "usd_per_eur"]
    with pytest.raises(SourceError, match=r"no whole answer within 0\.1 s"):
        await rates.rate("GBP", NOW)
    await rates.close()


async def test_a_steady_rate_moves_in_steps_unless_it_is_written_down(server: PriceServer) -> None:
    answers = [er_api(rate, NOW) for rate in (1.16, 1.1601, 1.1607)]
    rates = Rates({"EUR": FxFeedSpec(server.serve("/er", *answers), "rates.USD"), "CHF": 1.0807})
    found = [await rates.steady("EUR", NOW + n * 3600) for n in range(3)]
    assert found[0] == found[1] != found[2]
    assert found == pytest.approx([1.16, 1.16, 1.1607], rel=STEP)
    assert await rates.steady("CHF", NOW) == 1.0807
    assert await rates.steady("USD", NOW) == 1.0
    await rates.close()


@hypothesis.given(st.floats(1e-6, 100.0), st.floats(1.0, 1.01))
def test_steps_are_even_and_depend_on_the_rate_alone(rate: float, times: float) -> None:
    step = in_steps(rate)
    assert abs(step / rate - 1) <= STEP / 2 + 1e-6
    assert in_steps(step) == step
    assert in_steps(rate * times) >= step


async def test_a_currency_nobody_configured_is_said() -> None:
    with pytest.raises(SourceError, match="no exchange rate of PLN is configured"):
        await Rates({"EUR": 1.1}).rate("PLN", NOW)


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        ({"euro": 1.08}, "is no currency"),
        ({"EUR": 0.0}, "0 USD/EUR is outside"),
        ({"EUR": math.nan}, "nan USD/EUR is outside"),
        ({"EUR": FxFeedSpec("ftp://x/", "a")}, "must start with http"),
    ],
)
def test_what_cannot_be_a_rate_is_refused(rates: dict[str, float | FxFeedSpec], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Rates(rates)
