"""The book of ticks: of every series the believed values that matter now or later; pure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from controller.validate import Refused, SeriesRule, check_tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ticks import Tick

CAPACITY: Final = 2_000
"""Ticks kept of one series: three weeks of quarter hours."""


class TickBook:
    """Holds, per series, the last good tick and those that will hold later.

    A series belongs to the source with the lowest rank that ever gave it: a tape ahead of the node keeps its difficulty to
    itself, also while it is silent. A tick that is not believed never displaces a good one.
    """

    def __init__(self, rules: Mapping[str, SeriesRule]) -> None:
        self._rules = rules
        self._ticks: dict[str, tuple[Tick, ...]] = {}
        self._rank: dict[str, int] = {}
        self._refusals: dict[str, str] = {}

    def copy(self) -> TickBook:
        """A book with the same ticks that can be written in without touching this one."""
        other = TickBook(self._rules)
        other._ticks = dict(self._ticks)
        other._rank = dict(self._rank)
        other._refusals = dict(self._refusals)
        return other

    def admit(self, ticks: Iterable[Tick], rank: int, now: float) -> tuple[list[Tick], list[Refused]]:
        """Take in what a source gave; returns the ticks that say something new, and the refused ones.

        An observation of a fact already known only renews its age.
        """
        news: list[Tick] = []
        refused: list[Refused] = []
        for tick in ticks:
            if rank > self._rank.get(tick.series, rank):
                continue
            verdict = check_tick(tick, self._rules, now)
            if isinstance(verdict, Refused):
                refused.append(verdict)
                self._refusals[tick.series] = verdict.why
                continue
            self._refusals.pop(tick.series, None)
            if rank < self._rank.get(tick.series, rank):
                self._ticks.pop(tick.series, None)
            self._rank[tick.series] = rank
            if self._put(tick, now):
                news.append(tick)
        return news, refused

    def ticks(self) -> Mapping[str, tuple[Tick, ...]]:
        """Of every series its ticks by the start of their validity; a snapshot that will not change."""
        return dict(self._ticks)

    def refusals(self) -> Mapping[str, str]:
        """Why the last value of a series was refused, of those without a good one since."""
        return dict(self._refusals)

    def _put(self, tick: Tick, now: float) -> bool:
        known = self._ticks.get(tick.series, ())
        before = current(known, now)
        if before is not None and _goes_on(before, tick, now):
            tick = replace(tick, valid_from=before.valid_from)
        is_news = not any(tick.same_fact(other) for other in known)
        kept = [other for other in known if other.valid_from != tick.valid_from]
        kept.append(tick)
        kept.sort(key=lambda each: each.valid_from)
        # Of what began in the past only the newest matters: it holds now, or is the last good one.
        begun = [index for index, each in enumerate(kept) if each.valid_from <= now]
        first = begun[-1] if begun else 0
        self._ticks[tick.series] = tuple(kept[first : first + CAPACITY])
        return is_news


def _goes_on(before: Tick, tick: Tick, now: float) -> bool:
    """Whether `tick` is the value in force, seen again: sources without intervals date every reading anew."""
    return (
        before.valid_from <= tick.valid_from <= now
        and before.valid_to == tick.valid_to == math.inf
        and (before.value, before.source) == (tick.value, tick.source)
    )


def current(ticks: Iterable[Tick], at: float) -> Tick | None:
    """The newest of these ticks (ordered by validity) that has begun at `at`; it may have ended since."""
    found = None
    for tick in ticks:
        if tick.valid_from > at:
            break
        found = tick
    return found
