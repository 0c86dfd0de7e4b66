"""What is asked of a backtest and what comes of it; pure.

Times are UTC unix seconds, all arrays go by quarter hours of one period, prices of power are all-in in USD/kWh, hashprice is net in
USD/PH/day. `regret` is (oracle - policy) / oracle, a fraction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from controller.model import Model
    from controller.units import Unit
    from controller.worth_seen import Sees

QUARTER_S: Final = 900.0
HOURS: Final = 0.25
"""The length of a quarter hour, as money counts it."""


class Policy(StrEnum):
    """Who decides, in the order in which they are shown."""

    HASHMILL = "hashmill"
    ALWAYS_ON = "always_on"
    THRESHOLD = "threshold"
    DEBOUNCE = "debounce"
    BAND = "band"
    BEST_SINGLE_MODE = "best_single_mode"
    ORACLE = "oracle"


POLICY_TEXT: Final = {
    Policy.HASHMILL: "the controller as it runs",
    Policy.ALWAYS_ON: "at full power whatever it costs",
    Policy.THRESHOLD: "at full power while the last known price is below breakeven",
    Policy.DEBOUNCE: "the same, off after 2 quarter hours above it, on after 4 below",
    Policy.BAND: "at full power, in a band as wide as the price moved lately",
    Policy.BEST_SINGLE_MODE: "the controller with one mode and off, the mode chosen in hindsight",
    Policy.ORACLE: "who knew all prices from the start",
}


class Settles(StrEnum):
    """Which price is paid."""

    REAL_TIME = "real-time"
    DAY_AHEAD = "day-ahead"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Equal machines whose money is shown together: `count` units like `unit`.

    `key` names them in JSON (an efficiency as it was given, or a model), `title` for a person.
    """

    key: str
    title: str
    unit: Unit
    count: int = 1

    @property
    def full_kw(self) -> float:
        """What all of them draw at full hashrate."""
        return self.count * self.unit.curve.full.watts / 1000


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What was recorded, by the quarter hours numbered from `first` (since 1970) on; NaN where nothing is known.

    The first `warm_up` of them only teach the controller what it would have seen before; what is judged comes after. `power_usd_per_kwh`
    is what is paid. `day_ahead_usd_per_kwh` goes on beyond the last of them, and is known from `day_ahead_known_from` on. Hashprice is
    before fees.
    """

    first: int
    warm_up: int
    power_usd_per_kwh: NDArray[np.float64]
    day_ahead_usd_per_kwh: NDArray[np.float64]
    day_ahead_known_from: NDArray[np.float64]
    gross_hashprice_usd_per_ph_day: NDArray[np.float64]
    settles: Settles = Settles.REAL_TIME
    gaps: tuple[str, ...] = ()

    @property
    def starts(self) -> NDArray[np.float64]:
        """When each quarter hour begins, UTC unix seconds, the warm-up's too."""
        numbers = self.first + np.arange(len(self.power_usd_per_kwh), dtype=np.float64)
        return numbers * QUARTER_S


@dataclass(frozen=True, slots=True)
class Asked:
    """How decisions are made, and what they may see.

    `fee` is the pool's, a fraction, and `dead_band` the policy's, for prices that are known ahead. `cap_kw` binds all fleets together, None for no cap. `zone` is the site's (IANA). `seed` is that of
    the intervals' bootstrap.
    """

    sees: Sees
    model: Model | None = None
    fee: float = 0.0
    dead_band: float = 0.0
    cap_kw: float | None = None
    horizon_hours: float = 36.0
    zone: str = "UTC"
    seed: int = 1


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What one policy made of the period with one fleet.

    `usd` is what hashing earned less power and starts; `regret` is None where the oracle earns nothing or, under a cap, for one of
    several fleets. `regret_low` and `regret_high` hold 95 % of weekly block bootstraps, None for less than two weeks. `starts` counts
    from off to running, `changes` from one running mode to another, both over all units; `uptime` is the part of the time that
    counts in which they ran. By quarter hour: `money_usd` (0 where it does not count), `drawn_kw`, `running` (the part of the units).
    """

    policy: Policy
    usd: float
    regret: float | None
    regret_low: float | None
    regret_high: float | None
    starts: int
    changes: int
    uptime: float
    money_usd: NDArray[np.float64]
    drawn_kw: NDArray[np.float32]
    running: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FleetResult:
    """All policies on one fleet. `single_modes_usd` is what the controller makes of each running mode alone, by its name.

    `breakeven_usd_per_kwh` is the price of power at which full hashrate earns nothing. `methods` counts by which method the controller
    knew the worth of being on ("fitted", "markov", "band"; "plan" where prices were known).
    """

    fleet: Fleet
    policies: Mapping[Policy, PolicyResult]
    single_modes_usd: Mapping[str, float]
    breakeven_usd_per_kwh: NDArray[np.float64]
    methods: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """A whole backtest. `settings` are what it was asked for, as plain data by the name of the option.

    Of the quarter hours that begin at `starts` those in `counts` count: where price and hashprice are known. `together` has all
    fleets as one where a cap binds them together, else None.
    """

    sees: Sees
    settles: Settles
    settings: Mapping[str, object]
    gaps: tuple[str, ...]
    starts: NDArray[np.float64]
    counts: NDArray[np.bool_]
    power_usd_per_kwh: NDArray[np.float64]
    day_ahead_usd_per_kwh: NDArray[np.float64]
    hashprice_usd_per_ph_day: NDArray[np.float64]
    fleets: tuple[FleetResult, ...]
    together: FleetResult | None = None
