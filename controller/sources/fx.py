"""Exchange rates: what one unit of a currency is worth in USD, fixed or read over HTTP, each with its age."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.sources.base import SourceError
from controller.sources.http import DEFAULT_TIMEOUT_S, JsonFeed
from controller.sources.jsonpath import number_at, time_at
from controller.sources.polling import Poll
from controller.ticks import Tick, fx_series, units_of
from controller.validate import FX_RULE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

USD: Final = "USD"
EVERY_S: Final = 3600.0
MAX_AGE_S: Final = FX_RULE.max_age_s
STEP: Final = 0.0005
"""Steady rates move in steps of this share."""


@dataclass(frozen=True, slots=True)
class FxFeedSpec:
    """Where a rate is read: the number at `path` is USD per unit, or units per USD if `inverse`.

    `time_path`: when the rate was published, if the answer says so. `max_age_s`: an older one (by that time, else by when it was
    read) is not used.
    """

    url: str
    path: str
    time_path: str = ""
    inverse: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    every_s: float = EVERY_S
    timeout_s: float = DEFAULT_TIMEOUT_S
    max_age_s: float = MAX_AGE_S


@dataclass(frozen=True, slots=True)
class _Rate:
    usd: float
    published_at: float
    seen_at: float


class Rates:
    """The exchange rates of some currencies to USD: the source of their series, and what converts other sources' prices.

    `rates`: by currency a fixed number (USD per unit) or where to read it. Raises ValueError for a currency or number that is none.
    """

    def __init__(self, rates: Mapping[str, float | FxFeedSpec], name: str = "rates") -> None:
        self.name = name
        self._fixed: dict[str, float] = {USD: 1.0}
        self._feeds: dict[str, JsonFeed] = {}
        self._polls: dict[str, Poll[_Rate]] = {}
        self._specs: dict[str, FxFeedSpec] = {}
        self._since: float | None = None
        for currency, rate in rates.items():
            fx_series(currency)
            if not isinstance(rate, FxFeedSpec):
                self._fixed[currency] = _believable(rate, currency)
                continue
            feed = JsonFeed(rate.url, headers=rate.headers, timeout_s=rate.timeout_s)
            self._feeds[currency] = feed
            self._specs[currency] = rate
            self._polls[currency] = Poll(f"rate of {currency}", rate.every_s, _reader(currency, feed, rate))

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from the rates of an earlier run, each as old as it is."""
        series = {fx_series(currency): currency for currency in self._polls}
        for tick in ticks:
            currency = series.get(tick.series)
            if currency is None or tick.source != self.name:
                continue
            # Without a time of its own a rate is of when it was read; the book dates the same one, read again, from its first reading.
            dated = bool(self._specs[currency].time_path) and math.isfinite(tick.valid_to)
            published_at = tick.valid_from if dated else tick.observed_at
            self._polls[currency].restore(_Rate(tick.value, published_at, tick.observed_at))

    async def read(self, now: float) -> list[Tick]:
        """A tick for every rate that is known. Raises SourceError where there are rates to know and none is."""
        self._since = now if self._since is None else min(self._since, now)
        ticks = [
            self._tick(currency, _Rate(usd, self._since, now))
            for currency, usd in self._fixed.items()
            if currency != USD
        ]
        found = await asyncio.gather(*(self._current(currency, now) for currency in self._polls))
        troubles = [rate for rate in found if isinstance(rate, str)]
        ticks += [
            self._tick(currency, rate)
            for currency, rate in zip(self._polls, found, strict=True)
            if isinstance(rate, _Rate)
        ]
        if troubles and not ticks:
            raise SourceError("; ".join(troubles))
        return ticks

    async def rate(self, currency: str, now: float) -> float:
        """USD per unit of the currency at `now`, asked for where it is time. Raises SourceError where it is not known."""
        if currency in self._fixed:
            return self._fixed[currency]
        if currency not in self._polls:
            raise SourceError(f"no exchange rate of {currency} is configured")
        rate = await self._current(currency, now)
        if isinstance(rate, str):
            raise SourceError(rate)
        return rate.usd

    async def steady(self, currency: str, now: float) -> float:
        """`rate`, but one that is read moves in steps: for what would be news with each move of its last digit."""
        rate = await self.rate(currency, now)
        return rate if currency in self._fixed else in_steps(rate)

    def rate_of(self, currency: str) -> Callable[[float], Awaitable[float]]:
        """`rate` of one currency, for a source that knows no other."""

        async def of(now: float) -> float:
            return await self.rate(currency, now)

        return of

    async def close(self) -> None:
        """End the connections."""
        for feed in self._feeds.values():
            await feed.close()

    async def _current(self, currency: str, now: float) -> _Rate | str:
        """The rate, or why there is none to go by."""
        poll = self._polls[currency]
        rate = await poll.read(now)
        if rate is None:
            return f"no exchange rate of {currency} was ever seen: {poll.error}"
        age_s = now - rate.published_at
        if age_s >= self._specs[currency].max_age_s:
            since = f"; since then: {poll.error}" if poll.error else ""
            return f"the exchange rate of {currency} is {age_s / 3600:.0f} h old{since}"
        return rate

    def _tick(self, currency: str, rate: _Rate) -> Tick:
        series = fx_series(currency)
        unit = units_of(series)[0]
        spec = self._specs.get(currency)
        # One with a date has an end: so the book keeps each date apart, also where the rate is the same.
        ends = rate.published_at + spec.max_age_s if spec is not None and spec.time_path else math.inf
        return Tick(series, rate.usd, unit, rate.published_at, ends, rate.seen_at, self.name)


def in_steps(rate: float) -> float:
    """The step next to a rate; it depends on nothing but the rate, so that after a restart it is the same."""
    return math.exp(round(math.log(rate) / STEP) * STEP)


def _reader(currency: str, feed: JsonFeed, spec: FxFeedSpec) -> Callable[[float], Awaitable[_Rate]]:
    async def read(now: float) -> _Rate:
        document = await feed.get(now)
        try:
            value = number_at(document, spec.path)
            published_at = min(time_at(document, spec.time_path), now) if spec.time_path else now
            usd = _believable(1 / value if spec.inverse and value else value, currency)
        except ValueError as error:
            feed.forget()
            raise SourceError(f"{feed.host}: {error}") from error
        return _Rate(usd, published_at, now)

    return read


def _believable(usd: float, currency: str) -> float:
    """The rate, if it can be one of any currency. Raises ValueError."""
    if not FX_RULE.low <= usd <= FX_RULE.high:
        raise ValueError(f"{usd:g} USD/{currency} is outside {FX_RULE.low:g} .. {FX_RULE.high:g}")
    return usd
