from __future__ import annotations

import pytest
from yarl import URL

from controller.sources.btc import BtcFeedSpec, BtcPrice
from controller.sources.fx import FxFeedSpec, Rates
from controller.sources.jsonpath import parse
from controller.sources.presets import BTC_PRESETS, FX_PRESETS, Preset
from controller.ticks import fx_series
from tests.price_servers import BTC_SERVERS, FX_SERVERS, PriceServer

NOW = 1_795_400_000.0
ALL = [*BTC_PRESETS.items(), *FX_PRESETS.items()]


def here(server: PriceServer, url: str) -> str:
    """The same question to a server of ours."""
    return server.url + URL(url).raw_path_qs


@pytest.mark.parametrize("name", BTC_PRESETS)
async def test_every_preset_reads_the_price_from_its_servers_answer(name: str) -> None:
    preset, (path, answer) = BTC_PRESETS[name], BTC_SERVERS[name]
    async with PriceServer() as server:
        server.serve(path, answer(92_000.5, NOW - 10))
        spec = BtcFeedSpec(
            name, here(server, preset.url_of("USD")), preset.path_of("USD"), time_path=preset.time_path
        )
        source = BtcPrice([spec])
        (tick,) = await source.read(NOW)
        await source.close()
    assert tick.value == 92_000.5
    assert tick.observed_at == (NOW - 10 if preset.time_path else NOW)


@pytest.mark.parametrize("name", FX_PRESETS)
async def test_every_preset_reads_the_rate_from_its_servers_answer(name: str) -> None:
    preset, (path, answer) = FX_PRESETS[name], FX_SERVERS[name]
    async with PriceServer() as server:
        server.serve(path, answer(1.1581, NOW - 10))
        rates = Rates(
            {"EUR": FxFeedSpec(here(server, preset.url_of("EUR")), preset.path_of("EUR"), preset.time_path)}
        )
        assert await rates.rate("EUR", NOW) == 1.1581
        await rates.close()


def test_every_preset_has_a_server_in_the_tests() -> None:
    assert set(BTC_PRESETS) == set(BTC_SERVERS)
    assert set(FX_PRESETS) == set(FX_SERVERS)


@pytest.mark.parametrize(("name", "preset"), ALL)
def test_every_preset_asks_over_tls_for_every_currency_it_has(name: str, preset: Preset) -> None:
    assert name
    for currency in preset.codes:
        fx_series(currency)
        url = URL(preset.url_of(currency))
        assert url.scheme == "https"
        assert url.host
        assert parse(preset.path_of(currency))
        assert "{" not in preset.url_of(currency) + preset.path_of(currency)
    if preset.time_path:
        parse(preset.time_path)


def test_every_btc_preset_has_dollars() -> None:
    assert all("USD" in preset.codes for preset in BTC_PRESETS.values())
    assert all("EUR" in preset.codes and "USD" not in preset.codes for preset in FX_PRESETS.values())
