from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.planner_relief import broken_changes, least_kw, reachable_kw, relieve
from controller.program import Program, UnitClass
from controller.units import Unit
from tests.controller.capped import CURVE, HIGH, OFF, ON, slots_of

UNIT = Unit("u", CURVE, min_on_s=2700, min_off_s=1800)
EVERYWHERE = np.ones(4, dtype=np.bool_)


def test_a_cap_that_can_be_kept_waives_nothing() -> None:
    program = Program([UnitClass(UNIT, HIGH, count=5)], slots_of([3.0, 2.0, 3.0, 0.0]))
    relief = relieve(program, program.cap_kw, EVERYWHERE)
    assert (relief.classes, relief.waived) == (program.classes, frozenset())
    assert relief.least.modes.tolist() == [[0, 0, 0, 0]]


def test_as_few_units_as_needed_are_let_go_and_keep_their_dwell_from_then_on() -> None:
    held = UnitClass(UNIT, HIGH, dwell_left=2, count=5)
    program = Program([held, UnitClass(Unit("b", CURVE), HIGH, count=2)], slots_of([3.0, 9.0, 9.0, 9.0]))
    relief = relieve(program, program.cap_kw, EVERYWHERE)
    assert relief.of == (0, 1, 0)
    assert relief.waived == {0}
    assert [each.count for each in relief.classes] == [3, 2, 2]
    assert relief.classes[2] == replace(held, dwell_left=0, count=2)


def test_dwell_after_an_obligation_is_waived_where_the_next_cap_needs_it() -> None:
    obliged = UnitClass(UNIT, 0, allowed=(ON, None, None, None), count=2)
    program = Program([obliged], slots_of([2.0, 1.0, 9.0, 9.0]))
    relief = relieve(program, program.cap_kw, EVERYWHERE)
    assert [each.count for each in relief.classes] == [1, 1]
    assert relief.classes[1].unit.min_on_s == 0
    load = relief.program.count @ relief.least.kw
    assert (load <= relief.cap_kw).all()


def test_a_cap_below_all_obligations_is_raised_to_them() -> None:
    obliged = UnitClass(UNIT, HIGH, allowed=(ON, None, OFF, None), count=2)
    program = Program([obliged], slots_of([1.0, 1.0, 1.0, 1.0]))
    assert least_kw(program).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    relief = relieve(program, program.cap_kw, EVERYWHERE)
    assert np.allclose(relief.cap_kw, [2.0, 1.0, 1.0, 1.0])


def test_a_cap_is_lowered_to_what_whole_units_can_draw() -> None:
    few = [UnitClass(UNIT, HIGH, count=2)]
    caps = np.array([0.9, 1.0, 2.7, 3.99, 50.0])
    assert np.allclose(reachable_kw(few, caps), [0.0, 1.0, 2.0, 3.0, 4.0])
    odd = [UnitClass(replace_id(index), HIGH) for index in range(3)]
    assert np.allclose(reachable_kw([*few, *odd], caps)[:4], [0.0, 1.0, 2.0, 3.0])


def replace_id(index: int) -> Unit:
    return replace(UNIT, id=f"u{index}")


def test_a_change_is_broken_unless_time_starts_or_an_obligation_allow_it() -> None:
    slots = slots_of([9.0] * 6)

    def broken(each: UnitClass, *modes: int) -> tuple[int, ...]:
        return broken_changes(each, slots, np.array(modes, dtype=np.uint8))

    assert broken(UnitClass(UNIT, HIGH), 2, 0, 0, 2, 2, 2) == ()
    assert broken(UnitClass(UNIT, HIGH), 2, 0, 2, 2, 2, 0) == (2,)
    assert broken(UnitClass(UNIT, HIGH, dwell_left=2), 2, 0, 0, 0, 0, 0) == (1,)
    assert broken(UnitClass(UNIT, None), 2, 0, 0, 2, 0, 0) == (4,)
    obliged = UnitClass(UNIT, None, allowed=(None, OFF, ON, None, None, None))
    assert broken(obliged, 2, 0, 2, 2, 2, 0) == ()
    once = UnitClass(Unit("u", CURVE, starts_per_day=1), 0)
    assert broken(once, 2, 0, 2, 0, 0, 0) == (2,)
    assert broken(replace(once, starts_left=0), 0, 2, 0, 0, 0, 0) == (1,)
