"""Signals known by heart: windows at hours of the week, and at given times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from controller.sources.signal_windows import Timeline, Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.sources.power_tariff import Tariff
    from controller.ticks import Tick

DAY_S: Final = 86_400.0
AHEAD_S: Final = 2 * DAY_S
"""Told at least so far ahead, to the end of a UTC day: more than a plan looks ahead by default."""


class SignalSchedule:
    """The source of one signal: in force where `hours` has a value, the limit in kW if `limits`, and in the `fixed` windows.

    `ahead_s` is how far ahead it tells.
    """

    def __init__(
        self,
        name: str,
        *,
        hours: Tariff | None = None,
        fixed: Iterable[Window] = (),
        limits: bool = False,
        ahead_s: float = AHEAD_S,
    ) -> None:
        self.name = f"schedule {name}"
        self._hours = hours
        self._fixed = tuple(fixed)
        self._limits = limits
        self._ahead_s = ahead_s
        self._timeline = Timeline(name, self.name)
        self._told_to = -math.inf

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from ticks of an earlier run, so that a window that was taken out of the configuration ends."""
        self._timeline.restore(ticks)

    async def read(self, now: float) -> list[Tick]:
        """The windows in force or to come, and the last one before."""
        # The same end all day long: a window that reaches over it would else have another end at each look.
        end = math.ceil((now + self._ahead_s) / DAY_S) * DAY_S
        if end != self._told_to:
            self._timeline.say([*self._recurring(now - DAY_S, end), *self._fixed], now)
            self._told_to = end
        return self._timeline.ticks(now, seen_at=now)

    def _recurring(self, start: float, end: float) -> list[Window]:
        if self._hours is None:
            return []
        return [
            Window(each.start, each.end, each.value if self._limits else None)
            for each in self._hours.intervals(start, end)
        ]
