"""What a believable tick is: bounds and greatest age per series; pure.

A price outside its bounds is a fault, not a price. It is refused, the last good one stays and grows old,
and the fail-safe of the policy takes over: a faulty feed never turns a fleet on or off by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from controller.ticks import (
    BTC_USD,
    CHAIN_HEIGHT,
    DIFFICULTY,
    EPOCH_START,
    FEES,
    FX_PREFIX,
    HASHPRICE,
    POWER,
    POWER_DAY_AHEAD,
    SIGNAL_PREFIX,
    SUBSIDY,
    TIP_TIME,
    Tick,
    units_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOCK_SKEW_S = 60.0
"""How far ahead of our clock a source may claim to have observed something."""


@dataclass(frozen=True, slots=True)
class SeriesRule:
    """Closed bounds [low, high] in the series' unit, and the age in seconds past which a value is stale."""

    low: float
    high: float
    max_age_s: float

    def __post_init__(self) -> None:
        """Refuse a rule that could admit nothing, or anything."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"bounds must be finite and ordered, not {self.low} .. {self.high}")
        if not self.max_age_s > 0:
            raise ValueError(f"max_age_s must be above zero, not {self.max_age_s}")


@dataclass(frozen=True, slots=True)
class Refused:
    """A tick that is not believed, and why in words."""

    tick: Tick
    why: str


_CHAIN_MAX_AGE_S = 7200.0
_TIME_BOUNDS = SeriesRule(0.0, 4_294_967_295.0, _CHAIN_MAX_AGE_S)

MAINNET_RULES: Mapping[str, SeriesRule] = MappingProxyType(
    {
        BTC_USD: SeriesRule(1_000.0, 10_000_000.0, 3_600.0),
        POWER: SeriesRule(-1.0, 10.0, 1_800.0),
        POWER_DAY_AHEAD: SeriesRule(-1.0, 10.0, 7_200.0),
        DIFFICULTY: SeriesRule(1e12, 1e17, _CHAIN_MAX_AGE_S),
        SUBSIDY: SeriesRule(0.0, 5e9, _CHAIN_MAX_AGE_S),
        FEES: SeriesRule(0.0, 1e11, _CHAIN_MAX_AGE_S),
        HASHPRICE: SeriesRule(1.0, 1_000.0, 3_600.0),
        CHAIN_HEIGHT: SeriesRule(0.0, 1e8, _CHAIN_MAX_AGE_S),
        EPOCH_START: _TIME_BOUNDS,
        TIP_TIME: _TIME_BOUNDS,
    }
)
"""Bounds for a chain whose coins are worth something. Power: the widest caps of the US real-time markets
are -0.25 and 9 USD/kWh."""

TEST_CHAIN_RULES: Mapping[str, SeriesRule] = MappingProxyType(
    {
        **MAINNET_RULES,
        DIFFICULTY: SeriesRule(1e-10, 1e17, _CHAIN_MAX_AGE_S),
        HASHPRICE: SeriesRule(1e-6, 1e30, 3_600.0),
    }
)
"""Bounds for regtest, signet and testnet, where a difficulty near zero makes any hashprice absurd."""


FX_RULE = SeriesRule(1e-6, 100.0, 7 * 86_400.0)
"""Of an exchange rate, in USD per unit of any currency. Central banks publish on working days only, so a week is the least that
outlasts every row of holidays."""

SIGNAL_RULE = SeriesRule(0.0, 1e9, math.inf)
"""Of a signal: in force, or a power in kW. It ends when its time is over, not by age."""


def rule_for(series: str, rules: Mapping[str, SeriesRule]) -> SeriesRule | None:
    """The rule of a series: the one given, else that of its kind; None for a series nobody knows."""
    rule = rules.get(series)
    if rule is not None or not units_of(series):
        return rule
    if series.startswith(FX_PREFIX):
        return FX_RULE
    return SIGNAL_RULE if series.startswith(SIGNAL_PREFIX) else None


def check_tick(tick: Tick, rules: Mapping[str, SeriesRule], now: float) -> Tick | Refused:
    """The tick itself if it may be believed at `now`, else why not; never judges its age."""
    rule = rule_for(tick.series, rules)
    if rule is None:
        return Refused(tick, f"series {tick.series!r} is not known")
    units = units_of(tick.series) or (tick.unit,)
    if tick.unit not in units:
        return Refused(tick, f"unit {tick.unit!r} is not {' or '.join(map(repr, units))}")
    if not rule.low <= tick.value <= rule.high:  # not a number is within no bounds
        value = f"{tick.value:g}" if tick.unit == "1" else f"{tick.value:g} {tick.unit}"
        return Refused(tick, f"{value} is outside {rule.low:g} .. {rule.high:g}")
    if not tick.valid_from < tick.valid_to:
        return Refused(tick, "its validity is empty")
    if not tick.observed_at <= now + CLOCK_SKEW_S:
        return Refused(tick, "it claims to be observed in the future")
    return tick


def aged_from(tick: Tick) -> float:
    """The time from which the tick's age counts: when it was last seen; what was known before its time does not age before it."""
    return max(tick.observed_at, tick.valid_from)


def stale_at(tick: Tick, rule: SeriesRule) -> float:
    """The time from which the tick no longer counts: its greatest age or the end of its validity."""
    return min(tick.valid_to, aged_from(tick) + rule.max_age_s)
