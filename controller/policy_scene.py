"""What is common to all units on one tick, and what a rule proposes for one of them; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from controller.economics import SECONDS_PER_HOUR, best_of
from controller.flip import StartCost, flips_text, time_text
from controller.units import OFF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.decisions import Reason
    from controller.fleet import Case, PolicyConfig
    from controller.limits import Limits
    from controller.market import Market, MarketUnknown
    from controller.plan import Plan
    from controller.standing import UnitWorth, Worths
    from controller.units import Mode, PowerCurve, Unit


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


@dataclass(frozen=True)
class Scene:
    """One tick: prices, plan, limits. What is reckoned once for all units alike is kept in `known`.

    `worth` is what the plan added where the coming prices are not known; `trusts_told` whether a price that was told by the time it began
    to hold is acted on at once; `explains` whether decisions say what would change them.
    """

    now: float
    config: PolicyConfig
    market: Market | MarketUnknown
    plan: Plan | None
    limits: Limits
    worth: Worths | None = None
    trusts_told: bool = False
    explains: bool = True
    known: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def slot(self) -> int | None:
        """The plan's slot that holds now."""
        return None if self.plan is None else self.plan.slot_at(self.now)

    @cached_property
    def cap_kw(self) -> float:
        """What all units may draw now; infinite for no limit."""
        return self.limits.cap_kw_at(self.now)

    @cached_property
    def cap_text(self) -> str:
        """What limits power now, in words."""
        return self.limits.cap_text(self.now)

    @cached_property
    def shadow_usd_per_kwh(self) -> float:
        """What one more kWh would be worth now under the limit of power."""
        return 0.0 if self.plan is None else self.plan.price_at(self.now)

    @cached_property
    def is_tight(self) -> bool:
        """Whether the limit of power moves units now: it has a price, or cannot be kept."""
        if self.shadow_usd_per_kwh > 0:
            return True
        broken = () if self.plan is None else self.plan.broken
        return math.isfinite(self.cap_kw) and any(each.start <= self.now < each.stop for each in broken)

    def planned(self, unit_id: str) -> str | None:
        """The mode planned for a unit now; None without a plan for it."""
        index = self.slot
        path = None if self.plan is None or index is None else self.plan.units.get(unit_id)
        return None if path is None or index is None else path.modes[index]

    def by_plan(self, unit_id: str, mode: str) -> str:
        """In words, what the plan has for a unit after `mode`, and when."""
        if not self.explains:
            return ""
        index = self.slot
        path = None if self.plan is None or index is None else self.plan.units.get(unit_id)
        if self.plan is None or path is None or index is None:
            return "decides again when there is a plan"
        for at, planned in enumerate(path.modes[index + 1 :], index + 1):
            if planned != mode:
                verb = "pauses" if planned == OFF else f"runs again ({planned})" if mode == OFF else planned
                return f"{verb} at {time_text(self.plan.slots[at].start)} by the plan"
        return "no change pays within the plan's horizon"

    def flips(self, unit: Unit, mode: Mode, market: Market) -> str:
        """In words, at which prices a unit leaves this mode."""
        if not self.explains:
            return ""
        worth = self.worth_of(unit)
        starts = mode.name == OFF and self.plan is not None
        costs = (unit.restart_s, unit.wear_usd) if starts else (0.0, 0.0)
        known = self.known_of(unit.curve)
        key = ("flips", mode.name, costs if worth is None else worth.kind[1:])
        text: str | None = known.get(key)
        if text is None:
            shadow = self.shadow_usd_per_kwh
            if worth is not None:
                text = worth.between(mode).text(mode, shadow)
            else:
                start = StartCost(*costs, self._hours_left) if any(costs) else None
                text = flips_text(unit.curve, mode, market, self.config.dead_band, shadow, start)
            known[key] = text
        return text

    @cached_property
    def _hours_left(self) -> float:
        """How long the plan lasts."""
        return 0.0 if self.plan is None else (self.plan.slots[-1].stop - self.now) / SECONDS_PER_HOUR

    def worth_of(self, unit: Unit) -> UnitWorth | None:
        """What being on is worth to a unit where the coming prices are not known; None where they are."""
        return None if self.worth is None else self.worth.of(unit)

    def why_then(self, unit: Unit, present: Mode, target: Mode, market: Market) -> str:
        """In words, what would change a unit that is in `present` and stays or goes to `target` for what comes later.

        Where the coming prices are not known and what they may bring is all there is to it, those are the prices at which it turns.
        """
        if not self.explains:
            return ""
        worth = self.worth_of(unit)
        if worth is not None and worth.wanted(present) == target:
            return self.flips(unit, target, market)
        return self.by_plan(unit.id, target.name)

    def best(self, curve: PowerCurve, present: Mode, market: Market, dead_band: float) -> Mode:
        """The mode that pays best now for a unit in `present`, which stays in doubt; nothing but prices counts."""
        known, key = self.known_of(curve), ("best", present.name, dead_band)
        mode: Mode | None = known.get(key)
        if mode is None:
            prices = (market.hashprice_usd_per_ph_day, market.power_usd_per_kwh)
            mode = best_of([present, *curve.hull()], *prices, away_from=present, dead_band=dead_band)
            known[key] = mode
        return mode

    def known_of(self, curve: PowerCurve) -> dict[object, Any]:
        """What was reckoned for the units of one curve."""
        known: dict[object, Any] | None = self.known.get(curve)
        if known is None:
            known = self.known[curve] = {}
        return known
