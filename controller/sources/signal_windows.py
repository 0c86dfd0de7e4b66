"""What a source says of one signal, from when to when, as ticks that take back what no longer holds; does no input or output.

The book of ticks knows a signal's tick by its source and the start of its validity, and forgets none that may still matter. So a window
that goes away must be answered for by a tick of the same start, also after a restart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from controller.book import SIGNAL_MEMORY_S
from controller.signals import KW, PLAIN, SHORTEST_S
from controller.ticks import SIGNAL_PREFIX, Tick
from controller.validate import CLOCK_SKEW_S

if TYPE_CHECKING:
    from collections.abc import Iterable

TAKEN_BACK_S: Final = SHORTEST_S / 10
"""Validity of a tick that says that nothing holds from its start on."""

MOST_WINDOWS: Final = 500
"""Windows of one signal at most: a source that gives more is at fault."""


@dataclass(frozen=True, slots=True)
class Window:
    """A signal's time [start, stop), `stop` infinite where the end is not known; `cap_kw` is the limit where it sets one.

    Raises ValueError for what is no stretch of time, and for a limit that is none.
    """

    start: float
    stop: float
    cap_kw: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be obeyed."""
        if not math.isfinite(self.start):
            raise ValueError("a window needs a start")
        if not self.stop - self.start >= SHORTEST_S:
            raise ValueError("a window must end after it begins")
        if self.cap_kw is not None and not (math.isfinite(self.cap_kw) and self.cap_kw >= 0):
            raise ValueError(f"a limit must be zero kW or more, not {self.cap_kw:g}")

    def overlaps(self, other: Window) -> bool:
        """Whether both hold at some time."""
        return self.start < other.stop and other.start < self.stop


@runtime_checkable
class Restorable(Protocol):
    """A source of signals that has to know what an earlier run said: only then can it take it back."""

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from ticks of an earlier run, in the order they were recorded; those of other sources are passed over."""
        ...


class Timeline:
    """What is said of one signal, and what was said before that is still to be answered for."""

    def __init__(self, name: str, source: str) -> None:
        self.name: Final = name
        self._source = source
        self._windows: tuple[Window, ...] | None = None
        self._ticks: tuple[Tick, ...] = ()
        self._latest = -math.inf
        """The latest time at which anybody spoke or asked."""

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows that hold, will hold or ended lately; by start, none overlaps another."""
        return self._windows or ()

    def say(self, windows: Iterable[Window], now: float) -> None:
        """From `now` on these windows are all there are; what was said of the time before stays as it was.

        Where two overlap both hold: the lower limit counts.
        """
        self._keep_time(now)
        told = list(windows)
        if self._windows is not None:
            told = [*_clipped(self._windows, -math.inf, now), *_clipped(told, now, math.inf)]
        disjoint = _disjoint(told)
        newest = max((window.start for window in disjoint if window.start <= now), default=None)
        self._windows = tuple(
            window for window in disjoint if window.stop > now - SIGNAL_MEMORY_S or window.start == newest
        )
        self._ticks = self._said(now)

    def says(self, windows: Iterable[Window], since: float) -> bool:
        """Whether just these windows were said of the time from `since` on."""
        ours = _clipped(self.windows, since, math.inf)
        theirs = _disjoint(_clipped(windows, since, math.inf))
        return len(ours) == len(theirs) and all(map(_alike, ours, theirs))

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from ticks given before, in the order they were recorded: of those that begin together the last counts.

        Those of other signals and of other sources are passed over.
        """
        mine = (SIGNAL_PREFIX + self.name, self._source)
        last = {tick.valid_from: tick for tick in ticks if (tick.series, tick.source) == mine}
        if not last:
            return
        self._ticks = tuple(last[start] for start in sorted(last))
        self._windows = _disjoint(
            Window(tick.valid_from, tick.valid_to, tick.value if tick.unit == KW else None)
            for tick in self._ticks
            if tick.valid_to - tick.valid_from >= SHORTEST_S and (tick.unit == KW or tick.value > 0)
        )

    def ticks(self, now: float, *, seen_at: float | None = None) -> list[Tick]:
        """All that matters to a book of ticks at `now`; observed when they were first said, or at `seen_at`."""
        self._keep_time(now)
        newest = max((tick.valid_from for tick in self._ticks if tick.valid_from <= now), default=None)
        return [
            tick if seen_at is None else replace(tick, observed_at=seen_at)
            for tick in self._ticks
            if tick.valid_to > now - SIGNAL_MEMORY_S or tick.valid_from == newest
        ]

    def _keep_time(self, now: float) -> None:
        """After a clock was set back what was in force goes on from now, or it would be lifted until the clock has caught up."""
        before, self._latest = self._latest, now
        if now >= before - CLOCK_SKEW_S:
            return
        self._windows = _disjoint(
            each for window in self.windows if (each := _set_back(window, before, now)) is not None
        )
        self._ticks = tuple(replace(tick, observed_at=min(tick.observed_at, now)) for tick in self._ticks)
        self._ticks = self._said(now)

    def _said(self, now: float) -> tuple[Tick, ...]:
        """A tick for every window, and one for every start told before at which nothing begins any more."""
        before = {tick.valid_from: tick for tick in self.ticks(now)}
        windows = {window.start: window for window in self.windows}
        ticks = [
            self._tick(start, windows.get(start), now) for start in sorted(before.keys() | windows.keys())
        ]
        return tuple(_as_said(tick, before.get(tick.valid_from)) for tick in ticks)

    def _tick(self, start: float, window: Window | None, now: float) -> Tick:
        cap_kw = None if window is None else window.cap_kw
        return Tick(
            series=SIGNAL_PREFIX + self.name,
            value=1.0 if cap_kw is None else cap_kw,
            unit=PLAIN if cap_kw is None else KW,
            valid_from=start,
            valid_to=start + TAKEN_BACK_S if window is None else window.stop,
            observed_at=now,
            source=self._source,
        )


def _as_said(tick: Tick, before: Tick | None) -> Tick:
    """The tick, observed when it was first said."""
    if before is None or replace(tick, observed_at=before.observed_at) != before:
        return tick
    return before


def _set_back(window: Window, before: float, now: float) -> Window | None:
    """The window after the clock went from `before` back to `now`: what was in force is, what had ended has; what is later comes."""
    if window.start > before or (now < window.start and window.stop <= before):
        return window
    if window.stop > before:
        return replace(window, start=min(window.start, now))
    stop = min(window.stop, now)
    return replace(window, stop=stop) if stop - window.start >= SHORTEST_S else None


def _alike(one: Window, other: Window) -> bool:
    """Whether they differ by no more than rounding."""
    return (
        math.isclose(one.start, other.start, abs_tol=SHORTEST_S)
        and math.isclose(one.stop, other.stop, abs_tol=SHORTEST_S)
        and one.cap_kw == other.cap_kw
    )


def _clipped(windows: Iterable[Window], start: float, stop: float) -> list[Window]:
    """What of these windows lies in [start, stop)."""
    return [
        replace(window, start=max(window.start, start), stop=min(window.stop, stop))
        for window in windows
        if min(window.stop, stop) - max(window.start, start) >= SHORTEST_S
    ]


def _disjoint(windows: Iterable[Window]) -> tuple[Window, ...]:
    """The same time with the same limits, cut so that none overlaps another and joined where nothing changes."""
    given = sorted(windows, key=lambda window: window.start)
    times = sorted({at for window in given for at in (window.start, window.stop)})
    joined: list[Window] = []
    holding: list[Window] = []
    coming = iter(given)
    following = next(coming, None)
    for start, stop in pairwise(times):
        while following is not None and following.start <= start:
            holding.append(following)
            following = next(coming, None)
        holding = [window for window in holding if window.stop > start]
        if not holding:
            continue
        cap_kw = min((window.cap_kw for window in holding if window.cap_kw is not None), default=None)
        if joined and joined[-1].stop == start and joined[-1].cap_kw == cap_kw:
            joined[-1] = replace(joined[-1], stop=stop)
        elif stop - start >= SHORTEST_S:
            joined.append(Window(start, stop, cap_kw))
    return tuple(joined)
