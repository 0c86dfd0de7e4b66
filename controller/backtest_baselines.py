"""What operators do without a plan: on and off at full power by simple rules, seeing what the controller sees; pure.

Each rule is told by two answers for each quarter hour: whether a fleet that runs goes on, and whether one that stands still starts. Where a
price is not known they do as the controller: hold for its grace time, then go to the unit's safe mode. Minimum times on and off bind them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from controller.backtest import HOURS, QUARTER_S, Policy
from controller.backtest_money import breakeven_usd_per_kwh
from controller.economics import SECONDS_PER_HOUR, W_PER_KW
from controller.fleet import PolicyConfig
from controller.recent import KEPT
from controller.standing import LEAST_COST_USD_PER_KW
from controller.worth_band import band, volatility_of
from controller.worth_features import filled
from controller.worth_seen import Sees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.backtest import Asked, Fleet, Recorded
    from controller.backtest_money import Prices

OFF_AFTER: Final = 2
ON_AFTER: Final = 4
GRACE_QUARTERS: Final = int(PolicyConfig().grace_s // QUARTER_S)
"""So many quarter hours the last decision is held when prices are not known, as the controller does."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What decisions see at each judged quarter hour: the last power price, NaN where it is too old, and whether hashprice is known too."""

    power_usd_per_kwh: NDArray[np.float64]
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """Whether a fleet that runs goes on, and whether one that stands still starts, by quarter hour."""

    stays: NDArray[np.bool_]
    starts: NDArray[np.bool_]


def baselines(
    recorded: Recorded, fleets: Sequence[Fleet], asked: Asked, prices: Prices
) -> dict[Policy, list[NDArray[np.uint8]]]:
    """The modes of every fleet's units [count, T] under each of these policies."""
    sight = sight_of(recorded.power_usd_per_kwh, prices, asked.sees)
    rules: dict[Policy, list[Rule]] = {
        Policy.ALWAYS_ON: [always_on(prices) for _ in fleets],
        Policy.THRESHOLD: [threshold(fleet, sight, prices) for fleet in fleets],
        Policy.DEBOUNCE: [debounce(fleet, sight, prices) for fleet in fleets],
        Policy.BAND: band_rules(recorded, fleets, asked, sight, prices),
    }
    return {
        policy: within_cap(
            [followed(rule, fleet, sight) for rule, fleet in zip(each, fleets, strict=True)],
            fleets,
            asked.cap_kw,
        )
        for policy, each in rules.items()
    }


def sight_of(power_usd_per_kwh: NDArray[np.float64], prices: Prices, sees: Sees) -> Sight:
    """What may be seen of those prices, which go on before the judged ones by a warm-up."""
    behind = 1 if sees is Sees.B else 0
    shifted = np.concatenate([np.full(behind, np.nan), power_usd_per_kwh])[: len(power_usd_per_kwh)]
    seen = shifted[len(power_usd_per_kwh) - len(prices.starts) :]
    return Sight(seen, ~(np.isnan(seen) | np.isnan(prices.hashprice_usd_per_ph_day)))


def always_on(prices: Prices) -> Rule:
    """At full power, whatever it costs."""
    always = np.ones(len(prices.starts), dtype=np.bool_)
    return Rule(always, always)


def threshold(fleet: Fleet, sight: Sight, prices: Prices) -> Rule:
    """On while the last known price is below breakeven."""
    pays = sight.power_usd_per_kwh < breakeven_usd_per_kwh(fleet.unit, prices)
    return Rule(pays, pays)


def debounce(fleet: Fleet, sight: Sight, prices: Prices) -> Rule:
    """Off after two quarter hours in which it did not pay, on after four in which it did."""
    pays = threshold(fleet, sight, prices).stays
    return Rule(~_lasting(~pays, OFF_AFTER), _lasting(pays, ON_AFTER))


def band_rules(
    recorded: Recorded, fleets: Sequence[Fleet], asked: Asked, sight: Sight, prices: Prices
) -> list[Rule]:
    """On above the worth at which a start pays, off below that at which a stop does, by how far the price moved lately and nothing else."""
    breakeven = np.array([breakeven_usd_per_kwh(fleet.unit, prices) for fleet in fleets])
    cost = np.array([start_cost_usd_per_kw(fleet, prices) for fleet in fleets])
    behind = 1 if asked.sees is Sees.B else 0
    told = np.concatenate([np.full(KEPT + behind, np.nan), recorded.power_usd_per_kwh])
    windows = sliding_window_view(told, KEPT)[recorded.warm_up + 1 :]
    worth = np.zeros_like(cost)
    costly = cost > LEAST_COST_USD_PER_KW
    for index in np.flatnonzero(sight.known).tolist():
        which = np.flatnonzero(costly[:, index])
        if len(which):
            recent, known = filled(windows[index : index + 1])
            worth[which, index] = band(
                float(recent[0, -1]),
                volatility_of(recent[0], int(known[0])),
                breakeven[which, index],
                cost[which, index],
                asked.sees,
            )
    margin = HOURS * (breakeven - sight.power_usd_per_kwh)
    if not behind:
        worth += np.divide(margin, cost, out=np.zeros_like(cost), where=costly)
    pays = margin > 0
    return [
        Rule(stays, starts)
        for stays, starts in zip(
            np.where(costly, worth > 0, pays), np.where(costly, worth > 1, pays), strict=True
        )
    ]


def start_cost_usd_per_kw(fleet: Fleet, prices: Prices) -> NDArray[np.float64]:
    """What a start at full power costs, USD per kW between off and full power."""
    unit = fleet.unit
    lost = np.maximum(prices.usd_per_th_hour, 0.0) * unit.curve.full.th_s * unit.restart_s / SECONDS_PER_HOUR
    return (lost + unit.wear_usd) / ((unit.curve.full.watts - unit.curve.off.watts) / W_PER_KW)


def followed(rule: Rule, fleet: Fleet, sight: Sight) -> NDArray[np.bool_]:
    """When a fleet runs that follows a rule, running before, [T]."""
    unit = fleet.unit
    safe_on = unit.safe is not unit.curve.off
    least = {True: _quarters(unit.min_on_s), False: _quarters(unit.min_off_s)}
    is_on, held, unknown = True, 0, 0
    path = []
    rows = zip(rule.stays.tolist(), rule.starts.tolist(), sight.known.tolist(), strict=True)
    for stays, starts, known in rows:
        unknown = 0 if known else unknown + 1
        wants = (stays if is_on else starts) if known else (safe_on if unknown > GRACE_QUARTERS else is_on)
        if wants is not is_on and held <= 0:
            is_on, held = wants, least[wants]
        held -= 1
        path.append(is_on)
    return np.array(path, dtype=np.bool_)


def within_cap(
    running: Sequence[NDArray[np.bool_]], fleets: Sequence[Fleet], cap_kw: float | None
) -> list[NDArray[np.uint8]]:
    """The modes of each fleet's units [count, T], at full power or off: under a cap the thriftiest first, as far as they fit."""
    order = sorted(range(len(fleets)), key=lambda index: fleets[index].unit.curve.full.j_per_th)
    total = len(running[0])
    left_kw = np.full(total, np.inf if cap_kw is None else cap_kw)
    left_kw -= sum(fleet.count * fleet.unit.curve.off.watts for fleet in fleets) / W_PER_KW
    paths: list[NDArray[np.uint8]] = [np.empty(0, dtype=np.uint8)] * len(fleets)
    for index in order:
        fleet = fleets[index]
        curve = fleet.unit.curve
        each_kw = (curve.full.watts - curve.off.watts) / W_PER_KW
        room = np.floor(np.maximum(left_kw, 0.0) / each_kw + 1e-9) if each_kw > 0 else np.full(total, np.inf)
        count = np.where(running[index], np.minimum(room, fleet.count), 0)
        left_kw = left_kw - count * each_kw
        modes = (np.arange(fleet.count)[:, None] < count) * curve.modes.index(curve.full)
        paths[index] = modes.astype(np.uint8)
    return paths


def _lasting(flags: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Where so many in a row are set, this one the last."""
    found = flags.copy()
    for back in range(1, count):
        found[back:] &= flags[:-back]
        found[:back] = False
    return found


def _quarters(seconds: float) -> int:
    return int(-(-seconds // QUARTER_S))
