"""Fleets and horizons to plan, the same for the same seed: what the planner's bench and tests are measured on.

192 quarter hours of a day-ahead market with noise, units of 5 modes and off between 14 and 38 J/TH, at least an hour on and an hour
off, ten minutes lost by a start and two by a change of mode, and a site cap that binds in half of the slots.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.plan import Slot
from controller.program import Program, UnitClass
from controller.units import Mode, PowerCurve, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOTS: Final = 192
SLOT_S: Final = 900.0
SLOTS_A_DAY: Final = 96
BLOCK_SLOTS: Final = 8
STEPS: Final = ((0.62, 0.76), (0.68, 0.81), (0.78, 0.885), (0.9, 0.96), (1.0, 1.0))
"""Watts and hashrate of each mode as a part of the full ones: the last watts hash least."""
BORN_S: Final = 1_767_225_600.0


def horizon(seed: int, slots: int = SLOTS) -> tuple[Slot, ...]:
    """Slots without a cap: dear in the morning and evening, cheap at noon, noise, and now and then a spike."""
    chance = np.random.default_rng([seed, 1])
    hour = np.arange(slots) / 4 % 24
    shape = (
        0.062 + 0.018 * np.cos((hour - 19) / 24 * 2 * math.pi) + 0.012 * np.cos((hour - 8) / 12 * 2 * math.pi)
    )
    price = shape + chance.normal(0, 0.006, slots) + 0.15 * (chance.random(slots) < 0.02)  # noqa: PLR2004 - of the slots
    return tuple(
        Slot(BORN_S + at * SLOT_S, SLOT_S, 42.0, float(price[at]), day=at // SLOTS_A_DAY)
        for at in range(slots)
    )


def fleet(seed: int, classes: int, units: int) -> list[UnitClass]:
    """So many units in so many classes, each class with a curve and a standing of its own."""
    chance = np.random.default_rng([seed, 2])
    counts = [units // classes + (index < units % classes) for index in range(classes)]
    return [_unit_class(chance, index, count) for index, count in enumerate(counts)]


def _unit_class(chance: np.random.Generator, index: int, count: int) -> UnitClass:
    full_w = float(chance.uniform(2800, 5200))
    j_per_th = float(chance.uniform(14, 38))
    modes = [
        Mode(
            f"m{step}",
            full_w / j_per_th * th * float(chance.uniform(0.99, 1.01)),
            full_w * watts * float(chance.uniform(0.99, 1.01)),
        )
        for step, (watts, th) in enumerate(STEPS)
    ]
    curve = PowerCurve([Mode("off", 0.0, float(chance.uniform(5, 20))), *modes])
    unit = Unit(
        f"u{index:06}",
        curve,
        min_on_s=3600.0,
        min_off_s=3600.0,
        restart_s=600.0,
        wear_usd=0.02,
        change_s=120.0,
    )
    standing = int(chance.integers(0, len(curve.modes)))
    return UnitClass(
        unit, standing, dwell_left=int(chance.integers(0, 3)) if standing == 0 else 0, count=count
    )


def capped(classes: Sequence[UnitClass], slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """The slots with a site cap that binds in half of them: two hours at 85 % of what the fleet would draw, two at all it can."""
    program = Program(classes, slots)
    load = program.count @ program.best(np.zeros(len(slots))).kw
    full = sum(each.count * each.unit.curve.modes[-1].watts for each in classes) / 1000
    least = sum(each.count * each.unit.curve.off.watts for each in classes) / 1000
    caps = [full] * len(slots)
    for block in range(0, len(slots), 2 * BLOCK_SLOTS):
        caps[block : block + BLOCK_SLOTS] = [
            max(0.85 * float(kw), least) for kw in load[block : block + BLOCK_SLOTS]
        ]
    return tuple(replace(slot, cap_kw=cap) for slot, cap in zip(slots, caps, strict=True))


def revised(slots: Sequence[Slot], seed: int, share: float = 0.02) -> tuple[Slot, ...]:
    """The same slots with every price changed by that share or so, as the next forecast has them."""
    chance = np.random.default_rng([seed, 3])
    return tuple(
        replace(
            slot,
            power_usd_per_kwh=slot.power_usd_per_kwh * (1 + share * float(chance.standard_normal())),
            hashprice_usd_per_ph_day=slot.hashprice_usd_per_ph_day
            * (1 + share * float(chance.uniform(-0.1, 0.1))),
        )
        for slot in slots
    )
