from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from controller.book import TickBook
from controller.signals import Action, SignalRule, active
from controller.sources.base import Source
from controller.sources.power_tariff import Hours, Tariff, TariffRule
from controller.sources.signal_schedule import SignalSchedule
from controller.sources.signal_windows import Restorable, Window
from controller.validate import MAINNET_RULES

BERLIN = ZoneInfo("Europe/Berlin")
PEAK = Tariff(BERLIN, [TariffRule(250.0, frozenset(range(5)), (Hours(17 * 60, 20 * 60),))])
RULE = SignalRule("peak", Action.CAP)


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def local(at: float) -> str:
    return f"{datetime.fromtimestamp(at, BERLIN):%a %H:%M}"


async def test_hours_of_the_week_are_windows_with_their_limit_known_ahead() -> None:
    source = SignalSchedule("peak", hours=PEAK, limits=True)
    assert isinstance(source, Source)
    assert isinstance(source, Restorable)
    ticks = await source.read(utc("2026-11-19T12:00"))  # a Thursday
    assert [(local(tick.valid_from), local(tick.valid_to)) for tick in ticks] == [
        ("Wed 17:00", "Wed 20:00"),
        ("Thu 17:00", "Thu 20:00"),
        ("Fri 17:00", "Fri 20:00"),
    ]
    assert {(tick.series, tick.value, tick.unit) for tick in ticks} == {("signal:peak", 250.0, "kW")}


async def test_a_signal_without_a_limit_only_says_when() -> None:
    ticks = await SignalSchedule("peak", hours=PEAK).read(utc("2026-11-19T12:00"))
    assert {(tick.value, tick.unit) for tick in ticks} == {(1.0, "1")}


async def test_given_times_stand_beside_the_hours() -> None:
    day = utc("2026-11-22T10:00")
    source = SignalSchedule("peak", fixed=[Window(day, day + 60, 5.0)], limits=True)
    assert [tick.valid_from for tick in await source.read(day - 90 * 86_400)] == [day]


@pytest.mark.parametrize("begin", ["2026-03-27T00:00", "2026-10-23T00:00", "2026-12-30T00:00"])
async def test_looked_at_every_quarter_it_holds_by_the_clock_on_the_wall_and_says_each_window_once(
    begin: str,
) -> None:
    night = Tariff(BERLIN, [TariffRule(1.0, hours=(Hours(22 * 60, 3 * 60),))])
    source, book = SignalSchedule("peak", hours=night), TickBook(MAINNET_RULES)
    rule = SignalRule("peak", Action.PAUSE)
    news = []
    at = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    for _ in range(4 * 96):
        now = at.timestamp()
        news += book.admit(await source.read(now), 0, now)[0]
        hour = at.astimezone(BERLIN).hour
        assert bool(active(book.ticks(), [rule], now)) == (hour >= 22 or hour < 3)
        at += timedelta(minutes=15)
    starts = {tick.valid_from for tick in news}
    # A window that reached over the end of what was told is told again, once, when its own end is known.
    assert len(news) <= len(starts) + 4
    assert len(starts) <= 9
