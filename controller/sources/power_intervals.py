"""Prices by interval: half-open spans of UTC, put in order, the newer over the older, holes named; pure."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from controller.recent import held_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_NAMED: Final = 3
"""Holes named in one sentence; the others are counted."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A price of a kWh that holds in [start, end), UTC unix seconds; `end` is infinite where it holds for ever."""

    start: float
    end: float
    value: float

    def __post_init__(self) -> None:
        """Refuse what holds at no time, and what is no number."""
        if not (math.isfinite(self.start) and self.start < self.end):
            raise ValueError(f"the interval from {utc(self.start)} to {utc(self.end)} is empty")
        if not math.isfinite(self.value):
            raise ValueError(f"the price from {utc(self.start)} on is no finite number")


def utc(at: float) -> str:
    """A time in UTC as people read it."""
    if not abs(at) < 1e11:  # noqa: PLR2004 - the year 5138: what lies beyond is no time
        return "?" if math.isnan(at) else "for ever"
    return f"{datetime.fromtimestamp(at, tz=UTC):%Y-%m-%d %H:%M:%SZ}".replace(":00Z", "Z")


def overlaid(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float, int]]:
    """Which span is on top when: (start, end, index) by time, without overlaps; a later span covers an earlier one."""
    by_start = sorted(range(len(spans)), key=lambda index: spans[index][0])
    edges = sorted({edge for span in spans for edge in span})
    on_top: list[int] = []
    pieces: list[tuple[float, float, int]] = []
    position = 0
    for left, right in pairwise(edges):
        while position < len(by_start) and spans[by_start[position]][0] <= left:
            heapq.heappush(on_top, -by_start[position])
            position += 1
        while on_top and spans[-on_top[0]][1] <= left:
            heapq.heappop(on_top)
        if not on_top:
            continue
        index = -on_top[0]
        if pieces and pieces[-1][1:] == (left, index):
            pieces[-1] = (pieces[-1][0], right, index)
        else:
            pieces.append((left, right, index))
    return pieces


def tidy(found: Sequence[Interval]) -> tuple[Interval, ...]:
    """The same prices by time and without overlaps: where two hold at once, the one given later is the revision and wins."""
    ordered = sorted(found, key=lambda each: each.start)
    if all(before.end <= after.start for before, after in pairwise(ordered)):
        return tuple(ordered)
    pieces = overlaid([(each.start, each.end) for each in found])
    return tuple(Interval(start, end, found[index].value) for start, end, index in pieces)


def joined(found: Iterable[Interval]) -> tuple[Interval, ...]:
    """Intervals by time with neighbours of the same price made one."""
    pieces: list[Interval] = []
    for each in found:
        if pieces and pieces[-1].end == each.start and pieces[-1].value == each.value:
            pieces[-1] = Interval(pieces[-1].start, each.end, each.value)
        else:
            pieces.append(each)
    return tuple(pieces)


def from_starts(
    points: Iterable[tuple[float, float | None]], step_s: float | None = None
) -> tuple[Interval, ...]:
    """Intervals of which only the starts are given: each lasts to the next start, but no longer than the usual step.

    None is a price that is not known. `step_s` is the step where it is known beforehand; with neither it nor a second point
    nothing tells how long the price holds: ValueError. Of points with the same start the last counts.
    """
    by_start = dict(points)
    if not by_start:
        return ()
    ordered = sorted(by_start)
    steps = Counter(later - earlier for earlier, later in pairwise(ordered))
    if step_s is None and not steps:
        raise ValueError("a single interval without an end: how long it holds is not known")
    # Of steps that are equally usual the shortest: a hole is never taken for an interval.
    usual = step_s or min(steps, key=lambda step: (-steps[step], step), default=math.inf)
    found = []
    for start, following in zip(ordered, [*ordered[1:], math.inf], strict=True):
        value = by_start[start]
        if value is not None:
            found.append(Interval(start, min(following, start + usual), value))
    return tuple(found)


def given_at(known: Sequence[Interval], now: float, *, late: bool) -> tuple[Interval, ...]:
    """Those that hold now or later, and where they are told `late`, those that may still be the last ones known."""
    if late:
        return tuple(each for each in known if held_until(each.start, each.end) > now)
    return tuple(each for each in known if each.end > now)


def holes(known: Sequence[Interval], start: float) -> list[tuple[float, float]]:
    """Spans after `start` in which nothing is known though something is known later; `known` as `tidy` gives it."""
    ahead = [each for each in known if each.end > start]
    if not ahead:
        return []
    first = [(start, ahead[0].start)] if ahead[0].start > start else []
    return first + [(a.end, b.start) for a, b in pairwise(ahead) if a.end < b.start]


def holes_text(found: Sequence[tuple[float, float]]) -> str:
    """The holes in words, empty without any."""
    if not found:
        return ""
    named = ", ".join(f"from {utc(start)} to {utc(end)}" for start, end in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more times" if len(found) > MOST_NAMED else ""
    return f"no price is known {named}{more}"
