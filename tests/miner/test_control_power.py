"""From [power] to the prices the controller decides on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controller.sources.base import SourceError
from controller.ticks import POWER, POWER_DAY_AHEAD
from miner.config_power import PowerConfig
from miner.config_toml import parse
from miner.control_power import day_ahead_source, power_bounds, power_source
from tests import power_servers as feeds
from tests.price_servers import PriceServer, down, says, text

if TYPE_CHECKING:
    from controller.sources.power import PowerSource
    from controller.ticks import Tick

HOUR = 3600.0
NOW = datetime.fromisoformat("2026-06-01T12:00+02:00").timestamp()  # a Monday
MIDNIGHT = NOW - 12 * HOUR


async def rate(currency: str, _now: float) -> float:
    if currency != "EUR":
        raise SourceError(f"no exchange rate of {currency} is configured")
    return 1.1


def config(toml: str, folder: Path = Path("/nowhere")) -> PowerConfig:
    return PowerConfig.model_validate(parse(toml).value, context={"folder": folder})


def source(toml: str, folder: Path = Path("/nowhere")) -> PowerSource:
    made = power_source(config(toml, folder), rate, max_age_s=1800, horizon_hours=36)
    assert made is not None
    return made


def price(ticks: list[Tick], at: float) -> float | None:
    return next((round(tick.value, 9) for tick in ticks if tick.holds_at(at)), None)


async def test_nothing_configured_is_no_source() -> None:
    assert power_source(config(""), rate, max_age_s=1800, horizon_hours=36) is None


async def test_a_fixed_price_is_as_written() -> None:
    (tick,) = await source("usd_per_kwh = 0.0612345").read(NOW)
    assert (tick.value, tick.source) == (0.0612345, "configuration")


async def test_a_tariff_goes_by_the_clock_of_its_zone_with_holidays_and_everything_on_top(
    tmp_path: Path,
) -> None:
    (tmp_path / "days").write_text("2026-06-03\n")
    made = source(
        """
zone = "Europe/Berlin"
currency = "EUR"
adder_per_kwh = 0.1
tax_ratio = 0.5
overhead_ratio = 0.1
holidays = [2026-06-02]
holidays_file = "days"
[[schedule]]
price_per_kwh = 0.3
weekdays = ["mon-fri"]
hours = ["07:00-22:00"]
[[schedule]]
price_per_kwh = 0.2
seasons = ["12-01..02-28"]
[[schedule]]
price_per_kwh = 0.1
[[adder]]
price_per_kwh = 0.02
hours = ["12:00-13:00"]
""",
        tmp_path,
    )
    ticks = await made.read(NOW)
    top = 1.1 * 1.5 * 1.1
    hours = {0: 0.42, 1: 0.4, 10: 0.2, 24: 0.22, 48: 0.22}
    assert {at: price(ticks, NOW + at * HOUR) for at in hours} == {
        at: pytest.approx(value * top) for at, value in hours.items()
    }


async def test_the_web_comes_first_then_the_file_then_the_schedule_then_the_fallback(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(
        "start_utc,usd_per_kwh\n2026-06-01T11:00Z,0.2\n2026-06-01T12:00Z,0.2\n2026-06-01T13:00Z,0.2\n"
    )
    async with PriceServer() as server:
        server.serve("/v1/marketdata", feeds.awattar(MIDNIGHT, [100.0] * 14))
        made = source(
            f"""
zone = "Europe/Berlin"
fallback_usd_per_kwh = 0.9
tax_ratio = 0.5
[[http]]
preset = "awattar-de"
url = "{server.url}"
[file]
path = "prices.csv"
complete = true
[[schedule]]
price_per_kwh = 0.4
hours = ["16:00-18:00"]
""",
            tmp_path,
        )
        ticks = await made.read(NOW)
        await made.close()
    found = [(price(ticks, NOW + at * HOUR)) for at in (0, 1, 2, 3, 4, 5, 6)]
    assert found == [0.165, 0.165, 0.2, 0.2, 0.6, 0.6, 0.9]
    assert [tick.source for tick in ticks][:2] == ["awattar-de", "file"]


async def test_the_order_can_be_another_one() -> None:
    async with PriceServer() as server:
        server.serve("/v1/marketdata", feeds.awattar(MIDNIGHT, [100.0] * 24))
        made = source(f"""
order = ["schedule", "http"]
[[schedule]]
price_per_kwh = 0.4
[[http]]
preset = "awattar-de"
url = "{server.url}"
""")
        ticks = await made.read(NOW)
        await made.close()
    assert price(ticks, NOW) == 0.4


async def test_while_the_day_ahead_server_is_down_the_fallback_holds_and_later_the_prices() -> None:
    async with PriceServer() as server:
        server.serve("/v1/marketdata", down(), feeds.awattar(MIDNIGHT, [100.0] * 24))
        made = source(f"""
fallback_usd_per_kwh = 0.9
[[http]]
preset = "awattar-de"
url = "{server.url}"
""")
        assert price(await made.read(NOW), NOW) == 0.9
        assert list(made.problems) == ["awattar-de"]
        assert price(await made.read(NOW + 120), NOW + 120) == 0.11
        assert made.problems == {}
        await made.close()


async def test_without_a_fallback_nothing_is_made_up() -> None:
    async with PriceServer() as server:
        server.serve("/v1/marketdata", down())
        made = source(f'[[http]]\npreset = "awattar-de"\nurl = "{server.url}"\n')
        with pytest.raises(SourceError, match="503"):
            await made.read(NOW)
        await made.close()


async def test_a_key_is_read_from_its_file_and_sent_as_the_preset_sends_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    async with PriceServer() as server:
        server.serve("/v1-beta/gql", feeds.tibber(MIDNIGHT, [0.2] * 24, currency="EUR"))
        toml = f'tax_ratio = 0.5\n[[http]]\npreset = "tibber"\ntoken_file = "token"\nurl = "{server.url}"\n'
        made = source(toml, tmp_path)
        ticks = await made.read(NOW)
        await made.close()
        assert server.asked[0].headers["Authorization"] == "Bearer s3cret"
    assert price(ticks, NOW) == 0.22  # taxes are in it
    with pytest.raises(OSError, match="token"):
        source(toml)


async def test_any_other_server_by_its_paths() -> None:
    async with PriceServer() as server:
        rows = [{"t": f"2026-06-01T{hour}:00:00", "p": hour} for hour in (11, 12, 13)]
        server.serve("/2026-06-01", says({"rows": rows}))
        made = source(f"""
zone = "Europe/Berlin"
[[http]]
name = "mine"
url = "{server.url}/{{today}}"
headers = {{ X-Key = "k" }}
price = "rows[*].p"
start = "rows[*].t"
unit = "usd_cents_per_kwh"
""")
        ticks = await made.read(NOW)
        await made.close()
        assert server.asked[0].headers["X-Key"] == "k"
    assert [(price(ticks, NOW), price(ticks, NOW + HOUR)), ticks[0].source] == [(0.12, 0.13), "mine"]


async def test_a_table_from_the_web_and_a_price_of_the_moment() -> None:
    async with PriceServer() as server:
        server.serve("/t", text("start,end,price\n2026-06-01T14:00+02:00,2026-06-01T15:00+02:00,80\n"))
        server.serve("/now", says({"now": {"price": 0.05}}))
        made = source(f"""
[[http]]
url = "{server.url}/t"
format = "csv"
unit = "usd_per_mwh"
name = "table"
[[http]]
url = "{server.url}/now"
price = "now.price"
unit = "usd_per_kwh"
name = "now"
""")
        ticks = await made.read(NOW)
        await made.close()
    assert [price(ticks, NOW + at * HOUR) for at in (0, 2)] == [0.05, 0.08]


def test_bounds_are_those_of_the_market_or_of_all_presets() -> None:
    assert power_bounds(config("market = 'ercot'")) == {POWER: (-0.3, 9.5), POWER_DAY_AHEAD: (-0.3, 9.5)}
    assert power_bounds(config("")) == {}
    both = "[[http]]\npreset = 'awattar-de'\n[[http]]\npreset = 'aemo'\narea = 'NSW1'\n"
    assert power_bounds(config(both)) == {POWER: (-1.0, 20.0)}
    other = "[[http]]\nurl = 'https://x.example/'\nprice = 'p'\nunit = 'usd_per_kwh'\n"
    assert power_bounds(config(both + other)) == {}
    assert power_bounds(config("usd_per_kwh = 0.1")) == {}
    ahead = "[[day_ahead.http]]\npreset = 'ercot-day-ahead'\narea = 'HB_NORTH'\n"
    assert power_bounds(config(other + ahead)) == {POWER_DAY_AHEAD: (-0.3, 9.5)}


def day_ahead(toml: str, folder: Path = Path("/nowhere")) -> PowerSource | None:
    return day_ahead_source(config(toml, folder), rate, max_age_s=7200, horizon_hours=36)


def test_without_its_table_there_is_no_day_ahead_source() -> None:
    assert day_ahead("usd_per_kwh = 0.1") is None


async def test_day_ahead_prices_come_with_the_adders_taxes_and_currency_of_what_is_paid(
    tmp_path: Path,
) -> None:
    (tmp_path / "ahead.csv").write_text(
        "start_utc,end_utc,eur_per_mwh\n2026-06-01T10:00Z,2026-06-01T11:00Z,40\n2026-06-01T11:00Z,2026-06-01T12:00Z,-10\n"
    )
    made = day_ahead(
        """
zone = "Europe/Berlin"
currency = "EUR"
adder_per_kwh = 0.1
tax_ratio = 0.5
[[adder]]
price_per_kwh = 0.02
hours = ["13:00-14:00"]
[day_ahead.file]
path = "ahead.csv"
""",
        tmp_path,
    )
    assert made is not None
    ticks = await made.read(NOW)
    assert {tick.series for tick in ticks} == {POWER_DAY_AHEAD}
    assert [price(ticks, NOW + at * HOUR) for at in (0, 1, 2)] == [
        round(0.14 * 1.1 * 1.5, 9),
        round(0.11 * 1.1 * 1.5, 9),
        None,
    ]


async def test_a_day_ahead_feed_over_http_comes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "ahead.csv").write_text(
        "start_utc,end_utc,usd_per_mwh\n2026-06-01T10:00Z,2026-06-01T11:00Z,70\n2026-06-01T11:00Z,2026-06-01T12:00Z,80\n"
    )
    hour = {"price": 0.05, "from": "2026-06-01T10:00:00Z", "to": "2026-06-01T11:00:00Z"}
    async with PriceServer() as server:
        server.serve("/ahead", says([hour]))
        made = day_ahead(
            f"""
[day_ahead.file]
path = "ahead.csv"
[[day_ahead.http]]
url = "{server.url}/ahead"
price = "[*].price"
start = "[*].from"
end = "[*].to"
unit = "usd_per_kwh"
""",
            tmp_path,
        )
        assert made is not None
        ticks = await made.read(NOW)
        await made.close()
    assert [price(ticks, NOW + at * HOUR) for at in (0, 1)] == [0.05, 0.08]
