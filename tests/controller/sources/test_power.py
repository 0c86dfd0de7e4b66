"""The power price of all feeds together: ranks, currencies, adders, taxes, failures."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from controller.book import TickBook, current
from controller.deciding import Sees, seen_ticks
from controller.sources import power as module
from controller.sources.base import Closing, Source, SourceError
from controller.sources.power import Adder, PowerSource, known_until
from controller.sources.power_intervals import Interval
from controller.sources.power_schedule import FixedFeed, ScheduleFeed
from controller.sources.power_tariff import Hours, Tariff, TariffRule
from controller.sources.power_terms import Terms
from controller.sources.power_timeline import Present, Quotes
from controller.ticks import POWER, POWER_DAY_AHEAD, UNITS, Tick
from controller.validate import MAINNET_RULES

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime.fromisoformat("2026-06-01T12:00+02:00").timestamp()
HOUR = 3600.0


@dataclass
class Feed:
    """A feed that says what the test wants."""

    said: Quotes | Exception = field(default_factory=lambda: Quotes("USD"))
    name: str = "feed"
    hangs: bool = False
    closed: bool = False

    async def quotes(self, _now: float) -> Quotes:
        if self.hangs:
            await asyncio.sleep(60)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    async def close(self) -> None:
        self.closed = True


@dataclass
class Bank:
    """Exchange rates."""

    rates: dict[str, float] = field(default_factory=dict)

    async def __call__(self, currency: str, _now: float) -> float:
        if currency not in self.rates:
            raise SourceError(f"no exchange rate of {currency} is configured")
        return self.rates[currency]


def hours(*prices: float, start: float = NOW) -> tuple[Interval, ...]:
    return tuple(Interval(start + n * HOUR, start + (n + 1) * HOUR, price) for n, price in enumerate(prices))


def power(*feeds: object, bank: Bank | None = None, **more: object) -> PowerSource:
    return PowerSource(feeds, rate=bank or Bank(), **more)  # type: ignore[arg-type]


def price_at(ticks: list[Tick], at: float) -> float | None:
    return next((tick.value for tick in ticks if tick.holds_at(at)), None)


async def test_it_is_a_source_of_ticks_of_the_power_price() -> None:
    feed = Feed(Quotes("USD", hours(0.1, -0.2)))
    source = power(feed)
    ticks = await source.read(NOW)
    assert isinstance(source, Source)
    assert [(tick.series, tick.unit, tick.source) for tick in ticks] == [(POWER, UNITS[POWER], "feed")] * 2
    assert [(tick.value, tick.valid_from, tick.valid_to) for tick in ticks] == [
        (0.1, NOW, NOW + HOUR),
        (-0.2, NOW + HOUR, NOW + 2 * HOUR),
    ]
    await source.close()
    assert isinstance(source, Closing)
    assert feed.closed


async def test_a_fixed_price_without_terms_is_what_the_operator_wrote_to_the_last_bit() -> None:
    (tick,) = await power(FixedFeed(0.0612345, name="configuration")).read(NOW)
    assert (tick.value, tick.valid_to, tick.observed_at) == (0.0612345, math.inf, NOW)
    assert tick.source == "configuration"


class TestRanks:
    """Day ahead first, the last resort last."""

    async def test_the_next_feed_holds_where_the_better_one_does_not_know(self) -> None:
        source = power(Feed(Quotes("USD", hours(0.1, 0.2)), "da"), FixedFeed(0.5))
        ticks = await source.read(NOW)
        assert [price_at(ticks, NOW + at * HOUR) for at in (0, 1, 2, 40)] == [0.1, 0.2, 0.5, 0.5]

    async def test_a_feed_that_fails_takes_nothing_from_the_others(self) -> None:
        source = power(Feed(SourceError("broken"), "da"), FixedFeed(0.5))
        (tick,) = await source.read(NOW)
        assert tick.value == 0.5
        assert source.problems == {"da": "broken"}

    async def test_when_it_is_well_again_its_prices_hold_at_once(self) -> None:
        feed = Feed(SourceError("broken"), "da")
        source, book = power(feed, FixedFeed(0.5)), TickBook(MAINNET_RULES)
        book.admit(await source.read(NOW), 0, NOW)
        feed.said = Quotes("USD", hours(0.1, 0.2, start=NOW - HOUR / 2))
        book.admit(await source.read(NOW + 60), 0, NOW + 60)
        tick = current(book.ticks()[POWER], NOW + 60)
        assert tick is not None
        assert tick.value == 0.1
        assert source.problems == {}

    async def test_a_bug_in_a_feed_is_that_feeds_trouble_only(self) -> None:
        source = power(Feed(KeyError("oops"), "da"), FixedFeed(0.5))
        assert len(await source.read(NOW)) == 1
        assert "oops" in source.problems["da"]

    async def test_a_feed_that_hangs_is_not_waited_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "FEED_LIMIT_S", 0.05)
        source = power(Feed(hangs=True, name="slow"), FixedFeed(0.5))
        assert len(await source.read(NOW)) == 1
        assert "no answer within" in source.problems["slow"]

    async def test_only_when_nothing_is_known_the_source_fails_and_says_why(self) -> None:
        source = power(Feed(SourceError("down"), "a"), Feed(SourceError("no key"), "b"))
        with pytest.raises(SourceError, match=r"a: down; b: no key"):
            await source.read(NOW)

    async def test_nothing_known_and_nothing_wrong_is_an_empty_list(self) -> None:
        assert await power(Feed()).read(NOW) == []

    async def test_a_failure_is_logged_once_and_its_end_too(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        feed = Feed(SourceError("broken"), "da")
        source = power(feed, FixedFeed(0.5))
        for _ in range(3):
            await source.read(NOW)
        feed.said = Quotes("USD", hours(0.1))
        await source.read(NOW)
        await source.read(NOW)
        assert [record.getMessage() for record in caplog.records] == ["power_feed_failed", "power_feed_well"]

    async def test_what_a_feed_complains_of_while_it_works_is_told(self) -> None:
        source = power(Feed(Quotes("USD", hours(0.1), problem="a hole"), "da"))
        await source.read(NOW)
        assert source.problems == {"da": "a hole"}


class TestWhatComesOnTop:
    """Adders, tax, overhead."""

    async def test_everything_is_in_the_price(self) -> None:
        source = power(
            Feed(Quotes("EUR", hours(0.08))),
            bank=Bank({"EUR": 1.1}),
            terms=Terms(tax_ratio=0.19, overhead_ratio=0.05),
            adder=Adder("EUR", 0.11),
        )
        (tick,) = await source.read(NOW)
        assert tick.value == pytest.approx((0.08 + 0.11) * 1.1 * 1.19 * 1.05)

    async def test_adders_by_the_hour_cut_the_prices_where_they_change(self) -> None:
        network = Tariff(BERLIN, [TariffRule(0.05, hours=(Hours(17 * 60 + 30, 19 * 60),))], default=0.0)
        source = power(Feed(Quotes("USD", hours(*[0.1] * 10))), adder=Adder(base=0.01, tariff=network))
        ticks = await source.read(NOW)
        assert [price_at(ticks, NOW + at * HOUR) for at in (5, 5.49, 5.5, 6.99, 7)] == pytest.approx(
            [0.11, 0.11, 0.16, 0.16, 0.11]
        )

    async def test_a_price_of_the_moment_is_planned_with_the_adders_of_later(self) -> None:
        network = Tariff(BERLIN, [TariffRule(0.05, hours=(Hours(17 * 60, 19 * 60),))], default=0.0)
        source = power(Feed(Quotes("USD", present=Present(0.1, NOW, NOW))), adder=Adder(tariff=network))
        ticks = await source.read(NOW)
        prices = [price_at(ticks, NOW + at * HOUR) for at in (0, 5, 7, 24, 29)]
        assert prices == pytest.approx([0.1, 0.15, 0.1, 0.1, 0.15])

    async def test_a_fixed_price_that_holds_for_weeks_meets_todays_adders(self) -> None:
        network = Tariff(BERLIN, [TariffRule(0.05, hours=(Hours(12 * 60, 13 * 60),))], default=0.0)
        source = power(FixedFeed(0.1), adder=Adder(tariff=network))
        await source.read(NOW - 30 * 86_400)
        assert price_at(await source.read(NOW), NOW) == pytest.approx(0.15)
        assert price_at(await source.read(NOW + HOUR), NOW + HOUR) == pytest.approx(0.1)

    async def test_complete_prices_have_only_the_overhead_on_top(self) -> None:
        said = Quotes("USD", hours(0.2), complete=True)
        source = power(Feed(said), terms=Terms(0.19, 0.1), adder=Adder(base=0.5))
        (tick,) = await source.read(NOW)
        assert tick.value == pytest.approx(0.22)


class TestCurrencies:
    """Other money than dollars."""

    async def test_without_a_rate_prices_in_that_currency_are_not_known(self) -> None:
        with pytest.raises(SourceError, match="no exchange rate of EUR"):
            await power(Feed(Quotes("EUR", hours(0.1)))).read(NOW)

    async def test_a_rate_that_fails_later_withdraws_nothing_and_lets_the_last_resort_hold(self) -> None:
        bank = Bank({"EUR": 1.1})
        source = power(Feed(Quotes("EUR", hours(0.1, 0.1))), FixedFeed(0.5), bank=bank)
        assert price_at(await source.read(NOW), NOW) == pytest.approx(0.11)
        bank.rates.clear()
        assert price_at(await source.read(NOW + 60), NOW + 60) == 0.5

    async def test_prices_follow_the_rate_and_nothing_else(self) -> None:
        bank = Bank({"EUR": 1.1})
        source = power(Feed(Quotes("EUR", hours(0.1, 0.2))), bank=bank)
        for rate in (1.1, 1.1001, 1.12, 1.1):
            bank.rates["EUR"] = rate
            assert [tick.value for tick in await source.read(NOW)] == [0.1 * rate, 0.2 * rate]

    async def test_only_rates_that_are_needed_must_be_known(self) -> None:
        plain = power(Feed(Quotes("USD", hours(0.1))), adder=Adder("EUR"))
        assert len(await plain.read(NOW)) == 1
        complete = power(Feed(Quotes("USD", hours(0.1), complete=True)), adder=Adder("EUR", 0.1))
        assert len(await complete.read(NOW)) == 1
        with pytest.raises(SourceError, match="EUR"):
            await power(Feed(Quotes("USD", hours(0.1))), adder=Adder("EUR", 0.1)).read(NOW)

    async def test_an_adder_may_be_in_another_currency_than_the_energy(self) -> None:
        bank = Bank({"EUR": 1.1, "SEK": 0.1})
        source = power(Feed(Quotes("SEK", hours(1.0))), bank=bank, adder=Adder("EUR", 0.1))
        assert (await source.read(NOW))[0].value == pytest.approx(0.21)


async def test_the_plan_sees_the_whole_horizon_of_a_schedule() -> None:
    tariff = Tariff(BERLIN, [TariffRule(0.3, hours=(Hours(420, 1320),)), TariffRule(0.1)])
    source = power(ScheduleFeed(tariff, horizon_s=36 * HOUR), horizon_s=36 * HOUR)
    ticks = await source.read(NOW)
    assert ticks[-1].valid_to == known_until(NOW, 36 * HOUR) >= NOW + 36 * HOUR
    for quarter in range(144):
        assert price_at(ticks, NOW + quarter * 900) == tariff.price_at(NOW + quarter * 900)


async def test_a_schedule_over_the_day_clocks_change_stays_right_look_by_look() -> None:
    tariff = Tariff(BERLIN, [TariffRule(0.3, hours=(Hours(150, 720),)), TariffRule(0.1)])
    source, book = power(ScheduleFeed(tariff)), TickBook(MAINNET_RULES)
    start = datetime.fromisoformat("2026-10-25T00:00+02:00").timestamp()
    for minute in range(0, 26 * 60, 7):
        now = start + minute * 60.0
        _, refused = book.admit(await source.read(now), 0, now)
        tick = current(book.ticks()[POWER], now)
        assert refused == []
        assert tick is not None
        assert tick.holds_at(now)
        assert tick.value == tariff.price_at(now)


async def test_a_source_of_another_series_tells_that_and_remembers_only_its_own() -> None:
    feed = Feed(Quotes("USD", hours(0.1, 0.2)))
    source = power(feed, series=POWER_DAY_AHEAD, name="power_day_ahead")
    ticks = await source.read(NOW)
    assert {(tick.series, tick.unit) for tick in ticks} == {(POWER_DAY_AHEAD, "USD/kWh")}
    feed.said = SourceError("down")
    again = power(feed, series=POWER_DAY_AHEAD)
    again.restore([*ticks, Tick(POWER, 9.0, "USD/kWh", NOW + 2 * HOUR, NOW + 3 * HOUR, NOW, "feed")])
    assert [tick.value for tick in await again.read(NOW + 60)] == [0.1, 0.2]


def quarter(number: int, price: float) -> Interval:
    return Interval(NOW + number * 900, NOW + (number + 1) * 900, price)


async def seen_by_minute(source: PowerSource, begin: float, minutes: int) -> list[tuple[float | None, float]]:
    """What a decision that sees "B" has in force each minute, and until when."""
    book, found = TickBook(MAINNET_RULES), list[tuple[float | None, float]]()
    for minute in range(minutes):
        now = begin + 60 * minute
        book.admit(await source.read(now), 0, now)
        tick = current(seen_ticks(book.ticks(), Sees.B, now).get(POWER, ()), now)
        held = tick is not None and tick.holds_at(now)
        found.append((tick.value if held and tick is not None else None, tick.valid_to - now if tick else 0))
    return found


async def test_a_price_told_when_it_is_over_is_given_for_as_long_as_it_may_be_the_last_one() -> None:
    feed = Feed(Quotes("USD", (quarter(-1, 0.1),)))
    source = power(feed, late=True)
    (tick,) = await source.read(NOW)
    assert (tick.value, tick.valid_from, tick.valid_to) == (0.1, NOW - 900, NOW)
    assert [value for value, _ in await seen_by_minute(source, NOW, 60)] == [0.1] * 45 + [None] * 15


class Told:
    """A feed whose prices, of `step_s` each, are told so many seconds after they begin."""

    name = "told"

    def __init__(self, step_s: float, after_s: float, down: tuple[float, float] = (0, 0)) -> None:
        self._step_s, self._after_s, self._down = step_s, after_s, down

    async def quotes(self, now: float) -> Quotes:
        if self._down[0] <= now < self._down[1]:
            raise SourceError("down")
        newest = math.floor((now - NOW - self._after_s) / self._step_s)
        starts = [NOW + self._step_s * number for number in range(newest - 20, newest + 1)]
        return Quotes("USD", tuple(Interval(at, at + self._step_s, self.price(at)) for at in starts))

    def price(self, at: float) -> float:
        return 0.05 + (at - NOW) // self._step_s / 1000


@pytest.mark.parametrize("fallback", [None, 0.5])
@pytest.mark.parametrize("lag_s", [0, 60, 180, 600])
@pytest.mark.parametrize("step_s", [300, 900, 3600])
async def test_the_newest_price_told_so_far_is_in_force_at_every_minute(
    step_s: float, lag_s: float, fallback: float | None
) -> None:
    feed = Told(step_s, step_s + lag_s)
    resort = None if fallback is None else FixedFeed(fallback, complete=True, name="fallback")
    source = power(feed, late=True, fallback=resort)
    for minute, (value, left_s) in enumerate(await seen_by_minute(source, NOW + 30, 150)):
        now = NOW + 30 + 60 * minute
        newest = NOW + math.floor((now - NOW - step_s - lag_s) / step_s) * step_s
        assert value == pytest.approx(feed.price(newest))
        assert 0 < left_s <= 900


async def test_a_fallback_comes_when_the_last_price_counts_no_more_and_goes_when_there_is_another() -> None:
    feed = Told(900, 1020, down=(NOW + 1000, NOW + 9120))
    source = power(feed, late=True, fallback=FixedFeed(0.5, complete=True, name="fallback"))
    seen = [value for value, _ in await seen_by_minute(source, NOW, 200)]
    changes = [at for at in range(1, 200) if (seen[at] == 0.5) != (seen[at - 1] == 0.5)]
    assert changes == [45, 152]
    assert seen[152] == pytest.approx(feed.price(NOW + 8100))
    assert None not in seen


async def test_beside_a_fallback_the_price_of_the_moment_has_no_end() -> None:
    moment = Feed(Quotes("USD", present=Present(0.2, NOW, NOW)))
    source = power(moment, fallback=FixedFeed(0.5, complete=True, name="fallback"))
    (tick,) = await source.read(NOW)
    assert (tick.value, tick.valid_to) == (0.2, math.inf)
    moment.said = SourceError("down")
    old = NOW + 7200
    assert price_at(await source.read(old), old) == 0.5


async def test_in_the_moments_between_two_prices_no_fallback_counts() -> None:
    source = power(Told(900, 120), fallback=FixedFeed(0.5, complete=True, name="fallback"))
    book = TickBook(MAINNET_RULES)
    for minute in range(60):
        now = NOW + 60 * minute
        book.admit(await source.read(now), 0, now)
        assert all(tick.value != 0.5 for tick in book.ticks().get(POWER, ()))


async def test_without_that_a_price_that_is_over_is_none() -> None:
    assert await power(Feed(Quotes("USD", (quarter(-1, 0.1),)))).read(NOW) == []


async def test_a_feed_after_one_that_tells_prices_late_has_no_say_while_the_last_of_them_stands() -> None:
    late = Feed(Quotes("USD", (quarter(-1, 0.1),)))
    other = FixedFeed(0.5, name="other")
    source = power(late, other, late=True)
    assert [tick.value for tick in await source.read(NOW)] == [0.1]
    late.said = SourceError("down")
    now = NOW + 3600
    assert price_at(await source.read(now), now) == 0.5
    moment = Feed(Quotes("USD", present=Present(0.2, NOW, NOW)), name="moment")
    both = power(moment, Feed(Quotes("USD", (quarter(-1, 0.1),))), late=True)
    assert price_at(await both.read(NOW), NOW) == 0.2
