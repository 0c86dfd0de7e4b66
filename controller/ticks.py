"""Ticks: one number of one series, with the interval it holds in and when it was observed.

Everything the controller knows of the outer world arrives as ticks, so what is recorded is all that a
decision was made from.
"""

from __future__ import annotations

from dataclasses import dataclass

BTC_USD = "btc_usd"
POWER = "power_usd_per_kwh"
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
    DIFFICULTY: "1",
    SUBSIDY: "sat",
    FEES: "sat/block",
    HASHPRICE: "USD/PH/day",
    CHAIN_HEIGHT: "blocks",
    EPOCH_START: "s",
    TIP_TIME: "s",
}
"""The unit every value of a series is in."""


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
