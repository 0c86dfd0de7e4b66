"""What power will probably cost once prices are no longer known: the last price, fading into a typical day; pure.

The typical day has a price for each quarter hour of the site's local day, learned from the prices that were in force. Beyond the last
price that is known, the distance to it shrinks by `DECAY` each quarter hour. Where the market's own day-ahead price is known for
information, it stands in for the typical day. `DECAY` is the factor by which the gap between real time and
day ahead decays; measured for the distance to this very typical day on ERCOT's hub average of January 2024 to July 2025 it is 0.77 by
least squares, and 0.89 with what is beyond 10 ct/kWh cut off.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from controller.ticks import POWER, POWER_DAY_AHEAD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from controller.ticks import Tick
    from controller.validate import SeriesRule

QUARTER_S: Final = 900.0
QUARTERS: Final = 96
"""Quarter hours on the wall. On a day of 23 hours four of them do not come, on one of 25 four come twice and are learned twice."""
DECAY: Final = 0.85
"""What is left, a quarter hour later, of the distance between the price and the typical day."""
DAYS_WEIGHED: Final = 7
"""A new day counts for a seventh at least: what is learned follows the season."""
SPIKE_USD_PER_KWH: Final = 0.10
SPIKE_RATIO: Final = 4.0
"""What lies further from the middle of the typical day than 10 ct and than four times it is a spike."""
ENOUGH_QUARTERS: Final = 8
"""The middle of fewer says nothing."""
SHORTEST_S: Final = 0.01
"""A price that holds for less than this is one that was withdrawn."""


@dataclass(frozen=True, slots=True)
class TypicalDay:
    """The all-in power price by quarter hour of the day in `zone` (IANA); empty before anything was learned.

    `days` says how many days each price comes from, `DAYS_WEIGHED` at most; where it is 0 the price means nothing. `price` is that of
    the quarter hour numbered `quarter` (since 1970, UTC), the last one seen: it is learned when that is over. Raises ValueError for
    a day of another length.
    """

    zone: str = ""
    prices_usd_per_kwh: tuple[float, ...] = ()
    days: tuple[int, ...] = ()
    quarter: int | None = None
    price_usd_per_kwh: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no day."""
        if len(self.prices_usd_per_kwh) != len(self.days) or len(self.days) not in {0, QUARTERS}:
            raise ValueError(f"a day has {QUARTERS} quarter hours, not {len(self.days)}")

    def at(self, at: float) -> float | None:
        """The typical price at that time (UTC unix seconds), USD/kWh; None where none was learned."""
        if not self.days:
            return None
        index = _index(at, self.zone)
        return _usual(self, self.prices_usd_per_kwh[index]) if self.days[index] else None


@dataclass(frozen=True, slots=True)
class PowerAhead:
    """The power price from now on: `steps` says from when on (UTC unix seconds) which price holds or is expected, USD/kWh.

    `known_until` is when the first stretch begins whose price is not known, infinite where there is none; `typical` whether the typical
    day has a say in any of them, `day_ahead` whether the market's day-ahead price has.
    """

    steps: tuple[tuple[float, float], ...]
    known_until: float = math.inf
    typical: bool = False
    day_ahead: bool = False


def learn(day: TypicalDay, usd_per_kwh: float, at: float, zone: str) -> TypicalDay:
    """The typical day after a look at the price in force at `at`; it is the same object until a quarter hour begins.

    Of each quarter hour the price first seen in it counts, once it is over. Another zone begins anew. A clock that was set back by less
    than a day is waited for.
    """
    quarter = math.floor(at / QUARTER_S)
    if day.zone != zone:
        return TypicalDay(zone, quarter=quarter, price_usd_per_kwh=usd_per_kwh)
    if day.quarter is None or day.quarter >= quarter + QUARTERS:
        return replace(day, quarter=quarter, price_usd_per_kwh=usd_per_kwh)
    if day.quarter >= quarter:
        return day
    index = _index(day.quarter * QUARTER_S, zone)
    prices = list(day.prices_usd_per_kwh or (0.0,) * QUARTERS)
    days = list(day.days or (0,) * QUARTERS)
    weight = max(1 / (days[index] + 1), 1 / DAYS_WEIGHED)
    prices[index] = _nearer(prices[index], _usual(day, day.price_usd_per_kwh), weight)
    days[index] = min(days[index] + 1, DAYS_WEIGHED)
    return TypicalDay(zone, tuple(prices), tuple(days), quarter, usd_per_kwh)


def power_ahead(
    now: float,
    usd_per_kwh: float,
    ticks: Mapping[str, Sequence[Tick]],
    end: float,
    day: TypicalDay,
    rule: SeriesRule | None = None,
    lasting: Collection[str] = (),
) -> PowerAhead:
    """The price from `now`, where it is the given one, to `end`: those known ahead, and between and after them what is expected.

    A price without an end is that of the moment, or, where it begins later, stands in for those nobody knows; only from a source named in
    `lasting` it is known to hold. Where neither day-ahead prices nor the typical day have anything to say it stays as told, and after the
    last one as that was. What is expected is within the bounds of `rule`.
    """
    coming = [each for each in ticks.get(POWER, ()) if each.valid_to > now and _is_told(each)]
    told = [(now, usd_per_kwh), *((each.valid_from, each.value) for each in coming if each.valid_from > now)]
    spans = _known(now, coming, lasting)
    steps = dict(told)
    known_until = math.inf
    usual = _Usual(day, ticks.get(POWER_DAY_AHEAD, ()), now, end)
    typical = day_ahead = False
    low, high = (-math.inf, math.inf) if rule is None else (rule.low, rule.high)
    for (start, stop), later in zip(spans, [*(span[0] for span in spans[1:]), math.inf], strict=True):
        following = min(later, end)
        if stop >= following:
            continue
        known_until = min(known_until, stop)
        # Of an interval the last quarter hour is compared with what is usual, of a price of the moment this very moment.
        is_moment = stop == start
        last_at = start if is_moment else _quarter_before(stop)
        usual_then = usual.at(last_at)
        if usual_then is None:
            continue
        price = _price_at(told, start if is_moment else math.nextafter(stop, start))
        gap = price - usual_then
        steps = {at: value for at, value in steps.items() if not stop <= at < following}
        quarters = list(_quarters(stop, following))
        by_market = usual.of_market(quarters)
        for at, market, habit in zip(quarters, by_market, usual.of_habit(quarters, by_market), strict=True):
            expected = habit if market is None else market
            if expected is None:
                steps[at] = _price_at(told, at)
                continue
            since_s = at - last_at
            value = expected + gap * DECAY ** (since_s / QUARTER_S) if since_s > 0 else price
            steps[at] = low if value < low else high if value > high else value  # noqa: FURB136 - half the time
            typical, day_ahead = typical or market is None, day_ahead or market is not None
    merged = _merged(sorted(step for step in steps.items() if step[0] < end))
    return PowerAhead(merged, known_until, typical, day_ahead)


class _Usual:
    """What is usual at a time from a quarter hour before `start` to `end`: the market's day-ahead price, else the typical day's."""

    def __init__(self, day: TypicalDay, day_ahead: Sequence[Tick], start: float, end: float) -> None:
        self._ahead = [each for each in day_ahead if _is_told(each)]
        self._day = day
        self._low, self._high = _reach(day)
        self._offset_s: float | None = None
        if day.days:
            # Zones do not change twice within weeks: where both ends have the same offset, all between has it.
            zone = ZoneInfo(day.zone)
            first, last = (datetime.fromtimestamp(at, tz=zone).utcoffset() for at in (start - QUARTER_S, end))
            self._offset_s = first.total_seconds() if first is not None and first == last else None

    def at(self, at: float) -> float | None:
        """The usual price at that time, USD/kWh; None where nobody knows one."""
        (market,) = self.of_market([at])
        return self.of_habit([at], [None])[0] if market is None else market

    def of_market(self, times: Sequence[float]) -> list[float | None]:
        """The market's day-ahead price at each of these times (rising), USD/kWh; None where it is not known."""
        if not self._ahead:
            return [None] * len(times)
        found: list[float | None] = []
        place = bisect_right(self._ahead, times[0], key=lambda tick: tick.valid_from) - 1
        for at in times:
            while place + 1 < len(self._ahead) and self._ahead[place + 1].valid_from <= at:
                place += 1
            is_told = place >= 0 and at < self._ahead[place].valid_to
            found.append(self._ahead[place].value if is_told else None)
        return found

    def of_habit(self, times: Sequence[float], known: Sequence[float | None]) -> list[float | None]:
        """The typical day's price at each of these times, USD/kWh, but where another is `known`; None where it has none."""
        day, low, high, offset_s = self._day, self._low, self._high, self._offset_s
        if not day.days:
            return [None] * len(times)
        found: list[float | None] = []
        for at, other in zip(times, known, strict=True):
            if other is not None:
                found.append(None)
                continue
            if offset_s is None or at % QUARTER_S:
                index = _index(at, day.zone)
            else:
                index = int((at + offset_s) // QUARTER_S) % QUARTERS
            price = day.prices_usd_per_kwh[index] if day.days[index] else None
            found.append(price if price is None or low <= price <= high else low if price < low else high)
        return found


def _is_told(tick: Tick) -> bool:
    """Whether it says a price at all: what is withdrawn ends as soon as it begins."""
    return tick.valid_to - tick.valid_from >= SHORTEST_S


def _index(at: float, zone: str) -> int:
    """Which quarter hour of the local day that is."""
    wall = datetime.fromtimestamp(at, tz=ZoneInfo(zone))
    return wall.hour * 4 + wall.minute // 15


def _quarter_before(at: float) -> float:
    """When the quarter hour begins that ends at that time, or holds it."""
    return (math.ceil(at / QUARTER_S) - 1) * QUARTER_S


def _known(now: float, ticks: Sequence[Tick], lasting: Collection[str]) -> list[tuple[float, float]]:
    """Spans (start, stop) from `now` on in which the price is known, rising and apart; that of the moment stops where it starts.

    A price of the moment is one tick without an end, or several where a known charge comes on top: told by one source and seen at
    once, with no end in sight.
    """
    first = len(ticks)
    if ticks and math.isinf(ticks[-1].valid_to) and ticks[-1].source not in lasting:
        first -= 1
        while first > 0 and _of_one_moment(ticks[first - 1], ticks[first]):
            first -= 1
    spans = [(max(each.valid_from, now), each.valid_to) for each in ticks[:first]]
    if not spans or spans[0][0] > now:
        spans.insert(0, (now, now))
    ends = [start for start, _ in spans[1:]]
    ends.append(max(ticks[first].valid_from, now) if first < len(ticks) else math.inf)
    return [(start, min(stop, end)) for (start, stop), end in zip(spans, ends, strict=True)]


def _of_one_moment(before: Tick, after: Tick) -> bool:
    return (before.valid_to, before.source, before.observed_at) == (
        after.valid_from,
        after.source,
        after.observed_at,
    )


def _price_at(told: Sequence[tuple[float, float]], at: float) -> float:
    """The price told for that time, or the last one before it."""
    return told[bisect_right(told, at, key=lambda step: step[0]) - 1][1]


def _quarters(start: float, stop: float) -> Iterator[float]:
    """`start`, and every beginning of a quarter hour after it and before `stop`."""
    at = start
    while at < stop:
        yield at
        at = (math.floor(at / QUARTER_S) + 1) * QUARTER_S


def _usual(day: TypicalDay, usd_per_kwh: float) -> float:
    """That price, or what of it may be typical: no more than so far from the middle of the day's prices. A spike is real, and no habit."""
    low, high = _reach(day)
    return min(max(usd_per_kwh, low), high)


def _reach(day: TypicalDay) -> tuple[float, float]:
    """Between which prices a habit lies."""
    learned = sorted(price for price, days in zip(day.prices_usd_per_kwh, day.days, strict=True) if days)
    if len(learned) < ENOUGH_QUARTERS:
        return -math.inf, math.inf
    middle = learned[len(learned) // 2]
    reach = max(SPIKE_USD_PER_KWH, SPIKE_RATIO * abs(middle))
    return middle - reach, middle + reach


def _nearer(old: float, new: float, weight: float) -> float:
    """The old value moved towards the new one, never beyond either."""
    return min(max(old + weight * (new - old), min(old, new)), max(old, new))


def _merged(steps: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The steps without those that change nothing."""
    changes = [step for before, step in pairwise(steps) if step[1] != before[1]]
    return (*steps[:1], *changes)
