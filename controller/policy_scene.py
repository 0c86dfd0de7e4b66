"""What is common to all units on one tick, and what a rule proposes for one of them; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from controller.economics import SECONDS_PER_HOUR, best_of
from controller.flip import StartCost, flips_text, time_text
from controller.units import OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.decisions import Reason
    from controller.fleet import Case, PolicyConfig
    from controller.limits import Limits
    from controller.market import Market, MarketUnknown
    from controller.plan import Plan
    from controller.units import Mode, PowerCurve, Unit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Proposal:
    """The mode a unit is to be in, and why; `numbers` go into its decision."""

    to_mode: str
    reason: Reason
    flip: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    def moves(self, case: Case) -> bool:
        """Whether the unit is told something it was not told, or did not take."""
        return self.reason.acts and {case.intended, case.actual} != {self.to_mode}


@dataclass(frozen=True, slots=True)
class Scene:
    """One tick: prices, plan, limits. What is reckoned once for all units of a curve is kept in `known`."""

    now: float
    config: PolicyConfig
    market: Market | MarketUnknown
    plan: Plan | None
    limits: Limits
    known: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def slot(self) -> int | None:
        """The plan's slot that holds now."""
        return self._once("slot", lambda: None if self.plan is None else self.plan.slot_at(self.now))

    @property
    def cap_kw(self) -> float:
        """What all units may draw now; infinite for no limit."""
        return self._once("cap", lambda: self.limits.cap_kw_at(self.now))

    @property
    def cap_text(self) -> str:
        """What limits power now, in words."""
        return self._once("cap_text", lambda: self.limits.cap_text(self.now))

    @property
    def shadow_usd_per_kwh(self) -> float:
        """What one more kWh would be worth now under the limit of power."""
        return self._once("shadow", lambda: 0.0 if self.plan is None else self.plan.price_at(self.now))

    @property
    def is_tight(self) -> bool:
        """Whether the limit of power moves units now: it has a price, or cannot be kept."""
        return self._once("tight", self._is_tight)

    def planned(self, unit_id: str) -> str | None:
        """The mode planned for a unit now; None without a plan for it."""
        index = self.slot
        path = None if self.plan is None or index is None else self.plan.units.get(unit_id)
        return None if path is None or index is None else path.modes[index]

    def by_plan(self, unit_id: str, mode: str) -> str:
        """In words, what the plan has for a unit after `mode`, and when."""
        index = self.slot
        path = None if self.plan is None or index is None else self.plan.units.get(unit_id)
        if self.plan is None or path is None or index is None:
            return "decides again when there is a plan"
        for slot, planned in zip(self.plan.slots[index + 1 :], path.modes[index + 1 :], strict=True):
            if planned != mode:
                verb = "pauses" if planned == OFF else f"runs again ({planned})" if mode == OFF else planned
                return f"{verb} at {time_text(slot.start)} by the plan"
        return "no change pays within the plan's horizon"

    def flips(self, unit: Unit, mode: Mode, market: Market) -> str:
        """In words, at which prices a unit leaves this mode."""
        band, shadow = self.config.dead_band, self.shadow_usd_per_kwh
        costs = (unit.restart_s, unit.wear_usd)
        start = None
        if self.plan is not None and mode.name == OFF and any(costs):
            start = StartCost(*costs, (self.plan.slots[-1].stop - self.now) / SECONDS_PER_HOUR)
        key = ("flips", unit.curve, mode.name, start)
        return self._once(key, lambda: flips_text(unit.curve, mode, market, band, shadow, start))

    def best(self, curve: PowerCurve, present: Mode, market: Market, dead_band: float) -> Mode:
        """The mode that pays best now for a unit in `present`, which stays in doubt; nothing but prices counts."""
        prices = (market.hashprice_usd_per_ph_day, market.power_usd_per_kwh)
        key = ("best", curve, present.name, dead_band)
        return self._once(
            key,
            lambda: best_of([present, *curve.hull()], *prices, away_from=present, dead_band=dead_band),
        )

    def _once(self, key: object, reckon: Callable[[], T]) -> T:
        if key not in self.known:
            self.known[key] = reckon()
        found: T = self.known[key]
        return found

    def _is_tight(self) -> bool:
        if self.shadow_usd_per_kwh > 0:
            return True
        broken = () if self.plan is None else self.plan.broken
        return math.isfinite(self.cap_kw) and any(each.start <= self.now < each.stop for each in broken)
