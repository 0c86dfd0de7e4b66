from __future__ import annotations

import numpy as np

from bench import plan_instances
from controller.program import Program


def test_a_fleet_and_its_horizon_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    assert plan_instances.horizon(1) == plan_instances.horizon(1) != plan_instances.horizon(2)
    assert plan_instances.fleet(1, 3, 10) == plan_instances.fleet(1, 3, 10) != plan_instances.fleet(2, 3, 10)
    assert [each.count for each in plan_instances.fleet(1, 3, 10)] == [4, 3, 3]


def test_the_cap_binds_in_half_of_the_slots() -> None:
    classes = plan_instances.fleet(1, 50, 1000)
    slots = plan_instances.capped(classes, plan_instances.horizon(1))
    program = Program(classes, slots)
    load = program.count @ program.best(np.zeros(len(slots))).kw
    assert (load > program.cap_kw * (1 + 1e-9)).sum() == len(slots) // 2


def test_revised_prices_are_near_the_old_ones_and_nothing_else_changes() -> None:
    slots = plan_instances.horizon(1)
    revised = plan_instances.revised(slots, 1)
    ratios = np.array(
        [b.power_usd_per_kwh / a.power_usd_per_kwh for a, b in zip(slots, revised, strict=True)]
    )
    assert 0.01 < ratios.std() < 0.03
    assert [slot.start for slot in revised] == [slot.start for slot in slots]
