"""Whole units on paths under a site cap: floor a mixture, place those left over, take units out and put them back better; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.planner_sums import dot, weighted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.planner_columns import Columns
    from controller.planner_master import Mixture
    from controller.program import Program, Within

ALMOST: Final = 1e-9
"""By how much a number of units may be short of a whole one and still be it."""
TIGHTENINGS: Final = 12
"""How often a path that breaks its dwell for want of room is sought again with less room."""
BLOCKS: Final = 4
"""Different paths that the units of one class are moved to in one go."""
GAIN: Final = 1e-12
"""A better path is better by this part of what it is worth, else rounding would move units about for ever."""


class Placement:
    """So many units on each column, and the room they leave in each slot (infinite where there is no cap).

    `least` is, per class, the column of the path that draws least: units not placed yet are reserved so much, so that
    each of them has a path that keeps its dwell and the cap.
    """

    def __init__(
        self, program: Program, columns: Columns, room_kw: NDArray[np.float64], least: NDArray[np.intp]
    ) -> None:
        self.program = program
        self.columns = columns
        self.room_kw = room_kw.copy()
        self.units: dict[int, int] = {}
        self._least = least
        self._free = np.zeros(len(room_kw))

    def put(self, number: int, units: int) -> None:
        """Let so many units take a column; fewer than nothing takes them off it."""
        now = self.units.get(number, 0) + units
        if now:
            self.units[number] = now
        else:
            self.units.pop(number, None)
        self.room_kw -= units * self.columns.kw[number]

    def missing(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many units of each class have no column yet."""
        missing = counts.copy()
        for number, units in self.units.items():
            missing[self.columns.owner[number]] -= units
        return missing

    def emptied(self, room_kw: NDArray[np.float64]) -> Placement:
        """The same classes and columns with nobody placed, and so much room."""
        return Placement(self.program, self.columns, room_kw, self._least)

    def put_all(self, numbers: NDArray[np.intp], units: NDArray[np.int64]) -> None:
        """`put` many at once."""
        for number, count in zip(numbers.tolist(), units.tolist(), strict=True):
            if count:
                self.units[number] = self.units.get(number, 0) + count
        self.room_kw -= weighted(units, self.columns.kw[numbers])

    @property
    def value_usd(self) -> float:
        """What all placed units earn."""
        worth = self.columns.worth_usd
        return math.fsum(count * float(worth[number]) for number, count in self.units.items())

    @property
    def load_kw(self) -> NDArray[np.float64]:
        """What all placed units draw in each slot."""
        numbers = np.array(sorted(self.units), dtype=np.intp)
        units = np.array([self.units[number] for number in numbers.tolist()], dtype=np.float64)
        return weighted(units, self.columns.kw[numbers])

    @property
    def over_kw(self) -> float:
        """By how much the cap is exceeded at worst."""
        return max(0.0, -float(self.room_kw.min(initial=0.0)))

    def fill(self, counts: NDArray[np.int64], prices: NDArray[np.float64]) -> None:
        """Place every unit that has no column yet, one by one, each where it earns most at these prices."""
        missing = self.missing(counts)
        waiting = np.flatnonzero(missing)
        least_kw = self.columns.kw[self._least[waiting]]
        self.room_kw -= weighted(missing[waiting], least_kw)
        for at, owner in enumerate(waiting.tolist()):
            for _ in range(int(missing[owner])):
                self.room_kw += least_kw[at]
                self.put(self._path_within(owner, prices), 1)

    def squeeze(self, wanted_kw: NDArray[np.float64]) -> list[int]:
        """Make that much room, by units on the path that draws least: in the worst slot first, there who draws most beyond it.

        Returns the columns that units were put on; they may do better where room is left in the end.
        """
        columns = self.columns
        squeezed: dict[int, None] = {}
        for _ in range(len(self.room_kw)):
            short_kw = wanted_kw - self.room_kw
            worst = int(short_kw.argmax())
            if short_kw[worst] <= 0:
                break
            numbers = np.array(sorted(self.units), dtype=np.intp)
            least = self._least[columns.owner[numbers]]
            relief_kw = columns.kw[numbers, worst] - columns.kw[least, worst]
            for at in np.argsort(-relief_kw, kind="stable").tolist():
                short = float(wanted_kw[worst] - self.room_kw[worst])
                if short <= 0 or relief_kw[at] <= 0:
                    break
                number = int(numbers[at])
                units = min(self.units[number], math.ceil(short / float(relief_kw[at])))
                self.put(number, -units)
                self.put(int(least[at]), units)
                squeezed[int(least[at])] = None
        return list(squeezed)

    def improve(self, numbers: Sequence[int], prices: NDArray[np.float64]) -> bool:
        """Units of these columns, class by class, to a path that the room allows and that earns more at these prices.

        As many units at once as there is room for; False if none moved.
        """
        moved = False
        for number in numbers:
            for _ in range(BLOCKS):
                if number not in self.units or not self._move(number, prices):
                    break
                moved = True
        return moved

    def swap(self, pairs: Sequence[tuple[int, int]], prices: NDArray[np.float64]) -> bool:
        """Two units at a time off their columns, then back one after the other; kept where both earn more. False if none did.

        The first is placed at these prices, so that it leaves room where it is worth most; the second takes what is left.
        """
        moved = False
        for first, second in pairs:
            if self.units.get(first, 0) < 1 + (first == second) or second not in self.units:
                continue
            before = self.columns.worth_usd[[first, second]].sum()
            owners = [int(owner) for owner in self.columns.owner[[first, second]]]
            self.put(first, -1)
            self.put(second, -1)
            one = self._path_within(owners[0], prices, extra_kw=-self.columns.kw[self._least[owners[1]]])
            self.put(one, 1)
            other = self._path_within(owners[1], self._free)
            if self.columns.worth_usd[[one, other]].sum() > before + GAIN * abs(before):
                self.put(other, 1)
                moved = True
                continue
            self.put(one, -1)
            self.put(first, 1)
            self.put(second, 1)
        return moved

    def _move(self, number: int, prices: NDArray[np.float64]) -> bool:
        """One block of units from a column to a better one."""
        columns, program = self.columns, self.program
        here_kw = columns.kw[number].copy()
        cost = prices * program.hours
        owner = int(columns.owner[number])
        new = self._path_within(owner, prices, extra_kw=here_kw)
        if new == number:
            return False
        here = float(columns.worth_usd[number] - dot(cost, here_kw))
        there = float(columns.worth_usd[new] - dot(cost, columns.kw[new]))
        if there <= here + GAIN * abs(here):
            return False
        more_kw = columns.kw[new] - here_kw
        rising = more_kw > 0
        units = self.units[number]
        if rising.any():
            ratio = (self.room_kw[rising] + ALMOST) / more_kw[rising]
            units = max(1, min(units, math.floor(min(float(ratio.min()), float(units)) + ALMOST)))
        self.put(number, -units)
        self.put(new, units)
        return True

    def _path_within(
        self, owner: int, prices: NDArray[np.float64], extra_kw: NDArray[np.float64] | float = 0.0
    ) -> int:
        """The column of the best path in the room there is, that keeps what the class must keep."""
        room = self.room_kw + extra_kw
        for _ in range(TIGHTENINGS):
            found = self.program.best_within(owner, room, prices)
            if found.allowed_waived or (found.over_kw > ALMOST * (1 + np.abs(room))).any():
                break
            if not found.dwell_waived:
                return int(self.columns.add(found, np.array([owner], dtype=np.intp))[0])
            room = _without_broken_stretches(found, room)
        return int(self._least[owner])


def _without_broken_stretches(found: Within, room_kw: NDArray[np.float64]) -> NDArray[np.float64]:
    """No room in the stretches that would end too early, so that a unit does not begin what it cannot keep up."""
    room_kw = room_kw.copy()
    running = found.modes[0] > 0
    for stop in found.dwell_waived:
        at = stop - 1
        while at >= 0 and running[at] != running[stop]:
            at -= 1
        room_kw[at + 1 : stop] = np.minimum(room_kw[at + 1 : stop], 0.0)
    return room_kw


def floored(mixture: Mixture) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The columns of a mixture that at least one whole unit takes, and how many do."""
    units = np.floor(mixture.units + ALMOST).astype(np.int64)
    used = np.flatnonzero(units)
    return mixture.numbers[used], units[used]
