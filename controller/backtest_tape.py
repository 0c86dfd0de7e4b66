"""What a live source would have told at each quarter hour, and no more; pure.

A row of the day-ahead market is known from its publication on, a real-time price from the beginning of its quarter hour (A) or from its
end (B), and hashprice from the beginning of its own.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from controller.backtest import QUARTER_S, Recorded, Settles
from controller.recorded import on_quarters, utc
from controller.ticks import HASHPRICE, POWER, POWER_DAY_AHEAD, UNITS, Tick
from controller.worth_seen import Sees

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from controller.recorded import Series

USD_PER_MWH: Final = 1000.0
"""USD/MWh in a USD/kWh."""
WARM_UP: Final = 14 * 96
"""So many quarter hours before the period teach the controller, where they are known: two weeks, as long as it remembers."""
PUBLISHED: Final = time(13, 30)
SOURCE: Final = "recorded"
LOOKED_BACK_S: Final = 3600.0
"""Day-ahead prices that ended within this time are still told: who sees only earlier prices compares them with theirs."""
_BEFORE_S: Final = 1.0
"""So long before a quarter hour begins its price is observed: known before its time it needs no second look."""
_BEYOND: Final = 3 * 96
"""What is published ahead reaches no further beyond the period."""
_QUARTERS_PER_HOUR: Final = 4


class PeriodError(ValueError):
    """There is nothing to judge in the period asked for; says what there is."""


def recorded(  # noqa: PLR0913 - each by its name
    power: Series,
    day_ahead: Series | None,
    hashprice: Series,
    *,
    adder_usd_per_mwh: float = 0.0,
    start: float | None = None,
    stop: float | None = None,
    settles: Settles = Settles.REAL_TIME,
    published: time = PUBLISHED,
    zone: str = "America/Chicago",
) -> Recorded:
    """The histories on the quarter hours of [start, stop), None for as far as they go; power in USD/MWh before the adder.

    Day-ahead prices are published the day before at that time in `zone`, all of a local day at once. Where they settle, they are what
    is paid: those of `day_ahead`, or of `power` if that is not given. Raises PeriodError where no quarter hour could count.
    """
    paid = day_ahead if settles is Settles.DAY_AHEAD and day_ahead is not None else power
    ahead = paid if settles is Settles.DAY_AHEAD else day_ahead
    begins, ends = max(paid.starts[0], hashprice.starts[0]), min(paid.end, hashprice.end)
    first = int(max(begins, -np.inf if start is None else start) // QUARTER_S)
    last = int(-(-min(ends, np.inf if stop is None else stop) // QUARTER_S))
    if last <= first:
        raise PeriodError(
            f"nothing to judge: power and hashprice are both known from {utc(begins)} to {utc(ends)}"
        )
    warm_up = int(min(max(first - paid.starts[0] // QUARTER_S, 0), WARM_UP))
    first, count = first - warm_up, last - first + warm_up
    gross = on_quarters(hashprice).over(first, count)
    prices = _all_in(paid, adder_usd_per_mwh, first, count)
    if np.isnan(prices + gross)[warm_up:].all():
        raise PeriodError(
            f"nothing to judge: power and hashprice are never known together from {utc((first + warm_up) * QUARTER_S)} to "
            f"{utc((first + count) * QUARTER_S)}"
        )
    return Recorded(
        first=first,
        warm_up=warm_up,
        power_usd_per_kwh=prices,
        day_ahead_usd_per_kwh=np.full(count + _BEYOND, np.nan)
        if ahead is None
        else _all_in(ahead, adder_usd_per_mwh, first, count + _BEYOND),
        day_ahead_known_from=_published(first, count + _BEYOND, published, zone),
        gross_hashprice_usd_per_ph_day=gross,
        settles=settles,
        gaps=tuple(
            gap
            for series in dict.fromkeys((paid, paid if ahead is None else ahead, hashprice))
            for gap in series.gaps_within((first + warm_up) * QUARTER_S, (first + count) * QUARTER_S)
        ),
    )


class Tape:
    """The ticks that a book of live sources would hold at each quarter hour of what was recorded."""

    def __init__(self, recorded: Recorded, sees: Sees) -> None:
        self._starts = recorded.starts.tolist()
        behind = 1 if sees is Sees.B else 0
        self._settles = recorded.settles
        self._price = recorded.power_usd_per_kwh.tolist()
        self._price_at = _last_known(recorded.power_usd_per_kwh, behind).tolist()
        self._behind_s = behind * QUARTER_S
        self._hashprice = recorded.gross_hashprice_usd_per_ph_day.tolist()
        self._hashprice_at = _last_known(recorded.gross_hashprice_usd_per_ph_day, 0).tolist()
        is_paid = recorded.settles is Settles.DAY_AHEAD
        self._ahead = _blocks(recorded, POWER if is_paid else POWER_DAY_AHEAD)
        begins = np.array([tick.valid_from for tick in self._ahead])
        ends = np.array([tick.valid_to for tick in self._ahead])
        known = np.array([tick.observed_at for tick in self._ahead])
        begun = np.maximum(np.searchsorted(begins, self._starts, side="right") - 1, 0)
        matters = np.searchsorted(ends, recorded.starts - (0.0 if is_paid else LOOKED_BACK_S), side="right")
        self._ahead_from = np.minimum(begun, matters).tolist()
        self._ahead_to = np.searchsorted(known, self._starts, side="right").tolist()
        self._kept: tuple[tuple[int, int], tuple[Tick, ...]] = ((0, 0), ())

    def __len__(self) -> int:
        return len(self._starts)

    def time(self, index: int) -> float:
        """When that quarter hour begins, UTC unix seconds."""
        return float(self._starts[index])

    def at(self, index: int) -> Mapping[str, tuple[Tick, ...]]:
        """What is known when that quarter hour begins, by series."""
        now = self._starts[index]
        ticks: dict[str, tuple[Tick, ...]] = {}
        if self._settles is Settles.REAL_TIME and (known := self._price_at[index]) >= 0:
            ticks[POWER] = (self._quarter(POWER, self._price[known], known, self._behind_s),)
        if (known := self._hashprice_at[index]) >= 0:
            ticks[HASHPRICE] = (self._quarter(HASHPRICE, self._hashprice[known], known, 0.0),)
        if ahead := self._known_ahead(index):
            series = ahead[0].series
            # What was published does not grow old, however long one price holds.
            is_paid = series == POWER and ahead[0].holds_at(now)
            ticks[series] = (replace(ahead[0], valid_from=now), *ahead[1:]) if is_paid else ahead
        return ticks

    def _quarter(self, series: str, value: float, known: int, behind_s: float) -> Tick:
        start = self._starts[known]
        observed_at = start + behind_s - _BEFORE_S
        return Tick(series, value, UNITS[series], start, start + QUARTER_S, observed_at, SOURCE)

    def _known_ahead(self, index: int) -> tuple[Tick, ...]:
        """Day-ahead prices published by then, from the one in force on; the same object as long as they are the same."""
        span = (self._ahead_from[index], self._ahead_to[index])
        if self._kept[0] != span:
            self._kept = (span, self._ahead[slice(*span)])
        return self._kept[1]


def _all_in(series: Series, adder_usd_per_mwh: float, first: int, count: int) -> NDArray[np.float64]:
    prices: NDArray[np.float64] = (on_quarters(series).over(first, count) + adder_usd_per_mwh) / USD_PER_MWH
    return prices


def _published(first: int, count: int, published: time, zone: str) -> NDArray[np.float64]:
    """When the day-ahead price of each quarter hour was published: at that local time of the day before its local day."""
    known_from = np.empty(count)
    starts = (first + np.arange(count)) * QUARTER_S
    day = datetime.fromtimestamp(float(starts[0]), tz=ZoneInfo(zone)).date() if count else date.min
    at = 0
    while at < count:
        midnight = _local(day + timedelta(days=1), time(), zone)
        until = int(np.searchsorted(starts, midnight))
        known_from[at:until] = _local(day - timedelta(days=1), published, zone)
        at, day = until, day + timedelta(days=1)
    return known_from


def _local(day: date, at: time, zone: str) -> float:
    """That time of a local day, UTC unix seconds."""
    return datetime.combine(day, at, tzinfo=ZoneInfo(zone)).timestamp()


def _last_known(values: NDArray[np.float64], behind: int) -> NDArray[np.intp]:
    """For each entry the last one that is known so many before it or earlier; -1 where there is none."""
    index = np.where(np.isnan(values), -1, np.arange(len(values)))
    known = np.maximum.accumulate(index)
    return known if not behind else np.concatenate([np.full(behind, -1), known[:-behind]])[: len(values)]


def _blocks(recorded: Recorded, series: str) -> tuple[Tick, ...]:
    """Day-ahead prices as ticks, quarter hours of one price within a clock hour as one."""
    prices, known_from = recorded.day_ahead_usd_per_kwh.tolist(), recorded.day_ahead_known_from.tolist()
    found: list[Tick] = []
    for index, price in enumerate(prices):
        if price != price:  # noqa: PLR0124 - the cheapest way to tell what is not a number
            continue
        start = (recorded.first + index) * QUARTER_S
        before = found[-1] if found else None
        if (
            before is not None
            and (recorded.first + index) % _QUARTERS_PER_HOUR
            and (before.valid_to, before.value, before.observed_at) == (start, price, known_from[index])
        ):
            found[-1] = replace(before, valid_to=start + QUARTER_S)
        else:
            found.append(
                Tick(series, price, UNITS[series], start, start + QUARTER_S, known_from[index], SOURCE)
            )
    return tuple(found)
