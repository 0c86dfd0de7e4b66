from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import plan_instances
from controller.plan import Slot
from controller.planner_classes import ClassPlan, solve
from controller.program import UnitClass
from controller.units import Mode, PowerCurve, Unit
from tests.controller.capped import CURVE, HIGH, LOW, OFF_MODE, ON, check, random_fleet, slots_of
from tests.controller.oracle import optimum
from tests.controller.planning import random_class, random_slots, random_terms, random_unit


def gap(made: ClassPlan) -> float:
    return (made.bound_usd - made.value_usd) / made.bound_usd


def paths(made: ClassPlan) -> list[tuple[int, list[int], int]]:
    return [(share.class_index, share.modes.tolist(), share.units) for share in made.shares]


# ---- Against the integer program --------------------------------------------------------------------------


def test_without_a_cap_the_plan_is_the_optimum_and_its_own_bound() -> None:
    for seed in range(100):
        chance = random.Random(seed)
        slots = random_slots(chance, 6)
        classes = [
            random_class(chance, random_unit(chance), slots, count=chance.randint(1, 3)) for _ in range(2)
        ]
        terms = random_terms(chance, slots)
        made = solve(classes, slots, **terms)
        check(made, classes, slots, **terms)
        best = optimum([replace(each, count=1) for each in classes], slots, **terms)
        assert best is not None
        alone = math.fsum(share.worth_usd for share in made.shares)
        assert alone == pytest.approx(best.value_usd, abs=1e-9), seed
        assert made.bound_usd == made.value_usd
        assert set(made.prices_usd_per_kwh) <= {0.0}


def test_with_a_cap_the_optimum_lies_between_the_plan_and_its_bound() -> None:
    lost = earned = 0.0
    for seed in range(120):
        classes, slots, terms = random_fleet(seed)
        made = solve(classes, slots, **terms)
        check(made, classes, slots, **terms)
        best = optimum(classes, slots, **terms)
        kept = not any(share.waived for share in made.shares) and not any(made.over_kw)
        assert kept == (best is not None), seed  # what can be kept is kept, and what cannot is told
        if best is None:
            continue
        assert made.value_usd <= best.value_usd + 1e-6, seed
        assert best.value_usd <= made.bound_usd + 1e-7, seed
        lost += best.value_usd - made.value_usd
        earned += best.value_usd
    assert lost < 0.005 * earned


def test_a_cap_that_does_not_bind_costs_nothing() -> None:
    for seed in range(40):
        classes, slots, terms = random_fleet(seed)
        free = solve(classes, [replace(slot, cap_kw=math.inf) for slot in slots], **terms)
        full = sum(each.count * each.unit.curve.modes[-1].watts for each in classes) / 1000
        wide = solve(classes, [replace(slot, cap_kw=full) for slot in slots], **terms)
        assert paths(wide) == paths(free)
        assert wide.bound_usd == wide.value_usd == free.value_usd


# ---- Always the same --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_same_is_planned_twice_and_prices_to_start_from_keep_the_bound(seed: int, other: int) -> None:
    classes, slots, terms = random_fleet(seed)
    made = solve(classes, slots, **terms)
    again = solve(classes, slots, **terms)
    assert paths(again) == paths(made)
    assert (again.bound_usd, again.prices_usd_per_kwh) == (made.bound_usd, made.prices_usd_per_kwh)
    chance = random.Random(other)
    known = [(slot.start, chance.uniform(0, 0.1)) for slot in slots]
    warm = solve(classes, slots, **terms, prices=known)
    check(warm, classes, slots, **terms)
    assert warm.value_usd <= made.bound_usd + 1e-9
    assert made.value_usd <= warm.bound_usd + 1e-9


def test_from_the_last_plans_prices_the_plan_is_as_good_and_comes_out_the_same_each_time() -> None:
    slots = plan_instances.horizon(1, 96)
    classes = plan_instances.fleet(1, 20, 20_000)
    slots = plan_instances.capped(classes, slots)
    cold = solve(classes, slots)
    known = [(slot.start, price) for slot, price in zip(slots, cold.prices_usd_per_kwh, strict=True)]
    warm, twice = solve(classes, slots, prices=known), solve(classes, slots, prices=known)
    check(warm, classes, slots)
    assert paths(warm) == paths(twice)
    assert warm.value_usd >= cold.value_usd - 1e-5 * cold.bound_usd
    assert max(gap(cold), gap(warm)) < 1e-4
    revised = plan_instances.revised(slots, 1)
    assert gap(solve(classes, revised, prices=known)) < 1e-4


def test_prices_are_those_of_the_cap_and_of_no_other_slot() -> None:
    classes = [UnitClass(Unit("u", CURVE), HIGH, count=100)]
    made = solve(classes, slots_of([math.inf, 150.0, math.inf]))
    load = {share.modes.tolist()[1]: share.units for share in made.shares}
    assert load == {HIGH: 50, LOW: 50}  # the next watt of all is from low to high
    # 40 TH/s more for 1 kW more, less its power: 40 / 1000 * 40 / 24 - 0.02 USD/kWh
    assert made.prices_usd_per_kwh == pytest.approx([0.0, 40 / 1000 * 40 / 24 - 0.02, 0.0], abs=1e-6)


# ---- What cannot be kept ----------------------------------------------------------------------------------


def test_units_in_dwell_are_stopped_as_few_as_needed_where_the_cap_leaves_no_other_way() -> None:
    unit = Unit("u", CURVE, min_on_s=3600, min_off_s=1800)
    classes = [UnitClass(unit, HIGH, dwell_left=3, count=10)]
    slots = slots_of([math.inf, 6.0, 20.0, 20.0, 20.0])  # in low they draw 10 kW
    made = solve(classes, slots)
    check(made, classes, slots)
    assert sum(share.units for share in made.shares if share.waived) == 4
    assert {share.waived for share in made.shares} == {(), (1,)}
    assert not any(made.over_kw)


def test_a_cap_below_all_obligations_is_exceeded_by_the_least() -> None:
    on = (None, ON, None)
    classes = [
        UnitClass(Unit("a", CURVE), HIGH, allowed=on, count=3),
        UnitClass(Unit("b", CURVE), HIGH, count=5),
    ]
    slots = slots_of([math.inf, 2.0, math.inf])
    made = solve(classes, slots)
    check(made, classes, slots)
    assert made.over_kw == pytest.approx((0.0, 1.0, 0.0))
    assert {(share.class_index, int(share.modes[1])) for share in made.shares} == {(0, LOW), (1, OFF_MODE)}


def test_no_power_at_all_turns_everything_off() -> None:
    classes = [UnitClass(Unit("u", CURVE, min_on_s=3600), HIGH, dwell_left=2, count=4)]
    made = solve(classes, slots_of([0.0, 0.0]))
    (share,) = made.shares
    assert (share.modes.tolist(), share.waived, made.over_kw) == ([0, 0], (0,), (0.0, 0.0))


# ---- Edges ------------------------------------------------------------------------------------------------


def test_without_slots_or_classes_there_is_an_empty_plan() -> None:
    classes = [UnitClass(Unit("u", CURVE), None)]
    assert solve([], slots_of([1.0])).shares == ()
    assert solve(classes, []).value_usd == 0.0
    assert solve([], []).bound_usd == 0.0


def test_a_sum_that_only_rounding_puts_over_the_cap_fits() -> None:
    curve = PowerCurve([Mode("run", 100, 1100)])
    made = solve([UnitClass(Unit("u", curve), 1, count=3)], slots_of([3.3, 3.3]))
    assert [share.units for share in made.shares] == [3]
    assert made.bound_usd == made.value_usd


def test_a_hashprice_of_nothing_and_a_cap_of_nothing_are_planned() -> None:
    slots = [Slot(0.0, 900.0, 0.0, 0.05, cap_kw=0.0), Slot(900.0, 900.0, 0.0, -0.05, cap_kw=3.0)]
    classes = [UnitClass(Unit("u", CURVE), None, count=4)]
    made = solve(classes, slots)
    check(made, classes, slots)
    assert made.value_usd == pytest.approx(0.05 * 3 / 4)  # power that pays is drawn as far as the cap goes
    assert np.isfinite(made.bound_usd)
