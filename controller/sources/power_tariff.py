"""A tariff by time of use: which price holds when, by the clock on the wall; pure.

Everything is said in local time and comes out as intervals of UTC. What follows from that on the days when clocks change: the
hour that does not exist costs nothing, the one that comes twice costs the same twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from controller.sources.power_intervals import Interval, joined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

MINUTES: Final = 1440
HOLIDAY: Final = 7
"""Stands among weekdays (0 is Monday) for a holiday, which then is no weekday."""

_DAY_S: Final = 86_400.0
_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Hours:
    """From one minute of the day to another (to 1440 at most); where the end is not after the start, over midnight.

    The part after midnight belongs to the day on which the span began: Friday 22:00 to 06:00 ends on Saturday.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        """Refuse what is on no clock."""
        if not (0 <= self.start < MINUTES and 0 <= self.end <= MINUTES):
            raise ValueError(f"hours are minutes of the day, not {self.start} .. {self.end}")


@dataclass(frozen=True, slots=True)
class Season:
    """From one (month, day) to another, both included; over the year's end where the second is before the first."""

    first: tuple[int, int]
    last: tuple[int, int]

    def holds_on(self, day: date) -> bool:
        """Whether `day` is in the season."""
        this = (day.month, day.day)
        if self.first <= self.last:
            return self.first <= this <= self.last
        return this >= self.first or this <= self.last


@dataclass(frozen=True, slots=True)
class TariffRule:
    """A price, and when it holds: empty conditions always do. Its number is in the currency of its tariff, per kWh."""

    price: float
    weekdays: frozenset[int] = frozenset()
    hours: tuple[Hours, ...] = ()
    seasons: tuple[Season, ...] = ()

    @property
    def always(self) -> bool:
        """Whether it holds at any time."""
        return not (self.weekdays or self.hours or self.seasons)

    def holds(self, day: date, minute: int, holidays: frozenset[date]) -> bool:
        """Whether it holds in that minute of that local day."""
        if not self.hours:
            return self._on(day, holidays)
        for hours in self.hours:
            over_midnight = hours.end <= hours.start
            if hours.start <= minute and (over_midnight or minute < hours.end) and self._on(day, holidays):
                return True
            if over_midnight and minute < hours.end and self._on(day - _ONE_DAY, holidays):
                return True
        return False

    def _on(self, day: date, holidays: frozenset[date]) -> bool:
        kind = HOLIDAY if day in holidays else day.weekday()
        if self.weekdays and kind not in self.weekdays:
            return False
        return not self.seasons or any(season.holds_on(day) for season in self.seasons)


class Tariff:
    """Rules in order: the first that holds gives the price, `default` where none does (None: no price is known then)."""

    def __init__(
        self,
        zone: ZoneInfo,
        rules: Sequence[TariffRule],
        holidays: frozenset[date] = frozenset(),
        default: float | None = None,
    ) -> None:
        self.zone: Final = zone
        self.rules: Final = tuple(rules)
        self.holidays: Final = holidays
        self._default = default
        self._edges = sorted(
            {
                0,
                *(
                    edge % MINUTES
                    for rule in self.rules
                    for hours in rule.hours
                    for edge in (hours.start, hours.end)
                ),
            }
        )

    @property
    def knows_holidays(self) -> bool:
        """Whether some rule speaks of holidays."""
        return any(HOLIDAY in rule.weekdays for rule in self.rules)

    def price_at(self, at: float) -> float | None:
        """The price in force at `at` (UTC unix seconds)."""
        local = datetime.fromtimestamp(at, tz=self.zone)
        day, minute = local.date(), local.hour * 60 + local.minute
        for rule in self.rules:
            if rule.holds(day, minute, self.holidays):
                return rule.price
        return self._default

    def intervals(self, start: float, end: float) -> tuple[Interval, ...]:
        """The prices in [start, end) by interval, neighbours of the same price as one; nothing where no price is known."""
        edges = sorted({start, *(edge for edge in self._changes(start, end) if start < edge < end)})
        found = []
        for left, right in zip(edges, [*edges[1:], end], strict=True):
            price = self.price_at(left)
            if price is not None and left < right:
                found.append(Interval(left, right, price))
        return joined(found)

    def _changes(self, start: float, end: float) -> set[float]:
        """Every time in between at which another price may begin, and some more."""
        if len(self._edges) == 1 and all(rule.always for rule in self.rules):
            return set()
        found = set()
        day = datetime.fromtimestamp(start, tz=self.zone).date() - _ONE_DAY
        last = datetime.fromtimestamp(end, tz=self.zone).date() + _ONE_DAY
        while day <= last:
            for edge in self._edges:
                wall = datetime.combine(day, time(edge // 60, edge % 60), tzinfo=self.zone)
                # A time that comes twice is passed twice. One that does not come is passed when the clock leaps over it.
                found.update({wall.timestamp(), wall.replace(fold=1).timestamp()})
            day += _ONE_DAY
        found.update(self._leaps(start - _DAY_S, end + _DAY_S))
        return found

    def _leaps(self, start: float, end: float) -> list[float]:
        """The times in between at which the clock is put forward or back."""
        found = []
        left = start
        while left < end:
            right = min(left + _DAY_S, end)
            if self._offset(left) != self._offset(right):
                low, high = int(left), int(right) + 1
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (
                        (middle, high) if self._offset(middle) == self._offset(left) else (low, middle)
                    )
                found.append(float(high))
            left = right
        return found

    def _offset(self, at: float) -> timedelta:
        return datetime.fromtimestamp(at, tz=UTC).astimezone(self.zone).utcoffset() or timedelta()
