"""The planner's dynamic program once more, in numpy, step by step as controller/program.py says it in words.

It shares nothing with native/plan.c but the prices, gains and limits of a program, and sums in the same order: tests hold the kernel
to its bits, and the bench says how many times faster the kernel is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from controller.economics import SECONDS_PER_HOUR
from controller.program import Paths, dwell_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.program import Program


def best(program: Program, prices: NDArray[np.float64]) -> Paths:
    """What `program.best(prices)` has to find."""
    found = [
        Reference(program, index, prices, program.allowed(index)).solve()
        for index in range(len(program.classes))
    ]
    shape = (len(found), len(program.slots))
    return Paths(
        np.array([each.value_usd for each in found], dtype=np.float64),
        np.array([each.worth_usd for each in found], dtype=np.float64),
        np.array([each.modes for each in found], dtype=np.uint8).reshape(shape),
        np.array([each.kw for each in found], dtype=np.float64).reshape(shape),
    )


@dataclass(frozen=True)
class Path:
    """One path: its value with and without prices, its modes, their power, and where it changes sides although held."""

    value_usd: float
    worth_usd: float
    modes: list[int]
    kw: list[float]
    early: list[bool]


class Reference:
    """One class: gains and costs per slot and mode, then the values of every state, then the walk."""

    def __init__(
        self, program: Program, index: int, prices: NDArray[np.float64], allowed: NDArray[np.bool_]
    ) -> None:
        self.program = program
        self.each = program.classes[index]
        unit = self.each.unit
        self.slots = len(program.slots)
        self.th = np.array([mode.th_s for mode in unit.curve.modes])
        self.kw = program.kw(index)
        self.own = self._gains(program.power)
        self.gains = self._gains(program.power + prices)
        self.open = np.where(allowed, self.gains, -np.inf)
        self.can_off, self.can_on = allowed[:, 0], allowed[:, 1:].any(axis=1)
        lost = program.usd_per_th_hour
        self.start = (lost * (unit.restart_s / SECONDS_PER_HOUR))[:, None] * self.th + unit.wear_usd
        self.change = (lost * (unit.change_s / SECONDS_PER_HOUR))[:, None] * self.th
        self.held_on, self.held_off = self._held(unit.min_on_s), self._held(unit.min_off_s)
        self.counted = self.each.starts_left is not None or unit.starts_per_day is not None
        self.days = self._days()
        self.left = min(self.each.dwell_left, self.slots) if self.each.standing_mode is not None else 0

    def _gains(self, usd_per_kwh: NDArray[np.float64]) -> NDArray[np.float64]:
        program, standing = self.program, self.each.standing_mode
        gains = program.usd_per_th[:, None] * self.th - (usd_per_kwh * program.hours)[:, None] * self.kw
        if standing is not None and len(gains):
            gains[0] -= program.dead_band * abs(program.usd_per_th[0]) * np.abs(self.th - self.th[standing])
        if self.each.worth_usd:
            gains[program.worth_slot] += np.array(self.each.worth_usd)
        return gains

    def _held(self, dwell_s: float) -> list[int]:
        """Slots a unit is held after the one in which it changed sides."""
        return [max(dwell_slots(self.program.slots, dwell_s, at) - 1, 0) for at in range(self.slots)]

    def _days(self) -> list[int | None]:
        """The starts that the day of a slot begins with, None inside a day; for no limit more than there is room for."""
        if not self.counted:
            return [None] * self.slots
        days = [slot.day for slot in self.program.slots]
        limits: list[int | None] = []
        for at, day in enumerate(days):
            if at and day == days[at - 1]:
                limits.append(None)
                continue
            limit = self.each.unit.starts_per_day
            if at == 0 and self.each.starts_left is not None:
                limit = self.each.starts_left
            until = next((k for k in range(at, len(days)) if days[k] != day), len(days))
            limits.append(until - at if limit is None else max(0, min(limit, until - at)))
        return limits

    def _begun(self, at: int, level: int) -> int:
        """The starts left in slot `at` of who had `level` at the end of the slot before."""
        limit = self.days[at] if at < self.slots else None
        return level if limit is None else limit

    def _started(self, at: int, level: int) -> NDArray[np.float64]:
        then = self._begun(at + 1, max(level - 1, 0))
        return (self.open[at, 1:] + self.on[at + 1, then, self.held_on[at]]) - self.start[at, 1:]

    def solve(self) -> Path:
        """The best path."""
        levels = max((limit for limit in self.days if limit is not None), default=0) + 1
        self.on_rows = max([*self.held_on, self.left], default=0) + 1
        self.off_rows = max([*self.held_off, self.left], default=0) + 1
        self.on = np.zeros((self.slots + 1, levels, self.on_rows, len(self.th) - 1))
        self.off = np.zeros((self.slots + 1, levels, self.off_rows))
        for at in reversed(range(self.slots)):
            for level in range(levels):
                self._value(at, level)
        return self._walk()

    def _value(self, at: int, level: int) -> None:
        then = self._begun(at + 1, level)
        stop = self.open[at, 0] + self.off[at + 1, then, self.held_off[at]]
        start = self._started(at, level).max()
        for row in range(self.on_rows):
            stay = self.open[at, 1:] + self.on[at + 1, then, max(row - 1, 0)]
            most = np.maximum(stay, (stay - self.change[at, 1:]).max())
            self.on[at, level, row] = np.maximum(most, stop) if row == 0 or not self.can_on[at] else most
        for row in range(self.off_rows):
            rest = self.open[at, 0] + self.off[at + 1, then, max(row - 1, 0)]
            may = not self.can_off[at] or (row == 0 and (level > 0 or not self.counted))
            self.off[at, level, row] = max(rest, start) if may else rest

    def _choices(self, at: int, before: int | None, row: int, level: int) -> NDArray[np.float64]:
        """The value of every mode in slot `at` for who comes from `before`."""
        then, after = self._begun(at + 1, level), max(row - 1, 0)
        value = np.full(len(self.th), -np.inf)
        if before is None or before > 0:
            value[1:] = self.open[at, 1:] + self.on[at + 1, then, after]
        if before is None or before == 0:
            value[0] = self.open[at, 0] + self.off[at + 1, then, after]
        if before is not None and before > 0:
            value[1:] -= np.where(np.arange(1, len(value)) == before, 0.0, self.change[at, 1:])
            if row == 0 or not self.can_on[at]:
                value[0] = self.open[at, 0] + self.off[at + 1, then, self.held_off[at]]
        if before == 0 and (not self.can_off[at] or (row == 0 and (level > 0 or not self.counted))):
            value[1:] = self._started(at, level)
        return value

    def _walk(self) -> Path:
        modes: list[int] = []
        early: list[bool] = []
        before, row, level = self.each.standing_mode, self.left, self._begun(0, 0)
        value_usd = worth_usd = 0.0
        for at in range(self.slots):
            choices = self._choices(at, before, row, level)
            mode = int(choices.argmax())
            if before is not None and choices[before] == choices[mode]:
                mode = before
            crosses = before is not None and (mode > 0) != (before > 0)
            cost = 0.0
            if before is not None and mode not in {0, before}:
                cost = float(self.start[at, mode] if before == 0 else self.change[at, mode])
            value_usd += float(self.gains[at, mode]) - cost
            worth_usd += float(self.own[at, mode]) - cost
            early.append(crosses and row > 0)
            if crosses:
                row = self.held_on[at] if mode else self.held_off[at]
                level = max(level - 1, 0) if mode else level
            else:
                row = max(row - 1, 0)
            level = self._begun(at + 1, level)
            modes.append(mode)
            before = mode
        return Path(value_usd, worth_usd, modes, _picked(self.kw, modes), early)


def _picked(kw: NDArray[np.float64], modes: Sequence[int]) -> list[float]:
    return [float(kw[mode]) for mode in modes]
