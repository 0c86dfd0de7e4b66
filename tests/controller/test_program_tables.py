from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from controller.kernel import SAME_DAY, UNKNOWN
from controller.plan import Slot
from controller.program import UnitClass
from controller.program_tables import Curves, SlotColumns, allowed_row, hull_steps, pack, unit_tables
from controller.units import Mode, PowerCurve, Unit
from tests.controller.planning import random_unit

SMALL = PowerCurve([Mode("off", 0.0, 10.0), Mode("on", 50.0, 1000.0)])
LARGE = PowerCurve(
    [
        Mode("off", 0.0, 0.0),
        Mode("low", 60.0, 1000.0),
        Mode("past", 90.0, 3000.0),
        Mode("high", 100.0, 2000.0),
    ]
)

ON = frozenset({"on"})


def slots(days: str = "001") -> SlotColumns:
    return SlotColumns([Slot(900.0 * at, 900.0, 40.0, 0.05, day=int(day)) for at, day in enumerate(days)])


def classes(*units: Unit, standing: int | None = 0) -> list[UnitClass]:
    return [UnitClass(unit, standing) for unit in units]


def test_steps_of_a_hull_are_those_of_any_gain() -> None:
    gained, drawn = hull_steps(np.array([[0.0, 3.0, 3.5, 9.0]]), np.array([[10.0, 10.0, 11.0, 14.0]]))
    assert (gained[0, :2].tolist(), drawn[0, :2].tolist()) == ([6.0, 0.0], [4.0, 0.0])


def test_equal_curves_are_there_once_and_rows_are_filled_up_to_the_longest() -> None:
    again = PowerCurve(SMALL.modes)
    curves = Curves([Unit("a", SMALL), Unit("b", LARGE), Unit("c", again)])
    assert curves.of.tolist() == [0, 1, 0]
    assert (curves.modes.tolist(), curves.first.tolist()) == ([2, 4], [0, 2])
    assert curves.flat_watts.tolist() == [10, 1000, 0, 1000, 2000, 3000]
    assert curves.th_s[0].tolist() == [0, 50, -1, -1]
    assert curves.watts[0].tolist() == [10, 1000, np.inf, np.inf]


def test_a_class_is_full_where_it_hashes_most_and_draws_most_past_that() -> None:
    curves = Curves([Unit("a", LARGE), Unit("b", SMALL)])
    assert curves.full_th_s.tolist() == [100, 50]
    assert curves.full_watts.tolist() == [2000, 1000]
    assert curves.most_kw.tolist() == [3.0, 1.0]
    assert curves.off_kw.tolist() == [0.0, 0.01]


def test_steps_are_those_of_the_hull_that_gain_hashrate() -> None:
    units = [random_unit(random.Random(seed)) for seed in range(200)]
    on_a_line = PowerCurve([Mode("off", 0, 0), *(Mode(f"m{at}", 50 * at, 500 * at) for at in (1, 2, 3))])
    as_thirsty_as_off = PowerCurve([Mode("off", 0, 5), Mode("free", 1, 5), Mode("on", 9, 50)])
    units += [Unit("l", on_a_line), Unit("f", as_thirsty_as_off), Unit("p", LARGE)]
    curves = Curves(units)
    th_s, watts = curves.steps()
    for index, unit in enumerate(units):
        row = curves.of[index]
        there = watts[row] > 0
        found = list(zip(th_s[row][there].tolist(), watts[row][there].tolist(), strict=True))
        rising = [(step.th_s, step.watts) for step in unit.curve.steps() if step.th_s > 0 and step.watts > 0]
        assert found == rising, unit


def test_tables_of_the_same_units_are_made_once_and_those_of_others_anew() -> None:
    units = [Unit("a", SMALL), Unit("b", LARGE)]
    assert unit_tables(units) is unit_tables(tuple(units))
    assert unit_tables([replace(units[0], wear_usd=2.0), units[1]]).records["wear_usd"].tolist() == [2.0, 0.0]
    assert unit_tables(units[:1]).modes.tolist() == [2]
    assert unit_tables(units[::-1]).modes.tolist() == [4, 2]


def test_packing_leaves_what_is_kept_of_units_as_it_was() -> None:
    unit = Unit("u", SMALL, min_on_s=1800.0, starts_per_day=1)
    before = unit_tables([unit]).records.copy()
    pack([UnitClass(unit, 1, 2, 0, (None, ON, None), worth_usd=(0.0, 1.0))], slots())
    assert unit_tables([unit]).records.tobytes() == before.tobytes()


def test_dwell_of_one_length_has_one_row() -> None:
    one = Unit("a", SMALL, min_on_s=1800.0, min_off_s=900.0)
    other = Unit("b", SMALL, min_on_s=900.0, min_off_s=1800.0)
    packed = pack(classes(one, other), slots())
    assert packed.locks.tolist() == [1, 1, 0, 0, 0, 0]
    assert packed.classes["on_locks"].tolist() == [0, 3]
    assert packed.classes["off_locks"].tolist() == [3, 0]
    assert packed.classes["on_rows"].tolist() == [2, 1]
    assert packed.classes["off_rows"].tolist() == [1, 2]


def test_who_is_held_from_before_has_rows_enough_and_who_is_nowhere_is_not_held() -> None:
    held = [UnitClass(Unit("u", SMALL), mode, dwell_left=9) for mode in (0, 1, None)]
    records = pack(held, slots()).classes
    assert records["standing"].tolist() == [0, 1, UNKNOWN]
    assert records["held"].tolist() == [3, 3, 0]
    assert records["on_rows"].tolist() == [1, 4, 1]
    assert records["off_rows"].tolist() == [4, 1, 1]


def test_starts_are_counted_only_where_a_day_has_room_for_more() -> None:
    few, many, none = (Unit("u", SMALL, starts_per_day=most) for most in (1, 9, None))
    left = [
        UnitClass(few, 0),
        UnitClass(many, 0),
        UnitClass(none, 0),
        UnitClass(none, 0, starts_left=0),
        UnitClass(few, 0, starts_left=-2),
    ]
    packed = pack(left, slots("0001111"))
    assert packed.classes["counted"].tolist() == [1, 0, 0, 1, 1]
    assert packed.classes["levels"].tolist() == [2, 1, 1, 3, 2]
    assert packed.classes["starts_left"].tolist() == [1, 0, 0, 0, 0]
    first = int(packed.classes["days"][0])
    assert packed.days[first : first + 7].tolist() == [
        1,
        SAME_DAY,
        SAME_DAY,
        1,
        SAME_DAY,
        SAME_DAY,
        SAME_DAY,
    ]


def test_what_is_allowed_is_there_once_for_modes_of_the_same_names() -> None:
    on = (None, ON, frozenset({"turbo"}))
    twins = PowerCurve([Mode("off", 0.0, 1.0), Mode("on", 9.0, 100.0)])
    packed = pack(
        [
            UnitClass(Unit("a", SMALL), 0, allowed=on),
            UnitClass(Unit("b", SMALL), 0),
            UnitClass(Unit("c", twins), 0, allowed=on),
        ],
        slots(),
    )
    assert packed.classes["allowed"].tolist() == [0, -1, 0]
    assert packed.allowed.tolist() == [1, 1, 0, 1, 1, 1]
    assert allowed_row(("off", "on"), frozenset({"off"})) == bytes([1, 0])


def test_worths_lie_one_after_the_other_and_who_has_none_points_nowhere() -> None:
    some = [
        UnitClass(Unit("a", SMALL), 0, worth_usd=(0.0, 1.0)),
        UnitClass(Unit("b", LARGE), 0),
        UnitClass(Unit("c", LARGE), 0, worth_usd=(0.0, 2.0, 3.0, 4.0)),
    ]
    packed = pack(some, slots(), 2)
    assert packed.mode_worth_usd.tolist() == [0, 1, 0, 2, 3, 4]
    assert packed.classes["worth"].tolist() == [0, -1, 2]


@pytest.mark.parametrize("slot", [-1, 3])
def test_a_worth_in_a_slot_that_there_is_not_is_refused(slot: int) -> None:
    worth = [UnitClass(Unit("u", SMALL), 0, worth_usd=(0.0, 1.0))]
    with pytest.raises(ValueError, match=f"a worth in slot {slot}, and there are 3 slots"):
        pack(worth, slots(), slot)
    assert pack(classes(Unit("u", SMALL)), slots(), slot).mode_worth_usd.tolist() == []


def test_costs_are_in_hours_and_usd() -> None:
    (record,) = pack(
        classes(Unit("u", SMALL, restart_s=900.0, change_s=360.0, wear_usd=0.5)), slots()
    ).classes
    assert (record["restart_h"], record["change_h"], record["wear_usd"]) == (0.25, 0.1, 0.5)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (UnitClass(Unit("u", SMALL), 2), "'u' has no mode 2"),
        (UnitClass(Unit("u", SMALL), -1), "'u' has no mode -1"),
        (UnitClass(Unit("u", SMALL), 0, allowed=(None,)), "1 entries of modes allowed for 3 slots"),
        (UnitClass(Unit("u", SMALL), 0, worth_usd=(1.0,)), "'u': 1 worths for 2 modes"),
        (
            UnitClass(Unit("u", SMALL), 0, worth_usd=(0.0, np.nan)),
            "'u': a mode's worth must be finite",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(wrong: UnitClass, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pack([UnitClass(Unit("good", SMALL), 0), wrong], slots())


def test_nothing_is_packed_into_empty_tables() -> None:
    packed = pack([], SlotColumns([]))
    assert (len(packed.classes), len(packed.locks), len(packed.days), len(packed.allowed)) == (0, 0, 0, 0)
    assert [len(table) for table in packed.curves.steps()] == [0, 0]
