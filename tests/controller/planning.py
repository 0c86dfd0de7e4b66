"""Random small instances of planning: few slots, few modes, everything that can bind."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from controller.plan import Slot
from controller.program import UnitClass
from controller.units import Mode, PowerCurve, Unit

if TYPE_CHECKING:
    import random


class Terms(TypedDict):
    """What a plan is made by besides classes and slots."""

    dead_band: float
    worth_slot: int


NAMES = ("low", "mid", "high", "max")


def random_slots(chance: random.Random, most: int = 10) -> list[Slot]:
    """Uneven slots, days that break anywhere, prices now and then negative or equal."""
    count = chance.randint(1, most)
    start, day, slots = 1_700_000_000.0, 0, []
    even = chance.random() < 0.5
    hashprice = chance.choice([25.0, 40.0, 55.0])
    for _ in range(count):
        duration_s = 900.0 if even else chance.choice([60.0, 300.0, 899.5, 900.0, 1800.0])
        if chance.random() < 0.1:
            hashprice = chance.choice([0.0, 38.0, 41.0])
        power = chance.choice([-0.02, 0.05, chance.uniform(0.02, 0.15), chance.uniform(0.02, 0.15)])
        slots.append(Slot(start, duration_s, hashprice, power, day=day))
        start += duration_s
        day += chance.random() < 0.15
    return slots


def random_terms(chance: random.Random, slots: list[Slot]) -> Terms:
    return {"dead_band": chance.choice([0.0, 0.0, 0.1]), "worth_slot": chance.choice([0, len(slots) // 2])}


def random_unit(chance: random.Random, name: str = "u") -> Unit:
    modes = [Mode("off", 0.0, chance.choice([0.0, 15.0]))]
    for each in NAMES[: chance.randint(1, 4)]:
        last = modes[-1]
        modes.append(Mode(each, last.th_s + chance.uniform(5, 90), last.watts + chance.uniform(100, 1800)))
    return Unit(
        name,
        PowerCurve(modes),
        min_on_s=chance.choice([0.0, 0.0, 900.0, 1800.0, 2700.0, 5000.0]),
        min_off_s=chance.choice([0.0, 0.0, 900.0, 1800.0, 2700.0, 5000.0]),
        restart_s=chance.choice([0.0, 60.0, 300.0, 600.0]),
        wear_usd=chance.choice([0.0, 0.0, 0.01]),
        change_s=chance.choice([0.0, 60.0, 120.0]),
        starts_per_day=chance.choice([None, None, 1, 2]),
    )


def random_class(chance: random.Random, unit: Unit, slots: list[Slot], count: int = 1) -> UnitClass:
    names = [mode.name for mode in unit.curve.modes]
    standing = chance.choice([None, *range(len(names))])
    allowed: tuple[frozenset[str] | None, ...] = ()
    if chance.random() < 0.4:
        subsets = [
            None,
            None,
            frozenset({"off"}),
            frozenset(names[1:]),
            frozenset(names[:2]),
            frozenset({"none of it"}),
        ]
        allowed = tuple(chance.choice(subsets) for _ in slots)
    worth_usd: tuple[float, ...] = ()
    if chance.random() < 0.4:
        worth_usd = tuple(chance.choice([0.0, chance.uniform(-0.1, 0.1)]) for _ in names)
    return UnitClass(
        unit,
        standing,
        dwell_left=chance.choice([0, 0, 1, 3]) if standing is not None else 0,
        starts_left=chance.choice([None, None, 0, 1, 3]),
        allowed=allowed,
        count=count,
        worth_usd=worth_usd,
    )
