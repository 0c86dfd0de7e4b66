"""What a path of modes earns at the prices that came, booked as the planner's program books it; pure.

Revenue less power for each quarter hour, less a start's lost hashrate and wear and a change's lost hashrate in the quarter hour in which they
happen. Where a price is not known nothing is counted, changes neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from controller.backtest import HOURS
from controller.economics import SECONDS_PER_HOUR, TH_PER_PH, W_PER_KW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.backtest import Fleet, Recorded
    from controller.units import Unit

_HOURS_PER_DAY = 24


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """The prices of the judged quarter hours: power all-in in USD/kWh, hashprice net in USD/PH/day; `counts` says where both are known."""

    starts: NDArray[np.float64]
    power_usd_per_kwh: NDArray[np.float64]
    hashprice_usd_per_ph_day: NDArray[np.float64]
    counts: NDArray[np.bool_]

    @property
    def usd_per_th_hour(self) -> NDArray[np.float64]:
        """What 1 TH/s earns in an hour, USD."""
        return self.hashprice_usd_per_ph_day / TH_PER_PH / _HOURS_PER_DAY


@dataclass(frozen=True, slots=True, eq=False)
class Earned:
    """What paths earned: by quarter hour, and how often what happened; `running` is the part of the units."""

    money_usd: NDArray[np.float64]
    drawn_kw: NDArray[np.float32]
    running: NDArray[np.float32]
    starts: int
    changes: int
    uptime: float

    @property
    def usd(self) -> float:
        """All of it; summed exactly, so that the order of quarter hours does not matter."""
        return math.fsum(self.money_usd.tolist())


def prices_of(recorded: Recorded, fee: float) -> Prices:
    """The prices of what was recorded after its warm-up, hashprice less the pool's fee."""
    judged = slice(recorded.warm_up, None)
    power = recorded.power_usd_per_kwh[judged]
    gross = recorded.gross_hashprice_usd_per_ph_day[judged]
    known = ~(np.isnan(power) | np.isnan(gross))
    return Prices(recorded.starts[judged], power, gross * (1 - fee), known)


def breakeven_usd_per_kwh(unit: Unit, prices: Prices) -> NDArray[np.float64]:
    """The price of power at which full hashrate earns nothing; infinite for a unit that draws nothing."""
    full = unit.curve.full
    revenue = prices.usd_per_th_hour * full.th_s
    if full.watts == 0:
        return np.full(len(revenue), np.inf)
    return revenue / (full.watts / W_PER_KW)


def earned(unit: Unit, modes: NDArray[np.uint8], prices: Prices) -> Earned:
    """What units like that earn on their paths `modes` [units, T], indices in its curve, from full hashrate on."""
    curve = unit.curve
    th_s = np.array([mode.th_s for mode in curve.modes])
    kw = np.array([mode.watts for mode in curve.modes]) / W_PER_KW
    first = np.full((len(modes), 1), curve.modes.index(curve.full), dtype=modes.dtype)
    before = np.concatenate([first, modes[:, :-1]], axis=1)
    started = (before == 0) & (modes > 0) & prices.counts
    changed = (before > 0) & (modes > 0) & (before != modes) & prices.counts
    hours = HOURS * prices.usd_per_th_hour
    lost_h = (started * unit.restart_s + changed * unit.change_s) / SECONDS_PER_HOUR
    usd = th_s[modes] * hours - kw[modes] * (HOURS * prices.power_usd_per_kwh)
    usd -= th_s[modes] * lost_h * np.maximum(prices.usd_per_th_hour, 0.0) + started * unit.wear_usd
    counted = max(int(prices.counts.sum()) * len(modes), 1)
    ran = modes > 0
    return Earned(
        money_usd=np.where(prices.counts, usd.sum(axis=0), 0.0),
        drawn_kw=kw[modes].sum(axis=0).astype(np.float32),
        running=ran.mean(axis=0).astype(np.float32),
        starts=int(started.sum()),
        changes=int(changed.sum()),
        uptime=float((ran & prices.counts).sum() / counted),
    )


def together(fleets: Sequence[Fleet], each: Sequence[Earned]) -> Earned:
    """Several fleets as one."""
    units = sum(fleet.count for fleet in fleets)
    shares = [fleet.count / units for fleet in fleets]
    return Earned(
        money_usd=np.sum([one.money_usd for one in each], axis=0),
        drawn_kw=np.sum([one.drawn_kw for one in each], axis=0),
        running=np.sum([share * one.running for share, one in zip(shares, each, strict=True)], axis=0),
        starts=sum(one.starts for one in each),
        changes=sum(one.changes for one in each),
        uptime=sum(share * one.uptime for share, one in zip(shares, each, strict=True)),
    )
