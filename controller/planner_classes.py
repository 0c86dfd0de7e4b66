"""The best plan for classes of equal units under the site's power cap, with a bound no plan exceeds; pure.

Each class is planned by an exact dynamic program. Where the cap does not bind, that is the whole plan and the bound
equals its value. Where it binds, power gets a price per slot that makes units give way (planner_prices), a short master mixes the
paths found (planner_mixture), and whole units are placed (planner_rounding); the dual at the best prices is the bound. Many classes are
priced by a sample of them (planner_distinct). What no plan can keep is waived for as few as needed, and named (planner_relief).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from controller.planner_columns import Columns
from controller.planner_distinct import place_many
from controller.planner_mixture import mix, place
from controller.planner_prices import SLACK, Dual, merit_order, start_of
from controller.planner_relief import broken_changes, reachable_kw, relieve
from controller.planner_sums import dot, weighted
from controller.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from controller.plan import Slot
    from controller.planner_relief import Relief
    from controller.planner_rounding import Placement
    from controller.program import UnitClass

MANY_CLASSES: Final = 300
"""Of more classes than this a sample is priced: the master would take longer than the rest."""
DOWNWARD: Final = bytes(range(255, -1, -1))
"""Turns the order of modes round: what runs hardest comes first."""


class Share(NamedTuple):
    """`units` of a class that take one path: a mode's index per slot, and what each of them earns.

    In the slots `waived` it changes sides although minimum times or starts per day forbid it: the cap left no other way.
    """

    class_index: int
    modes: NDArray[np.uint8]
    units: int
    worth_usd: float
    waived: tuple[int, ...] = ()


@dataclass(frozen=True)
class ClassPlan:
    """A plan by classes: shares in the order of the classes, within one from the first units to the last.

    `over_kw` is by how much the cap is exceeded in each slot, 0 nearly always.
    """

    shares: tuple[Share, ...]
    value_usd: float
    bound_usd: float
    prices_usd_per_kwh: tuple[float, ...]
    over_kw: tuple[float, ...]


def solve(
    classes: Sequence[UnitClass],
    slots: Sequence[Slot],
    *,
    dead_band: float = 0.0,
    prices: Sequence[tuple[float, float]] = (),
    worth_slot: int = 0,
) -> ClassPlan:
    """The plan for these classes. `prices` (start, USD/kWh) of an earlier plan make it quicker and nothing else."""
    program = Program(classes, slots, dead_band, worth_slot)
    free = program.best(np.zeros(len(slots)))
    cap_kw = program.cap_kw * (1 + SLACK) + SLACK
    if not slots or not classes or (weighted(program.count, free.kw) <= cap_kw).all():
        shares = [
            Share(index, modes, each.count, worth_usd)
            for index, (each, modes, worth_usd) in enumerate(
                zip(classes, free.modes, free.worth_usd.tolist(), strict=True)
            )
        ]
        value_usd = _sum_usd(shares)
        zeros = (0.0,) * len(slots)
        return ClassPlan(tuple(shares), value_usd, value_usd, zeros, zeros)
    full_kw = dot(program.count, program.curves.most_kw)
    relief = relieve(program, np.minimum(program.cap_kw, full_kw + 1), program.cap_kw < full_kw)
    cap_kw = reachable_kw(relief.classes, relief.cap_kw)
    columns = Columns(len(slots))
    many = len(relief.classes) > MANY_CLASSES
    dual = Dual(relief.program, relief.program.count, cap_kw, None if many else columns)
    known = start_of(slots, prices)
    start = merit_order(relief.program, dual.counts, cap_kw) if known is None else known
    room_kw = np.where(dual.capped, cap_kw, np.inf)
    if many:
        placed = place_many(dual, columns, start, room_kw, relief.least)
    else:
        dual.look(np.zeros(len(slots)))
        mixture = mix(dual, start, relief.least, warm=known is not None)
        placed = place(dual, mixture, room_kw, relief.least)
    shares = _shares(placed, relief, classes, slots)
    load_kw = placed.load_kw
    over_kw = np.where(load_kw > program.cap_kw * (1 + 2 * SLACK) + 2 * SLACK, load_kw - program.cap_kw, 0.0)
    # Room that even waiving did not find is bought at its price: the bound holds for what is planned in any case.
    bought_usd = dot(dual.best_prices * program.hours, np.maximum(load_kw - cap_kw, 0.0))
    return ClassPlan(
        tuple(shares),
        _sum_usd(shares),
        dual.best_usd + bought_usd,
        tuple(dual.best_prices.tolist()),
        tuple(over_kw.tolist()),
    )


def _shares(
    placed: Placement, relief: Relief, classes: Sequence[UnitClass], slots: Sequence[Slot]
) -> list[Share]:
    """What was placed, by class; in a class those first that run hardest first, so that the order is always the same."""
    columns = placed.columns
    numbers = np.array(sorted(placed.units), dtype=np.intp)
    owners = np.array(relief.of, dtype=np.intp)[columns.owner[numbers]]
    by_class = np.argsort(owners, kind="stable")
    numbers = numbers[by_class]
    modes = columns.modes[numbers]
    found = zip(numbers.tolist(), modes, columns.worth_usd[numbers].tolist(), strict=True)
    shares: list[Share] = []
    for index, alike in groupby(zip(owners[by_class].tolist(), found, strict=True), key=itemgetter(0)):
        paths = [
            Share(index, path, placed.units[number], worth_usd) for _, (number, path, worth_usd) in alike
        ]
        shares += paths if len(paths) == 1 else _merged(paths)
    if not relief.waived:
        return shares
    return [
        share._replace(waived=broken_changes(classes[share.class_index], slots, share.modes))
        if share.class_index in relief.waived
        else share
        for share in shares
    ]


def _merged(shares: Iterable[Share]) -> list[Share]:
    """The shares of one class in their order, those on the same path in one."""
    merged: dict[bytes, Share] = {}
    for share in shares:
        text = share.modes.tobytes()
        known = merged.get(text)
        merged[text] = share if known is None else known._replace(units=known.units + share.units)
    return [merged[text] for text in sorted(merged, key=lambda each: each.translate(DOWNWARD))]


def _sum_usd(shares: Iterable[Share]) -> float:
    return math.fsum(share.units * share.worth_usd for share in shares)
