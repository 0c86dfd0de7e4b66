"""Power prices from the web: day-ahead prices by interval, or the price of the moment; public feeds by name, others by path."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from yarl import URL

from controller.sources.base import SourceError
from controller.sources.http import DEFAULT_TIMEOUT_S, HttpFeed
from controller.sources.power_intervals import (
    Interval,
    given_at,
    holes,
    holes_text,
    tidy,
    utc,
)
from controller.sources.power_shapes import Said, ShapeError
from controller.sources.power_timeline import Present, Quotes

if TYPE_CHECKING:
    from controller.sources.power_presets import Ask
    from controller.sources.power_shapes import Shape

Requests: TypeAlias = Callable[[float], Sequence["Ask"]]

REFRESH_LIMIT_S: Final = 8.5
"""A refresh with all its pages takes this long at most: less than the source is waited for."""
RETRY_S: Final = 60.0
MOST_PAGES: Final = 10
MOST_INTERVALS: Final = 4_000
KEPT_S: Final = 7_200.0
OLD_S: Final = 1_800.0
"""A price of the moment that is older than this when it comes is told: somebody keeps an old answer."""
ALL_ZERO: Final = 4
"""So many prices and each of them exactly zero is no market."""


class PowerHttpFeed:
    """Asks at most every `every_s` and gives what it knows in between, also while the server is down.

    Later answers stand over earlier ones, interval by interval; one that no longer has an interval takes nothing away. An exact zero
    of a price of the moment, or of all prices at once, is a fault and no price unless `accept_zero`.
    Where they are told `late`, when they are over, prices that ended are given for as long as they may be the last ones known.
    """

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        requests: Requests,
        shape: Shape,
        *,
        area: str = "",
        every_s: float,
        accept_zero: bool = False,
        complete: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        late: bool = False,
        name: str,
    ) -> None:
        self.name = name
        self._late = late
        self._timeout_s = timeout_s
        self._requests = requests
        self._shape = shape
        self._area = area
        self._every_s = every_s
        self._accept_zero = accept_zero
        self._complete = complete
        self._feeds: dict[Ask, HttpFeed] = {}
        self._asked_at = self._next_at = -math.inf
        self._failures = 0
        self._fault = ""
        self._currency = ""
        self._known: tuple[Interval, ...] = ()
        self._present: Present | None = None

    async def quotes(self, now: float) -> Quotes:
        """What is known at `now`; SourceError where that is nothing."""
        if not self._asked_at <= now < self._next_at:
            await self._refresh(now)
        if not self._known and self._present is None:
            raise SourceError(self._fault or "it knows no price of now or later")
        coming = given_at(self._known, now, late=self._late)
        return Quotes(
            self._currency,
            coming,
            self._present,
            self._complete,
            self._fault or self._trouble(coming, now),
            adds=True,
        )

    async def close(self) -> None:
        """End the connections."""
        feeds, self._feeds = self._feeds, {}
        for feed in feeds.values():
            await feed.close()

    def _trouble(self, coming: Sequence[Interval], now: float) -> str:
        """What is amiss though the last answer was good."""
        if self._present is not None and now - self._present.seen_at > OLD_S:
            return f"its price is of {utc(self._present.seen_at)}, not of now"
        if self._known and not coming and self._present is None:
            return f"its prices ended at {utc(self._known[-1].end)}"
        return holes_text(holes(coming, now)) if self._present is None else ""

    async def _refresh(self, now: float) -> None:
        if now < self._asked_at and self._present is not None:
            # The clock was set back: nothing was seen later than now, or every answer would be older than the last one.
            seen = self._present
            self._present = Present(seen.value, min(seen.since, now), min(seen.seen_at, now))
        self._asked_at = now
        # Whatever ends this early, the next question keeps its distance.
        self._next_at = now + min(RETRY_S, self._every_s)
        try:
            async with asyncio.timeout(REFRESH_LIMIT_S):
                self._take(await self._ask_all(now), now)
        except TimeoutError:
            self._fault = f"no whole answer within {REFRESH_LIMIT_S:g} s"
        except (SourceError, ValueError, OSError) as error:
            self._fault = str(error)
        else:
            self._fault = ""
            self._failures = 0
            self._next_at = now + self._every_s
            return
        self._failures += 1
        self._next_at = now + min(RETRY_S * 2 ** min(self._failures - 1, 10), self._every_s)

    async def _ask_all(self, now: float) -> list[Said]:
        """Every answer with its further pages, in order."""
        asks = list(self._requests(now))
        for old in [ask for ask in self._feeds if ask not in asks]:
            await self._feeds.pop(old).close()
        said: list[Said] = []
        for ask in asks:
            feed = self._feeds.get(ask)
            if feed is None:
                feed = self._feeds[ask] = self._feed(ask.url, ask, ask.params)
            try:
                said += await self._pages(feed, ask, now)
            except (SourceError, ShapeError):
                if not ask.optional:
                    raise
        return said

    async def _pages(self, feed: HttpFeed, ask: Ask, now: float) -> list[Said]:
        said = [await self._ask(feed, now)]
        while said[-1].more:
            if len(said) == MOST_PAGES:
                raise SourceError(f"{feed.host}: more than {MOST_PAGES} pages of prices")
            if URL(said[-1].more).origin() != URL(ask.url).origin():
                raise SourceError(f"{feed.host}: its next page is on another server")
            page = self._feed(said[-1].more, ask)
            try:
                said.append(await self._ask(page, now))
            finally:
                await page.close()
        return said

    def _feed(self, url: str, ask: Ask, params: Sequence[tuple[str, str]] = ()) -> HttpFeed:
        return HttpFeed(
            url, headers=dict(ask.headers), params=dict(params), body=ask.body, timeout_s=self._timeout_s
        )

    async def _ask(self, feed: HttpFeed, now: float) -> Said:
        text = await feed.get_text(now)
        try:
            return self._shape(text, self._area)
        except ValueError as error:
            feed.forget()
            raise ShapeError(f"{feed.host}: {error}") from error

    def _take(self, said: Sequence[Said], now: float) -> None:
        """Put what was said over what was known; ShapeError for what is not believed."""
        currencies = {each.currency for each in said}
        if len(currencies) != 1:
            raise ShapeError("its prices are in several currencies")
        (currency,) = currencies
        if self._currency not in {"", currency}:
            self._known, self._present = (), None
        self._currency = currency
        found = [interval for each in said for interval in each.intervals]
        moments = [each for each in said if each.latest is not None]
        if not found and not moments:
            raise ShapeError("it gave no prices")
        zeros = len(found) >= ALL_ZERO and all(each.value == 0 for each in found)
        if zeros and not self._accept_zero:
            raise ShapeError(
                f"all of its {len(found)} prices are exactly zero, which is a fault unless accept_zero = true"
            )
        known = [each for each in (*self._known, *found) if each.end > now - KEPT_S]
        self._known = tidy(known)[:MOST_INTERVALS]
        for each in moments:
            self._take_moment(each, now)

    def _take_moment(self, said: Said, now: float) -> None:
        value = said.latest
        if value is None:
            return
        if value == 0 and not self._accept_zero:
            raise ShapeError("its price is exactly zero, which is a fault unless accept_zero = true")
        if not math.isfinite(value):
            raise ShapeError("its price is no finite number")
        seen_at = now if said.seen_at is None else min(said.seen_at, now)
        before = self._present
        if before is not None and seen_at < before.seen_at:
            raise ShapeError(f"it answered with an older price, of {utc(seen_at)}")
        same = before is not None and before.value == value
        self._present = Present(value, before.since if before is not None and same else seen_at, seen_at)
