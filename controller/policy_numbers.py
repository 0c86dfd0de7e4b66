"""The numbers of a decision: what it was made from, and all that the next one must remember; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from controller.decisions import Reason
from controller.earnings import GROSS
from controller.economics import (
    margin_usd_per_hour,
    power_usd_per_hour,
    step_margin_usd_per_hour,
)
from controller.fleet import (
    CHANGED,
    CONTRADICTS,
    DAY,
    PLANLESS,
    RAISED,
    RATIO,
    RATIO_W,
    REFUSED_W,
    SHED,
    SINCE,
    STALE,
    STARTS,
    TOLD,
    same_side,
)
from controller.flip import flip_point
from controller.market import Market, MarketUnknown
from controller.policy_guard import (
    cap_before,
    is_repeated,
    lowers,
    raised_lately,
    raises,
    settles_until,
)
from controller.units import OFF, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.fleet import Case
    from controller.policy_scene import Proposal, Scene
    from controller.units import PowerCurve, Unit


_SLACK_KW: Final = 1e-6


def numbers_of(scene: Scene, case: Case, proposal: Proposal, drawn_kw: float) -> dict[str, float]:
    """All numbers of a decision, finite; `drawn_kw` is what all units certainly draw. What explains it is left out where nobody asks."""
    economics: Mapping[str, float] = {}
    numbers: dict[str, float] = {}
    if not isinstance(scene.market, Market):
        numbers[STALE] = stale_since(case, scene.market)
    elif scene.explains:
        planned = scene.planned(case.unit.id)
        economics = _economics(scene, scene.market, case.unit.curve, proposal, planned)
        numbers.update(_expected(scene, case.unit, proposal))
    if math.isfinite(scene.cap_kw):
        numbers["cap_kw"] = scene.cap_kw
        numbers["drawn_kw"] = drawn_kw
        numbers["shadow_price_usd_per_kwh"] = scene.shadow_usd_per_kwh
    numbers.update(proposal.numbers)
    numbers.update(_memory(case, proposal))
    if case.ratio > 1.0:
        numbers[RATIO], numbers[RATIO_W] = case.ratio, case.ratio_w
    if case.power_refused_w is not None:
        numbers[REFUSED_W] = case.power_refused_w
    planless = planless_since(scene, case)
    if planless is not None:
        numbers[PLANLESS] = planless
    if _is_shed(scene, case, proposal, drawn_kw):
        numbers[SHED] = case.now
    elif settles_until(scene, case) is not None:
        numbers[SHED] = case.remembered(SHED) or 0.0
    return {**economics, **_stored(numbers)}


def _stored(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers as a ledger keeps them: finite, and zero without a sign, which not every database keeps."""
    return {name: value + 0.0 for name, value in numbers.items() if math.isfinite(value)}


def _is_shed(scene: Scene, case: Case, proposal: Proposal, drawn_kw: float) -> bool:
    """Whether a unit is turned down since more is drawn than allowed, and not since less is allowed than before."""
    return (
        proposal.reason is Reason.SITE_CAP
        and drawn_kw > scene.cap_kw + _SLACK_KW
        and cap_before(case) <= scene.cap_kw
        and lowers(case, proposal)
    )


def planless_since(scene: Scene, case: Case) -> float | None:
    """Since when there has been no plan to follow; None where there is one. Times without prices, when none is made, count on."""
    if scene.slot is not None:
        return None
    remembered = case.remembered(PLANLESS)
    if remembered is None and not isinstance(scene.market, Market):
        return None
    return case.now if remembered is None else remembered


def is_start(case: Case, proposal: Proposal) -> bool:
    """Whether it turns on a unit that is off, be it off by itself; telling it the same once more is no other start."""
    if proposal.to_mode == OFF:
        return False
    return case.intended == OFF or (case.actual == OFF and not is_repeated(case, proposal))


def stale_since(case: Case, market: MarketUnknown) -> float:
    """Since when prices are not known to this unit's decisions."""
    remembered = case.remembered(STALE)
    if remembered is not None:
        return remembered
    return case.now if market.since is None else min(market.since, case.now)


def _economics(
    scene: Scene, market: Market, curve: PowerCurve, proposal: Proposal, planned: str | None
) -> dict[str, float]:
    """Prices and what the mode makes of them; the same for all units of a curve in one mode."""
    is_silent = proposal.reason is Reason.SILENT
    known, key = scene.known_of(curve), ("economics", proposal.to_mode, planned, is_silent)
    found: dict[str, float] | None = known.get(key)
    if found is None:
        prices = scene.known.get("prices")
        if prices is None:
            prices = scene.known["prices"] = _stored(_prices(market))
        margins = _margins(market, curve, proposal.to_mode, planned, is_silent=is_silent)
        found = known[key] = {**prices, **_stored(margins)}
    return found


def _prices(market: Market) -> dict[str, float]:
    """The prices themselves and what they are made of; the same for all units."""
    return {
        "hashprice_usd_per_ph_day": market.hashprice_usd_per_ph_day,
        "power_usd_per_kwh": market.power_usd_per_kwh,
        GROSS: market.gross_hashprice_usd_per_ph_day,
        **market.paid.numbers(),
        **{f"age_{series}_s": age for series, age in market.ages_s.items()},
    }


def _margins(
    market: Market, curve: PowerCurve, to_mode: str, planned: str | None, *, is_silent: bool
) -> dict[str, float]:
    hashprice, power = market.hashprice_usd_per_ph_day, market.power_usd_per_kwh
    numbers: dict[str, float] = {}
    if planned is not None:
        numbers["planned_margin_usd_per_hour"] = margin_usd_per_hour(curve.mode(planned), hashprice, power)
    if to_mode not in curve:
        return numbers
    mode = curve.mode(to_mode)
    # What a unit claims to hash and does not hand in earns nothing.
    margin = margin_usd_per_hour(mode, hashprice, power)
    numbers["margin_usd_per_hour"] = -power_usd_per_hour(mode.watts, power) if is_silent else margin
    # The next watt decides: the last step taken, or for a unit that is off the first one not taken.
    step = curve.step_below(mode) or curve.step_above(mode)
    if step is not None:
        numbers["marginal_margin_usd_per_hour"] = step_margin_usd_per_hour(step, hashprice, power)
        breakeven = flip_point(step, market, 1.0)
        if breakeven.hashprice_usd_per_ph_day is not None:
            numbers["breakeven_hashprice_usd_per_ph_day"] = breakeven.hashprice_usd_per_ph_day
        if breakeven.power_usd_per_kwh is not None:
            numbers["breakeven_power_usd_per_kwh"] = breakeven.power_usd_per_kwh
    return numbers


def _expected(scene: Scene, unit: Unit, proposal: Proposal) -> dict[str, float]:
    """Where the coming prices are not known: what the block at stake is expected to be worth, and by what that was told."""
    worth = scene.worth_of(unit)
    if worth is None or proposal.to_mode not in unit.curve:
        return {}
    known, key = scene.known_of(unit.curve), ("expected", worth.kind[1:], proposal.to_mode)
    found: dict[str, float] | None = known.get(key)
    if found is None:
        found = known[key] = worth.at_stake(unit.curve.mode(proposal.to_mode)).numbers()
    return found


def _memory(case: Case, proposal: Proposal) -> dict[str, float]:
    """What the next decision must know: kept from the last one, or now if this one changes it."""
    memory = {key: value for key in (SINCE, CHANGED, TOLD) if (value := case.remembered(key)) is not None}
    moves = proposal.moves(case)
    if TOLD in memory and case.actual == case.intended and UNKNOWN not in {case.found, case.intended}:
        # It took its mode when it was last told, which may have been long after it was decided.
        memory[CHANGED] = max(memory.pop(TOLD), memory.get(CHANGED, 0.0))
    if moves:
        if not is_repeated(case, proposal):
            memory[CHANGED] = case.now
        memory[TOLD] = case.now
    raised = case.now if moves and raises(case, proposal) else raised_lately(case)
    if raised is not None:
        memory[RAISED] = raised
    if proposal.reason.acts and not same_side(case.intended, proposal.to_mode):
        memory[SINCE] = case.now
    if case.contradicts_since is not None:
        memory[CONTRADICTS] = case.contradicts_since
    if case.unit.starts_per_day is not None:
        started = proposal.reason.acts and is_start(case, proposal)
        memory[STARTS] = case.starts_today + started
        memory[DAY] = case.day
    return memory
