from __future__ import annotations

import numpy as np
import pytest

from controller.planner_columns import Columns
from controller.planner_master import Mixture
from controller.planner_rounding import Placement, floored
from controller.program import Program, UnitClass
from controller.units import Unit
from tests.controller.capped import CURVE, HIGH, LOW, OFF_MODE, slots_of


def placement(room: list[float], unit: Unit | None = None, count: int = 3) -> Placement:
    """Nobody placed yet, of units for which off is what draws least."""
    slots = slots_of(room)
    program = Program([UnitClass(unit or Unit("u", CURVE), OFF_MODE, count=count)], slots)
    columns = Columns(len(slots))
    least = program.best(np.full(len(slots), 100.0))
    return Placement(program, columns, np.array(room), columns.add(least, np.array([0])))


def modes(placed: Placement) -> dict[tuple[int, ...], int]:
    return {tuple(placed.columns.modes[number].tolist()): units for number, units in placed.units.items()}


def test_units_left_over_are_placed_one_by_one_in_the_room_that_is_left() -> None:
    placed = placement([5.0, 2.0])
    placed.fill(np.array([3]), np.zeros(2))
    assert modes(placed) == {(HIGH, HIGH): 1, (HIGH, OFF_MODE): 1, (LOW, OFF_MODE): 1}
    assert placed.over_kw == 0
    assert placed.load_kw.tolist() == [5.0, 2.0]
    assert placed.value_usd == pytest.approx(
        placed.units
        and sum(
            units * placed.program.worth(0, placed.columns.modes[number])
            for number, units in placed.units.items()
        )
    )


def test_a_path_that_would_break_its_dwell_for_want_of_room_is_not_begun() -> None:
    placed = placement([2.0, 2.0, 0.0, 2.0, 2.0, 2.0], Unit("u", CURVE, min_on_s=2700), count=1)
    placed.fill(np.array([1]), np.zeros(6))
    assert modes(placed) == {(0, 0, 0, HIGH, HIGH, HIGH): 1}


def test_as_many_units_as_have_room_move_to_the_better_path_at_once() -> None:
    placed = placement([7.0], count=5)
    placed.put(0, 5)
    assert placed.improve([0], np.zeros(1))
    assert modes(placed) == {(HIGH,): 3, (LOW,): 1, (OFF_MODE,): 1}
    assert not placed.improve(sorted(placed.units), np.full(1, 100.0)) or placed.over_kw == 0


def test_two_units_change_places_where_one_alone_could_not_move() -> None:
    placed = placement([2.0, 2.0], Unit("u", CURVE, min_on_s=1800, restart_s=0), count=2)
    placed.fill(np.array([2]), np.full(2, 0.06))
    before = placed.value_usd
    used = sorted(placed.units)
    placed.swap([(one, other) for one in used for other in used], np.zeros(2))
    assert placed.value_usd >= before
    assert placed.over_kw == 0
    assert sum(placed.units.values()) == 2


def test_room_is_made_by_units_on_the_path_that_draws_least() -> None:
    placed = placement([6.0, 6.0])
    placed.fill(np.array([3]), np.zeros(2))
    assert modes(placed) == {(HIGH, HIGH): 3}
    squeezed = placed.squeeze(np.array([3.0, 0.0]))
    assert modes(placed) == {(HIGH, HIGH): 1, (OFF_MODE, OFF_MODE): 2}
    assert [placed.columns.modes[number].tolist() for number in squeezed] == [[OFF_MODE, OFF_MODE]]
    assert placed.squeeze(np.array([3.0, 0.0])) == []


def test_a_mixture_is_cut_to_whole_units_but_for_rounding() -> None:
    mixture = Mixture(np.array([0.5, 2.7, 2.9999999999, 0.0]), np.array([4, 5, 6, 7]), 0.0, np.zeros(1))
    numbers, units = floored(mixture)
    assert (numbers.tolist(), units.tolist()) == ([5, 6], [2, 3])
