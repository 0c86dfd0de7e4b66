"""What the controller saw and decided on one tick, and its reports as plain data; pure.

Reports hold only dicts, lists, strings, numbers, booleans and None, with the unit in each key; times are UTC unix seconds.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from controller.book import current
from controller.decisions import REASON_TEXT, Reason
from controller.economics import (
    breakeven_hashprice,
    breakeven_power_price,
    margin_usd_per_hour,
)
from controller.fleet import REFUSED_W
from controller.flip import flip_point
from controller.market import Market, MarketUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.decisions import Decision
    from controller.forecast import PowerAhead
    from controller.limits import Limits
    from controller.plan import Plan, UnitPlan
    from controller.snapshot import Snapshot
    from controller.standing import Worths
    from controller.units import Unit


@dataclass(frozen=True, slots=True)
class View:
    """One tick of the controller; `next_tick_at` is None in a preview, `plan` while prices are not known.

    `limits` are those of the site, None where nobody asked for them; `plan_fault` says why there is no plan although prices are known.
    `power_ahead` is the power price that was planned with, None while prices are not known; `worth` what standing in a mode is worth, None
    where the coming prices are known, or nothing was asked but what the plan expects.
    """

    snapshot: Snapshot
    market: Market | MarketUnknown
    plan: Plan | None
    decisions: Mapping[str, Decision]
    plan_seconds: float
    next_tick_at: float | None
    dry_run: bool
    limits: Limits | None = None
    plan_fault: str = ""
    power_ahead: PowerAhead | None = None
    worth: Worths | None = None

    @property
    def at(self) -> float:
        """When it was, UTC unix seconds."""
        return self.snapshot.at


def faults(view: View) -> tuple[tuple[str | None, str], ...]:
    """What a person should look at now: a unit's id, None for the controller itself, and what is wrong, in words.

    Units whose work contradicts what they say of themselves or that say they draw what no such machine does, a planner that failed,
    limits that no plan can keep.
    """
    found: list[tuple[str | None, str]] = [
        (unit_id, f"{unit_id}: {decision.reason.value}: {decision.flip}")
        for unit_id, decision in view.decisions.items()
        if decision.reason in {Reason.SILENT, Reason.STILL_HASHING}
    ]
    found.extend(
        (unit_id, f"{unit_id}: reads {watts:,.0f} W, far more than its greatest mode draws: not believed")
        for unit_id, decision in view.decisions.items()
        if (watts := decision.numbers.get(REFUSED_W)) is not None
    )
    if view.plan_fault:
        found.append((None, f"no plan: {view.plan_fault}"))
    if view.plan is not None:
        found.extend((None, each.why) for each in view.plan.broken if each.start <= view.at < each.stop)
    return tuple(found)


def hashprice_report(view: View) -> dict[str, Any]:
    """Hashprice now and after the projected retarget, with its inputs and what is wrong with them.

    Where prices may not be acted on, `known` is false, the prices are None and `problems` says why.
    """
    market = view.market
    report: dict[str, Any] = {
        "at_s": view.at,
        "known": isinstance(market, Market),
        "hashprice_usd_per_ph_day": None,
        "gross_hashprice_usd_per_ph_day": None,
        "gross_hashprice_btc_per_ph_day": None,
        "power_usd_per_kwh": None,
        "earnings": None,
        "retarget": None,
        "inputs": _inputs(view),
        "problems": [],
    }
    if isinstance(market, MarketUnknown):
        report["problems"] = [asdict(problem) for problem in market.problems]
        return report
    report["hashprice_usd_per_ph_day"] = market.hashprice_usd_per_ph_day
    report["gross_hashprice_usd_per_ph_day"] = market.gross_hashprice_usd_per_ph_day
    report["gross_hashprice_btc_per_ph_day"] = market.hashprice_btc_per_ph_day
    report["power_usd_per_kwh"] = market.power_usd_per_kwh
    report["earnings"] = _earnings(view, market)
    if market.retarget is not None:
        retarget = market.retarget
        report["retarget"] = {
            "at_s": retarget.at,
            "at_low_s": retarget.at_low,
            "at_high_s": retarget.at_high,
            "blocks_left": retarget.blocks_left,
            "difficulty": retarget.difficulty,
            "ratio": retarget.ratio,
            "ratio_low": retarget.ratio_low,
            "ratio_high": retarget.ratio_high,
            "hashprice_usd_per_ph_day": market.hashprice_usd_per_ph_day / retarget.ratio,
        }
    return report


def plan_report(view: View) -> dict[str, Any]:
    """What every unit does now and over the horizon, why, and what would change it.

    From `power_known_until_s` on the power price is only expected, for some time at least; it is None where the price is known to the
    end of the horizon, or not at all. `power_expected` says as what: "day_ahead" where the market's prices of the day before are known,
    "typical_day", or "as_last" where no typical day was learned. `real_time` says by what units are decided where the coming prices are not
    known, each unit's `standing` what being on is worth to it; both are None where they are.
    """
    market = view.market if isinstance(view.market, Market) else None
    problems = view.market.problems if isinstance(view.market, MarketUnknown) else ()
    return {
        "at_s": view.at,
        "dry_run": view.dry_run,
        "known": market is not None,
        "hashprice_usd_per_ph_day": market.hashprice_usd_per_ph_day if market else None,
        "power_usd_per_kwh": market.power_usd_per_kwh if market else None,
        **_power_known(view.power_ahead),
        "real_time": _real_time(view),
        "earnings": _earnings(view, market) if market else None,
        "problems": [asdict(problem) for problem in problems],
        "value_usd": None if view.plan is None else view.plan.value_usd,
        "bound_usd": None if view.plan is None else view.plan.bound_usd,
        "gap_ratio": None if view.plan is None else view.plan.gap_ratio,
        "horizon_ends_at_s": view.plan.slots[-1].stop if view.plan else None,
        "next_tick_at_s": view.next_tick_at,
        "plan_fault": view.plan_fault,
        "limits": limits_report(view),
        "units": [_unit(view, unit) for unit in view.snapshot.units],
    }


def limits_report(view: View) -> dict[str, Any]:
    """What limits the site now and later: its power, signals, what persons asked for, and what no plan can keep.

    Powers are in kW, None where there is no limit; `shadow_price_usd_per_kwh` is what one more kWh would be worth now.
    """
    limits, plan, at = view.limits, view.plan, view.at
    cap_kw = math.inf if limits is None else limits.cap_kw_at(at)
    drawn = next(
        (one.numbers["drawn_kw"] for one in view.decisions.values() if "drawn_kw" in one.numbers), None
    )
    windows = () if limits is None else limits.found
    overrides = {} if limits is None else limits.overrides
    return {
        "cap_kw": cap_kw if math.isfinite(cap_kw) else None,
        "cap": None if limits is None or math.isinf(cap_kw) else limits.cap_text(at),
        "drawn_kw": drawn,
        "shadow_price_usd_per_kwh": None if plan is None else plan.price_at(at),
        "signals": [
            {
                "signal": window.rule.name,
                "action": window.rule.action.value,
                "from_s": window.start,
                "to_s": _time(window.stop),
                "ramp_to_s": _time(window.ramp_stop),
                "cap_kw": window.cap_kw,
                "active": window.holds_at(at),
            }
            for window in windows
        ],
        "overrides": [
            {
                "unit": unit_id,
                "mode": wish.mode,
                "from_s": wish.since,
                "to_s": _time(wish.until),
                "who": wish.who,
                "why": wish.why,
                "active": wish.holds_at(at),
            }
            for unit_id, wish in sorted(overrides.items())
        ],
        "broken": [
            {**asdict(each), "unit_ids": list(each.unit_ids)}
            for each in (() if plan is None else plan.broken)
        ],
    }


def _time(at: float) -> float | None:
    """A time, None for one that never comes."""
    return at if math.isfinite(at) else None


def _power_known(power: PowerAhead | None) -> dict[str, Any]:
    """Until when the power price is known, and what is expected then."""
    if power is None or math.isinf(power.known_until):
        return {"power_known_until_s": None, "power_expected": None}
    expected = "day_ahead" if power.day_ahead else "typical_day" if power.typical else "as_last"
    return {"power_known_until_s": power.known_until, "power_expected": expected}


def _real_time(view: View) -> dict[str, Any] | None:
    """How units are decided where the coming prices are not known: by which method most of them, and why not all by the model."""
    worth = view.worth
    if worth is None:
        return None
    methods = worth.methods
    return {
        "sees": worth.sees.value,
        "method": max(methods, key=lambda method: methods[method], default=None),
        "why": worth.why,
        "model": worth.model,
    }


def _standing(view: View, unit: Unit, mode: str) -> dict[str, Any] | None:
    """What being on is worth to a unit: of the block at stake in that mode the share of its cost, and of the mode, against off, USD."""
    found = None if view.worth is None else view.worth.of(unit)
    if view.worth is None or found is None or mode not in unit.curve:
        return None
    present = unit.curve.mode(mode)
    block = found.at_stake(present)
    return {
        "method": block.method or None,
        "why": view.worth.why if block.method else "",
        "ratio": block.ratio if block.method else None,
        "worth_usd": found.worth_usd[unit.curve.modes.index(present)],
    }


def _earnings(view: View, market: Market) -> dict[str, Any]:
    """What is paid of hashprice, and by which pool; `pool` and `scheme` are None where only what is configured is known."""
    pool, really = view.snapshot.earnings, market.paid
    return {
        "pool": None if pool is None else pool.pool,
        "scheme": None if pool is None else pool.scheme.value,
        "earned_ratio": really.ratio,
        "pool_fee_ratio": really.pool_fee,
        "rejected_ratio": really.rejected,
        "rejected_is_measured": pool is not None and pool.rejected_ratio is not None,
        "paid_reward_ratio": really.reward,
        "pool_work_ratio": really.pool_work,
    }


def _inputs(view: View) -> list[dict[str, Any]]:
    """Every series with its newest value, used or not."""
    found = []
    for series, ticks in sorted(view.snapshot.ticks.items()):
        tick = current(ticks, view.at)
        if tick is not None:
            found.append(
                {
                    "series": series,
                    "value": tick.value,
                    "unit": tick.unit,
                    "source": tick.source,
                    "age_s": max(view.at - tick.observed_at, 0.0),
                    "valid_to_s": tick.valid_to if math.isfinite(tick.valid_to) else None,
                }
            )
    return found


def _unit(view: View, unit: Unit) -> dict[str, Any]:
    decision = view.decisions[unit.id]
    state = view.snapshot.states.get(unit.id)
    if state is not None and (decision.reason is Reason.UNREACHABLE or not state.reachable):
        state = None  # what it said last is not what it does now
    path = None if view.plan is None else view.plan.units.get(unit.id)
    return {
        "unit": unit.id,
        "from_mode": decision.from_mode,
        "to_mode": decision.to_mode,
        "reason": decision.reason.value,
        "why": REASON_TEXT[decision.reason],
        "flip": decision.flip,
        "numbers": dict(decision.numbers),
        "mode_read": None if state is None else state.mode,
        "hashrate_th_s": None if state is None else state.hashrate_th_s,
        "power_w": None if state is None else state.power_w,
        "value_usd": None if path is None else path.value_usd,
        "standing": _standing(view, unit, decision.to_mode),
        "next": _stretches(view.plan, path),
        "modes": _modes(view, unit),
    }


def _stretches(plan: Plan | None, path: UnitPlan | None) -> list[dict[str, Any]]:
    """The unit's path with equal neighbours joined."""
    if plan is None or path is None:
        return []
    stretches = []
    for mode, pairs in groupby(zip(plan.slots, path.modes, strict=True), key=lambda pair: pair[1]):
        slots = [slot for slot, _ in pairs]
        stretches.append({"from_s": slots[0].start, "to_s": slots[-1].stop, "mode": mode})
    return stretches


def _modes(view: View, unit: Unit) -> list[dict[str, Any]]:
    """Every mode with its margin and its breakevens at present prices: on average, and of its last step alone.

    The step is what decides; a mode that is not `on_hull` is never the best one and has none.
    """
    market = view.market if isinstance(view.market, Market) else None
    modes = []
    for mode in unit.curve.modes:
        row: dict[str, Any] = {
            "mode": mode.name,
            "th_s": mode.th_s,
            "watts": mode.watts,
            "on_hull": mode in unit.curve.hull(),
        }
        if market is not None:
            hashprice, power = market.hashprice_usd_per_ph_day, market.power_usd_per_kwh
            row["margin_usd_per_hour"] = margin_usd_per_hour(mode, hashprice, power)
            if mode.watts > 0 and mode.th_s > 0:
                row["j_per_th"] = mode.j_per_th
                row["breakeven_hashprice_usd_per_ph_day"] = breakeven_hashprice(mode.j_per_th, power)
                row["breakeven_power_usd_per_kwh"] = breakeven_power_price(mode.j_per_th, hashprice)
            step = unit.curve.step_below(mode)
            if step is not None and row["on_hull"]:
                point = flip_point(step, market, 1.0)
                row["step_breakeven_hashprice_usd_per_ph_day"] = point.hashprice_usd_per_ph_day
                row["step_breakeven_power_usd_per_kwh"] = point.power_usd_per_kwh
        modes.append(row)
    return modes
