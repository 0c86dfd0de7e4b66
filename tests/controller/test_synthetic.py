"""The market that nobody runs: the same for the same seed, and with the habits of a real one."""

from datetime import date

import numpy as np
import pytest

from controller.recorded import HASHPRICE_USD_PER_PH_DAY, USD_PER_MWH, Series, prices_of
from controller.synthetic import (
    HIGHEST_USD_PER_MWH,
    LOWEST_USD_PER_MWH,
    SyntheticMarket,
    csv_of,
    synthetic_market,
)

YEAR = synthetic_market(365, seed=3)


def by_hour(values: np.ndarray) -> np.ndarray:
    """The median of each local hour."""
    return np.roll(np.median(values.reshape(365, 24, -1), axis=(0, 2)), -6)


def after(values: np.ndarray, quarters: int) -> float:
    """How much of a value is left after so many quarter hours."""
    return float(np.corrcoef(values[quarters:], values[:-quarters])[0, 1])


def surprise(market: SyntheticMarket = YEAR) -> np.ndarray:
    usual = np.repeat(market.day_ahead.values, 4)
    return np.arcsinh(market.real_time.values / 10) - np.arcsinh(usual / 10)


def test_the_same_seed_gives_the_same_market() -> None:
    again = synthetic_market(365, seed=3)
    for one, other in (
        (YEAR.real_time, again.real_time),
        (YEAR.day_ahead, again.day_ahead),
        (YEAR.hashprice, again.hashprice),
    ):
        assert np.array_equal(one.starts, other.starts)
        assert np.array_equal(one.values, other.values)


def test_another_seed_gives_another_market() -> None:
    other = synthetic_market(3, seed=4)
    assert not np.any(other.real_time.values[:8] == YEAR.real_time.values[:8])


def test_a_longer_market_begins_with_the_shorter_one() -> None:
    short = synthetic_market(31, seed=3)
    assert np.array_equal(short.real_time.values, YEAR.real_time.values[: 31 * 96])
    assert np.array_equal(short.day_ahead.values, YEAR.day_ahead.values[: 31 * 24])
    assert np.array_equal(short.hashprice.values, YEAR.hashprice.values[:31])


def test_it_has_every_quarter_hour_every_hour_and_every_day_once() -> None:
    assert YEAR.real_time.starts[0] == YEAR.day_ahead.starts[0] == YEAR.hashprice.starts[0] == 1704067200.0
    assert set(np.diff(YEAR.real_time.starts)) == {YEAR.real_time.step_s} == {900.0}
    assert set(np.diff(YEAR.day_ahead.starts)) == {YEAR.day_ahead.step_s} == {3600.0}
    assert set(np.diff(YEAR.hashprice.starts)) == {YEAR.hashprice.step_s} == {86400.0}
    assert YEAR.real_time.end == YEAR.day_ahead.end == YEAR.hashprice.end
    assert YEAR.real_time.gaps == ()


def test_it_begins_on_the_day_asked_for() -> None:
    assert synthetic_market(1, first_day=date(2025, 7, 1)).real_time.starts[0] == 1751328000.0


def test_prices_stay_within_the_market_s_bounds_and_are_in_cents() -> None:
    for values in (YEAR.real_time.values, YEAR.day_ahead.values):
        assert values.min() >= LOWEST_USD_PER_MWH
        assert values.max() <= HIGHEST_USD_PER_MWH
        assert np.array_equal(values, np.round(values, 2))


def test_evenings_are_dear_and_nights_are_cheap() -> None:
    for values in (YEAR.real_time.values, YEAR.day_ahead.values):
        usual = by_hour(values)
        assert np.argmax(usual) in {18, 19, 20}
        assert usual.max() > 1.7 * usual[13]


def test_there_are_spikes_and_they_are_rare_and_short() -> None:
    values = YEAR.real_time.values
    spike = values > 200.0
    spells = np.count_nonzero(spike[1:] & ~spike[:-1])
    assert 0.002 < spike.mean() < 0.01
    assert 1.5 < spike.sum() / spells < 5.0
    assert values.max() > 1000.0


def test_prices_fall_below_zero_now_and_then() -> None:
    assert 0.01 < np.mean(YEAR.real_time.values < 0.0) < 0.05


def test_a_surprise_fades_over_hours() -> None:
    gap = surprise()
    assert 0.80 < after(gap, 1) < 0.90
    assert 0.60 < after(gap, 4) < 0.80
    assert after(gap, 96) < 0.25


def test_day_ahead_is_a_forecast_with_errors_and_without_much_bias() -> None:
    usual = np.repeat(YEAR.day_ahead.values, 4)
    assert 0.7 < np.corrcoef(np.arcsinh(YEAR.real_time.values / 10), np.arcsinh(usual / 10))[0, 1] < 0.9
    assert abs(surprise().mean()) < 0.1


def test_hashprice_wanders_without_leaving_for_good() -> None:
    values = synthetic_market(2000, seed=1).hashprice.values
    assert 20.0 < values.min() < 45.0
    assert 60.0 < values.max() < 150.0
    assert 0.01 < np.diff(np.log(values)).std() < 0.05


@pytest.mark.parametrize(
    ("series", "column"),
    [
        (YEAR.real_time, USD_PER_MWH),
        (YEAR.day_ahead, USD_PER_MWH),
        (YEAR.hashprice, HASHPRICE_USD_PER_PH_DAY),
    ],
    ids=["real time", "day ahead", "hashprice"],
)
def test_it_survives_being_written_to_a_file(series: Series, column: str) -> None:
    read = prices_of(csv_of(series, column), column, "market.csv")
    assert np.array_equal(read.starts, series.starts)
    assert np.array_equal(read.values, series.values)
    assert read.step_s == series.step_s
    assert read.gaps == ()


def test_a_market_of_no_days_is_refused() -> None:
    with pytest.raises(ValueError, match="one day at least, not 0"):
        synthetic_market(0)
