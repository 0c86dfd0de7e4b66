from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.economics import margin_usd_per_hour
from controller.units import OFF, Mode, PowerCurve, Setpoint, Step, Unit, UnitState

# Measured modes of an S19j Pro class machine (W, TH/s), block/proto-fleet test data and CONTROL.md.
LADDER = [(1850, 76), (2000, 80), (2300, 87), (2500, 92), (2700, 96), (2970, 100)]


def ladder() -> PowerCurve:
    return PowerCurve([Mode(f"{watts} W", th_s, watts) for watts, th_s in LADDER])


@st.composite
def curves(draw: st.DrawFn) -> PowerCurve:
    """Any curve: standby watts, and up to six modes above it."""
    standby = draw(st.sampled_from([0.0, 12.0]))
    points = draw(
        st.lists(
            st.tuples(st.integers(0, 4000), st.integers(1, 300)),
            min_size=1,
            max_size=6,
            unique_by=lambda p: p,
        )
    )
    modes = [Mode(f"m{index}", th_s, standby + watts) for index, (watts, th_s) in enumerate(points)]
    return PowerCurve([Mode(OFF, 0, standby), *modes])


def test_off_is_added_and_modes_are_ordered_by_watts() -> None:
    curve = PowerCurve([Mode("full", 100, 3000), Mode("eco", 70, 1800)])
    assert [mode.name for mode in curve.modes] == ["off", "eco", "full"]
    assert curve.off == Mode("off", 0, 0)
    assert curve.full.name == "full"


def test_standby_watts_of_off_are_kept() -> None:
    assert PowerCurve([Mode("full", 100, 3000), Mode("off", 0, 12)]).off.watts == 12


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        ([], "needs a mode that hashes"),
        ([Mode("off", 0, 12)], "needs a mode that hashes"),
        ([Mode("a", 1, 1), Mode("a", 2, 2)], "names each mode once"),
        ([Mode("off", 0, 12), Mode("a", 1, 5)], "draws less than 'off'"),
    ],
)
def test_a_curve_that_makes_no_sense_is_refused(modes: list[Mode], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PowerCurve(modes)


@pytest.mark.parametrize(
    ("name", "th_s", "watts"),
    [
        ("", 1, 1),
        ("unknown", 1, 1),
        ("a", -1, 1),
        ("a", math.nan, 1),
        ("a", 1, -1),
        ("a", 1, math.inf),
        ("off", 1, 1),
        ("a", 0, 1),
    ],
)
def test_a_mode_no_machine_has_is_refused(name: str, th_s: float, watts: float) -> None:
    with pytest.raises(ValueError, match="mode"):
        Mode(name, th_s, watts)


def test_the_hull_of_the_s19j_pro_ladder_leaves_out_the_mode_that_never_pays_best() -> None:
    assert [mode.watts for mode in ladder().hull()] == [0, 1850, 2000, 2500, 2700, 2970]


def test_the_last_step_of_the_ladder_costs_67_5_joules_per_terahash() -> None:
    assert [round(step.j_per_th, 1) for step in ladder().steps()] == [24.3, 37.5, 41.7, 50.0, 67.5]


def test_of_two_modes_with_the_same_watts_the_faster_is_on_the_hull() -> None:
    curve = PowerCurve([Mode("slow", 50, 1000), Mode("fast", 60, 1000)])
    assert [mode.name for mode in curve.hull()] == ["off", "fast"]


def test_a_mode_that_hashes_less_for_more_power_stays_on_the_hull_for_negative_prices() -> None:
    curve = PowerCurve([Mode("best", 100, 2000), Mode("heater", 90, 3000)])
    assert [mode.name for mode in curve.hull()] == ["off", "best", "heater"]
    assert curve.steps()[-1].j_per_th == math.inf


@given(curves(), st.floats(0.01, 1000), st.floats(-1, 10))
def test_no_mode_ever_beats_the_best_of_the_hull(curve: PowerCurve, hashprice: float, power: float) -> None:
    best = max(margin_usd_per_hour(mode, hashprice, power) for mode in curve.hull())
    for mode in curve.modes:
        assert margin_usd_per_hour(mode, hashprice, power) <= best + 1e-9 * (1 + abs(best))


def test_neighbours_are_those_of_the_hull_also_for_a_mode_beside_it() -> None:
    curve = ladder()
    beside = next(mode for mode in curve.modes if mode not in curve.hull())
    off, second, third = curve.off, curve.mode("1850 W"), curve.mode("2000 W")
    assert curve.step_above(off) == Step(off, second)
    assert curve.step_below(third) == Step(second, third)
    assert (curve.step_below(off), curve.step_above(curve.full)) == (None, None)
    below, above = curve.step_below(beside), curve.step_above(beside)
    assert below is not None
    assert above is not None
    assert below.lower.watts < beside.watts < above.upper.watts
    assert {below.lower, above.upper} <= set(curve.hull())


def test_a_unit_that_is_off_may_start_in_any_mode_of_the_hull() -> None:
    curve = ladder()
    assert [step.upper for step in curve.starts] == list(curve.hull()[1:])
    assert {step.lower for step in curve.starts} == {curve.off}


def test_a_curve_names_its_modes_in_their_order() -> None:
    assert ladder().names == tuple(mode.name for mode in ladder().modes)


@given(curves())
def test_steps_of_the_hull_get_dearer(curve: PowerCurve) -> None:
    prices = [step.th_s / step.watts for step in curve.steps()]
    assert prices == sorted(prices, reverse=True)


def test_equal_curves_are_one_class() -> None:
    assert ladder() == ladder()
    assert hash(ladder()) == hash(ladder())
    assert ladder() != PowerCurve([Mode("full", 1, 1)])
    assert "1850 W" in ladder()
    assert "Mode(name='full'" in repr(PowerCurve([Mode("full", 1, 1)]))


def test_off_has_no_efficiency() -> None:
    assert Mode("full", 100, 3000).j_per_th == 30
    with pytest.raises(ValueError, match="no J/TH"):
        _ = Mode("off", 0, 12).j_per_th


def test_the_safe_mode_is_run_pause_or_a_mode() -> None:
    assert Unit("u", ladder()).safe.name == "2970 W"
    assert Unit("u", ladder(), safe_mode="pause").safe.name == "off"
    assert Unit("u", ladder(), safe_mode="2000 W").safe.name == "2000 W"


@pytest.mark.parametrize(
    "bad",
    [{"id": ""}, {"min_on_s": -1}, {"min_off_s": math.nan}, {"restart_s": math.inf}, {"safe_mode": "x"}],
)
def test_a_unit_with_impossible_wishes_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="unit"):
        Unit(**{"id": "u", "curve": ladder(), **bad})  # type: ignore[arg-type] # wrong on purpose


def test_a_step_is_what_lies_between_its_modes() -> None:
    step = Step(Mode("a", 90, 2000), Mode("b", 100, 2500))
    assert (step.th_s, step.watts, step.j_per_th) == (10, 500, 50)


def test_states_and_setpoints_are_values() -> None:
    assert Setpoint("u", "off") == Setpoint("u", "off")
    assert UnitState("u", None, None, None, None, 0.0).reachable


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"wear_usd": -0.1}, "wear_usd"),
        ({"change_s": float("nan")}, "change_s"),
        ({"starts_per_day": 0}, "starts_per_day"),
        ({"max_temp_c": 0.0}, "max_temp_c"),
        ({"max_temp_c": float("inf")}, "max_temp_c"),
    ],
)
def test_costs_and_limits_nobody_could_keep_are_refused(bad: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Unit("u", PowerCurve([Mode("on", 1, 1)]), **bad)  # type: ignore[arg-type] # by name
