from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.economics import margin_usd_per_hour
from controller.planner import Plan, Slot, plan
from controller.units import Mode, PowerCurve, Unit

CURVE = PowerCurve(
    [Mode("off", 0, 12), Mode("eco", 76, 1850), Mode("mid", 80, 2400), Mode("full", 100, 2970)]
)
SLOTS = st.lists(
    st.builds(
        Slot,
        start=st.just(0.0),
        duration_s=st.sampled_from([60.0, 900.0, 3600.0]),
        hashprice_usd_per_ph_day=st.floats(1, 200),
        power_usd_per_kwh=st.floats(-0.5, 1),
    ),
    min_size=1,
    max_size=4,
)


@given(SLOTS)
def test_the_plan_is_the_best_of_all_paths_and_equals_its_bound(slots: list[Slot]) -> None:
    made = plan([Unit("u", CURVE)], {}, slots)
    best = max(
        math.fsum(
            margin_usd_per_hour(mode, slot.hashprice_usd_per_ph_day, slot.power_usd_per_kwh)
            * slot.duration_s
            / 3600
            for mode, slot in zip(path, slots, strict=True)
        )
        for path in product(CURVE.modes, repeat=len(slots))
    )
    assert made.value_usd == pytest.approx(best, abs=1e-9)
    assert made.bound_usd == made.value_usd
    assert made.gap_ratio == 0


def test_off_is_weighed_with_its_standby_watts() -> None:
    made = plan([Unit("u", CURVE)], {}, [Slot(0, 3600, 40, 1.0)])
    assert made.units["u"].modes == ("off",)
    assert made.value_usd == pytest.approx(-0.012)


def test_units_of_one_curve_share_a_path_and_all_values_add_up() -> None:
    units = [Unit(f"u{index}", CURVE) for index in range(3)]
    made = plan(units, {}, [Slot(0, 3600, 40, 0.02), Slot(3600, 3600, 40, 0.05)])
    assert {made.units[unit.id].modes for unit in units} == {("full", "eco")}
    assert made.value_usd == pytest.approx(3 * made.units["u0"].value_usd)


def test_the_mode_planned_for_a_time_is_that_of_its_slot() -> None:
    made = plan([Unit("u", CURVE)], {}, [Slot(0, 900, 40, 0.02), Slot(900, 900, 40, 0.5)])
    assert [made.mode_at("u", at) for at in (-1, 0, 899.9, 900, 1799, 1800)] == [
        None,
        "full",
        "full",
        "off",
        "off",
        None,
    ]
    assert made.mode_at("nobody", 0) is None


def test_the_gap_is_a_fraction_of_the_bound() -> None:
    assert Plan((), {}, value_usd=99.0, bound_usd=100.0).gap_ratio == pytest.approx(0.01)
    assert Plan((), {}, value_usd=0.0, bound_usd=0.0).gap_ratio == 0


@pytest.mark.parametrize("bad", [(0, 0, 40, 0.1), (0, 900, math.nan, 0.1), (0, 900, 40, math.inf)])
def test_a_slot_that_cannot_be_planned_with_is_refused(bad: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="slot"):
        Slot(*bad)
