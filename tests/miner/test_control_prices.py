from pathlib import Path
from typing import Any

import pytest

from controller.sources.presets import BTC_PRESETS, FX_PRESETS
from miner.config_market import MarketConfig
from miner.control_prices import btc_price, market_rates, request_headers
from tests.price_servers import PriceServer, bitstamp, coinbase, frankfurter, kraken, says

NOW = 1_795_400_000.0


def market(**values: Any) -> MarketConfig:
    return MarketConfig.model_validate(values)


async def test_presets_pointed_at_a_server_of_ours_give_the_price_and_the_rate() -> None:
    async with PriceServer() as server:
        section = market(
            btc_source=[
                {"preset": "coinbase", "url": server.serve("/cb", coinbase(92_000))},
                {"preset": "kraken", "currency": "EUR", "url": server.serve("/k", kraken(80_000, "EUR"))},
                {"preset": "bitstamp", "url": server.serve("/b", bitstamp(92_100, NOW - 5))},
                {"url": server.serve("/own", says([{"p": "92,200.50"}])), "path": "[0].p", "name": "own"},
            ],
            currency={
                "EUR": {"preset": "frankfurter", "url": server.serve("/fx", frankfurter(1.15, "2026-11-20"))}
            },
        )
        rates = market_rates(section)
        price = btc_price(section, rates)
        assert price is not None
        (tick,) = await price.read(NOW)
        assert tick.value == (92_000 + 92_100) / 2
        quotes = {view.name: view.usd for view in price.feeds(NOW)}
        assert quotes == {
            "coinbase": 92_000.0,
            "kraken EUR": pytest.approx(92_000),
            "bitstamp": 92_100.0,
            "own": 92_200.5,
        }
        assert [rate.series for rate in await rates.read(NOW)] == ["usd_per_eur"]
        await price.close()
        await rates.close()


async def test_fixed_rates_need_nobody_to_ask() -> None:
    rates = market_rates(market(currency={"EUR": 1.08}))
    assert await rates.rate("EUR", NOW) == 1.08


def test_without_sources_there_is_no_price_to_ask_for() -> None:
    section = market(btc_usd=90_000.0)
    assert btc_price(section, market_rates(section)) is None


def test_every_preset_can_be_configured_alone() -> None:
    section = market(
        btc_source=[{"preset": name} for name in BTC_PRESETS],
        currency={
            code: {"preset": name} for name, code in zip(FX_PRESETS, ("EUR", "GBP", "CHF"), strict=True)
        },
    )
    price = btc_price(section, market_rates(section))
    assert price is not None
    assert [view.name for view in price.feeds(NOW)] == list(BTC_PRESETS)


async def test_what_is_configured_of_a_feed_is_what_is_asked() -> None:
    async with PriceServer() as server:
        section = market(
            quote_max_age_s=100.0,
            btc_source=[{"url": server.serve("/", coinbase(92_000)), "path": "data.amount", "every_s": 10.0}],
        )
        price = btc_price(section, market_rates(section))
        assert price is not None
        for at in (0, 5, 10, 20):
            await price.read(NOW + at)
        assert server.times("/") == 3
        (view,) = price.feeds(NOW + 90)
        assert (view.state, view.age_s) == ("used", 70)
        (view,) = price.feeds(NOW + 120)
        assert (view.state, view.age_s) == ("too old", 100)
        await price.close()


def test_a_key_is_sent_as_a_bearers_or_in_a_header_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\nsecond line\n")
    section = market(
        btc_source=[
            {"preset": "coingecko", "token_file": file, "headers": {"Accept": "application/json"}},
            {"preset": "coinbase", "token_file": file, "token_header": "x-cg-demo-api-key"},
        ]
    )
    bearer, own = section.btc_source
    assert request_headers(bearer) == {"Accept": "application/json", "Authorization": "Bearer s3cret"}
    assert request_headers(own) == {"x-cg-demo-api-key": "s3cret"}
    file.unlink()
    with pytest.raises(FileNotFoundError):
        btc_price(section, market_rates(section))
