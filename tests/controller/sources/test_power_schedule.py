"""Prices that the operator wrote down."""

import math
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from controller.sources.power_intervals import Interval
from controller.sources.power_schedule import NO_PRICE, FixedFeed, ScheduleFeed
from controller.sources.power_tariff import HOLIDAY, Hours, Tariff, TariffRule

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime.fromisoformat("2026-06-01T12:00+02:00").timestamp()


async def test_a_fixed_price_holds_from_the_first_look_on() -> None:
    feed = FixedFeed(-0.01, currency="EUR", complete=True)
    await feed.quotes(NOW)
    said = await feed.quotes(NOW + 60)
    assert said.settled == (Interval(NOW, math.inf, -0.01),)
    assert (said.currency, said.complete, said.problem) == ("EUR", True, "")


@pytest.mark.parametrize("price", [math.nan, math.inf])
def test_a_fixed_price_is_a_number(price: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        FixedFeed(price)


async def test_a_schedule_is_worked_out_once_a_day() -> None:
    feed = ScheduleFeed(Tariff(BERLIN, [TariffRule(0.3, hours=(Hours(420, 1320),)), TariffRule(0.1)]))
    said = await feed.quotes(NOW)
    assert await feed.quotes(NOW + 3600) is said
    assert await feed.quotes(NOW + 86_400) is not said


async def test_times_without_a_price_are_told() -> None:
    said = await ScheduleFeed(Tariff(BERLIN, [TariffRule(0.3, hours=(Hours(420, 1320),))])).quotes(NOW)
    assert said.problem.startswith("no price is known from ")
    assert (await ScheduleFeed(Tariff(BERLIN, [])).quotes(NOW)).problem == NO_PRICE


async def test_a_year_without_any_holiday_is_told() -> None:
    rules = [TariffRule(0.2, weekdays=frozenset({HOLIDAY})), TariffRule(0.1)]
    feed = ScheduleFeed(Tariff(BERLIN, rules, frozenset({date(2026, 12, 25)})))
    assert not (await feed.quotes(NOW)).problem
    new_year = datetime.fromisoformat("2026-12-31T12:00+01:00").timestamp()
    assert "no holidays are known for 2027" in (await feed.quotes(new_year)).problem
