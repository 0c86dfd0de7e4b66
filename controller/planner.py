"""The best mode of every unit in every slot of the horizon, with a bound on what any plan could earn; pure.

Changing modes is free here, so the best mode of a slot is the best of that slot alone and the plan is exact: its value is its
upper bound and the gap is zero. What a change costs is weighed by the policy (dead band and dwell).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.economics import SECONDS_PER_HOUR, best_mode, margin_usd_per_hour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.units import PowerCurve, Unit, UnitState


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of time with one hashprice (net, USD/PH/day) and one power price (USD/kWh); UTC unix seconds."""

    start: float
    duration_s: float
    hashprice_usd_per_ph_day: float
    power_usd_per_kwh: float

    def __post_init__(self) -> None:
        """Refuse what cannot be planned with."""
        numbers = (self.start, self.duration_s, self.hashprice_usd_per_ph_day, self.power_usd_per_kwh)
        if not (all(map(math.isfinite, numbers)) and self.duration_s > 0):
            raise ValueError(f"a slot needs finite numbers and a duration above zero: {self}")

    @property
    def stop(self) -> float:
        """The end, half open."""
        return self.start + self.duration_s


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """The path of one unit: a mode's name per slot, and what it earns over the horizon in USD."""

    unit_id: str
    modes: tuple[str, ...]
    value_usd: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Paths for all units over the slots, their value, and the bound no plan can exceed."""

    slots: tuple[Slot, ...]
    units: Mapping[str, UnitPlan]
    value_usd: float
    bound_usd: float

    @property
    def gap_ratio(self) -> float:
        """How far the plan may be from the best, as a fraction of the bound."""
        if self.bound_usd == self.value_usd:
            return 0.0
        return (self.bound_usd - self.value_usd) / max(abs(self.bound_usd), math.ulp(1.0))

    def mode_at(self, unit_id: str, at: float) -> str | None:
        """The mode planned for a unit at that time; None outside the plan."""
        path = self.units.get(unit_id)
        if path is None:
            return None
        for slot, mode in zip(self.slots, path.modes, strict=True):
            if slot.start <= at < slot.stop:
                return mode
        return None


def plan(units: Sequence[Unit], states: Mapping[str, UnitState], slots: Sequence[Slot]) -> Plan:
    """The best plan for these units over these slots; units with equal curves are one class.

    `states` say where units stand; with free changes the path does not depend on it, and a unit that does not answer is planned
    like any other, since its power counts as drawn until shown otherwise.
    """
    del states  # the best path from anywhere is the same while changes are free
    horizon = tuple(slots)
    of_class: dict[PowerCurve, tuple[tuple[str, ...], float]] = {}
    paths: dict[str, UnitPlan] = {}
    for unit in units:
        if unit.curve not in of_class:
            of_class[unit.curve] = _best_path(unit.curve, horizon)
        modes, value_usd = of_class[unit.curve]
        paths[unit.id] = UnitPlan(unit.id, modes, value_usd)
    value_usd = math.fsum(path.value_usd for path in paths.values())
    return Plan(horizon, paths, value_usd, bound_usd=value_usd)


def _best_path(curve: PowerCurve, slots: Sequence[Slot]) -> tuple[tuple[str, ...], float]:
    modes: list[str] = []
    values: list[float] = []
    for slot in slots:
        mode = best_mode(curve, slot.hashprice_usd_per_ph_day, slot.power_usd_per_kwh)
        margin = margin_usd_per_hour(mode, slot.hashprice_usd_per_ph_day, slot.power_usd_per_kwh)
        modes.append(mode.name)
        values.append(margin * slot.duration_s / SECONDS_PER_HOUR)
    return tuple(modes), math.fsum(values)
