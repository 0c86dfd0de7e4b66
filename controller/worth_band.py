"""The band: what being on is worth where nothing was fitted to a market, by how far its price moves and where it usually is; pure.

Take the price for a random walk with a standard deviation of s in the square root of an hour. Then stopping and starting, which cost K, pay
where the margin is beyond -w and w, w = (3 s^2 K / 4)^(1/3); between them the worth obeys s^2/2 D'' + margin = 0 and rises from 0 to K.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.worth_course import by_course
from controller.worth_features import total
from controller.worth_seen import HOURS, Sees

if TYPE_CHECKING:
    from numpy.typing import NDArray

LATELY: Final = 8
"""So many of the last steps tell how far the price moves."""
CALM: Final = 3.0
"""But not further than this many times the median step of a day: a spike has a way back, a random walk has none."""
NARROWEST_USD_PER_KWH: Final = 1e-9


def band(
    price: float, volatility: float, breakeven: NDArray[np.float64], cost: NDArray[np.float64], sees: Sees
) -> NDArray[np.float64]:
    """What each block's being on is worth, as a share of its cost: with `Sees.B` from the next quarter hour on, else after it.

    `price` is the last known one; `volatility` in USD/kWh per square root of an hour, see `volatility_of`.
    """
    margin = breakeven - price
    half = half_width(volatility, cost)
    place = margin / half
    inside = np.clip(place, -1.0, 1.0)
    earned = margin * HOURS / cost
    # Past the band what comes after this quarter hour is worth all or nothing; twice as far out nothing is in doubt.
    doubt = np.clip(2.0 - np.abs(place), 0.0, 1.0) * half * HOURS / cost
    after = 0.5 + 0.75 * (inside - inside * inside * inside / 3.0) - inside * doubt
    told: NDArray[np.float64] = np.clip(after, 0.0, 1.0) + (earned if sees is Sees.B else 0.0)
    return told


def unfitted(
    prices: NDArray[np.float64],
    known: int,
    level: NDArray[np.float64],
    breakeven: NDArray[np.float64],
    cost: NDArray[np.float64],
    sees: Sees,
) -> NDArray[np.float64]:
    """What each block's being on is worth by the last day's prices alone: between the band and the usual course, which err apart.

    The band knows nothing of a way back, the course nothing of chance. On ERCOT's hub of 2024 the mean was better than either.
    """
    price = float(prices[-1])
    walk = band(price, volatility_of(prices, known), breakeven, cost, sees)
    mean: NDArray[np.float64] = (walk + by_course(level, price, breakeven, cost, sees)) / 2
    return mean


def half_width(volatility: float, cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the margin may be below zero before stopping pays, and above it before starting does, USD/kWh."""
    cubes = (0.75 * volatility * volatility * cost).tolist()
    half: NDArray[np.float64] = np.maximum(
        np.array([math.cbrt(cube) for cube in cubes]), NARROWEST_USD_PER_KWH
    )
    return half


def volatility_of(prices: NDArray[np.float64], known: int) -> float:
    """How far the price moves, USD/kWh per square root of an hour, by the last day's prices, of which the newest `known` are real.

    It is the mean step of the last two hours, without spikes. That of a random walk would be a fourth less than its deviation; prices
    come back, and narrower is better.
    """
    if known < 2:  # noqa: PLR2004 (a step is between two)
        return 0.0
    steps = np.abs(np.diff(prices[-known:]))
    lately = steps[-LATELY:]
    mean = float(total(lately[None, :])[0]) / len(lately)
    usual = float(np.sort(steps)[len(steps) // 2])
    return min(mean, CALM * usual) / math.sqrt(HOURS)
