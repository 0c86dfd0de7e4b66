"""Which of several quotes of one price to believe; pure.

With three fresh quotes or more the majority decides: those near their median count. Two that differ, or one alone, cannot outvote
anything: there the last price that was believed has a say, and a jump away from it has to last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MAJORITY_FROM: Final = 3


@dataclass(frozen=True, slots=True)
class Quote:
    """What one feed says: USD, and when it was so (UTC unix seconds)."""

    feed: str
    usd: float
    at: float


@dataclass(frozen=True, slots=True)
class QuoteRules:
    """What is believed.

    `max_age_s`: older quotes do not count. `outlier_ratio`: one further than this from the others is left out. `jump_ratio`: a price
    further than this from the last one, of one feed alone, must last `jump_confirm_s`.
    """

    max_age_s: float = 900.0
    outlier_ratio: float = 0.05
    jump_ratio: float = 0.15
    jump_confirm_s: float = 300.0

    def __post_init__(self) -> None:
        """Refuse rules that believe nothing."""
        for name in ("max_age_s", "outlier_ratio", "jump_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above zero, not {getattr(self, name)}")
        if not self.jump_confirm_s >= 0:
            raise ValueError(f"jump_confirm_s must not be below zero, but is {self.jump_confirm_s}")


@dataclass(frozen=True, slots=True)
class Believed:
    """A price to go by: at least half of the quotes of the feeds `used` are no older than `at`. `left_out` are far from it."""

    usd: float
    at: float
    used: tuple[str, ...]
    left_out: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class Doubted:
    """No price to go by now, and why; the last one believed grows old."""

    why: str


class QuoteJudge:
    """Judges the quotes of one price as they come; remembers the price last believed, and since when something differs from it."""

    def __init__(self, rules: QuoteRules) -> None:
        self._rules = rules
        self._last: float | None = None
        self._jump: Quote | None = None
        """The last quote of a jump that is waited for; it began at `_jump_since`."""
        self._jump_since = 0.0
        self._apart_since: float | None = None
        """Since when two feeds differ."""

    def restore(self, usd: float) -> None:
        """Go on from the price that was last believed in an earlier run."""
        self._last = usd

    def judge(self, quotes: Sequence[Quote], now: float) -> Believed | Doubted:
        """The price by these quotes (one for each feed, in any order) at `now`."""
        # After a clock was set back nothing was seen, nor began, later than now.
        quotes = [replace(quote, at=min(quote.at, now)) for quote in quotes]
        self._jump_since = min(self._jump_since, now)
        if self._apart_since is not None:
            self._apart_since = min(self._apart_since, now)
        fresh = sorted(
            (quote for quote in quotes if now - quote.at < self._rules.max_age_s),
            key=lambda quote: quote.feed,
        )
        match fresh:
            case []:
                verdict: Believed | Doubted = Doubted("no fresh quote")
            case [only]:
                verdict = self._alone(only)
            case [one, other]:
                verdict = self._two(one, other)
            case _:
                verdict = self._many(fresh)
        if isinstance(verdict, Believed):
            self._last = verdict.usd
            self._jump = None
        return verdict

    def _many(self, fresh: Sequence[Quote]) -> Believed | Doubted:
        self._apart_since = None
        middle = median(quote.usd for quote in fresh)
        near = [quote for quote in fresh if _apart(quote.usd, middle) <= self._rules.outlier_ratio]
        if len(near) * 2 <= len(fresh):
            return Doubted(f"no majority: {_listed(fresh)}")
        return _believed(near, [quote for quote in fresh if quote not in near])

    def _two(self, one: Quote, other: Quote) -> Believed | Doubted:
        if _apart(one.usd, other.usd) <= self._rules.outlier_ratio:
            self._apart_since = None  # a jump that both have seen is none
            return _believed([one, other])
        if self._last is None:
            return Doubted(f"two feeds differ, and nothing tells which is right: {_listed([one, other])}")
        last, seen_at = self._last, max(one.at, other.at)
        if self._apart_since is None:
            self._apart_since = seen_at
        near, far = sorted((one, other), key=lambda quote: _apart(quote.usd, last))
        if _apart(near.usd, last) > self._rules.jump_ratio:
            return Doubted(f"two feeds differ, both far from the last {last:.2f}: {_listed([one, other])}")
        if seen_at - self._apart_since >= self._rules.jump_confirm_s:
            return Doubted(f"two feeds differ and stay apart: {_listed([one, other])}")
        return _believed([near], [far])

    def _alone(self, only: Quote) -> Believed | Doubted:
        self._apart_since = None
        if self._last is None or _apart(only.usd, self._last) <= self._rules.jump_ratio:
            return _believed([only])
        goes_on = self._jump is not None and _apart(only.usd, self._jump.usd) <= self._rules.outlier_ratio
        if not goes_on:
            self._jump_since = only.at
        self._jump = only
        lasted_s = only.at - self._jump_since
        if lasted_s >= self._rules.jump_confirm_s:
            return _believed([only])
        return Doubted(
            f"{_listed([only])} is a jump from {self._last:.2f}: believed if it lasts "
            f"{self._rules.jump_confirm_s:.0f} s, so far {lasted_s:.0f}"
        )


def _believed(used: Sequence[Quote], left_out: Sequence[Quote] = ()) -> Believed:
    times = sorted((quote.at for quote in used), reverse=True)
    return Believed(
        usd=median(quote.usd for quote in used),
        at=times[len(times) // 2],
        used=tuple(quote.feed for quote in used),
        left_out=tuple(left_out),
    )


def _apart(one: float, other: float) -> float:
    """How far two prices are apart, as a share of the lower one: the same whichever comes first."""
    low, high = min(one, other), max(one, other)
    return high / low - 1 if low > 0 else math.inf


def _listed(quotes: Sequence[Quote]) -> str:
    return ", ".join(f"{quote.feed} {quote.usd:.2f}" for quote in quotes)
