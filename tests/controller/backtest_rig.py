"""Short histories for backtests: prices by the quarter hour from a list or a seed, and machines to run on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from controller.backtest import QUARTER_S, Asked, Fleet, Recorded, Settles
from controller.backtest_money import Prices, prices_of
from controller.units import Mode, PowerCurve, Unit
from controller.worth_seen import Sees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FIRST = 1_735_689_600 // 900
"""2025-01-01 00:00 UTC."""
HASHPRICE = 50.0
BEYOND = 96
A = Asked(Sees.A, zone="UTC", horizon_hours=2)
B = Asked(Sees.B, zone="UTC", horizon_hours=2)


def fleet(j_per_th: float = 30.0, count: int = 1, **how: float) -> Fleet:
    """A machine of 3 kW, that loses ten minutes by a start; at `HASHPRICE` 30 J/TH break even at 69 USD/MWh."""
    curve = PowerCurve([Mode("full", 3000 / j_per_th, 3000.0)])
    return Fleet(
        f"{j_per_th:g}", f"{j_per_th:g} J/TH", Unit("m", curve, **{"restart_s": 600.0, **how}), count
    )


def ladder() -> Fleet:
    curve = PowerCurve([Mode("eco", 76.0, 1850.0), Mode("mid", 92.0, 2500.0), Mode("full", 100.0, 2970.0)])
    return Fleet("ladder", "ladder", Unit("m", curve, restart_s=120.0, change_s=120.0))


def recorded(
    usd_per_mwh: Sequence[float] | NDArray[np.float64],
    *,
    ahead: Sequence[float] | NDArray[np.float64] | None = None,
    hashprice: Sequence[float] | NDArray[np.float64] | float = HASHPRICE,
    warm_up: int = 0,
    published_before: int = 8,
    settles: Settles = Settles.REAL_TIME,
) -> Recorded:
    """Those prices. `ahead` may go on beyond them, and is known so many quarter hours before its own; hours together."""
    price = np.asarray(usd_per_mwh, dtype=np.float64) / 1000
    later = np.full(len(price) + BEYOND, np.nan)
    if ahead is not None:
        later[: len(ahead)] = np.asarray(ahead, dtype=np.float64) / 1000
    hours = (FIRST + np.arange(len(later))) // 4 * 4.0
    return Recorded(
        first=FIRST,
        warm_up=warm_up,
        power_usd_per_kwh=price,
        day_ahead_usd_per_kwh=later,
        day_ahead_known_from=(hours - published_before) * QUARTER_S,
        gross_hashprice_usd_per_ph_day=np.broadcast_to(
            np.asarray(hashprice, dtype=np.float64), price.shape
        ).copy(),
        settles=settles,
    )


def prices(usd_per_mwh: Sequence[float] | NDArray[np.float64], **more: Sequence[float]) -> Prices:
    return prices_of(recorded(usd_per_mwh, **more), 0.0)


def wild(seed: int, count: int) -> NDArray[np.float64]:
    """Prices in USD/MWh that go up and down around what a machine earns, and jump now and then."""
    chance = np.random.default_rng(seed)
    path = (
        65
        + 12 * np.cumsum(chance.standard_normal(count)) / np.sqrt(np.arange(1, count + 1))
        + 8 * chance.standard_normal(count)
    )
    return np.where(chance.random(count) < 0.05, path + 300, path)


def asked(sees: Sees, **more: object) -> Asked:
    return replace(A, sees=sees, **more)  # type: ignore[arg-type]
