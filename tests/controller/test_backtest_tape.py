"""What a live source would have told, and nothing more."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from controller.backtest import Settles
from controller.backtest_tape import PeriodError, Tape
from controller.backtest_tape import recorded as read
from controller.recorded import Series
from controller.ticks import HASHPRICE, POWER, POWER_DAY_AHEAD
from controller.worth_seen import Sees
from tests.controller.backtest_rig import FIRST, recorded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ticks import Tick

START = FIRST * 900.0


def spans(ticks: Mapping[str, tuple[Tick, ...]], series: str) -> list[tuple[float, float, float]]:
    """When each tick begins and ends, in quarter hours from the first, and its price in USD/MWh."""
    return [
        ((tick.valid_from - START) / 900, (tick.valid_to - START) / 900, round(tick.value * 1000, 6))
        for tick in ticks[series]
    ]


def series(first: str, step_s: float, values: list[float], gap_at: int | None = None) -> Series:
    at = datetime.fromisoformat(first).replace(tzinfo=UTC).timestamp() + step_s * np.arange(len(values))
    kept = np.arange(len(values)) != gap_at
    return Series(at[kept], np.array(values, dtype=float)[kept], step_s, "p.csv")


def test_who_sees_the_price_that_begins_is_told_that_of_now_and_no_later_one() -> None:
    tape = Tape(recorded([50.0, 60.0, 70.0]), Sees.A)
    assert spans(tape.at(1), POWER) == [(1, 2, 60.0)]


def test_who_does_not_is_told_the_one_before() -> None:
    tape = Tape(recorded([50.0, 60.0, 70.0]), Sees.B)
    assert POWER not in tape.at(0)
    assert spans(tape.at(2), POWER) == [(1, 2, 60.0)]


def test_in_a_gap_the_last_price_stays_with_its_end_long_past() -> None:
    tape = Tape(recorded([50.0, np.nan, np.nan, 70.0]), Sees.A)
    assert spans(tape.at(2), POWER) == [(0, 1, 50.0)]


def test_hashprice_is_that_of_the_quarter_hour_whatever_power_may_be_known() -> None:
    for sees in Sees:
        assert spans(Tape(recorded([50.0, 60.0], hashprice=[40.0, 41.0]), sees).at(1), HASHPRICE) == [
            (1, 2, 41000.0)
        ]


def test_day_ahead_prices_are_told_from_their_publication_on_and_an_hour_back() -> None:
    ahead = [30.0] * 4 + [31.0] * 4 + [32.0] * 4 + [33.0] * 4
    tape = Tape(recorded([50.0] * 12, ahead=ahead, published_before=4), Sees.A)
    assert spans(tape.at(0), POWER_DAY_AHEAD) == [(0, 4, 30.0), (4, 8, 31.0)]
    assert spans(tape.at(5), POWER_DAY_AHEAD) == [(0, 4, 30.0), (4, 8, 31.0), (8, 12, 32.0)]
    assert spans(tape.at(8), POWER_DAY_AHEAD) == [(4, 8, 31.0), (8, 12, 32.0), (12, 16, 33.0)]


def test_day_ahead_prices_that_settle_are_the_prices_of_power() -> None:
    told = recorded([30.0] * 8, ahead=[30.0] * 4 + [31.0] * 4, published_before=8, settles=Settles.DAY_AHEAD)
    ticks = Tape(told, Sees.A).at(2)
    assert spans(ticks, POWER) == [(2, 4, 30.0), (4, 8, 31.0)]
    assert POWER_DAY_AHEAD not in ticks


def test_a_price_is_observed_before_its_time_so_that_nobody_waits_for_a_second_look() -> None:
    for sees, behind in ((Sees.A, 0.0), (Sees.B, 900.0)):
        (tick,) = Tape(recorded([50.0, 60.0]), sees).at(1)[POWER]
        assert tick.valid_from + behind - 60 < tick.observed_at < tick.valid_from + behind


def test_a_local_day_is_published_the_day_before_at_its_time_over_a_change_of_clocks() -> None:
    # Daylight saving began in Chicago on 2025-03-09 at 08:00 UTC: that day began at 06:00 UTC and the next one at 05:00.
    power = series("2025-03-09T00:00", 900, [20.0] * 192)
    told = read(
        power, series("2025-03-09T00:00", 3600, [20.0] * 48), series("2025-03-09", 86400, [50.0, 51.0])
    )
    known = told.day_ahead_known_from
    day = [datetime.fromtimestamp(float(each), tz=UTC).strftime("%d %H:%M") for each in known]
    assert (day[0], day[23]) == ("07 19:30", "07 19:30")
    assert (day[24], day[24 + 91]) == ("08 19:30", "08 19:30")
    assert day[24 + 92] == "09 18:30"


def test_the_adder_comes_on_top_of_all_prices_of_power() -> None:
    told = read(
        series("2025-01-01", 900, [20.0] * 96),
        series("2025-01-01", 3600, [30.0] * 24),
        series("2025-01-01", 86400, [50.0]),
        adder_usd_per_mwh=25,
    )
    assert told.power_usd_per_kwh[0] == 0.045
    assert told.day_ahead_usd_per_kwh[0] == 0.055


def test_prices_before_the_period_warm_up_and_are_not_judged() -> None:
    power = series("2025-01-01", 900, [float(each) for each in range(96 * 20)])
    start = datetime(2025, 1, 18, tzinfo=UTC).timestamp()
    told = read(power, None, series("2025-01-01", 86400, [50.0] * 20), start=start, stop=start + 7200)
    assert len(told.power_usd_per_kwh) - told.warm_up == 8
    assert told.warm_up == 14 * 96
    assert told.power_usd_per_kwh[told.warm_up] == 17 * 96 / 1000


def test_the_period_is_where_power_and_hashprice_are_known() -> None:
    told = read(
        series("2025-01-01", 900, [20.0] * 96 * 3), None, series("2025-01-02", 86400, [50.0, 51.0, 52.0])
    )
    assert len(told.power_usd_per_kwh) - told.warm_up == 96 * 2
    assert told.warm_up == 96


def test_gaps_are_named_and_nothing_is_put_into_them() -> None:
    told = read(series("2025-01-01", 900, [20.0] * 96, gap_at=5), None, series("2025-01-01", 86400, [50.0]))
    assert told.gaps == ("p.csv: nothing from 2025-01-01T01:15:00Z to 2025-01-01T01:30:00Z (900 s)",)
    assert np.flatnonzero(np.isnan(told.power_usd_per_kwh)).tolist() == [5]


def test_gaps_outside_of_the_period_are_not_told() -> None:
    power = series("2025-01-01", 900, [20.0] * 3 * 96, gap_at=5)
    later = datetime(2025, 1, 2, tzinfo=UTC).timestamp()
    told = read(power, None, series("2025-01-01", 86400, [50.0] * 3), start=later)
    assert told.warm_up == 96
    assert told.gaps == ()


def test_where_day_ahead_settles_its_own_history_is_paid_if_there_is_one() -> None:
    power, ahead = series("2025-01-01", 900, [20.0] * 96), series("2025-01-01", 3600, [30.0] * 24)
    hashprice = series("2025-01-01", 86400, [50.0])
    told = read(power, ahead, hashprice, settles=Settles.DAY_AHEAD)
    assert told.power_usd_per_kwh[0] == 0.030
    alone = read(
        ahead, None, hashprice, settles=Settles.DAY_AHEAD, published=time(12, 0), zone="Europe/Berlin"
    )
    assert alone.power_usd_per_kwh.tolist() == told.power_usd_per_kwh.tolist()


def test_a_period_without_prices_is_refused_with_what_there_is() -> None:
    power, hashprice = series("2025-01-01", 900, [20.0] * 96), series("2025-01-01", 86400, [50.0])
    with pytest.raises(PeriodError, match="from 2025-01-01T00:00:00Z to 2025-01-02T00:00:00Z"):
        read(power, None, hashprice, start=datetime(2026, 1, 1, tzinfo=UTC).timestamp())


def test_a_period_in_which_nothing_counts_is_refused() -> None:
    power = series("2025-01-01", 900, [20.0] * 3 * 96)
    hashprice = series("2025-01-01", 86400, [50.0, 50.0, 50.0], gap_at=1)
    day = datetime(2025, 1, 2, tzinfo=UTC).timestamp()
    with pytest.raises(PeriodError, match="never known together from 2025-01-02T00:00:00Z to 2025-01-03"):
        read(power, None, hashprice, start=day, stop=day + 86400)
