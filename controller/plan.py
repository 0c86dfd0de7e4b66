"""What is planned and what comes of it: slots, units as they stand, paths, and what could not be kept; pure.

Power prices are in USD/kWh and include everything; hashprice is net, in USD per PH/s and day; times are UTC unix seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.units import Unit


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of time with one hashprice, one power price and one power cap.

    `cap_kw` is what all planned units together may draw, infinite for no limit. `day` numbers the site's calendar days: starts per day
    are counted within it.
    """

    start: float
    duration_s: float
    hashprice_usd_per_ph_day: float
    power_usd_per_kwh: float
    cap_kw: float = math.inf
    day: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be planned with."""
        isfinite = math.isfinite
        if not (
            isfinite(self.start)
            and isfinite(self.duration_s)
            and isfinite(self.hashprice_usd_per_ph_day)
            and isfinite(self.power_usd_per_kwh)
            and self.duration_s > 0
        ):
            raise ValueError(f"a slot needs finite numbers and a duration above zero: {self}")
        if not self.cap_kw >= 0:
            raise ValueError(f"a power cap must be zero or more, not {self.cap_kw}")

    @property
    def stop(self) -> float:
        """The end, half open."""
        return self.start + self.duration_s


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a unit stands when the plan begins.

    `mode` is a mode's name, None where nobody knows it: any mode may then be the first, at no cost. `dwell_left_s` is how long it must
    still stay on (or off). `starts_left`: how often it may still be started on the day of the first slot, None for no limit.
    """

    mode: str | None
    dwell_left_s: float = 0.0
    starts_left: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One unit to be planned: what it can do, where it stands, and per slot the modes it may be in.

    `allowed` is empty where every mode is allowed in every slot, else it has one entry per slot, None for every mode. `worth_usd` is
    empty, or says for every mode of the curve what being in it in the plan's `worth_slot` earns more.
    """

    unit: Unit
    standing: Standing
    allowed: tuple[frozenset[str] | None, ...] = ()
    worth_usd: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """The path of one unit: a mode's name per slot, and what it earns over the horizon in USD."""

    unit_id: str
    modes: tuple[str, ...]
    value_usd: float


@dataclass(frozen=True, slots=True)
class Broken:
    """What no plan can keep, in the half-open interval [start, stop), and why, in words that name the units.

    `over_kw` is by how much a power cap is exceeded at worst, 0 where it is no matter of power.
    """

    start: float
    stop: float
    why: str
    unit_ids: tuple[str, ...] = ()
    over_kw: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Paths for all units over the slots, their value, and the bound no plan can exceed.

    `prices_usd_per_kwh` is, per slot, what one more kWh under the cap would be worth (0 where the cap does not bind); the next plan
    starts from them. `value_usd` and `bound_usd` are without what power beyond the units planned here costs.
    """

    slots: tuple[Slot, ...]
    units: Mapping[str, UnitPlan]
    value_usd: float
    bound_usd: float
    prices_usd_per_kwh: tuple[float, ...] = ()
    broken: tuple[Broken, ...] = field(default=())

    @property
    def gap_ratio(self) -> float:
        """How far the plan may be from the best, as a fraction of the bound."""
        if self.bound_usd == self.value_usd:
            return 0.0
        return (self.bound_usd - self.value_usd) / max(abs(self.bound_usd), math.ulp(1.0))

    def slot_at(self, at: float) -> int | None:
        """The index of the slot that holds `at`; None outside the plan."""
        index = bisect_right(self.slots, at, key=lambda slot: slot.start) - 1
        return index if index >= 0 and at < self.slots[index].stop else None

    def mode_at(self, unit_id: str, at: float) -> str | None:
        """The mode planned for a unit at that time; None outside the plan."""
        path = self.units.get(unit_id)
        index = self.slot_at(at)
        return None if path is None or index is None else path.modes[index]

    def price_at(self, at: float) -> float:
        """What one more kWh under the cap would be worth at that time, USD/kWh; 0 outside the plan."""
        index = self.slot_at(at)
        return 0.0 if index is None or not self.prices_usd_per_kwh else self.prices_usd_per_kwh[index]
