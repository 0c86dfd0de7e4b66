from __future__ import annotations

import numpy as np
import pytest

from controller.planner_sums import dot, weighted


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
def test_rows_are_added_in_their_order_to_the_last_bit(count: int) -> None:
    chance = np.random.default_rng(count)
    units, rows = chance.uniform(0, 9, count), chance.uniform(-1, 1, (count, 5))
    one_by_one = np.zeros(5)
    for each, row in zip(units, rows, strict=True):
        one_by_one += each * row
    assert weighted(units, rows).tolist() == one_by_one.tolist()


def test_units_that_are_counted_in_whole_numbers_weigh_alike() -> None:
    assert weighted(np.array([2, 3]), np.array([[1.5, 0.0], [0.5, 1.0]])).tolist() == [4.5, 3.0]


def test_a_product_of_two_rows_is_a_number() -> None:
    assert dot(np.array([1.0, 2.0]), np.array([3.0, 0.25])) == 3.5
    assert dot(np.zeros(0), np.zeros(0)) == 0
