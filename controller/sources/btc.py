"""The bitcoin price from one or more feeds over HTTP: each asked at its own pace, and one price made of what they say.

Which quotes are believed is decided in `controller.sources.quotes`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from controller.sources.base import SourceError
from controller.sources.fx import USD, Rates
from controller.sources.http import DEFAULT_TIMEOUT_S, JsonFeed
from controller.sources.jsonpath import number_at, time_at
from controller.sources.polling import Poll
from controller.sources.quotes import Believed, Quote, QuoteJudge, QuoteRules
from controller.ticks import BTC_USD, UNITS, Tick

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
READ_LIMIT_S: Final = 9.0
"""All feeds together are waited for this long, a little less than the controller waits for the source."""

State = Literal["used", "left out", "too old", "never seen", "not judged"]


@dataclass(frozen=True, slots=True)
class BtcFeedSpec:
    """Where a bitcoin price is read: the number at `path` of the JSON at `url`, in `currency`.

    `name` is unique among the feeds. `time_path`: when the price was so, if the answer says it.
    """

    name: str
    url: str
    path: str
    currency: str = USD
    time_path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    every_s: float = EVERY_S
    timeout_s: float = DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class FeedView:
    """How a feed stands: its last quote in USD with its age, what became of it, and what was wrong the last time it was asked."""

    name: str
    usd: float | None
    age_s: float | None
    state: State
    error: str


class BtcPrice:
    """The source of the bitcoin price. Raises ValueError for no feed, a name twice, or a URL that is none."""

    def __init__(
        self,
        feeds: Sequence[BtcFeedSpec],
        rules: QuoteRules | None = None,
        rates: Rates | None = None,
        name: str = "btc",
    ) -> None:
        names = [feed.name for feed in feeds]
        if not feeds or len(set(names)) < len(names):
            raise ValueError(f"feeds need names of their own, and one there must be: {names}")
        self.name = name
        self._rules = rules or QuoteRules()
        self._rates = rates or Rates({})
        self._feeds = [JsonFeed(spec.url, headers=spec.headers, timeout_s=spec.timeout_s) for spec in feeds]
        self._polls = [
            Poll(spec.name, spec.every_s, self._reader(feed, spec))
            for feed, spec in zip(self._feeds, feeds, strict=True)
        ]
        self._judge = QuoteJudge(self._rules)
        self._tick: Tick | None = None
        self._used: tuple[str, ...] = ()
        self._told: frozenset[str] = frozenset()
        """Feeds left out that the log knows of."""

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from the price last believed in an earlier run: a jump away from it is still one."""
        for tick in ticks:
            if (tick.series, tick.source) == (BTC_USD, self.name):
                self._tick = tick
                self._judge.restore(tick.value)

    async def read(self, now: float) -> list[Tick]:
        """One tick, made of the fresh quotes. Raises SourceError where they cannot be believed, or there is none."""
        await self._ask(now)
        quotes = [poll.value for poll in self._polls if poll.value is not None]
        verdict = self._judge.judge(quotes, now)
        if not isinstance(verdict, Believed):
            self._used = ()
            raise SourceError(self._why(verdict.why))
        self._tell(verdict)
        self._used = verdict.used
        # The time of what is believed never runs back, though feeds of several ages come and go.
        at = verdict.at if self._tick is None else min(max(verdict.at, self._tick.observed_at), now)
        self._tick = Tick(BTC_USD, verdict.usd, UNITS[BTC_USD], at, math.inf, at, self.name)
        return [self._tick]

    async def _ask(self, now: float) -> None:
        """Ask every feed that is due, side by side; whoever has not answered in time has failed, and the others count."""
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                await asyncio.gather(*(poll.read(now) for poll in self._polls))
        except TimeoutError:
            log.debug("btc_feeds_slow", extra={"limit_s": READ_LIMIT_S})

    def feeds(self, now: float) -> tuple[FeedView, ...]:
        """How each feed stands since the last read."""
        return tuple(self._view(poll, now) for poll in self._polls)

    async def close(self) -> None:
        """End the connections; those of the rates are their owner's."""
        for feed in self._feeds:
            await feed.close()

    def _reader(self, feed: JsonFeed, spec: BtcFeedSpec) -> Callable[[float], Awaitable[Quote]]:
        async def read(now: float) -> Quote:
            document = await feed.get(now)
            try:
                price = number_at(document, spec.path)
                at = min(time_at(document, spec.time_path), now) if spec.time_path else now
                if price <= 0:
                    raise ValueError(f'"{spec.path}": {price:g} is no price')
            except ValueError as error:
                feed.forget()
                raise SourceError(f"{feed.host}: {error}") from error
            return Quote(spec.name, price * await self._rates.rate(spec.currency, now), at)

        return read

    def _tell(self, verdict: Believed) -> None:
        """Log which feeds are left out, when it begins and when it ends."""
        out = frozenset(quote.feed for quote in verdict.left_out)
        for quote in verdict.left_out:
            if quote.feed not in self._told:
                log.warning(
                    "btc_quote_left_out",
                    extra={
                        "feed": quote.feed,
                        "usd": round(quote.usd, 2),
                        "believed_usd": round(verdict.usd, 2),
                    },
                )
        for feed in sorted(self._told - out):
            log.info("btc_quote_back", extra={"feed": feed})
        self._told = out

    def _why(self, why: str) -> str:
        errors = [f"{poll.name}: {poll.error}" for poll in self._polls if poll.error]
        return "; ".join([why, *errors])

    def _view(self, poll: Poll[Quote], now: float) -> FeedView:
        quote = poll.value
        if quote is None:
            return FeedView(poll.name, None, None, "never seen", poll.error)
        age_s = max(now - quote.at, 0.0)
        state: State = "not judged"
        if age_s >= self._rules.max_age_s:
            state = "too old"
        elif self._used:
            state = "used" if poll.name in self._used else "left out"
        return FeedView(poll.name, quote.usd, age_s, state, poll.error)
