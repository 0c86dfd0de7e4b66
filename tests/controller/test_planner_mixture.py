from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench import plan_instances
from controller.planner_classes import solve
from controller.planner_columns import Columns
from controller.planner_mixture import mix, place
from controller.planner_prices import Dual, merit_order
from controller.planner_relief import relieve
from controller.program import Program


def test_a_mixture_and_its_bound_meet_and_whole_units_are_not_far_from_them() -> None:
    classes = plan_instances.fleet(5, 12, 600)
    program = Program(classes, plan_instances.capped(classes, plan_instances.horizon(5, 96)))
    everywhere = np.ones(96, dtype=np.bool_)
    relief = relieve(program, program.cap_kw, everywhere)
    dual = Dual(program, program.count, relief.cap_kw, Columns(96))
    start = merit_order(program, program.count, relief.cap_kw)
    mixture = mix(dual, start, relief.least, warm=False)
    assert mixture.value_usd <= dual.best_usd <= mixture.value_usd * (1 + 1e-5)
    placed = place(dual, mixture, np.where(dual.capped, relief.cap_kw, np.inf), relief.least)
    assert sum(placed.units.values()) == 600
    assert placed.over_kw <= 1e-6
    assert dual.best_usd * (1 - 5e-4) <= placed.value_usd <= dual.best_usd
    assert (placed.load_kw <= program.cap_kw + 1e-4).all()


def test_a_dual_that_keeps_no_columns_cannot_be_mixed() -> None:
    classes = plan_instances.fleet(5, 2, 2)
    program = Program(classes, plan_instances.horizon(5, 4))
    dual = Dual(program, program.count, np.zeros(4))
    with pytest.raises(ValueError, match="columns"):
        mix(dual, np.zeros(4), program.best(np.zeros(4)), warm=True)


def test_one_class_is_mixed_of_many_paths_where_every_slot_has_a_cap_of_its_own() -> None:
    (one,) = plan_instances.fleet(1, 1, 5000)
    full = one.count * one.unit.curve.modes[-1].watts / 1000
    shares = np.random.default_rng(1).uniform(0.3, 0.9, 96)
    slots = plan_instances.horizon(1, 96)
    made = solve(
        [one], [replace(slot, cap_kw=full * part) for slot, part in zip(slots, shares.tolist(), strict=True)]
    )
    assert made.bound_usd * (1 - 1e-3) <= made.value_usd <= made.bound_usd
