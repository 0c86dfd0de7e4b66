"""A fleet of many classes under a cap, as of units that all differ: prices that move from one part of the fleet to the next; pure.

Classes are put in order of their efficiency and dealt out to parts, so that each part is like the whole. One part after the other
takes its best paths, and each time the prices move by how far the part's load is from its share of the cap. What all parts draw together
then differs from the cap by no more than the prices moved from the first part to the last, which is little: a mixture comes of itself,
without a master. The mean of the prices gives the bound. A few classes are kept for last and mixed exactly into the room left for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.economics import W_PER_KW
from controller.planner_columns import Columns
from controller.planner_mixture import mix, place
from controller.planner_prices import Dual
from controller.planner_rounding import Placement
from controller.planner_sums import dot, weighted
from controller.program import Paths, Program

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS: Final = 80
LEAST_PART: Final = 4
"""Classes in a part, at least."""
SWEEPS: Final = 6
GAIN: Final = 1.6
"""By how much of themselves prices move for a load that misses its share by all that the part could draw."""
LEAST_PRICE: Final = 0.02
"""Of what a kWh earns: prices are taken to be of this size where they are next to nothing."""
EVEN: Final = 0.02
"""A part's share of the cap goes by what it drew before and, by so much, by what it could draw."""
IDLE: Final = 2e-4
"""Of the whole worth: power with a price that nobody takes."""
GIVEN: Final = 0.4
"""Of what the last classes draw above their least: so much may be over the cap when they are mixed in."""
LAST_CLASSES: Final = 160
LAST_CLOSE: Final = 5e-4
"""Of the last classes' own worth: they are a small part of all."""


@dataclass
class _Fleet:
    """The paths all classes are on, and prices that move along as parts of them choose anew."""

    dual: Dual
    prices: NDArray[np.float64]
    paths: Paths
    size_usd_per_kwh: float

    def sweep(self, parts: list[NDArray[np.intp]]) -> NDArray[np.float64]:
        """Every part once, in turn; the mean of the prices in the second half."""
        dual, program = self.dual, self.dual.program
        full_kw = program.curves.full_watts / W_PER_KW
        load_kw = weighted(dual.counts, self.paths.kw)
        all_full_kw = dot(dual.counts, full_kw)
        size = max(float(self.prices[dual.capped].mean()), self.size_usd_per_kwh)
        step = GAIN * size / all_full_kw * len(parts)
        share = dual.cap_kw / (load_kw + EVEN * all_full_kw)
        total = np.zeros(len(load_kw))
        for at, part in enumerate(parts):
            counts = dual.counts[part]
            drew = weighted(counts, self.paths.kw[part]) + EVEN * dot(counts, full_kw[part])
            found = program.best(self.prices, of=part)
            self._take(part, found)
            moved = self.prices + step * (weighted(counts, found.kw) - drew * share)
            self.prices = np.where(dual.capped, np.maximum(moved, 0.0), 0.0)
            total += self.prices if at >= (len(parts) + 1) // 2 else 0.0
        return total / (len(parts) - (len(parts) + 1) // 2)

    def _take(self, part: NDArray[np.intp], found: Paths) -> None:
        self.paths.value_usd[part] = found.value_usd
        self.paths.worth_usd[part] = found.worth_usd
        self.paths.modes[part] = found.modes
        self.paths.kw[part] = found.kw

    def is_even(self, prices: NDArray[np.float64], give_kw: NDArray[np.float64]) -> bool:
        """Whether next to nothing of what has a price is left over, and no more is over the cap than the last can give."""
        dual = self.dual
        over_kw = np.where(dual.capped, weighted(dual.counts, self.paths.kw) - dual.cap_kw, 0.0)
        idle_usd = dot(prices * dual.program.hours, np.maximum(-over_kw, 0.0))
        fits = (over_kw <= give_kw)[dual.capped].all()
        return bool(fits and idle_usd <= IDLE * dual.size_usd)


def place_many(
    dual: Dual, columns: Columns, start: NDArray[np.float64], room_kw: NDArray[np.float64], least: Paths
) -> Placement:
    """Every unit on a path, none over the cap; the dual then has the bound and the prices."""
    program = dual.program
    order = _by_efficiency(program)
    parts = [order[at :: _parts(len(order))] for at in range(_parts(len(order)))]
    look = dual.look(start)
    fleet = _Fleet(dual, look.prices, look.paths, _least_price(program))
    last = np.sort(order[:: math.ceil(len(order) / LAST_CLASSES)])
    prices = look.prices
    for _ in range(SWEEPS):
        prices = fleet.sweep(parts)
        give_kw = weighted(dual.counts[last], fleet.paths.kw[last] - least.kw[last])
        if fleet.is_even(prices, GIVEN * give_kw):
            break
    dual.look(prices)
    everyone = np.arange(len(order), dtype=np.intp)
    reserve = columns.add(least, everyone)
    numbers = columns.add(fleet.paths, everyone)
    placed = Placement(program, columns, room_kw, reserve)
    placed.put_all(numbers, dual.counts.astype(np.int64))
    for index in last.tolist():
        placed.put(int(numbers[index]), -int(dual.counts[index]))
    squeezed = placed.squeeze(weighted(dual.counts[last], least.kw[last]))
    _mix_in(placed, dual, last, least, prices)
    placed.improve(squeezed, np.zeros(len(room_kw)))
    return placed


def _mix_in(
    placed: Placement, dual: Dual, last: NDArray[np.intp], least: Paths, prices: NDArray[np.float64]
) -> None:
    """Place the classes kept for last, as a fleet of their own, in the room that all others left."""
    program = dual.program
    room_kw = placed.room_kw.copy()
    part = program.of_classes([program.classes[index] for index in last.tolist()])
    part_least = Paths(least.value_usd[last], least.worth_usd[last], least.modes[last], least.kw[last])
    inner = Dual(part, part.count, room_kw, Columns(len(room_kw)))
    mixture = mix(inner, prices, part_least, warm=True, close=LAST_CLOSE)
    done = place(inner, mixture, np.where(inner.capped, room_kw, np.inf), part_least, search=False)
    theirs = done.columns
    for number in sorted(done.units):
        taken = slice(number, number + 1)
        path = Paths(theirs.worth_usd[taken], theirs.worth_usd[taken], theirs.modes[taken], theirs.kw[taken])
        owner = last[theirs.owner[taken]]
        placed.put(int(placed.columns.add(path, owner)[0]), done.units[number])


def _parts(classes: int) -> int:
    return max(1, min(PARTS, classes // LEAST_PART))


def _by_efficiency(program: Program) -> NDArray[np.intp]:
    """The classes from the thriftiest to the hungriest, of equals those that stand off first."""
    curves = program.curves
    standing = np.array([each.standing_mode or 0 for each in program.classes])
    return np.lexsort((np.arange(len(standing)), standing, curves.full_watts / curves.full_th_s))


def _least_price(program: Program) -> float:
    curves = program.curves
    th_s_per_kw = float(curves.full_th_s.sum() / curves.full_watts.sum()) * W_PER_KW
    return LEAST_PRICE * float(program.usd_per_th_hour.mean()) * th_s_per_kw
