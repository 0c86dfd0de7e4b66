"""The power price from every feed there is, ranked, with adders, taxes and overhead, in USD: one source of ticks.

The feeds are asked side by side and one that fails takes nothing from the others. Whatever is known of the coming hours is given,
so that the plan can look ahead.
"""

from __future__ import annotations

import asyncio
import logging
import math
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from controller.recent import held_until
from controller.sources.base import Closing, SourceError
from controller.sources.power_intervals import utc
from controller.sources.power_terms import Terms, all_in
from controller.sources.power_timeline import (
    Piece,
    Quotes,
    TickMemory,
    knows,
    last_of,
    pieces_of,
    ranked,
    restored,
)
from controller.ticks import POWER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from controller.sources.power_tariff import Tariff
    from controller.ticks import Tick

log = logging.getLogger(__name__)

USD: Final = "USD"
DAY_S: Final = 86_400.0
DEFAULT_HORIZON_S: Final = 2 * DAY_S
WAITED_S: Final = 300.0
"""When its prices ended so lately, a feed is just about to tell the next: that is no time for a fallback."""
FEED_LIMIT_S: Final = 9.0
"""A feed is waited for this long: a little less than the controller waits for the source."""

_Told: TypeAlias = tuple[list[Piece], list[Piece]]
"""What a feed tells: settled prices, and what follows from that of the moment."""

Rate: TypeAlias = Callable[[str, float], Awaitable[float]]
"""USD per unit of a currency (ISO 4217) at a time; raises SourceError where it is not known, or too old."""


class PowerFeed(Protocol):
    """Something that knows what energy costs, before what the site pays on top."""

    @property
    def name(self) -> str:
        """Stands in the ticks that come of it."""
        ...

    async def quotes(self, now: float) -> Quotes:
        """All that is known at `now`. Raises SourceError where nothing is, or what is known may not be used."""
        ...


@dataclass(frozen=True, slots=True)
class Adder:
    """What comes on top of the energy's price, per kWh in `currency`: always `base`, and what the tariff of the hour says."""

    currency: str = USD
    base: float = 0.0
    tariff: Tariff | None = None

    @property
    def exists(self) -> bool:
        """Whether anything ever comes on top."""
        return bool(self.base) or self.tariff is not None


class _AdderTrack:
    """An adder by the hour between two times, worked out once and looked up often."""

    def __init__(self, adder: Adder, start: float, end: float) -> None:
        self.start: Final = start if adder.tariff is not None else -math.inf
        self.end: Final = end
        self._base = adder.base
        steps = [] if adder.tariff is None else adder.tariff.intervals(start, end)
        self._starts = [step.start for step in steps]
        self._values = [step.value for step in steps]

    def at(self, at: float) -> float:
        index = bisect_right(self._starts, at) - 1
        return self._base + (self._values[index] if index >= 0 else 0.0)

    def edges(self, start: float, end: float) -> list[float]:
        return [edge for edge in self._starts if start < edge < end]


def known_until(now: float, horizon_s: float) -> float:
    """Up to when prices without an end are given: the end of the UTC day that the horizon ends in, so that it moves daily."""
    return (math.floor((now + horizon_s) / DAY_S) + 1) * DAY_S


class PowerSource:
    """Gives the power price of `feeds`, the first of them that knows at each instant; the others where it is silent.

    `rate` tells what other currencies are worth; each time it moves all coming prices are news, so it had better move in steps
    (`Rates.steady`). `max_age_s` is how long a price without an interval counts; `series` what the ticks tell, the price that is paid unless
    said otherwise. Where prices by interval are told `late`, when they are over, the last one is given for as long as it may stand for the next, and
    feeds after its own wait. `fallback` is heard where no other feed knows a price of now, and never for later ones, nor in the moments between two prices. A feed that fails is
    logged once, and again when it is well; only when no feed gives anything does `read` raise.
    """

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        feeds: Sequence[PowerFeed],
        *,
        rate: Rate,
        terms: Terms | None = None,
        adder: Adder | None = None,
        max_age_s: float = 1800.0,
        horizon_s: float = DEFAULT_HORIZON_S,
        late: bool = False,
        fallback: PowerFeed | None = None,
        name: str = "power",
        series: str = POWER,
    ) -> None:
        self.name = name
        self._series = series
        self._feeds = tuple(feeds)
        self._rate = rate
        self._terms = terms or Terms()
        self._adder = adder or Adder()
        self._max_age_s = max_age_s
        self._horizon_s = horizon_s
        self._late = late
        self._fallback = fallback
        self._memory = TickMemory(series)
        self._track: _AdderTrack | None = None
        self._before: dict[str, _Told] = {}
        """By feed what an earlier run knew of it, until it was heard; of one that adds to what it said, for longer."""
        self._problems: dict[str, str] = {}
        self._last: Piece | None = None

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with which feed, as of the last read."""
        return dict(self._problems)

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from what an earlier run gave: it stands for each feed until that is heard, or until it ends."""
        names = {feed.name for feed in (*self._feeds, self._fallback) if feed is not None}
        mine = [tick for tick in ticks if tick.series == self._series and tick.source in names]
        self._before = restored(mine, self._max_age_s)
        self._memory.restore(mine)

    async def read(self, now: float) -> list[Tick]:
        """Ticks of the price from `now` on, everything included. Raises SourceError where no feed gives any."""
        track = self._adders(now)
        heard = await asyncio.gather(*(self._hear(feed, track, now) for feed in self._feeds))
        good = [pieces for pieces in heard if pieces is not None]
        is_whole = len(good) == len(heard)
        last: Piece | None = None
        if self._late:
            count, last = last_of(good, now, self._max_age_s)
            good = good[:count]
            kept = self._last
            if last is None and kept is not None and now < held_until(kept.start, kept.end):
                last = None if any(knows(*each, now, self._max_age_s) for each in good) else kept
            self._last = last
        if last is None and self._fallback is not None:
            good += await self._in_need(self._fallback, good, track, now)
        merged = ranked(good, now, self._max_age_s)
        if not merged and last is None and self._problems:
            raise SourceError("; ".join(f"{name}: {why}" for name, why in self._problems.items()))
        return self._memory.ticks(merged, now, whole=is_whole, last=last)

    async def _in_need(
        self, fallback: PowerFeed, feeds: Sequence[_Told], track: _AdderTrack, now: float
    ) -> list[_Told]:
        """What the fallback tells, where none of the feeds knows a price of now."""
        if any(knows(*each, now, self._max_age_s) for each in feeds):
            return []
        if any(now - WAITED_S < piece.end <= now for settled, _ in feeds for piece in settled):
            return []
        told = await self._hear(fallback, track, now)
        return [] if told is None else [told]

    async def close(self) -> None:
        """End the connections that feeds keep open."""
        for feed in self._feeds:
            if isinstance(feed, Closing):
                await feed.close()

    def _adders(self, now: float) -> _AdderTrack:
        until = known_until(now, self._horizon_s)
        if self._track is None or self._track.end != until:
            self._track = _AdderTrack(self._adder, until - self._horizon_s - 3 * DAY_S, until)
        return self._track

    async def _hear(self, feed: PowerFeed, track: _AdderTrack, now: float) -> _Told | None:
        """A feed's prices as they are paid; None where it failed and nothing of it is known from before."""
        before = self._known_before(feed.name, now)
        try:
            async with asyncio.timeout(FEED_LIMIT_S):
                quotes = await feed.quotes(now)
                energy_rate = await self._usd_per(quotes.currency, now)
                adds = self._adder.exists and not quotes.complete
                adder_rate = await self._usd_per(self._adder.currency, now) if adds else 1.0
        except TimeoutError:
            self._say(feed.name, f"no answer within {FEED_LIMIT_S:g} s")
            return before
        except Exception as error:  # noqa: BLE001 - whatever a feed does, the others and the fail-safe go on
            self._say(feed.name, str(error) or type(error).__name__)
            return before
        if before is not None and quotes.present is not None:
            seen_at = quotes.present.seen_at
            if any(piece.seen_at is not None and seen_at < piece.seen_at <= now for piece in before[1]):
                self._say(feed.name, f"it answered with an older price, of {utc(seen_at)}")
                return before
        self._say(feed.name, quotes.problem)
        settled, present = self._paid(quotes, feed.name, energy_rate, adder_rate, track)
        if before is None or not quotes.adds:
            self._before.pop(feed.name, None)
            return settled, present
        self._before[feed.name] = (before[0], [])
        return [*before[0], *settled], present

    def _known_before(self, name: str, now: float) -> _Told | None:
        """What an earlier run knew of a feed and still holds, or will."""
        if name not in self._before:
            return None
        settled, present = (
            [
                piece
                for piece in kind
                if (held_until(piece.start, piece.end) if self._late else piece.end) > now
            ]
            for kind in self._before.pop(name)
        )
        if not settled and not present:
            return None
        self._before[name] = (settled, present)
        return settled, present

    def _paid(
        self, quotes: Quotes, name: str, energy_rate: float, adder_rate: float, track: _AdderTrack
    ) -> _Told:
        """A feed's prices with all that comes on top, in USD."""
        if quotes.complete:
            terms = Terms(overhead_ratio=self._terms.overhead_ratio)
            return pieces_of(quotes, name, lambda energy, _: all_in(energy * energy_rate, 0, terms))

        def price(energy: float, at: float) -> float:
            return all_in(energy * energy_rate, track.at(at) * adder_rate, self._terms)

        return pieces_of(quotes, name, price, track.edges, track.start, track.end)

    async def _usd_per(self, currency: str, now: float) -> float:
        if currency == USD:
            return 1.0
        return await self._rate(currency, now)

    def _say(self, name: str, problem: str) -> None:
        before = self._problems.pop(name, "")
        if problem:
            self._problems[name] = problem
        if problem and problem != before:
            log.warning("power_feed_failed", extra={"source": self.name, "feed": name, "error": problem})
        elif before and not problem:
            log.info("power_feed_well", extra={"source": self.name, "feed": name})
