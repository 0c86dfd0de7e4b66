"""Power prices that need no one to ask: one that the operator wrote down, and a tariff by time of use."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Final

from controller.sources.power import DAY_S, DEFAULT_HORIZON_S, USD, known_until
from controller.sources.power_intervals import Interval, holes, holes_text
from controller.sources.power_timeline import Quotes

if TYPE_CHECKING:
    from controller.sources.power_tariff import Tariff

NO_PRICE: Final = "no entry of the schedule holds now: add a last one with a price only"


class FixedFeed:
    """The same price for ever, per kWh in `currency`; `complete` if adders and taxes are in it."""

    def __init__(
        self, per_kwh: float, *, currency: str = USD, complete: bool = False, name: str = "fixed"
    ) -> None:
        if not math.isfinite(per_kwh):
            raise ValueError(f"the price must be a finite number, not {per_kwh}")
        self.name = name
        self._per_kwh = per_kwh
        self._currency = currency
        self._complete = complete
        self._since: float | None = None

    async def quotes(self, now: float) -> Quotes:
        """One interval from the first look on, without an end."""
        self._since = now if self._since is None else min(self._since, now)
        return Quotes(
            self._currency, (Interval(self._since, math.inf, self._per_kwh),), complete=self._complete
        )


class ScheduleFeed:
    """A tariff's prices from two days back to the end of the day that the horizon ends in; worked out once a day."""

    def __init__(
        self,
        tariff: Tariff,
        *,
        currency: str = USD,
        horizon_s: float = DEFAULT_HORIZON_S,
        name: str = "schedule",
    ) -> None:
        self.name = name
        self._tariff = tariff
        self._currency = currency
        self._horizon_s = horizon_s
        self._until = -math.inf
        self._known = Quotes(currency)

    async def quotes(self, now: float) -> Quotes:
        """Every interval, those of days with 23 and 25 hours too."""
        until = known_until(now, self._horizon_s)
        if until != self._until:
            start = until - self._horizon_s - 3 * DAY_S
            settled = self._tariff.intervals(start, until)
            problem = holes_text(holes(settled, start)) or self._holidays(until)
            self._known = Quotes(self._currency, settled, problem=problem or ("" if settled else NO_PRICE))
            self._until = until
        return self._known

    def _holidays(self, until: float) -> str:
        """A year without a single holiday is one that nobody has written down yet."""
        if not self._tariff.knows_holidays:
            return ""
        year = datetime.fromtimestamp(until, tz=self._tariff.zone).year
        if any(day.year == year for day in self._tariff.holidays):
            return ""
        return f"no holidays are known for {year}: add them to [power] holidays or holidays_file"
