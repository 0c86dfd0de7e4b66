"""A market that nobody runs: seeded prices with the habits of a real-time power market; pure.

What is not known a day ahead (weather, outages, ramps) is added to the load that was forecast, and one steep supply curve turns both into
prices: in short hours the same small error costs ten times as much. So spikes come in the evening and in bunches, prices fall below zero
when there is wind, and the day-ahead price is what the forecast lets one expect. Source of the idea: M. T. Barlow, A diffusion model for
electricity prices, Mathematical Finance 12 (2002).

The same seed gives the same market; a longer one begins with the shorter one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.recorded import DAY_S, HASHPRICE_USD_PER_PH_DAY, QUARTER_S, USD_PER_MWH, Series, utc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FIRST_DAY: Final = date(2024, 1, 1)
DAYS: Final = 577
"""Of the whole market where nothing else is asked for: nineteen months, as long as a fit and a check on later months want."""
LOWEST_USD_PER_MWH: Final = -50.0
HIGHEST_USD_PER_MWH: Final = 5000.0

_QUARTERS: Final = 96
_LOCAL_HOURS: Final = -6.0
"""The market's clock against UTC; it keeps no daylight saving time."""
_SUMMER: Final = 15
"""The day of the year around which it is coldest; half a year later it is hottest, and both are dear."""

# Each is (what is left of it a quarter hour later, its standard deviation); the load's unit is that of `_supply`.
_WEATHER: Final = (0.9947, 0.75)
_ERROR: Final = (0.975, 0.42)
_UNREST: Final = (0.995, 0.80)
_RIPPLE: Final = (0.55, 0.10)
_OUTAGE_LEFT: Final = 0.6
_OUTAGES_PER_QUARTER: Final = 0.03
_OUTAGE: Final = 0.35
_TRADERS: Final = (0.9, 0.12)
"""By the hour: in what traders differ from the forecast."""
_FEAR: Final = 1.35
"""What traders pay for the chance of a shortage, as a multiple of what it will cost on average."""

_EPOCH_DAYS: Final = 14
_USUAL_HASHPRICE: Final = 52.0
_HASHPRICE_PULL: Final = 0.004
_COIN: Final = 0.024
"""Standard deviation of a day's change of the coin's price, in logarithms."""
_MINERS: Final = 0.035
"""Standard deviation of what a retarget changes."""


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticMarket:
    """Real-time prices by the quarter hour and day-ahead prices by the hour, USD/MWh; hashprice by the day, USD/PH/day."""

    real_time: Series
    day_ahead: Series
    hashprice: Series


def synthetic_market(days: int = DAYS, seed: int = 1, first_day: date = FIRST_DAY) -> SyntheticMarket:
    """The first `days` UTC days of the market with that seed. Raises ValueError for less than one day or a seed below 0."""
    if days < 1:
        raise ValueError(f"a market lasts one day at least, not {days}")
    start = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC).timestamp()
    day_ahead, real_time = _power(days, seed, round(start / DAY_S))
    return SyntheticMarket(
        _from(start, real_time, QUARTER_S),
        _from(start, day_ahead, 3600.0),
        _from(start, _hashprice(days, seed), DAY_S),
    )


def _from(start: float, values: Array, step_s: float) -> Series:
    """A history without gaps."""
    return Series(start + step_s * np.arange(len(values), dtype=np.float64), values, step_s)


def csv_of(series: Series, column: str = USD_PER_MWH) -> str:
    """A history as the text of a CSV file, as `hashmill fit` and `hashmill backtest` read it."""
    if column == HASHPRICE_USD_PER_PH_DAY:
        time_column, digits = "date", len("2024-01-01")
    else:
        time_column, digits = "start_utc", None
    rows = zip(series.starts.tolist(), series.values.tolist(), strict=True)
    return "".join([f"{time_column},{column}\n", *(f"{utc(at)[:digits]},{value!r}\n" for at, value in rows)])


def _power(days: int, seed: int, first_day: int) -> tuple[Array, Array]:
    """Day-ahead prices by the hour, real-time prices by the quarter hour."""
    count = days * _QUARTERS
    (weather, unrest, error, ripple, outage, size, sign, traders) = _generators(seed, 0, 8)
    shape, season = _usual(count, first_day)
    forecast = shape + season + _fading(weather.standard_normal(count), *_WEATHER)
    rough = np.exp(_fading(unrest.standard_normal(count), *_UNREST) + 0.3 * shape)
    struck = outage.random(count) < _OUTAGES_PER_QUARTER
    blow = np.exp(0.8 * size.standard_normal(count)) * np.where(sign.random(count) < 0.7, 1.0, -1.0)  # noqa: PLR2004 - more plants fail than loads
    surprise = (
        _fading(error.standard_normal(count), *_ERROR) * (1.0 + 0.5 * np.clip(rough - 1.0, -0.6, 2.0))
        + _fading(ripple.standard_normal(count), *_RIPPLE) * rough
        + _OUTAGE * _left(np.where(struck, blow, 0.0), _OUTAGE_LEFT) * np.clip(rough, 0.3, 2.0)
    )
    hours = forecast.reshape(-1, 4).mean(axis=1) + _fading(traders.standard_normal(count // 4), *_TRADERS)
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    weights /= weights.sum()
    expected = sum(
        weight * _supply(hours + _ERROR[1] * node, _FEAR)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)
    )
    return _published(np.asarray(expected)), _published(_supply(forecast + surprise, 1.0))


def _usual(count: int, first_day: int) -> tuple[Array, Array]:
    """The usual load that sun and wind leave over, by the local hour; and what season and weekend add."""
    quarter = np.arange(count)
    hour = (quarter % _QUARTERS / 4.0 + _LOCAL_HOURS) % 24.0
    day = first_day + quarter // _QUARTERS

    def hump(at: float, width: float) -> Array:
        away = np.abs(hour - at)
        return np.asarray(np.exp(-0.5 * (np.minimum(away, 24.0 - away) / width) ** 2))

    shape = -0.55 * hump(12.8, 3.0) + 1.35 * hump(19.4, 1.8) + 0.35 * hump(7.0, 1.4) - 0.45 * hump(2.5, 3.0)
    season = 0.35 * np.cos(4.0 * math.pi * (day % 365.25 - _SUMMER) / 365.25)
    weekend = (day + 3) % 7 >= 5  # noqa: PLR2004 - day 0 was a Thursday, Saturday is 5
    return shape, season - 0.25 * weekend


def _supply(load: Array, fear: float) -> Array:
    """USD/MWh at which that load is served: a slope, dear peakers at the upper end, wind that pays to run at the lower one."""
    short = np.exp(np.minimum(1.75 * (load - 0.25), 8.6))
    spilled = np.exp(np.minimum(2.0 * (-1.7 - load), 3.5))
    return np.asarray(20.5 + 8.5 * load + fear * short - spilled)


def _published(prices: Array) -> Array:
    """As markets publish them: within their bounds, in cents."""
    return np.asarray(np.round(np.clip(prices, LOWEST_USD_PER_MWH, HIGHEST_USD_PER_MWH), 2))


def _hashprice(days: int, seed: int) -> Array:
    """USD/PH/day: wanders with the coin, steps at each retarget, and is drawn back to what miners can live on."""
    coin, miners = _generators(seed, 1, 2)
    moves = _COIN * coin.standard_normal(days)
    steps = _MINERS * miners.standard_normal(days // _EPOCH_DAYS + 1)
    at = 0.0
    path = []
    for day, move in enumerate(moves.tolist()):
        at += move - _HASHPRICE_PULL * at
        if day % _EPOCH_DAYS == _EPOCH_DAYS - 1:
            at -= float(steps[day // _EPOCH_DAYS]) + 0.02 * at
        path.append(_USUAL_HASHPRICE * math.exp(at))
    return np.round(np.array(path), 3)


def _generators(seed: int, what: int, count: int) -> list[np.random.Generator]:
    """Independent streams, one for each cause: so that a longer market begins with the shorter one."""
    return [np.random.Generator(np.random.PCG64([seed, what, each])) for each in range(count)]


def _fading(noise: Array, left: float, deviation: float) -> Array:
    """A path that keeps the part `left` of itself at each step, with that standard deviation; it begins at 0."""
    return deviation * _left(math.sqrt(1.0 - left * left) * noise, left)


def _left(blows: Array, left: float) -> Array:
    """What blows add up to while the part `left` of each remains at the next step."""
    total = 0.0
    path = []
    for blow in blows.tolist():
        total = left * total + blow
        path.append(total)
    return np.array(path)
