"""What a fitted model looks at does not depend on currency, on what comes on top, or on what else is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.recent import KEPT
from controller.worth_features import (
    ENOUGH,
    FARTHEST,
    LONGEST_GAP,
    NAMES,
    ROOM,
    WITHOUT_DAY_AHEAD,
    features,
    filled,
    scaled,
    sight,
    slow,
    spanned,
    total,
)
from controller.worth_seen import AHEAD

COUNT = 60


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return (
        random.normal(0.04, 0.03, (COUNT, KEPT)),
        random.normal(0.04, 0.02, (COUNT, 1 + AHEAD)),
        random.integers(1_900_000, 1_990_000, COUNT),
        random.normal(0.05, 0.02, COUNT),
        random.uniform(0.0001, 0.05, COUNT),
    )


def column(name: str) -> int:
    return NAMES.index(name)


@given(seed=st.integers(0, 1000), first=st.integers(0, COUNT - 1), count=st.integers(1, 9))
def test_a_row_is_the_same_alone_and_among_others(seed: int, first: int, count: int) -> None:
    columns = drawn(seed)
    columns[0][seed % COUNT, 40:43] = np.nan
    whole = features(*columns)
    part = features(*(each[first : first + count] for each in columns))
    assert part.tobytes() == whole[first : first + count].tobytes()
    fortran = features(np.asfortranarray(columns[0]), np.asfortranarray(columns[1]), *columns[2:])
    assert fortran.tobytes() == whole.tobytes()


@given(seed=st.integers(0, 1000), rate=st.floats(0.01, 100), adder=st.floats(-0.1, 0.1))
def test_neither_currency_nor_what_comes_on_top_matters(seed: int, rate: float, adder: float) -> None:
    recent, ahead, quarter, breakeven, cost = drawn(seed)
    told = features(recent, ahead, quarter, breakeven, cost)
    other = features(
        (recent + adder) * rate, (ahead + adder) * rate, quarter, (breakeven + adder) * rate, cost * rate
    )
    assert np.allclose(other, told, rtol=1e-5, atol=1e-3)


def test_columns_are_what_their_names_say() -> None:
    recent = np.arange(KEPT, dtype=np.float64)[None, :] / 100
    ahead = 2.0 + np.arange(1 + AHEAD, dtype=np.float64)[None, :] / 100
    quarter = np.array([4 * 24 * 20_000 + 4 * 22 + 3])  # the last quarter of the hour from 22 on
    row = features(recent, ahead, quarter, np.array([1.0]), np.array([0.25]))[0]
    assert row[column("real time, 0 ago")] == pytest.approx(1.0 - 0.96)
    assert row[column("real time, 95 ago")] == pytest.approx(1.0 - 0.01)
    assert row[column("mean of 4")] == pytest.approx(1.0 - 0.945)
    assert row[column("median of 16")] == pytest.approx(1.0 - 0.885)
    assert row[column("highest of 8")] == pytest.approx(1.0 - 0.96)
    assert row[column("lowest of 8")] == pytest.approx(1.0 - 0.89)
    assert row[column("mean of 97")] == pytest.approx(1.0 - 0.48)
    assert row[column("day ahead, in 0")] == pytest.approx(1.0 - 2.0)
    assert row[column("day ahead, in 8")] == pytest.approx(1.0 - 2.08)
    assert row[column("step of 8")] == row[column("step of 96")] == pytest.approx(0.01)
    assert row[column("real time less day ahead")] == pytest.approx(0.96 - 2.0)
    for name, change in (("of 1", 0.01), ("before", 0.01), ("of 3", 0.03)):
        assert row[column(f"change {name}")] == pytest.approx(change)
    assert row[column("step of 3")] == pytest.approx(0.01)
    assert row[column("real time less day ahead, in 1")] == pytest.approx(0.96 - 2.01)
    assert row[column("change of day ahead, in 1")] == pytest.approx(0.01)
    assert row[column("change of day ahead, in 4")] == pytest.approx(0.04)
    assert row[column("quarter of the hour")] == 0
    assert row[column("hour (UTC)")] == 23


def test_without_day_ahead_prices_the_other_columns_stay() -> None:
    recent, ahead, quarter, breakeven, cost = drawn(1)
    told = features(recent, ahead, quarter, breakeven, cost)
    ahead[:, 4] = np.nan
    here = sight(recent, ahead, quarter)
    assert not here.day_ahead.any()
    assert here.usable.all()
    other = scaled(here, breakeven, cost)
    assert np.isfinite(other).all()
    assert np.array_equal(other[:, WITHOUT_DAY_AHEAD], told[:, WITHOUT_DAY_AHEAD])
    assert {NAMES[at] for at in set(range(len(NAMES))) - set(WITHOUT_DAY_AHEAD)} == {
        n for n in NAMES if "day ahead" in n
    }


def test_one_row_of_prices_serves_many_blocks() -> None:
    recent, ahead, quarter, breakeven, cost = drawn(2)
    many = features(
        *(np.repeat(each[:1], COUNT, axis=0) for each in (recent, ahead, quarter)), breakeven, cost
    )
    assert scaled(sight(recent[:1], ahead[:1], quarter[:1]), breakeven, cost).tobytes() == many.tobytes()


def test_a_short_gap_is_filled_with_the_price_before_it() -> None:
    prices = np.arange(KEPT, dtype=np.float64)
    prices[50 : 50 + LONGEST_GAP] = np.nan
    whole, known = filled(prices[None, :])
    assert known.tolist() == [KEPT]
    assert (whole[0, 49 : 50 + LONGEST_GAP] == 49).all()
    assert whole[0, 50 + LONGEST_GAP] == 50 + LONGEST_GAP


def test_what_is_older_than_a_long_gap_is_forgotten() -> None:
    prices = np.arange(KEPT, dtype=np.float64)
    prices[50 : 51 + LONGEST_GAP] = np.nan
    whole, known = filled(prices[None, :])
    assert known.tolist() == [KEPT - 51 - LONGEST_GAP]
    assert (whole[0, : 51 + LONGEST_GAP] == 51 + LONGEST_GAP).all()
    assert np.array_equal(whole[0, 51 + LONGEST_GAP :], prices[51 + LONGEST_GAP :])


def test_nothing_is_known_where_the_newest_prices_are_missing_for_long() -> None:
    prices = np.ones((2, KEPT))
    prices[0, -LONGEST_GAP - 1 :] = np.nan
    prices[1] = np.nan
    whole, known = filled(prices)
    assert known.tolist() == [0, 0]
    assert not whole.any()


def test_too_few_prices_cannot_be_judged_by_but_give_numbers() -> None:
    recent, ahead, quarter, breakeven, cost = (each[:2] for each in drawn(3))
    recent[0, : KEPT - ENOUGH] = np.nan
    recent[1, : KEPT - ENOUGH + 1] = np.nan
    here = sight(recent, ahead, quarter)
    assert here.usable.tolist() == [True, False]
    assert np.isfinite(scaled(here, breakeven, cost)).all()


def test_distances_are_finite_however_small_a_cost_is() -> None:
    recent, ahead, quarter, breakeven, cost = drawn(4)
    rows = features(recent * 1e3, ahead, quarter, breakeven, cost * 1e-12)
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() == FARTHEST


def test_prices_of_another_length_are_refused() -> None:
    recent, ahead, quarter, _, _ = drawn(5)
    with pytest.raises(ValueError, match="are looked at"):
        sight(recent[:, 1:], ahead, quarter)
    with pytest.raises(ValueError, match="are looked at"):
        sight(recent, ahead[1:], quarter)


def test_a_sum_is_that_of_the_row_in_order() -> None:
    columns = np.random.default_rng(1).normal(size=(5, 97)) * np.logspace(-8, 8, 97)
    for row, told in zip(columns.tolist(), total(columns).tolist(), strict=True):
        expected = 0.0
        for value in row:
            expected += value
        assert told == expected


@pytest.mark.parametrize("day_ahead", [True, False])
def test_a_span_covers_its_rows_and_some_room_but_no_other_market(day_ahead: bool) -> None:  # noqa: FBT001
    recent, ahead, quarter, breakeven, cost = drawn(6)
    rows = features(recent, ahead, quarter, breakeven, cost)
    span = spanned(rows, day_ahead=day_ahead)
    assert span.covers(rows, day_ahead=day_ahead).all()
    wild = features(recent * 100, ahead, quarter, breakeven, cost)
    far = features(recent, ahead, quarter, breakeven + 100 * np.abs(cost).max() * 1e3, cost)
    assert not span.covers(wild, day_ahead=day_ahead)[np.argmax(slow(wild, day_ahead=day_ahead)[0])]
    assert not span.covers(far, day_ahead=day_ahead).any()
    assert span.covers_step(span.step[1] * ROOM)
    assert not span.covers_step(span.step[1] * ROOM * 1.01)
