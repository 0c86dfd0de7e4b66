"""The best modes of all units in every slot of the horizon under the site's power cap, with a bound no plan exceeds; pure.

Equal units are one class; the plan is made by classes (planner_classes) and handed out to units in the order of their ids.
"""

from __future__ import annotations

from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from controller.plan import Broken, Plan, UnitPlan
from controller.planner_classes import solve
from controller.program import UnitClass, dwell_slots
from controller.units import OFF

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.plan import Member, Slot
    from controller.planner_classes import ClassPlan

MORE_THAN_ONE: Final = 2
"""itemgetter gives a tuple of so many."""
NAMED_UNITS: Final = 3
"""So many are named in words; all of them are in the list beside."""


def plan(
    members: Sequence[Member],
    slots: Sequence[Slot],
    *,
    dead_band: float = 0.0,
    prices: Sequence[tuple[float, float]] = (),
    worth_slot: int = 0,
) -> Plan:
    """The best plan for these units over these slots; the order in which they are given does not matter.

    `dead_band` is the share of the first slot's difference in revenue that every mode but the present one pays there. `prices`
    are those of an earlier plan (start, USD/kWh): they only make this one quicker. Being in a mode in slot `worth_slot` earns the member's
    worth of that mode more. Raises ValueError for a unit given twice.
    """
    horizon = tuple(slots)
    ordered = sorted(members, key=lambda member: member.unit.id)
    for before, after in pairwise(ordered):
        if before.unit.id == after.unit.id:
            raise ValueError(
                f"unit {after.unit.id!r} is to be planned twice; every unit needs an id of its own"
            )
    grouped: dict[tuple[object, ...], list[Member]] = {}
    for member in ordered:
        grouped.setdefault(_likeness(member), []).append(member)
    dwells = {
        dwell_s: dwell_slots(horizon, dwell_s) for dwell_s in {each.standing.dwell_left_s for each in members}
    }
    classes = [_class_of(alike[0], len(alike), dwells) for alike in grouped.values()]
    solved = solve(classes, horizon, dead_band=dead_band, prices=prices, worth_slot=worth_slot)
    ids = [[member.unit.id for member in alike] for alike in grouped.values()]
    paths: dict[str, UnitPlan] = {}
    waived: dict[int, list[str]] = {}
    given = [0] * len(classes)
    known: dict[tuple[tuple[str, ...], bytes], tuple[str, ...]] = {}
    for share in solved.shares:
        index = share.class_index
        key = (classes[index].unit.curve.names, share.modes.tobytes())
        modes = known.get(key)
        if modes is None:
            modes = known[key] = _named_modes(*key)
        whom = ids[index][given[index] : given[index] + share.units]
        given[index] += share.units
        for unit_id in whom:
            paths[unit_id] = UnitPlan(unit_id, modes, share.worth_usd)
        for at in share.waived:
            waived.setdefault(at, []).extend(whom)
    broken = (
        *_over_cap(solved, classes, ids, horizon),
        *_waived(waived, horizon),
        *_impossible(grouped.values(), horizon),
    )
    in_order = {member.unit.id: paths[member.unit.id] for member in ordered}
    return Plan(horizon, in_order, solved.value_usd, solved.bound_usd, solved.prices_usd_per_kwh, broken)


def _likeness(member: Member) -> tuple[object, ...]:
    """What makes units of one class: everything that the plan depends on."""
    unit, standing = member.unit, member.standing
    return (  # what a standing holds is hashed faster than itself
        unit.curve,
        unit.min_on_s,
        unit.min_off_s,
        unit.restart_s,
        unit.wear_usd,
        unit.change_s,
        unit.starts_per_day,
        standing.mode,
        standing.dwell_left_s,
        standing.starts_left,
        member.allowed,
        member.worth_usd,
    )


def _class_of(member: Member, count: int, dwells: Mapping[float, int]) -> UnitClass:
    standing = member.standing
    names = member.unit.curve.names
    mode = names.index(standing.mode) if standing.mode in names else None
    return UnitClass(
        member.unit,
        mode,
        dwells[standing.dwell_left_s],
        standing.starts_left,
        member.allowed,
        count,
        member.worth_usd,
    )


def _named_modes(names: tuple[str, ...], path: bytes) -> tuple[str, ...]:
    """The names of a path's modes; itemgetter picks them three times as fast as a loop."""
    if len(path) < MORE_THAN_ONE:
        return tuple([names[mode] for mode in path])
    picked: tuple[str, ...] = itemgetter(*path)(names)
    return picked


def _over_cap(
    solved: ClassPlan, classes: Sequence[UnitClass], ids: Sequence[Sequence[str]], slots: Sequence[Slot]
) -> Iterable[Broken]:
    """The stretches in which the cap cannot be kept, each with its worst excess and the units that must not give way."""
    over = solved.over_kw
    if not any(over):
        return
    for first, after in _stretches([kw > 0 for kw in over]):
        held = [
            unit_id
            for index, each in enumerate(classes)
            if any(entry is not None and OFF not in entry for entry in each.allowed[first:after])
            for unit_id in ids[index]
        ]
        worst = max(over[first:after])
        why = f"the power cap is exceeded by up to {worst:.1f} kW: {_named(held) or 'all units'} must draw that much"
        yield Broken(slots[first].start, slots[after - 1].stop, why, tuple(sorted(held)), worst)


def _waived(waived: dict[int, list[str]], slots: Sequence[Slot]) -> Iterable[Broken]:
    """The changes that come too early, or once too often, because the cap leaves no other way."""
    for at in sorted(waived):
        whom = sorted(waived[at])
        why = f"{_named(whom)} must change before the minimum time is over: the power cap leaves no room"
        yield Broken(slots[at].start, slots[at].stop, why, tuple(whom))


def _impossible(grouped: Iterable[Sequence[Member]], slots: Sequence[Slot]) -> Iterable[Broken]:
    """Obligations to modes that a unit does not have; they are left out of the plan."""
    for alike in grouped:
        if not alike[0].allowed:
            continue
        curve = alike[0].unit.curve
        missing = [
            entry is not None and not any(name in curve for name in entry) for entry in alike[0].allowed
        ]
        whom = [member.unit.id for member in alike]
        for first, after in _stretches(missing):
            asked = sorted({name for entry in alike[0].allowed[first:after] for name in entry or ()})
            why = f"{_named(whom)} cannot be in any of the modes asked for ({', '.join(asked) or 'none'})"
            yield Broken(slots[first].start, slots[after - 1].stop, why, tuple(whom))


def _stretches(flags: Sequence[bool]) -> Iterable[tuple[int, int]]:
    """The stretches of flags that are set, half open."""
    first = None
    for at, flag in enumerate((*flags, False)):
        if flag and first is None:
            first = at
        elif not flag and first is not None:
            yield first, at
            first = None


def _named(ids: Sequence[str]) -> str:
    """Some units in words: all of a few, the first and how many more of many."""
    if len(ids) <= NAMED_UNITS:
        return ", ".join(ids)
    return f"{', '.join(ids[:NAMED_UNITS])} and {len(ids) - NAMED_UNITS} more"
