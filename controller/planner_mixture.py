"""A fleet of some classes under a cap: prices, a short master over the paths they brought, whole units; pure.

The bound comes from the prices, the plan from the master's mixture; how far they are apart decides when it is enough.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.planner_master import Master, Mixture
from controller.planner_prices import descend
from controller.planner_rounding import Placement, floored
from controller.planner_sums import dot, weighted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from controller.planner_columns import Columns
    from controller.planner_prices import Dual
    from controller.program import Paths

COLD_PASSES: Final = 120
WARM_PASSES: Final = 60
COLD_AIM: Final = 0.01
WARM_AIM: Final = 0.001
LAST_AIM: Final = 3e-6
CLOSE: Final = 4e-6
"""The gap, as a share, at which the master's prices are good enough."""
ROUNDS: Final = 25
MOST_ROUNDS: Final = 250
FEW_CLASSES_ROUNDS: Final = 1000
"""Divided by the classes: a few classes bring a few columns a round, and their rounds are short."""
KEPT_PASSES: Final = 120
HALFWAY: Final = 0.5
"""Between the master's prices, which swing, and the best so far."""
IMPROVEMENTS: Final = 6
SEARCHED_UNITS: Final = 400
"""Of so many units every one counts in the gap, and a search for whole ones is worth its time."""
GOOD_ENOUGH: Final = 1e-4
SWAP_PRICES: Final = (1.0, 0.5, 0.0, 1.0)
"""Times the prices of the cap at which the first of two units is placed."""
MOST_PAIRS: Final = 300
SEARCHED_COLUMNS: Final = 150
FITS_KW: Final = 1e-9


def mix(dual: Dual, start: NDArray[np.float64], least: Paths, *, warm: bool, close: float = CLOSE) -> Mixture:
    """Prices and a mixture of paths that are within `close` of each other, or as near as the rounds allow.

    `least` are paths with which the cap can be kept; the dual must have columns to keep paths in.
    """
    columns = dual.columns
    if columns is None:
        raise ValueError("a mixture needs a dual that keeps its columns")
    program = dual.program
    numbers = columns.add(least, np.arange(len(program.classes), dtype=np.intp))
    seen = descend(
        dual,
        start,
        passes=WARM_PASSES if warm else COLD_PASSES,
        aim=WARM_AIM if warm else COLD_AIM,
        stop=max(LAST_AIM, close / 2),
    )
    master = _master_of(dual, columns, dual.counts, dual.cap_kw)
    master.add([*numbers.tolist(), *np.concatenate(seen[-KEPT_PASSES:]).tolist()])
    mixture = _all_on(numbers, dual, columns)
    for _ in range(max(ROUNDS, min(MOST_ROUNDS, FEW_CLASSES_ROUNDS // len(program.classes)))):
        solved = master.solve()
        if solved is None:
            break
        mixture = solved
        if dual.is_near(mixture.value_usd, close):
            break
        dual.look(mixture.prices)
        new = master.add(dual.last_numbers.tolist())
        dual.look(HALFWAY * mixture.prices + (1 - HALFWAY) * dual.best_prices)
        new = master.add(dual.last_numbers.tolist()) or new
        if not new:
            break
    return mixture


def _master_of(
    dual: Dual, columns: Columns, counts: NDArray[np.float64], cap_kw: NDArray[np.float64]
) -> Master:
    return Master(columns, counts, cap_kw, dual.capped, dual.program.hours, dual.program.curves.off_kw)


def _all_on(numbers: NDArray[np.intp], dual: Dual, columns: Columns) -> Mixture:
    value_usd = dot(dual.counts, columns.worth_usd[numbers])
    return Mixture(dual.counts.copy(), numbers, value_usd, dual.best_prices)


def place(
    dual: Dual, mixture: Mixture, room_kw: NDArray[np.float64], least: Paths, *, search: bool = True
) -> Placement:
    """Whole units near the mixture, none over the cap."""
    columns, program = dual.columns, dual.program
    if columns is None:
        raise ValueError("placing needs a dual that keeps its columns")
    counts = program.count.astype(np.int64)
    reserve = columns.add(least, np.arange(len(program.classes), dtype=np.intp))
    placed = Placement(program, columns, room_kw, reserve)
    placed.put_all(*floored(mixture))
    left, left_kw = placed.missing(counts), placed.room_kw.copy()
    floor = dict(placed.units)
    placed.fill(counts, dual.best_prices)
    _polish(placed, dual)
    if not search or dual.is_near(placed.value_usd, GOOD_ENOUGH):
        return placed
    if counts.sum() <= SEARCHED_UNITS:
        _swap(placed, dual)
        return _searched(placed, dual, counts, room_kw)
    if left.sum() <= SEARCHED_UNITS:
        # Of many units only those that the mixture left in fractions are worth a search: in the room that all others leave.
        rest = Placement(program, columns, left_kw, reserve)
        rest.fill(left, dual.best_prices)
        _swap(rest, dual)
        rest = _searched(rest, dual, left, left_kw)
        for number, units in floor.items():
            rest.put(number, units)
        rest.room_kw = room_kw - rest.load_kw
        _polish(rest, dual)
        placed = max(placed, rest, key=lambda each: each.value_usd)
    return placed


def _searched(
    placed: Placement, dual: Dual, counts: NDArray[np.int64], room_kw: NDArray[np.float64]
) -> Placement:
    """The same or better: a search for whole units among the columns that fall least short of their class's best."""
    columns = placed.columns
    earns = columns.worth_usd - weighted(dual.best_prices * placed.program.hours, columns.kw.T)
    best = np.full(len(dual.counts), -np.inf)
    np.maximum.at(best, columns.owner, earns)
    short = best[columns.owner] - earns
    useful = np.argsort(short, kind="stable")[:SEARCHED_COLUMNS]
    master = _master_of(dual, columns, counts.astype(np.float64), np.where(dual.capped, room_kw, 0.0))
    master.add(sorted({*useful.tolist(), *placed.units}))
    start = np.array([placed.units.get(number, 0) for number in master.numbers.tolist()], dtype=np.float64)
    units = master.whole(start)
    if units is None:
        return placed
    better = placed.emptied(room_kw)
    better.put_all(master.numbers, units.astype(np.int64))
    if better.value_usd <= placed.value_usd or better.over_kw > max(placed.over_kw, FITS_KW):
        return placed
    _polish(better, dual)
    return better


def _polish(placed: Placement, dual: Dual) -> None:
    """Take units out and put them back, at no price, since what room is left would be lost."""
    free = np.zeros(len(dual.best_prices))
    for _ in range(IMPROVEMENTS):
        if dual.is_near(placed.value_usd, CLOSE) or not placed.improve(sorted(placed.units), free):
            break


def _swap(placed: Placement, dual: Dual) -> None:
    """Pairs of units placed anew, while there are not too many of them."""
    for at, scale in enumerate(SWAP_PRICES):
        used = sorted(placed.units)
        pairs = [(one, other) for one in used for other in used]
        pairs = pairs[at % len(SWAP_PRICES) :: math.ceil(len(pairs) / MOST_PAIRS)]
        if placed.swap(pairs, scale * dual.best_prices):
            _polish(placed, dual)
