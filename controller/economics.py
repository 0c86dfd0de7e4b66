"""Margin, breakeven and the cost of the next watt; pure.

Hashprice is in USD per PH/s and day, power prices in USD/kWh, margins in USD per hour. Hashprice is what the operator
is paid: pool fee and refused work are taken off before (`earnings.Paid`); overhead, taxes and delivery are added to the
power price before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from controller.hashprice import HASHES_PER_DIFFICULTY, SAT_PER_BTC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.units import Mode, PowerCurve, Step

HOURS_PER_DAY: Final = 24
TH_PER_PH: Final = 1000
W_PER_KW: Final = 1000
J_PER_KWH: Final = 3.6e6
SECONDS_PER_HOUR: Final = 3600


def revenue_usd_per_hour(th_s: float, hashprice: float) -> float:
    """What that hashrate earns in an hour."""
    return hashprice / TH_PER_PH / HOURS_PER_DAY * th_s


def power_usd_per_hour(watts: float, power_price: float) -> float:
    """What that power costs in an hour; negative where the price is."""
    return power_price * watts / W_PER_KW


def margin_usd_per_hour(mode: Mode, hashprice: float, power_price: float) -> float:
    """Revenue less power of a mode; for `off` its standby power, as a loss."""
    return hashprice / TH_PER_PH / HOURS_PER_DAY * mode.th_s - power_price * mode.watts / W_PER_KW


def breakeven_hashprice(j_per_th: float, power_price: float) -> float:
    """The hashprice at which that efficiency earns just its power, USD/PH/day."""
    return HOURS_PER_DAY * j_per_th * power_price


def breakeven_power_price(j_per_th: float, hashprice: float) -> float:
    """The power price at which that efficiency earns just its power, USD/kWh; ValueError for J/TH <= 0."""
    if not j_per_th > 0:
        raise ValueError(f"J/TH must be above zero, not {j_per_th}")
    return hashprice / (HOURS_PER_DAY * j_per_th)


def step_margin_usd_per_hour(step: Step, hashprice: float, power_price: float) -> float:
    """What taking the step adds to the margin: the next watt decides, not the average."""
    return hashprice / TH_PER_PH / HOURS_PER_DAY * step.th_s - power_price * step.watts / W_PER_KW


@dataclass(frozen=True, slots=True)
class StepEconomics:
    """One step of a curve at given prices; breakevens are of the step alone."""

    step: Step
    margin_usd_per_hour: float
    breakeven_hashprice_usd_per_ph_day: float
    breakeven_power_usd_per_kwh: float


def marginal_steps(curve: PowerCurve, hashprice: float, power_price: float) -> tuple[StepEconomics, ...]:
    """The steps of the hull that gain hashrate, cheapest first, each with its margin and breakevens."""
    return tuple(
        StepEconomics(
            step,
            step_margin_usd_per_hour(step, hashprice, power_price),
            breakeven_hashprice(step.j_per_th, power_price),
            breakeven_power_price(step.j_per_th, hashprice),
        )
        for step in curve.steps()
        if step.th_s > 0
    )


def best_mode(curve: PowerCurve, hashprice: float, power_price: float) -> Mode:
    """The mode with the greatest margin; of equals the one that draws least."""
    hull = curve.hull()
    return best_of(hull, hashprice, power_price, away_from=hull[0], dead_band=0.0)


def best_of(
    modes: Sequence[Mode], hashprice: float, power_price: float, *, away_from: Mode, dead_band: float
) -> Mode:
    """Of these modes the one with the greatest margin, after taking off the dead band; the first of equals.

    A mode must beat the first by more than `dead_band` times the revenue that lies between it and `away_from`.
    """
    usd_per_th = hashprice / TH_PER_PH / HOURS_PER_DAY
    here = usd_per_th * away_from.th_s
    best, most = modes[0], float("-inf")
    for mode in modes:
        revenue = usd_per_th * mode.th_s
        worth = revenue - power_price * mode.watts / W_PER_KW - dead_band * abs(revenue - here)
        if worth > most:
            best, most = mode, worth
    return best


def cash_cost_usd_per_btc(
    difficulty: float,
    j_per_th: float,
    power_price: float,
    reward_sat: float,
    earned_ratio: float = 1.0,
) -> float:
    """Power paid for one bitcoin, USD; `reward_sat` is subsidy and mean fees of a block.

    `earned_ratio` is the part that reaches the operator (`earnings.Paid.ratio`).
    Raises ValueError when nothing would be earned.
    """
    if not (reward_sat > 0 and earned_ratio > 0):
        raise ValueError("a bitcoin needs a reward and a part of it")
    kwh_per_block = difficulty * HASHES_PER_DIFFICULTY * j_per_th * 1e-12 / J_PER_KWH
    return kwh_per_block * power_price / (reward_sat / SAT_PER_BTC * earned_ratio)


def restart_loss_usd(mode: Mode, restart_s: float, hashprice: float, wear_usd: float = 0.0) -> float:
    """What a start costs: revenue lost while the unit draws its power and does not hash yet, and wear."""
    return revenue_usd_per_hour(mode.th_s, hashprice) * restart_s / SECONDS_PER_HOUR + wear_usd
