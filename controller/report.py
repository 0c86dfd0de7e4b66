"""What a fleet earns as hashprice falls: merit order, survival, cash and what a difficulty drop brings back; pure.

Every unit is taken to follow its power price through the horizon without costs of changing: per slot it runs in its best mode. Hashprices
are gross, as they are published; what is paid of them (`Fleet.paid_ratio`) is taken off inside. Reports are plain data with the unit in each key.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from controller.economics import (
    HOURS_PER_DAY,
    SECONDS_PER_HOUR,
    TH_PER_PH,
    W_PER_KW,
    breakeven_hashprice,
    breakeven_power_price,
    cash_cost_usd_per_btc,
    margin_usd_per_hour,
)
from controller.units import OFF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from controller.plan import Slot
    from controller.units import PowerCurve, Step, Unit

SURVIVAL_USD_PER_PH_DAY: Final = (50.0, 48.0, 46.0, 44.0, 42.0, 40.0, 38.0, 36.0, 34.0, 32.0, 30.0)
"""Hashprices of the survival table."""

DROPS: Final = (0.02, 0.05, 0.10, 0.15, 0.20)
"""Difficulty drops that are asked what they bring back."""

RUN: Final = "run"
THROTTLE: Final = "throttle"
MOTHBALL: Final = "mothball"

_MOST_USD_PER_PH_DAY: Final = 1e30
_HALVINGS: Final = 80
"""Steps of the search for a hashprice: far below a cent after half of them."""


@dataclass(frozen=True, slots=True)
class Treasury:
    """Cash at hand in USD, and what the site costs each day whether or not it hashes; None where nobody said."""

    cash_usd: float | None = None
    fixed_usd_per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Chain:
    """What a bitcoin costs is reckoned from: difficulty and a block's reward (subsidy and mean fees), satoshi."""

    difficulty: float
    reward_sat: float


class Prices:
    """Power prices of a stretch of time, weighted by duration, asked how much of it lies below a price."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        """ValueError for no slot at all."""
        if not slots:
            raise ValueError("a fleet needs a power price")
        ordered = sorted((slot.power_usd_per_kwh, slot.duration_s) for slot in slots)
        self._prices = [price for price, _ in ordered]
        self._hours = [0.0, *accumulate(seconds / SECONDS_PER_HOUR for _, seconds in ordered)]
        self._cost = [0.0, *accumulate(price * seconds / SECONDS_PER_HOUR for price, seconds in ordered)]

    @property
    def mean_usd_per_kwh(self) -> float:
        """The mean over the time."""
        return self._cost[-1] / self._hours[-1]

    def below(self, usd_per_kwh: float) -> tuple[float, float]:
        """The fraction of the time with a price below that, and the mean price over the whole time counting only then, USD/kWh."""
        end = bisect_left(self._prices, usd_per_kwh)
        return self._hours[end] / self._hours[-1], self._cost[end] / self._hours[-1]


@dataclass(frozen=True)
class Fleet:
    """Units with the prices they meet.

    `hashprice_usd_per_ph_day` is gross; `paid_ratio` of it reaches the operator. `slots` are those of the plan: power as it is known and
    expected. `chain` is None where only a hashprice is known.
    """

    units: tuple[Unit, ...]
    hashprice_usd_per_ph_day: float
    paid_ratio: float
    slots: tuple[Slot, ...]
    treasury: Treasury = Treasury()
    chain: Chain | None = None

    @cached_property
    def prices(self) -> Prices:
        """Power over the horizon."""
        return Prices(self.slots)

    @cached_property
    def classes(self) -> Mapping[PowerCurve, tuple[Unit, ...]]:
        """Units by curve, in the order of their first unit."""
        found: dict[PowerCurve, list[Unit]] = {}
        for unit in self.units:
            found.setdefault(unit.curve, []).append(unit)
        return {curve: tuple(units) for curve, units in found.items()}


@dataclass(frozen=True, slots=True)
class Running:
    """How a unit, or a fleet, runs at one hashprice, averaged over the horizon; `margin_usd_per_day` is revenue less all power."""

    th_s: float
    watts: float
    margin_usd_per_day: float
    full_ratio: float

    @property
    def fate(self) -> str:
        """`run` where it runs at full hashrate all the time, `mothball` where never, else `throttle`."""
        if self.th_s == 0:
            return MOTHBALL
        return RUN if self.full_ratio == 1 else THROTTLE


def running(curve: PowerCurve, net_hashprice: float, prices: Prices) -> Running:
    """How one unit of that curve runs at that hashprice (net, USD/PH/day) through these power prices.

    A step of the hull is taken in the hours in which it pays; the steps' cost rises, so whoever takes one has taken those before.
    """
    off = curve.off
    th_s, watts = 0.0, off.watts
    margin = -off.watts / W_PER_KW * HOURS_PER_DAY * prices.mean_usd_per_kwh
    full_ratio = 0.0
    for step in curve.steps():
        share, cost = prices.below(_worth_of_power(step, net_hashprice))
        revenue = net_hashprice / TH_PER_PH * step.th_s * share
        th_s += step.th_s * share
        watts += step.watts * share
        margin += revenue - cost * step.watts / W_PER_KW * HOURS_PER_DAY
        if step.upper == curve.full:
            full_ratio = share
    return Running(th_s, watts, margin, full_ratio)


def fleet_running(fleet: Fleet, gross_hashprice: float) -> tuple[Running, Mapping[PowerCurve, Running]]:
    """The whole fleet at that gross hashprice, and one unit of each class."""
    net = gross_hashprice * fleet.paid_ratio
    each = {curve: running(curve, net, fleet.prices) for curve in fleet.classes}
    counted = [(each[curve], len(units)) for curve, units in fleet.classes.items()]
    whole = Running(
        th_s=math.fsum(one.th_s * count for one, count in counted),
        watts=math.fsum(one.watts * count for one, count in counted),
        margin_usd_per_day=math.fsum(one.margin_usd_per_day * count for one, count in counted),
        full_ratio=float(all(one.full_ratio == 1 for one, _ in counted)),
    )
    return whole, each


def fleet_report(fleet: Fleet) -> dict[str, Any]:
    """The whole report; every price in it is gross, every margin what is left after power."""
    return {
        "hashprice_usd_per_ph_day": fleet.hashprice_usd_per_ph_day,
        "paid_ratio": fleet.paid_ratio,
        "power_usd_per_kwh": fleet.slots[0].power_usd_per_kwh,
        "mean_power_usd_per_kwh": fleet.prices.mean_usd_per_kwh,
        "horizon_ends_at_s": fleet.slots[-1].stop,
        "units": len(fleet.units),
        "classes": [_class(fleet, curve, units) for curve, units in fleet.classes.items()],
        "merit_order": list(_merit_order(fleet)),
        "survival": [_survival(fleet, hashprice) for hashprice in SURVIVAL_USD_PER_PH_DAY],
        "now": _survival(fleet, fleet.hashprice_usd_per_ph_day),
        "cash": _cash(fleet),
        "difficulty_drops": [_drop(fleet, drop) for drop in DROPS],
    }


def _class(fleet: Fleet, curve: PowerCurve, units: Sequence[Unit]) -> dict[str, Any]:
    """Units of one curve: every mode with its margin and breakevens now, and what to do with them."""
    one = running(curve, fleet.hashprice_usd_per_ph_day * fleet.paid_ratio, fleet.prices)
    return {
        "unit_ids": [unit.id for unit in units],
        "fate": one.fate,
        "margin_usd_per_day": one.margin_usd_per_day,
        "modes": [_mode(fleet, curve, index) for index in range(len(curve.modes))],
    }


def _mode(fleet: Fleet, curve: PowerCurve, index: int) -> dict[str, Any]:
    mode = curve.modes[index]
    net = fleet.hashprice_usd_per_ph_day * fleet.paid_ratio
    power = fleet.slots[0].power_usd_per_kwh
    step = next((step for step in curve.steps() if step.upper == mode), None)
    row: dict[str, Any] = {
        "mode": mode.name,
        "th_s": mode.th_s,
        "watts": mode.watts,
        "on_hull": mode in curve.hull(),
        "margin_usd_per_hour": margin_usd_per_hour(mode, net, power),
        "j_per_th": None,
        "breakeven_hashprice_usd_per_ph_day": None,
        "breakeven_power_usd_per_kwh": None,
        "step_j_per_th": None,
        "step_breakeven_hashprice_usd_per_ph_day": None,
        "step_breakeven_power_usd_per_kwh": None,
        "cash_cost_usd_per_btc": None,
    }
    if mode.name == OFF or mode.watts <= 0:
        return row
    row["j_per_th"] = mode.j_per_th
    row["breakeven_hashprice_usd_per_ph_day"] = breakeven_hashprice(mode.j_per_th, power) / fleet.paid_ratio
    row["breakeven_power_usd_per_kwh"] = breakeven_power_price(mode.j_per_th, net)
    if step is not None and 0 < step.j_per_th < math.inf:
        row["step_j_per_th"] = step.j_per_th
        row["step_breakeven_hashprice_usd_per_ph_day"] = (
            breakeven_hashprice(step.j_per_th, power) / fleet.paid_ratio
        )
        row["step_breakeven_power_usd_per_kwh"] = breakeven_power_price(step.j_per_th, net)
    if fleet.chain is not None and fleet.chain.reward_sat > 0:
        row["cash_cost_usd_per_btc"] = cash_cost_usd_per_btc(
            fleet.chain.difficulty, mode.j_per_th, power, fleet.chain.reward_sat, fleet.paid_ratio
        )
    return row


def _merit_order(fleet: Fleet) -> Iterator[dict[str, Any]]:
    """Every step of every class, the last to be given up first: what is online while hashprice stays above its breakeven.

    At the mean power price of the horizon, so that the order does not change with the hour.
    """
    power = fleet.prices.mean_usd_per_kwh
    steps = [
        (breakeven_hashprice(step.j_per_th, power) / fleet.paid_ratio, step.j_per_th, step, units)
        for curve, units in fleet.classes.items()
        for step in curve.steps()
        if step.th_s > 0
    ]
    steps.sort(key=lambda each: (each[0], each[1], each[3][0].id))
    online_th_s = drawn_w = 0.0
    for breakeven, j_per_th, step, units in steps:
        online_th_s += step.th_s * len(units)
        drawn_w += step.watts * len(units)
        yield {
            "unit_ids": [unit.id for unit in units],
            "mode": step.upper.name,
            "from_mode": step.lower.name,
            "step_j_per_th": j_per_th,
            "breakeven_hashprice_usd_per_ph_day": breakeven,
            "online_ph_s": online_th_s / TH_PER_PH,
            "drawn_kw": drawn_w / W_PER_KW,
        }


def _survival(fleet: Fleet, hashprice: float) -> dict[str, Any]:
    """The fleet at one hashprice: who runs, throttles or is mothballed, and what those cost as long as they stay plugged in."""
    whole, each = fleet_running(fleet, hashprice)
    fates: dict[str, list[str]] = {RUN: [], THROTTLE: [], MOTHBALL: []}
    for curve, units in fleet.classes.items():
        fates[each[curve].fate].extend(unit.id for unit in units)
    return {
        "hashprice_usd_per_ph_day": hashprice,
        "ph_s": whole.th_s / TH_PER_PH,
        "kw": whole.watts / W_PER_KW,
        "margin_usd_per_day": whole.margin_usd_per_day,
        "net_usd_per_day": whole.margin_usd_per_day - fleet.treasury.fixed_usd_per_day,
        "runway_days": _runway(fleet.treasury, whole.margin_usd_per_day),
        "mothballed_standby_usd_per_day": math.fsum(
            -each[curve].margin_usd_per_day * len(units)
            for curve, units in fleet.classes.items()
            if each[curve].fate == MOTHBALL
        ),
        RUN: fates[RUN],
        THROTTLE: fates[THROTTLE],
        MOTHBALL: fates[MOTHBALL],
    }


def _cash(fleet: Fleet) -> dict[str, Any]:
    """What comes in and goes out each day now, how long the cash lasts, and the hashprice at which none is used up."""
    whole, _ = fleet_running(fleet, fleet.hashprice_usd_per_ph_day)
    needed = needed_hashprice(fleet)
    return {
        "treasury_usd": fleet.treasury.cash_usd,
        "fixed_usd_per_day": fleet.treasury.fixed_usd_per_day,
        "margin_usd_per_day": whole.margin_usd_per_day,
        "burn_usd_per_day": max(fleet.treasury.fixed_usd_per_day - whole.margin_usd_per_day, 0.0),
        "runway_days": _runway(fleet.treasury, whole.margin_usd_per_day),
        "needed_hashprice_usd_per_ph_day": needed,
        "needed_difficulty_drop_ratio": None if needed is None else _drop_to(fleet, needed),
    }


def _drop_to(fleet: Fleet, hashprice: float) -> float:
    """By which part difficulty must fall for that hashprice; 0 where it is reached already."""
    now = fleet.hashprice_usd_per_ph_day
    return 1 - now / hashprice if hashprice > now else 0.0


def _runway(treasury: Treasury, margin_usd_per_day: float) -> float | None:
    """Days that the cash lasts; None where it is not known, or nothing is used up."""
    burn = treasury.fixed_usd_per_day - margin_usd_per_day
    if treasury.cash_usd is None or burn <= 0:
        return None
    return treasury.cash_usd / burn


def needed_hashprice(fleet: Fleet) -> float | None:
    """The gross hashprice at which the fleet earns its fixed costs, USD/PH/day; None where none would do."""
    if not fleet.units:
        return None

    def enough(hashprice: float) -> bool:
        whole, _ = fleet_running(fleet, hashprice)
        return whole.margin_usd_per_day >= fleet.treasury.fixed_usd_per_day

    low, high = 0.0, max(fleet.hashprice_usd_per_ph_day, 1.0)
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_USD_PER_PH_DAY:
            return None
    if enough(low):
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _drop(fleet: Fleet, drop: float) -> dict[str, Any]:
    """What hashprice and the day's margin become when difficulty falls by that part."""
    hashprice = fleet.hashprice_usd_per_ph_day / (1 - drop)
    before, _ = fleet_running(fleet, fleet.hashprice_usd_per_ph_day)
    after, _ = fleet_running(fleet, hashprice)
    return {
        "drop_ratio": drop,
        "hashprice_usd_per_ph_day": hashprice,
        "ph_s": after.th_s / TH_PER_PH,
        "margin_usd_per_day": after.margin_usd_per_day,
        "gain_usd_per_day": after.margin_usd_per_day - before.margin_usd_per_day,
        "runway_days": _runway(fleet.treasury, after.margin_usd_per_day),
    }


def _worth_of_power(step: Step, net_hashprice: float) -> float:
    """The power price below which a step pays, USD/kWh; below zero for one that loses hashrate."""
    return net_hashprice / TH_PER_PH * step.th_s / HOURS_PER_DAY / (step.watts / W_PER_KW)
