from __future__ import annotations

import numpy as np
import pytest

from controller.planner_columns import Columns
from controller.planner_master import Master
from controller.program import Paths

HOURS = np.array([0.5])


def two_paths() -> tuple[Columns, Master]:
    """Three units that draw 1 kW for 1 USD or 2 kW for 1.5 USD, and 4.5 kW for all."""
    columns = Columns(1)
    modes = np.array([[1], [2]], dtype=np.uint8)
    paths = Paths(np.array([1.0, 1.5]), np.array([1.0, 1.5]), modes, modes * 1.0)
    columns.add(paths, np.array([0, 0]))
    master = Master(columns, np.array([3.0]), np.array([4.5]), np.array([True]), HOURS, np.array([1.0]))
    return columns, master


def test_a_mixture_uses_the_whole_cap_and_prices_its_last_kwh() -> None:
    _, master = two_paths()
    assert master.add([0, 1, 0])
    mixture = master.solve()
    assert mixture is not None
    assert mixture.units == pytest.approx([1.5, 1.5])
    assert mixture.value_usd == pytest.approx(3.75)
    assert mixture.prices == pytest.approx([0.5 / 0.5])  # half a dollar for a kilowatt of half an hour


def test_a_column_known_already_is_not_taken_in_again() -> None:
    _, master = two_paths()
    assert master.add([1])
    assert not master.add([1])
    assert master.numbers.tolist() == [1]


def test_without_paths_that_keep_the_cap_there_is_no_mixture() -> None:
    _, master = two_paths()
    master.add([1])
    assert master.solve() is None


def test_whole_units_are_found_from_a_start() -> None:
    _, master = two_paths()
    master.add([0, 1])
    master.solve()
    units = master.whole(np.array([3.0, 0.0]))
    assert units is not None
    assert units.tolist() == [2.0, 1.0]
