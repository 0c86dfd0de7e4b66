"""Profit: a unit follows the plan, and is told in which of its reasons that lies; pure.

The plan weighs prices now and later, what changes cost, dwell, starts per day, the dead band and the limit of power. What is left
here is to see a price twice before a unit is started on it, and to name why the plan stays or goes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from controller.decisions import Reason
from controller.economics import margin_usd_per_hour
from controller.fleet import WANTED
from controller.flip import room_text, time_text, verb_up
from controller.market import Market
from controller.policy_numbers import planless_since
from controller.policy_scene import Proposal
from controller.units import OFF, UNKNOWN, Mode

if TYPE_CHECKING:
    from controller.fleet import Case
    from controller.policy_scene import Scene


def profit(scene: Scene, case: Case) -> Proposal | None:
    """Follow the plan; None where prices are not known."""
    if not isinstance(scene.market, Market):
        return None
    planned = scene.planned(case.unit.id)
    if planned is None:
        return _without_plan(scene, case, scene.market)
    target = case.unit.curve.mode(planned)
    if case.intended == UNKNOWN:
        return Proposal(target.name, Reason.START, scene.flips(case.unit, target, scene.market))
    return _toward(scene, case, scene.market, target)


def _without_plan(scene: Scene, case: Case, market: Market) -> Proposal:
    """Hold for the grace time, then follow the prices of now: no fault of the planner's is worth a fleet that runs at a loss for ever."""
    since = planless_since(scene, case)
    ends = (case.now if since is None else since) + scene.config.grace_s
    if case.now < ends:
        flip = f"decides again when there is a plan; by the prices of then alone at {time_text(ends)}"
        return Proposal(case.intended, Reason.NO_PLAN, flip)
    curve = case.unit.curve
    present = curve.off if case.intended == UNKNOWN else curve.mode(case.intended)
    target = scene.best(curve, present, market, scene.config.dead_band)
    if case.intended == target.name:
        return Proposal(target.name, Reason.NO_PLAN, scene.flips(case.unit, target, market))
    if case.intended == OFF and case.starts_left == 0:
        return Proposal(
            OFF, Reason.HOLD_STARTS, f"runs again ({target.name}) after midnight if it still pays"
        )
    if case.intended == UNKNOWN:
        return Proposal(target.name, Reason.PRICES_ALONE, scene.flips(case.unit, target, market))
    proposal = _toward(scene, case, market, target)
    return replace(proposal, reason=Reason.PRICES_ALONE) if proposal.reason.acts else proposal


def _toward(scene: Scene, case: Case, market: Market, target: Mode) -> Proposal:
    present = case.unit.curve.mode(case.intended)
    if target.name == present.name:
        return _stay(scene, case, market, present)
    if target.name == OFF:
        return _pause(scene, case, market, present)
    if present.name == OFF:
        return _resume(scene, case, market, target)
    reason = Reason.STEP_UP if target.watts > present.watts else Reason.STEP_DOWN
    return _go(scene, case, market, present, target, reason)


def _stay(scene: Scene, case: Case, market: Market, present: Mode) -> Proposal:
    """Name why the plan leaves the unit where it is."""
    curve = case.unit.curve
    if scene.best(curve, present, market, 0.0).name == present.name:
        reason = Reason.HOLD_OFF if present.name == OFF else Reason.HOLD_ON
        return Proposal(present.name, reason, scene.flips(case.unit, present, market))
    best = scene.best(curve, present, market, scene.config.dead_band)
    if best.name == present.name:
        return Proposal(present.name, Reason.DEAD_BAND, scene.flips(case.unit, present, market))
    reason, flip = _waits(scene, case, market, present, best)
    return Proposal(present.name, reason, flip, _wanted(case) if present.name == OFF else {})


def _waits(scene: Scene, case: Case, market: Market, present: Mode, best: Mode) -> tuple[Reason, str]:
    """Why a unit stays although another mode pays better by prices alone, and what that waits for."""
    if case.is_warm and best.watts > present.watts:
        return Reason.HOLD_THERMAL, case.cool_again
    left_s = case.dwell_left_s(best.name)
    if left_s > 0:
        return Reason.MIN_ON if best.name == OFF else Reason.MIN_OFF, _after_dwell(case, best.name, left_s)
    if present.name == OFF and case.starts_left == 0:
        return Reason.HOLD_STARTS, f"runs again ({best.name}) after midnight if it still pays"
    if scene.is_tight and best.watts > present.watts:
        free = room_text(case.watts(best) - case.watts(present))
        return (
            Reason.HOLD_SITE_CAP,
            f"{verb_up(present, best)} when {free} are free; {scene.cap_text}",
        )
    return Reason.HOLD_CHANGE_COST, scene.why_then(case.unit, present, present, market)


def _pause(scene: Scene, case: Case, market: Market, present: Mode) -> Proposal:
    """Turn off at once unless the unit must still run, which only a limit of power waives."""
    off = case.unit.curve.off
    left_s = case.dwell_left_s(OFF)
    if (
        left_s > 0 and case.actual != OFF
    ):  # what already stands still is not started to serve its minimum time
        if not scene.is_tight:
            return Proposal(present.name, Reason.MIN_ON, _after_dwell(case, OFF, left_s))
        return Proposal(OFF, Reason.SITE_CAP, _limited(scene, case, off, market))
    return _go(scene, case, market, present, off, Reason.PAUSE)


def _resume(scene: Scene, case: Case, market: Market, target: Mode) -> Proposal:
    """Turn on after the dwell, and only when the price was seen to hold: one good reading is not yet a price.

    Who decides for a real-time market, where each quarter hour brings another price, need not see one twice that was told in time.
    """
    wanted = _wanted(case)
    left_s = case.dwell_left_s(target.name)
    if left_s > 0:
        return Proposal(OFF, Reason.MIN_OFF, _after_dwell(case, target.name, left_s), wanted)
    if not _is_confirmed(scene, case, market):
        flip = f"runs again ({target.name}) on the next tick if the price holds"
        return Proposal(OFF, Reason.CONFIRMING, flip, wanted)
    return _go(scene, case, market, case.unit.curve.off, target, Reason.RESUME)


def _is_confirmed(scene: Scene, case: Case, market: Market) -> bool:
    before = case.remembered(WANTED)
    if before is not None and market.confirmed_since(before):
        return True
    return scene.trusts_told and case.last is not None and market.known_in_time(case.last.at)


def _go(scene: Scene, case: Case, market: Market, present: Mode, target: Mode, usual: Reason) -> Proposal:
    """A move for the usual reason where prices alone explain it, else for the limit of power or for what comes."""
    prices = (market.hashprice_usd_per_ph_day, market.power_usd_per_kwh)
    if margin_usd_per_hour(target, *prices) > margin_usd_per_hour(present, *prices):
        left_s = case.dwell_left_s(OFF)
        best = scene.best(case.unit.curve, present, market, scene.config.dead_band)
        if left_s > 0 and OFF == best.name != target.name:
            return Proposal(target.name, usual, _after_dwell(case, OFF, left_s))
        return Proposal(target.name, usual, scene.flips(case.unit, target, market))
    if scene.is_tight and target.watts < present.watts:
        return Proposal(target.name, Reason.SITE_CAP, _limited(scene, case, target, market))
    return Proposal(target.name, Reason.PLAN_AHEAD, scene.why_then(case.unit, present, target, market))


def _limited(scene: Scene, case: Case, mode: Mode, market: Market) -> str:
    return f"{scene.flips(case.unit, mode, market)}; {scene.cap_text}"


def _after_dwell(case: Case, to_mode: str, left_s: float) -> str:
    at = time_text(case.now + left_s)
    if to_mode == OFF:
        return f"pauses at {at} if it still does not pay"
    return f"runs again ({to_mode}) at {at} if it still pays"


def _wanted(case: Case) -> dict[str, float]:
    """Since when the price has wanted the unit to run."""
    before = case.remembered(WANTED)
    return {WANTED: case.now if before is None else before}
