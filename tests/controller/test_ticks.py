from __future__ import annotations

import math

import pytest

from controller import ticks
from controller.ticks import FX_PREFIX, POWER, SIGNAL_PREFIX, UNITS, Tick, fx_series, signal_series, units_of


def tick(value: float = 0.05, *, begins: float = 0.0, ends: float = math.inf, seen: float = 0.0) -> Tick:
    return Tick(POWER, value, UNITS[POWER], begins, ends, seen, "test")


def test_validity_is_half_open() -> None:
    quarter = tick(begins=900, ends=1800)
    assert not quarter.holds_at(899.9)
    assert quarter.holds_at(900)
    assert not quarter.holds_at(1800)


def test_the_same_fact_seen_later_is_the_same_fact() -> None:
    assert tick(seen=1).same_fact(tick(seen=2))
    assert not tick(0.05).same_fact(tick(0.06))
    assert not tick(begins=0).same_fact(tick(begins=1))


def test_every_series_has_a_unit() -> None:
    names = {value for name, value in vars(ticks).items() if name.isupper() and isinstance(value, str)}
    assert names - {FX_PREFIX, SIGNAL_PREFIX} == set(UNITS)
    assert all(units_of(series) == (unit,) for series, unit in UNITS.items())


def test_every_currency_has_a_series_of_its_rate() -> None:
    assert fx_series("EUR") == "usd_per_eur"
    assert units_of("usd_per_eur") == ("USD/EUR",)


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "E", "ÄÖÜ", "EUR\n"])
def test_what_is_no_currency_has_no_series(currency: str) -> None:
    with pytest.raises(ValueError, match="three capital letters"):
        fx_series(currency)


def test_every_signal_has_a_series_in_kw_or_without_a_unit() -> None:
    assert signal_series("grid") == "signal:grid"
    assert units_of("signal:grid") == ("1", "kW")
    with pytest.raises(ValueError, match="needs a name"):
        signal_series("")


@pytest.mark.parametrize("series", ["", "weather", "usd_per_", "usd_per_euro", "usd_per_EUR", "signal:"])
def test_what_nobody_knows_has_no_unit(series: str) -> None:
    assert units_of(series) == ()
