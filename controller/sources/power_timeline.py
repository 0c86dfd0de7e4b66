"""From what several feeds say of the power price to one series of ticks: the best feed at each instant; pure.

A feed with prices for spans (a tariff, a day-ahead auction) holds in those spans. A feed that only says the price of the moment holds
while it is young; a lower feed that knows the time after it holds then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from controller.recent import QUARTER_S, held_until
from controller.sources.power_intervals import Interval, overlaid
from controller.ticks import POWER, UNITS, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MOST_TICKS: Final = 1_900
"""Ticks given at once: what the controller's book has room for."""
_WITHDRAWN_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Present:
    """The price of a kWh at the moment, without an end: the same since `since`, last seen at `seen_at`."""

    value: float
    since: float
    seen_at: float


@dataclass(frozen=True, slots=True)
class Quotes:
    """What a feed knows: prices per kWh in `currency`, by interval and of the moment.

    `complete` prices have adders and taxes in them already. `adds`: what it said before of times that it now says nothing of holds still.
    `problem` is what an operator should hear of, empty if all is well.
    """

    currency: str
    settled: tuple[Interval, ...] = ()
    present: Present | None = None
    complete: bool = False
    problem: str = ""
    adds: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A price in USD per kWh, everything included, that `source` gives for [start, end); `seen_at` None: a settled one."""

    start: float
    end: float
    value: float
    source: str
    seen_at: float | None = None


def _no_edges(_start: float, _end: float, /) -> Sequence[float]:
    """Where adders change when there are none."""
    return ()


def pieces_of(
    quotes: Quotes,
    source: str,
    price: Callable[[float, float], float],
    edges: Callable[[float, float], Sequence[float]] = _no_edges,
    known_from: float = -math.inf,
    known_to: float = math.inf,
) -> tuple[list[Piece], list[Piece]]:
    """A feed's prices, everything included: the settled ones, and those that follow from the price of the moment.

    `price(energy, at)` is the price paid when that energy costs so much at `at`. It may change at `edges(start, end)` only, which are
    known between `known_from` and `known_to`; prices of the time before are left out.
    """

    def cut(start: float, end: float, energy: float, seen_at: float | None) -> list[Piece]:
        start = max(start, known_from)
        if start >= end:
            return []
        starts = [start, *edges(start, min(end, known_to))]
        return [
            Piece(left, right, price(energy, left), source, seen_at)
            for left, right in zip(starts, [*starts[1:], end], strict=True)
        ]

    settled = [piece for each in quotes.settled for piece in cut(each.start, each.end, each.value, None)]
    now = quotes.present
    return settled, [] if now is None else cut(now.since, math.inf, now.value, now.seen_at)


def ranked(
    feeds: Sequence[tuple[Sequence[Piece], Sequence[Piece]]], now: float, max_age_s: float
) -> list[Piece]:
    """One series from the (settled, present) pieces of feeds, the best first: at each instant the first feed that knows.

    A price of the moment counts until it is too old. It has no end only where no feed knows anything of later.
    """
    layers: list[Piece] = []
    if not any(piece.end > now for settled, _ in feeds for piece in settled):
        for _, present in reversed(feeds):
            layers += present
    for settled, present in reversed(feeds):
        reach = [
            _clipped(piece, young_until(piece.seen_at, max_age_s))
            for piece in present
            if piece.seen_at is not None
        ]
        layers += [piece for piece in (*reach, *settled) if piece is not None]
    spans = [(piece.start, piece.end) for piece in layers]
    merged: list[Piece] = []
    for start, end, index in overlaid(spans):
        piece = replace(layers[index], start=start, end=end)
        if (
            merged
            and merged[-1].end == start
            and replace(merged[-1], end=end) == replace(piece, start=merged[-1].start)
        ):
            merged[-1] = replace(merged[-1], end=end)
        elif end > now:
            merged.append(piece)
    return merged


def last_of(
    feeds: Sequence[tuple[Sequence[Piece], Sequence[Piece]]], now: float, max_age_s: float
) -> tuple[int, Piece | None]:
    """How many of the feeds count where the first of them tells prices when they are over, and the one that stands for those not told yet.

    The first feed that knows a price of now, or had one lately, is the last that counts; None where it is of now.
    """
    for count, (settled, present) in enumerate(feeds, start=1):
        if knows(settled, present, now, max_age_s):
            return len(feeds), None
        over = [each for each in settled if each.end <= now < held_until(each.start, each.end)]
        if over:
            return count, max(over, key=lambda each: each.end)
    return len(feeds), None


def knows(settled: Sequence[Piece], present: Sequence[Piece], now: float, max_age_s: float) -> bool:
    """Whether a feed with these pieces knows the price of now."""
    return any(each.start <= now < each.end for each in settled) or any(
        each.start <= now < each.end
        and each.seen_at is not None
        and now < young_until(each.seen_at, max_age_s)
        for each in present
    )


def young_until(seen_at: float, max_age_s: float) -> float:
    """How long a price of the moment counts before lower feeds; at quarters of an hour, so that not each look moves it."""
    until = seen_at + max_age_s
    rounded = math.floor(until / QUARTER_S) * QUARTER_S
    return rounded if rounded > seen_at + max_age_s / 2 else until


def _goes_on(before: Tick | None, piece: Piece, now: float) -> bool:
    """Whether the piece is what was given before to hold now; who said it may have forgotten since when."""
    return (
        before is not None
        and before.holds_at(now)
        and (before.value, before.source) == (piece.value, piece.source)
    )


def _clipped(piece: Piece, end: float) -> Piece | None:
    return replace(piece, end=min(piece.end, end)) if piece.start < end else None


def restored(ticks: Iterable[Tick], max_age_s: float) -> dict[str, tuple[list[Piece], list[Piece]]]:
    """What ticks of an earlier run say, as the (settled, present) pieces of each source.

    Those of a price of the moment were all seen at once, and reach to where it was too old or have no end; what is told ahead does not,
    unless by chance, and then it makes no difference when it ends.
    """
    told: dict[str, list[Tick]] = {}
    for tick in ticks:
        if tick.valid_to - tick.valid_from > 2 * _WITHDRAWN_S:
            told.setdefault(tick.source, []).append(tick)
    found = {}
    for source, mine in told.items():
        seen_at, until = mine[0].observed_at, max(tick.valid_to for tick in mine)
        at_once = all(tick.observed_at == seen_at for tick in mine)
        is_present = at_once and until in {math.inf, young_until(seen_at, max_age_s)}
        pieces = [
            Piece(tick.valid_from, tick.valid_to, tick.value, source, seen_at if is_present else None)
            for tick in mine
        ]
        found[source] = ([], pieces) if is_present else (pieces, [])
    return found


class TickMemory:
    """Turns pieces into ticks for a book that replaces only ticks of the same start and never forgets a coming one.

    A start once given is given again for as long as it lies ahead, with what holds then. What was known to come keeps the time at
    which it was first known; what holds now is seen now. Without ticks restored the first look begins now: whatever the book still holds
    from an earlier run began before.
    """

    def __init__(self, series: str = POWER) -> None:
        self._series = series
        self._given: dict[float, Tick] = {}

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from what an earlier run gave."""
        self._given = {tick.valid_from: tick for tick in ticks}

    def ticks(
        self, pieces: Sequence[Piece], now: float, *, whole: bool = True, last: Piece | None = None
    ) -> list[Tick]:
        """All ticks from `now` on; `whole` says that every feed was heard, so that what no longer comes is withdrawn.

        `last` is a price that ended and stands for those not told yet: what another feed gave in its stead meanwhile is withdrawn wholly.
        """
        begun = max((start for start in self._given if start <= now), default=now)
        holding = self._given.get(begun)
        coming = sorted(start for start in self._given if start > now)
        found: list[Tick] = []
        for piece in pieces:
            if piece.end <= now:
                continue
            first = piece.start
            if piece.start <= now:
                first = begun if _goes_on(holding, piece, now) else max(piece.start, begun)
            starts = [first, *(start for start in coming if first < start < piece.end)]
            ends = [*starts[1:], piece.end]
            found += [self._tick(piece, *span, now) for span in zip(starts, ends, strict=True)]
        found = found[:MOST_TICKS]
        if last is not None:
            found += [
                replace(tick, valid_to=start + _WITHDRAWN_S, observed_at=now)
                for start, tick in self._given.items()
                if last.start < start <= now < tick.valid_to
            ]
            found.append(self._tick(last, last.start, last.end, now))
        if whole:
            found += self._withdrawn(found, begun, now)
        missing = {start: tick for start, tick in self._given.items() if start >= begun}
        self._given = {**missing, **{tick.valid_from: tick for tick in found}}
        return sorted(found, key=lambda tick: tick.valid_from)

    def _withdrawn(self, found: Sequence[Tick], begun: float, now: float) -> list[Tick]:
        """The ticks that end what was given and is told no longer: of the same start, so that the book takes them instead."""
        starts = {tick.valid_from for tick in found}
        ended = []
        for start, tick in self._given.items():
            if start > now and start not in starts:
                ended.append(replace(tick, valid_to=start + _WITHDRAWN_S, observed_at=now))
            elif start == begun and tick.holds_at(now) and not any(each.holds_at(now) for each in found):
                ended.append(replace(tick, valid_to=max(now, start + _WITHDRAWN_S), observed_at=now))
        return ended

    def _tick(self, piece: Piece, start: float, end: float, now: float) -> Tick:
        seen_at = now if piece.seen_at is None else piece.seen_at
        tick = Tick(self._series, piece.value, UNITS[self._series], start, end, seen_at, piece.source)
        known = self._given.get(start)
        if piece.seen_at is None and start > now and known is not None and tick.same_fact(known):
            return known
        return tick
