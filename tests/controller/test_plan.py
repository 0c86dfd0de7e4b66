import math

import pytest

from controller.plan import Plan, Slot, UnitPlan


def plan_of(value: float, bound: float) -> Plan:
    slots = (Slot(0.0, 600.0, 40.0, 0.05), Slot(600.0, 900.0, 40.0, 0.06))
    return Plan(slots, {"a": UnitPlan("a", ("on", "off"), value)}, value, bound, (0.0, 0.01))


def test_the_mode_planned_for_a_time_is_that_of_its_slot() -> None:
    plan = plan_of(1.0, 1.0)
    assert [plan.mode_at("a", at) for at in (-1.0, 0.0, 599.9, 600.0, 1499.9, 1500.0)] == [
        None,
        "on",
        "on",
        "off",
        "off",
        None,
    ]
    assert plan.mode_at("b", 0.0) is None


def test_the_price_of_the_cap_is_that_of_its_slot_and_nothing_outside_the_plan() -> None:
    plan = plan_of(1.0, 1.0)
    assert [plan.price_at(at) for at in (0.0, 700.0, 9e9)] == [0.0, 0.01, 0.0]
    assert Plan((), {}, 0.0, 0.0).price_at(0.0) == 0.0


def test_the_gap_is_a_fraction_of_the_bound() -> None:
    assert plan_of(99.0, 100.0).gap_ratio == pytest.approx(0.01)
    assert plan_of(100.0, 100.0).gap_ratio == 0.0
    assert plan_of(-101.0, -100.0).gap_ratio == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("field", "value"), [("duration_s", 0.0), ("power_usd_per_kwh", math.nan), ("cap_kw", -1.0)]
)
def test_a_slot_that_cannot_be_planned_with_is_refused(field: str, value: float) -> None:
    good = {
        "start": 0.0,
        "duration_s": 900.0,
        "hashprice_usd_per_ph_day": 40.0,
        "power_usd_per_kwh": 0.05,
        "cap_kw": 1.0,
    }
    Slot(**good)
    with pytest.raises(ValueError, match=r"finite numbers|zero or more"):
        Slot(**{**good, field: value})
