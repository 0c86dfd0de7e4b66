"""Who knew all prices from the start: the best paths over the whole period, by the planner's own program; pure.

Where prices are not known nothing counts, so each stretch between gaps is planned for itself, and is free to begin in any mode: it goes there
within the gap before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.backtest import QUARTER_S
from controller.plan import Member, Slot, Standing
from controller.planner import plan
from controller.program import Program, UnitClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from controller.backtest import Fleet
    from controller.backtest_money import Prices
    from controller.units import Unit

WEEK: Final = 7 * 96
DAY: Final = 96
"""Quarter hours."""


def best_paths(fleets: Sequence[Fleet], prices: Prices) -> list[NDArray[np.uint8]]:
    """The best path for the units of each fleet, [1, T], where no cap binds them; in a gap it is already as after it."""
    total = len(prices.starts)
    paths = [np.empty((1, total), dtype=np.uint8) for _ in fleets]
    for path, fleet in zip(paths, fleets, strict=True):
        path[:] = fleet.unit.curve.modes.index(fleet.unit.curve.full)
    ended = 0
    for first, after in stretches(prices.counts):
        program = Program(classes_of(fleets, standing=first == 0), slots_of(prices, first, after))
        found = program.best(np.zeros(after - first))
        for path, modes in zip(paths, found.modes, strict=True):
            path[0, ended:first] = modes[0]
            path[0, first:after] = modes
            path[0, after:] = modes[-1]
        ended = after
    return paths


def classes_of(fleets: Sequence[Fleet], *, standing: bool) -> list[UnitClass]:
    """The fleets as classes of the program: standing at full hashrate, or anywhere."""
    return [
        UnitClass(
            fleet.unit,
            fleet.unit.curve.modes.index(fleet.unit.curve.full) if standing else None,
            count=fleet.count,
        )
        for fleet in fleets
    ]


def slots_of(prices: Prices, first: int, after: int, cap_kw: float = np.inf) -> list[Slot]:
    """The quarter hours [first, after) as the program knows them."""
    rows = zip(
        prices.starts[first:after].tolist(),
        prices.hashprice_usd_per_ph_day[first:after].tolist(),
        prices.power_usd_per_kwh[first:after].tolist(),
        strict=True,
    )
    return [Slot(start, QUARTER_S, hashprice, power, cap_kw) for start, hashprice, power in rows]


def stretches(counts: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The stretches in which prices are known, half open."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], counts, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def best_paths_within(
    fleets: Sequence[Fleet], prices: Prices, cap_kw: float, progress: Callable[[float], None] = lambda _: None
) -> tuple[list[NDArray[np.uint8]], float]:
    """Paths for the units of each fleet, [count, T], under a cap on all together; and what no paths could exceed, USD.

    Planned week by week with a day more in sight, which costs nothing that lasts: a unit's start is forgotten within hours. The bound is
    that of weeks that each begin as they like.
    """
    total = len(prices.starts)
    units = [
        replace(fleet.unit, id=f"{index:06d}-{each:06d}")
        for index, fleet in enumerate(fleets)
        for each in range(fleet.count)
    ]
    paths = {
        unit.id: np.full(total, unit.curve.modes.index(unit.curve.full), dtype=np.uint8) for unit in units
    }
    bound_usd = 0.0
    ended = 0
    for start, stop in stretches(prices.counts):
        standing = {unit.id: Standing(unit.curve.full.name if start == 0 else None) for unit in units}
        for first in range(start, stop, WEEK):
            after, seen = min(first + WEEK, stop), min(first + WEEK + DAY, stop)
            planned = plan(
                [Member(unit, standing[unit.id]) for unit in units], slots_of(prices, first, seen, cap_kw)
            )
            free = [Member(unit, Standing(None)) for unit in units]
            bound_usd += plan(free, slots_of(prices, first, after, cap_kw)).bound_usd
            for unit in units:
                names = [mode.name for mode in unit.curve.modes]
                modes = [names.index(name) for name in planned.units[unit.id].modes[: after - first]]
                path = paths[unit.id]
                path[ended:first] = modes[0]
                path[first:after] = modes
                path[after:] = modes[-1]
                standing[unit.id] = Standing(names[modes[-1]], _dwell_left_s(unit, path[start:after]))
            ended = after
            progress(after / total)
    return [
        np.stack([paths[unit.id] for unit in units if unit.id.startswith(f"{index:06d}-")])
        for index in range(len(fleets))
    ], bound_usd


def _dwell_left_s(unit: Unit, path: NDArray[np.uint8]) -> float:
    """How long a unit that took this path must still stay on or off."""
    is_on = path > 0
    changed = np.flatnonzero(is_on[1:] != is_on[:-1])
    if not len(changed):
        return 0.0
    least_s = unit.min_on_s if is_on[-1] else unit.min_off_s
    return max(least_s - (len(path) - 1 - int(changed[-1])) * QUARTER_S, 0.0)
