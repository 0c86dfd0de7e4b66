"""What would change a unit's mode, in numbers and in words; pure.

A neighbour is the next mode of the hull above or below. The dead band asks a change to gain more than its part of the revenue
at stake, so the points where a unit is turned up and where it is turned down lie apart. A start must earn what it costs within the plan's
horizon, too. Where the site's power is limited, its shadow price comes on top of the power price for a step up; not for one down: it is
what other units would make of the power, and is gone when prices fall for all of them. What prices will be later is not in these points.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from controller.decisions import Reason
from controller.economics import (
    SECONDS_PER_HOUR,
    breakeven_hashprice,
    breakeven_power_price,
    power_usd_per_hour,
    revenue_usd_per_hour,
)
from controller.units import OFF, Mode, PowerCurve, Step

if TYPE_CHECKING:
    from controller.decisions import Decision
    from controller.market import Market


_PAUSED_BY: Final = {
    Reason.SIGNAL: "the grid or its operator asks for it",
    Reason.OVERRIDE: "its operator asks for it",
    Reason.THERMAL: "it is too hot",
    Reason.HOLD_THERMAL: "it is too hot",
    Reason.SITE_CAP: "the site's power is limited",
    Reason.HOLD_SITE_CAP: "the site's power is limited",
}

ABSURD: Final = 1e9
"""Prices from here on, as regtest's difficulty makes them, are told by their power of ten."""


@dataclass(frozen=True, slots=True)
class FlipPoint:
    """The prices, the other one unchanged, past which a step is taken; None where no such price would do."""

    hashprice_usd_per_ph_day: float | None
    power_usd_per_kwh: float | None

    def is_reached(self, market: Market) -> bool:
        """Whether a step up whose point this is pays now."""
        return self.power_usd_per_kwh is not None and market.power_usd_per_kwh < self.power_usd_per_kwh


@dataclass(frozen=True, slots=True)
class StartCost:
    """What a start costs: power for `restart_s` without work, and `wear_usd`; within `hours` it must be earned."""

    restart_s: float
    wear_usd: float
    hours: float

    def point(self, curve: PowerCurve, market: Market, shadow_usd_per_kwh: float = 0.0) -> FlipPoint | None:
        """The prices at which a unit that is off just earns that, in the mode best at it; None where none would do."""
        works_h = self.hours - self.restart_s / SECONDS_PER_HOUR
        if works_h <= 0:
            return None
        steps = curve.starts
        price = market.power_usd_per_kwh + shadow_usd_per_kwh
        hashprice = min(
            [
                (power_usd_per_hour(step.watts, price) * self.hours + self.wear_usd)
                / (revenue_usd_per_hour(step.th_s, 1.0) * works_h)
                for step in steps
            ]
        )
        power = max(
            [
                (revenue_usd_per_hour(step.th_s, market.hashprice_usd_per_ph_day) * works_h - self.wear_usd)
                / (power_usd_per_hour(step.watts, 1.0) * self.hours)
                for step in steps
            ]
        )
        return FlipPoint(hashprice if hashprice > 0 else None, power - shadow_usd_per_kwh)


@dataclass(frozen=True, slots=True)
class Between:
    """Where the coming prices are not known: at which prices a unit is turned down to a mode, and up to another, if at all.

    `is_seen` says whether the price that counts is known: else the points are of the last one that is.
    """

    down: tuple[Mode, FlipPoint] | None
    up: tuple[Mode, FlipPoint] | None
    is_seen: bool = True

    def text(self, mode: Mode, shadow_usd_per_kwh: float = 0.0) -> str:
        """In words, what would turn a unit in `mode` up or down; a step up pays the shadow price of power, too."""
        parts = []
        if self.down is not None:
            lower, point = self.down
            verb = "pauses" if lower.name == OFF else f"down to {lower.name}"
            parts.append(_words(verb, _ways(point, "below", "above")))
        if self.up is not None:
            upper, point = self.up
            power = None if point.power_usd_per_kwh is None else point.power_usd_per_kwh - shadow_usd_per_kwh
            short = FlipPoint(point.hashprice_usd_per_ph_day if shadow_usd_per_kwh == 0 else None, power)
            parts.append(_words(verb_up(mode, upper), _ways(short, "above", "below")))
        what = (
            "by what is expected now" if self.is_seen else "by the last known price and what is expected now"
        )
        return "; ".join([*parts[:-1], f"{parts[-1]}, {what}"])


def flip_point(step: Step, market: Market, band: float, shadow_usd_per_kwh: float = 0.0) -> FlipPoint:
    """Where `step` breaks even when its revenue counts with the factor `band` (1: exactly).

    Below one for turning up, above one for turning down. Steps that gain no hashrate turn only on a negative power price.
    """
    if step.th_s <= 0:
        # Revenue is lost by this step; the power price must pay for it, and no hashprice can.
        worth = market.hashprice_usd_per_ph_day * step.th_s / (24 * step.watts)
        return FlipPoint(None, worth * (2 - band) - shadow_usd_per_kwh)
    hashprice = breakeven_hashprice(step.j_per_th, market.power_usd_per_kwh + shadow_usd_per_kwh) / band
    return FlipPoint(
        hashprice if hashprice > 0 else None,
        breakeven_power_price(step.j_per_th, market.hashprice_usd_per_ph_day) * band - shadow_usd_per_kwh,
    )


def flips_text(
    curve: PowerCurve,
    mode: Mode,
    market: Market,
    dead_band: float,
    shadow_usd_per_kwh: float = 0.0,
    start: StartCost | None = None,
) -> str:
    """In words, what would turn a unit in `mode` up or down; where power is short, room for more would, too.

    Whole units do not always stand where the shadow price alone would have them: then it is left out.
    """
    parts = []
    below = curve.step_below(mode)
    if below is not None:
        verb = "pauses" if below.lower.name == OFF else f"down to {below.lower.name}"
        parts.append(_words(verb, _ways(flip_point(below, market, 1 + dead_band), "below", "above")))
    above = curve.step_above(mode)
    if above is not None:
        is_short = shadow_usd_per_kwh != 0
        short = plain = flip_point(above, market, 1 - dead_band)
        if is_short:
            short = flip_point(above, market, 1 - dead_band, shadow_usd_per_kwh)
        earned = ""
        if start is not None and mode.name == OFF:
            cheap = start.point(curve, market)
            dear = start.point(curve, market, shadow_usd_per_kwh) if is_short else cheap
            if dear is None or cheap is None:
                return f"a start costs more than it could earn within {start.hours:.3g} h"
            earning = _stricter(plain, cheap)
            if earning is not plain:
                earned = f", to earn a start within {start.hours:.3g} h"
            short, plain = _stricter(short, dear) if is_short else earning, earning
        ways = [] if short.is_reached(market) else _ways(short, "above", "below")
        if shadow_usd_per_kwh > 0 and (not ways or plain.is_reached(market)):
            ways.append(f"when {room_text(above.watts)} are free")
        if not ways:
            ways = _ways(plain, "above", "below")
        parts.append(_words(verb_up(mode, above.upper), ways) + earned)
    return "; ".join(parts)


def _stricter(one: FlipPoint, other: FlipPoint) -> FlipPoint:
    """Where both are reached by a step up, the first itself where the other asks for no more; no hashprice is needed where there is none."""
    hashprice, power = one.hashprice_usd_per_ph_day, one.power_usd_per_kwh
    more, less = other.hashprice_usd_per_ph_day, other.power_usd_per_kwh
    is_dearer = more is not None and (hashprice is None or more > hashprice)
    is_cheaper = less is not None and (power is None or less < power)
    if not (is_dearer or is_cheaper):
        return one
    return FlipPoint(more if is_dearer else hashprice, less if is_cheaper else power)


def verb_up(present: Mode, upper: Mode) -> str:
    """What a unit does that is turned up."""
    return "runs again" if present.name == OFF else f"up to {upper.name}"


def _ways(point: FlipPoint, hashprice_side: str, power_side: str) -> list[str]:
    ways = []
    if point.hashprice_usd_per_ph_day is not None:
        ways.append(f"{hashprice_side} {hashprice_text(point.hashprice_usd_per_ph_day)}")
    if point.power_usd_per_kwh is not None:
        ways.append(f"{power_side} {power_text(point.power_usd_per_kwh)}")
    return ways


def _words(verb: str, ways: list[str]) -> str:
    if len(ways) > 2:  # noqa: PLR2004 - two are joined by "or" alone
        ways = [", ".join(ways[:-1]) + ",", ways[-1]]
    return f"{verb} {' or '.join(ways)}"


def paused_text(decision: Decision | None) -> str:
    """Why a unit gets no work, in a sentence for whoever stands before it: its numbers, and that nothing need be done."""
    numbers = {} if decision is None else decision.numbers
    other = None if decision is None else _PAUSED_BY.get(decision.reason)
    if other is not None:
        return f"paused: {other}; comes back by itself"
    hashprice = numbers.get("hashprice_usd_per_ph_day")
    breakeven = numbers.get("breakeven_hashprice_usd_per_ph_day")
    why = "hashing does not pay"
    if hashprice is None:
        why = "prices are not known"
    elif breakeven is not None and hashprice < breakeven:
        why = f"hashprice {hashprice_text(hashprice)} is below its breakeven of {hashprice_text(breakeven)}"
    elif breakeven is not None:
        why = "hashing pays again and its turn is near"
    return f"paused: {why}; comes back by itself"


def hashprice_text(usd_per_ph_day: float) -> str:
    """Such as "$41.20/PH/day"; three digits where cents would say nothing, or more than anybody reads."""
    size = abs(usd_per_ph_day)
    digits = f"{size:,.2f}" if 1 <= size < ABSURD or size == 0 else f"{size:.3g}"
    return f"{'-' if usd_per_ph_day < 0 else ''}${digits}/PH/day"


def power_text(usd_per_kwh: float) -> str:
    """Such as "5.9 ct/kWh", to three digits."""
    cents = usd_per_kwh * 100
    digits = f"{cents:,.0f}" if 1000 <= abs(cents) < ABSURD else f"{cents:.3g}"  # noqa: PLR2004 - three digits end there
    return f"{digits} ct/kWh"


def room_text(watts: float) -> str:
    """Such as "1.85 kW", to three digits."""
    return f"{watts / 1000:,.3g} kW"


def time_text(at: float) -> str:
    """Such as "2026-01-12 14:03:20Z"; seconds are rounded up, since it says when something is over."""
    whole = datetime.fromtimestamp(-(-at // 1), tz=UTC)
    return f"{whole:%Y-%m-%d %H:%M:%S}Z"
