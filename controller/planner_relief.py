"""Caps that cannot be kept: the least excess, and the fewest units whose minimum times are waived; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.economics import W_PER_KW
from controller.planner_prices import SLACK
from controller.planner_sums import weighted
from controller.program import Program, UnitClass, dwell_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.plan import Slot
    from controller.program import Paths

DEAR: Final = 1e4
"""Times as dear as anything else: at this price a unit draws as little as it may."""
MOST_SUMS: Final = 200_000
SUM_PLACES: Final = 12
"""Sums of kilowatts are the same if they differ by rounding alone."""


@dataclass(frozen=True)
class Relief:
    """Classes that can keep the cap: `of` names for each the class it was, `waived` the classes of which some break minimum times.

    `cap_kw` is the cap, raised where even that does not help. `least` are the paths that draw least.
    """

    classes: tuple[UnitClass, ...]
    of: tuple[int, ...]
    waived: frozenset[int]
    cap_kw: NDArray[np.float64]
    least: Paths
    program: Program


def least_kw(program: Program) -> NDArray[np.float64]:
    """What one unit of each class draws at the very least in each slot [classes, slots]: in an allowed mode, whatever its dwell."""
    least = np.repeat(program.curves.off_kw[:, None], len(program.slots), axis=1)
    for index, each in enumerate(program.classes):
        if not each.allowed:
            continue
        modes = each.unit.curve.modes
        of: dict[frozenset[str] | None, float] = {None: modes[0].watts / W_PER_KW}
        for allowed in set(each.allowed) - {None}:
            watts = [mode.watts for mode in modes if allowed is None or mode.name in allowed]
            of[allowed] = (watts[0] if watts else modes[0].watts) / W_PER_KW
        least[index] = [of[allowed] for allowed in each.allowed]
    return least


def relieve(program: Program, cap_kw: NDArray[np.float64], capped: NDArray[np.bool_]) -> Relief:
    """The program's classes under a cap that can be kept: split where units have to break their minimum times for it.

    `cap_kw` is finite everywhere; only slots that are `capped` can exceed it.
    """
    classes, counts = program.classes, program.count
    floor_kw = least_kw(program)
    cap_kw = np.maximum(cap_kw, weighted(counts, floor_kw)) * (1 + SLACK) + SLACK
    prices = np.where(capped, _dear_usd_per_kwh(program), 0.0)
    least = program.best(prices)
    excess = np.where(capped, weighted(counts, least.kw) - cap_kw, 0.0)
    everyone = tuple(range(len(classes)))
    if not (excess > 0).any():
        return Relief(classes, everyone, frozenset(), cap_kw, least, program)
    waived = np.zeros(len(classes), dtype=np.int64)
    split, owners = list[UnitClass](), list[int]()
    for freed in (_free_of_the_past, _free):
        held = np.flatnonzero(((least.kw - floor_kw)[:, excess > 0] > SLACK).any(axis=1) & (waived < counts))
        twins = [freed(classes[index]) for index in held.tolist()]
        if not twins:
            continue
        relief_kw = least.kw[held] - program.of_classes(twins).best(prices).kw
        taken = _fewest(relief_kw, (counts - waived)[held].astype(np.int64), excess)
        excess = excess - weighted(taken, relief_kw)
        waived[held] += taken
        for at in np.flatnonzero(taken).tolist():
            split.append(replace(twins[at], count=int(taken[at])))
            owners.append(int(held[at]))
        if not (excess > SLACK).any():
            break
    # Whoever still holds the cap up is past all waiving: its room is the excess that is left.
    cap_kw = cap_kw + np.maximum(excess, 0.0)
    kept = [index for index in everyone if waived[index] < classes[index].count]
    parts = [
        replace(classes[index], count=classes[index].count - int(waived[index])) for index in kept
    ] + split
    eased = program.of_classes(parts)
    return Relief(tuple(parts), (*kept, *owners), frozenset(owners), cap_kw, eased.best(prices), eased)


def reachable_kw(classes: Sequence[UnitClass], cap_kw: NDArray[np.float64]) -> NDArray[np.float64]:
    """The caps, lowered to what whole units can draw together: of a few units there are not many such sums.

    No plan changes by it, since none could draw more; but prices can no longer mix units into the gap, and the bound is nearer.
    """
    sums = np.zeros(1)
    for each in classes:
        modes_kw = np.array([mode.watts for mode in each.unit.curve.modes]) / W_PER_KW
        for _ in range(each.count):
            if len(sums) * len(modes_kw) > MOST_SUMS:
                return cap_kw
            sums = np.unique((sums[:, None] + modes_kw).round(SUM_PLACES))
    at = np.searchsorted(sums, cap_kw + SLACK, side="right") - 1
    return np.minimum(cap_kw, sums[np.maximum(at, 0)] * (1 + SLACK) + SLACK)


def _fewest(
    relief_kw: NDArray[np.float64], counts: NDArray[np.int64], excess_kw: NDArray[np.float64]
) -> NDArray[np.int64]:
    """How many units of each class to free so that nothing exceeds: the worst slot first, there those that relieve most."""
    taken = np.zeros(len(counts), dtype=np.int64)
    excess = excess_kw.copy()
    while excess.max() > SLACK:
        worst = int(excess.argmax())
        order = np.argsort(-relief_kw[:, worst], kind="stable")
        before = taken.sum()
        for index in order.tolist():
            each = float(relief_kw[index, worst])
            if excess[worst] <= SLACK or each <= SLACK:
                break
            units = min(int(counts[index] - taken[index]), math.ceil((excess[worst] - SLACK) / each))
            taken[index] += units
            excess -= units * relief_kw[index]
        if taken.sum() == before:
            break
    for index in np.flatnonzero(taken).tolist():  # not needed after all: others came later and relieve it too
        helps = relief_kw[index] > SLACK
        if helps.any():
            spare = np.floor(((SLACK - excess[helps]) / relief_kw[index, helps]).min())
            units = int(min(max(spare, 0), taken[index]))
            taken[index] -= units
            excess += units * relief_kw[index]
    return taken


def _free_of_the_past(each: UnitClass) -> UnitClass:
    return replace(each, dwell_left=0)


def _free(each: UnitClass) -> UnitClass:
    unit = replace(each.unit, min_on_s=0.0, min_off_s=0.0, starts_per_day=None)
    return replace(each, unit=unit, dwell_left=0, starts_left=None)


def _dear_usd_per_kwh(program: Program) -> float:
    """A price on power that outweighs everything a unit could earn by drawing more."""
    th_s, watts = program.curves.steps()
    best = np.divide(th_s, watts, out=np.zeros_like(th_s), where=watts > 0)
    th_s_per_kw = float(best.max(initial=0.0)) * W_PER_KW
    wear = float(program.costs["wear_usd"].max(initial=0.0))
    earned = float(np.abs(program.usd_per_th_hour).max(initial=0.0)) * th_s_per_kw
    worth = float(np.abs(program.mode_worths()).max(initial=0.0))
    worth /= float(program.hours[program.worth_slot]) if worth else 1.0
    return DEAR * (1.0 + earned + float(np.abs(program.power).max(initial=0.0)) + wear + worth)


def broken_changes(each: UnitClass, slots: Sequence[Slot], modes: NDArray[np.uint8]) -> tuple[int, ...]:
    """The slots in which a path changes sides although minimum times or starts per day forbid it and no obligation asks for it."""
    curve, unit = each.unit.curve, each.unit
    before = each.standing_mode
    held = each.dwell_left if before is not None else 0
    left = math.inf if unit.starts_per_day is None else float(unit.starts_per_day)
    if each.starts_left is not None:
        left = float(each.starts_left)
    broken: list[int] = []
    for at, mode in enumerate(modes.tolist()):
        if at and slots[at].day != slots[at - 1].day:
            left = math.inf if unit.starts_per_day is None else float(unit.starts_per_day)
        if before is not None and (mode > 0) != (before > 0):
            allowed = each.allowed[at] if each.allowed else None
            same_side = curve.modes[1:] if before else curve.modes[:1]
            names = [] if allowed is None else [known.name for known in curve.modes if known.name in allowed]
            forced = bool(names) and not any(known.name in names for known in same_side)
            if not forced and (held > 0 or (mode and left < 1)):
                broken.append(at)
            held = dwell_slots(slots, unit.min_on_s if mode else unit.min_off_s, at)
            left = max(left - 1, 0) if mode else left
        held = max(held - 1, 0)
        before = mode
    return tuple(broken)
