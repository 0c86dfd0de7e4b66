"""Signals that are posted to us: announced, changed and ended from outside, by the API's webhook."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from controller.signals import SHORTEST_S
from controller.sources.signal_windows import MOST_WINDOWS, Timeline, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from controller.ticks import Tick


class SignalInbox:
    """The source of the signals in `names`: what was posted of each, durable before it counts.

    `record(ticks)` returns when the ticks are durable and raises what the ledger raises: then nothing has changed. `on_change()` is
    called after each change, so that nobody waits for the next tick to obey it.
    """

    def __init__(
        self,
        names: Iterable[str],
        record: Callable[[Sequence[Tick]], Awaitable[None]],
        *,
        on_change: Callable[[], None] = lambda: None,
        name: str = "webhook",
    ) -> None:
        self.name = name
        self._timelines = {each: Timeline(each, name) for each in names}
        self._record = record
        self._on_change = on_change
        self._changing = asyncio.Lock()

    @property
    def names(self) -> frozenset[str]:
        """The signals that may be posted."""
        return frozenset(self._timelines)

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from ticks of an earlier run, in the order they were recorded; those of other signals are passed over."""
        given = list(ticks)
        for timeline in self._timelines.values():
            timeline.restore(given)

    def windows(self, name: str) -> tuple[Window, ...]:
        """The windows of a signal that hold or will hold, and the last ones before. Raises KeyError for an unknown signal."""
        return self._timelines[name].windows

    async def post(self, name: str, window: Window, now: float) -> tuple[Window, ...]:
        """Announce a window: what it overlaps of the same signal gives way to it. Returns the windows from `now` on.

        Raises KeyError for an unknown signal, ValueError for a window that is over or one too many.
        """
        if window.stop <= now:
            raise ValueError("it is over already")
        window = replace(window, start=max(window.start, now))
        async with self._changing:
            others: list[Window] = []
            for each in self._coming(name, now):
                if not each.overlaps(window):
                    others.append(each)
                elif window.start - each.start >= SHORTEST_S:
                    others.append(replace(each, stop=window.start))
            if len(others) >= MOST_WINDOWS:
                raise ValueError(f"there are {len(others)} windows of this signal already: end some first")
            await self._say(name, [*others, window], now)
        return self._coming(name, now)

    async def end(self, name: str, now: float) -> bool:
        """End a signal and take back what of it was announced; False where there was nothing. Raises KeyError."""
        async with self._changing:
            if not self._coming(name, now):
                return False
            await self._say(name, [], now)
        return True

    async def read(self, now: float) -> list[Tick]:
        """The windows in force or to come, and the last one of each signal for its ramp."""
        return [tick for timeline in self._timelines.values() for tick in timeline.ticks(now)]

    def _coming(self, name: str, now: float) -> tuple[Window, ...]:
        return tuple(window for window in self._timelines[name].windows if window.stop > now)

    async def _say(self, name: str, windows: list[Window], now: float) -> None:
        before = self._timelines[name]
        draft = copy(before)
        draft.say(windows, now)
        known = before.ticks(now)
        await self._record([tick for tick in draft.ticks(now) if tick not in known])
        self._timelines[name] = draft
        self._on_change()
