"""Ticks: one number of one series, with the interval it holds in and when it was observed.

Everything the controller knows of the outer world arrives as ticks, so what is recorded is all that a
decision was made from.

Beside the series named here there are those that a configuration makes: an exchange rate for every currency (`usd_per_eur`), and a
signal for every name (`signal:grid`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

BTC_USD = "btc_usd"
POWER = "power_usd_per_kwh"
POWER_DAY_AHEAD = "power_day_ahead_usd_per_kwh"
"""What the market expected a day ahead, with everything on top as in `POWER`: it informs, and is never paid."""
DIFFICULTY = "network_difficulty"
SUBSIDY = "subsidy_sat"
FEES = "fees_sat_per_block"
HASHPRICE = "hashprice_usd_per_ph_day"
CHAIN_HEIGHT = "chain_height"
EPOCH_START = "epoch_start_time_s"
TIP_TIME = "tip_time_s"

UNITS = {
    BTC_USD: "USD/BTC",
    POWER: "USD/kWh",
    POWER_DAY_AHEAD: "USD/kWh",
    DIFFICULTY: "1",
    SUBSIDY: "sat",
    FEES: "sat/block",
    HASHPRICE: "USD/PH/day",
    CHAIN_HEIGHT: "blocks",
    EPOCH_START: "s",
    TIP_TIME: "s",
}
"""The unit every value of a series is in."""

FX_PREFIX: Final = "usd_per_"
SIGNAL_PREFIX: Final = "signal:"
SIGNAL_UNITS: Final = ("1", "kW")
"""A signal says that it is in force (1), or how much power it leaves."""

_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_FX = re.compile(re.escape(FX_PREFIX) + r"([a-z]{3})", re.ASCII)


def fx_series(currency: str) -> str:
    """The series of a currency's exchange rate in USD per unit: that of "EUR" is "usd_per_eur". Raises ValueError."""
    if not _CURRENCY.fullmatch(currency):
        raise ValueError(f"{currency!r} is no currency: three capital letters, like EUR")
    return FX_PREFIX + currency.lower()


def signal_series(name: str) -> str:
    """The series of a signal by its name. Raises ValueError for an empty name."""
    if not name:
        raise ValueError("a signal needs a name")
    return SIGNAL_PREFIX + name


def units_of(series: str) -> tuple[str, ...]:
    """The units that values of a series may be in; none for a series nobody knows."""
    if series in UNITS:
        return (UNITS[series],)
    if rate := _FX.fullmatch(series):
        return (f"USD/{rate[1].upper()}",)
    return SIGNAL_UNITS if series.startswith(SIGNAL_PREFIX) and series != SIGNAL_PREFIX else ()


@dataclass(frozen=True, slots=True)
class Tick:
    """One observed value of a series, valid in the half-open interval [valid_from, valid_to).

    Times are UTC unix seconds; `valid_to` is infinite when the value holds until it is replaced.
    `observed_at` is when the source last saw it: age is counted from there.
    """

    series: str
    value: float
    unit: str
    valid_from: float
    valid_to: float
    observed_at: float
    source: str

    def holds_at(self, at: float) -> bool:
        """Whether the value is the one in force at `at`."""
        return self.valid_from <= at < self.valid_to

    def same_fact(self, other: Tick) -> bool:
        """Whether `other` says the same, perhaps seen at another time."""
        return (self.series, self.value, self.valid_from, self.valid_to, self.source) == (
            other.series,
            other.value,
            other.valid_from,
            other.valid_to,
            other.source,
        )
