from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest

from bench import plan_instances
from controller.planner_classes import MANY_CLASSES, ClassPlan, solve
from tests.controller.capped import check

if TYPE_CHECKING:
    from controller.plan import Slot
    from controller.program import UnitClass

HORIZON = 48


@cache
def fleet(seed: int, classes: int, units: int) -> tuple[tuple[UnitClass, ...], tuple[Slot, ...]]:
    made = plan_instances.fleet(seed, classes, units)
    return tuple(made), plan_instances.capped(made, plan_instances.horizon(seed, HORIZON))


def gap(made: ClassPlan) -> float:
    return (made.bound_usd - made.value_usd) / made.bound_usd


@pytest.mark.parametrize(
    ("seed", "classes", "units"), [(1, 1200, 1200), (2, 400, 2000), (3, MANY_CLASSES + 1, 301)]
)
def test_units_that_all_differ_are_planned_near_their_bound_and_under_the_cap(
    seed: int, classes: int, units: int
) -> None:
    given, slots = fleet(seed, classes, units)
    made = solve(given, slots)
    check(made, given, slots)
    assert not any(made.over_kw)
    assert gap(made) < 0.005
    known = [(slot.start, price) for slot, price in zip(slots, made.prices_usd_per_kwh, strict=True)]
    warm = solve(given, slots, prices=known)
    check(warm, given, slots)
    assert gap(warm) < 0.005
    assert solve(given, slots, prices=known).value_usd == warm.value_usd


def test_a_sudden_cut_stops_as_many_units_in_dwell_as_it_must() -> None:
    given, slots = fleet(1, 400, 400)
    held = [replace(each, standing_mode=5, dwell_left=4) for each in given]
    least = sum(each.unit.curve.modes[1].watts for each in held) / 1000
    cut = [replace(slot, cap_kw=least / 2) for slot in slots]
    made = solve(held, cut)
    check(made, held, cut)
    assert not any(made.over_kw)
    stopped = sum(share.units for share in made.shares if share.waived)
    assert 160 <= stopped <= 200  # those that relieve most


def test_a_cap_that_hardly_leaves_anything_is_kept() -> None:
    given, slots = fleet(2, 400, 400)
    off = sum(each.unit.curve.off.watts for each in given) / 1000
    tight = [replace(slot, cap_kw=off + (5.0 if at % 3 else 0.0)) for at, slot in enumerate(slots)]
    standing = [replace(each, standing_mode=None, dwell_left=0) for each in given]
    made = solve(standing, tight)
    check(made, standing, tight)
    assert not any(made.over_kw)


@pytest.mark.parametrize("share", [0.6, 0.1])
def test_a_cap_for_a_few_hours_only_is_planned_near_its_bound_too(share: float) -> None:
    given, slots = fleet(3, 1200, 1200)
    full = sum(each.unit.curve.modes[-1].watts for each in given) / 1000
    event = [
        replace(slot, cap_kw=share * full if 16 <= at < 28 else float("inf")) for at, slot in enumerate(slots)
    ]
    made = solve(given, event)
    check(made, given, event)
    assert gap(made) < 0.005
