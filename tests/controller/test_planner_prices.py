from __future__ import annotations

import math

import numpy as np
import pytest

from controller.planner_classes import solve
from controller.planner_columns import Columns
from controller.planner_prices import Dual, descend, merit_order, start_of
from controller.program import Program, UnitClass
from controller.units import Unit
from tests.controller.capped import CURVE, HIGH, random_fleet, slots_of
from tests.controller.oracle import optimum

CLASSES = [UnitClass(Unit("u", CURVE), HIGH, count=10)]
LAST_WATT = 40 / 1000 * 40 / 24 - 0.02
"""What a kWh brings in the step from low to high, less its price."""


def test_no_prices_make_the_dual_less_than_the_optimum() -> None:
    for seed in range(60):
        classes, slots, terms = random_fleet(seed)
        best = optimum(classes, slots, **terms)
        if best is None:
            continue
        program = Program(classes, slots, **terms)
        dual = Dual(program, program.count, np.minimum(program.cap_kw, 1e6))
        chance = np.random.default_rng(seed)
        for _ in range(5):
            dual.look(chance.uniform(-0.01, 0.1, len(slots)))
        assert dual.best_usd >= best.value_usd - 1e-7, seed


def test_merit_order_gives_the_price_of_the_first_step_without_room() -> None:
    program = Program(CLASSES, slots_of([20.0, 19.9, 10.0, 9.9, 0.0]))
    first_watt = 60 / 1000 * 40 / 24 - 0.02
    expected = [0.0, LAST_WATT, LAST_WATT, first_watt, first_watt]
    assert merit_order(program, program.count, program.cap_kw) == pytest.approx(expected)
    dear = Program(CLASSES, slots_of([5.0], price=0.5))
    assert merit_order(dear, dear.count, dear.cap_kw).tolist() == [0.0]  # nobody wants to run


def test_merit_order_counts_what_modes_are_worth_in_their_slot() -> None:
    worth = UnitClass(Unit("u", CURVE), HIGH, count=10, worth_usd=(0.0, 0.0, 0.002))
    slots = slots_of([15.0, 15.0])
    program = Program([worth], slots, worth_slot=1)
    more = 0.002 / 0.25  # USD an hour for one kW more
    assert merit_order(program, program.count, program.cap_kw) == pytest.approx([LAST_WATT, LAST_WATT + more])
    made = solve([worth], slots, worth_slot=1)
    assert made.prices_usd_per_kwh == pytest.approx([LAST_WATT, LAST_WATT + more], abs=1e-6)


def test_from_nothing_the_prices_come_down_to_the_least_bound() -> None:
    program = Program(CLASSES, slots_of([15.0, math.inf]))
    dual = Dual(program, program.count, np.array([15.0, 1e6]), Columns(2))
    seen = descend(dual, np.zeros(2), passes=200, aim=0.1, stop=1e-7)
    assert 0 < len(seen) <= 200
    assert dual.best_prices == pytest.approx([LAST_WATT, 0.0], abs=1e-3)
    assert dual.best_usd == pytest.approx(solve(CLASSES, program.slots).value_usd, rel=1e-4)


def test_where_nothing_is_over_the_cap_one_look_is_enough() -> None:
    program = Program(CLASSES, slots_of([20.0]))
    dual = Dual(program, program.count, program.cap_kw, Columns(1))
    assert len(descend(dual, np.zeros(1), passes=50, aim=0.1, stop=1e-6)) == 1


def test_prices_of_an_earlier_plan_hold_from_their_start_to_the_next() -> None:
    slots = slots_of([1.0] * 4)
    assert start_of(slots, ()) is None
    known = start_of(slots, [(1800.0, 0.2), (450.0, 0.1), (math.nan, 3.0), (2700.0, -0.1)])
    assert known is not None
    assert known.tolist() == [0.0, 0.1, 0.2, 0.0]
