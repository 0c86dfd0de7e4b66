"""Small fleets under a site cap, and what has to be true of every plan for them."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from controller.plan import Slot
from controller.planner_relief import broken_changes
from controller.program import Program, UnitClass
from controller.units import Mode, PowerCurve
from tests.controller.planning import Terms, random_class, random_slots, random_terms, random_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.planner_classes import ClassPlan

CURVE = PowerCurve([Mode("off", 0, 0), Mode("low", 60, 1000), Mode("high", 100, 2000)])
OFF_MODE, LOW, HIGH = 0, 1, 2
ON, OFF = frozenset({"low", "high"}), frozenset({"off"})


def slots_of(caps: Sequence[float], price: float = 0.02) -> list[Slot]:
    """Quarter hours in which both modes pay, with these caps."""
    return [Slot(900.0 * at, 900.0, 40.0, price, cap_kw=cap) for at, cap in enumerate(caps)]


def random_fleet(seed: int) -> tuple[list[UnitClass], list[Slot], Terms]:
    """Up to nine units in up to three classes, and caps that bind now and then, some that nobody can keep."""
    chance = random.Random(seed)
    slots = random_slots(chance, 8)
    classes = [random_class(chance, random_unit(chance), slots) for _ in range(chance.randint(1, 3))]
    classes = [replace(each, count=chance.randint(1, 3)) for each in classes]
    full = sum(each.count * each.unit.curve.modes[-1].watts for each in classes) / 1000
    caps = [
        chance.choice([math.inf, full, chance.uniform(0.1, 1) * full, chance.uniform(0.5, 1) * full])
        for _ in slots
    ]
    slots = [replace(slot, cap_kw=cap) for slot, cap in zip(slots, caps, strict=True)]
    return classes, slots, random_terms(chance, slots)


def check(
    made: ClassPlan,
    classes: Sequence[UnitClass],
    slots: Sequence[Slot],
    *,
    dead_band: float = 0.0,
    worth_slot: int = 0,
) -> None:
    """Every unit has one path that it may take; worth and load are what is said; nothing is above the bound."""
    program = Program(classes, slots, dead_band, worth_slot)
    load = np.zeros(len(slots))
    units = [0] * len(classes)
    for share in made.shares:
        index, each = share.class_index, classes[share.class_index]
        units[index] += share.units
        load += share.units * program.kw(index)[share.modes]
        assert math.isclose(program.worth(index, share.modes), share.worth_usd, rel_tol=1e-12, abs_tol=1e-12)
        assert broken_changes(each, slots, share.modes) == share.waived
        assert program.allowed(index)[np.arange(len(slots)), share.modes].all()
    assert units == [each.count for each in classes]
    value_usd = math.fsum(share.units * share.worth_usd for share in made.shares)
    assert made.value_usd == value_usd
    assert made.value_usd <= made.bound_usd
    over = np.maximum(load - program.cap_kw, 0.0)
    assert np.allclose(over, made.over_kw, atol=1e-6)
