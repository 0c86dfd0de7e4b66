from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import plan_reference
from controller.plan import Slot
from controller.program import Program, UnitClass, dwell_slots, tail_values
from controller.units import Mode, PowerCurve, Unit
from tests.controller.oracle import optimum
from tests.controller.planning import random_class, random_slots, random_terms, random_unit

LOW, HIGH = 1, 2
UNIT = Unit("u", PowerCurve([Mode("off", 0, 0), Mode("low", 60, 1000), Mode("high", 100, 2000)]))
CHEAP, DEAR, SPIKE = 0.02, 0.07, 0.5
"""USD/kWh at a hashprice of 40: high pays below 6.7 ct, low below 10 ct."""
ON, OFF = frozenset({"low", "high"}), frozenset({"off"})


def slots_at(*prices: float, day: tuple[int, ...] = (), duration_s: float = 900.0) -> list[Slot]:
    days = day or (0,) * len(prices)
    return [
        Slot(t * duration_s, duration_s, 40.0, price, day=each)
        for t, (price, each) in enumerate(zip(prices, days, strict=True))
    ]


def path(each: UnitClass, slots: list[Slot], dead_band: float = 0.0) -> list[int]:
    modes: list[int] = Program([each], slots, dead_band).best(np.zeros(len(slots))).modes[0].tolist()
    return modes


def random_program(seed: int, most: int) -> tuple[Program, np.ndarray]:
    chance = random.Random(seed)
    slots = random_slots(chance, most)
    classes = [random_class(chance, random_unit(chance), slots) for _ in range(3)]
    prices = np.array([chance.choice([0.0, 0.0, chance.uniform(0, 0.05)]) for _ in slots])
    return Program(classes, slots, **random_terms(chance, slots)), prices


# ---- Against other ways to the same -----------------------------------------------------------------------


def test_the_kernel_finds_what_the_reference_finds_to_the_last_bit() -> None:
    for seed in range(150):
        program, prices = random_program(seed, 14)
        found, expected = program.best(prices), plan_reference.best(program, prices)
        assert found.modes.tolist() == expected.modes.tolist(), seed
        assert found.value_usd.tobytes() == expected.value_usd.tobytes(), seed
        assert found.worth_usd.tobytes() == expected.worth_usd.tobytes(), seed
        assert found.kw.tobytes() == expected.kw.tobytes(), seed


def test_a_unit_of_one_mode_that_nothing_holds_is_planned_to_the_last_bit_too() -> None:
    """The kernel has a shorter way for it."""
    for seed in range(150):
        chance = random.Random(seed)
        slots = random_slots(chance, 14)
        units = [
            replace(
                each, curve=PowerCurve(each.curve.modes[:2]), min_on_s=0.0, min_off_s=0.0, starts_per_day=None
            )
            for each in (random_unit(chance) for _ in range(4))
        ]
        classes = [
            UnitClass(unit, mode, worth_usd=chance.choice([(), (0.0, chance.uniform(-0.1, 0.1))]))
            for unit, mode in zip(units, (None, 0, 1, 1), strict=True)
        ]
        program = Program(classes, slots, **random_terms(chance, slots))
        prices = np.array([chance.choice([0.0, chance.uniform(0, 0.05)]) for _ in slots])
        found, expected = program.best(prices), plan_reference.best(program, prices)
        assert found.modes.tolist() == expected.modes.tolist(), seed
        assert found.value_usd.tobytes() == expected.value_usd.tobytes(), seed
        assert found.worth_usd.tobytes() == expected.worth_usd.tobytes(), seed


def test_one_unit_earns_what_the_integer_program_says_it_can() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        slots = random_slots(chance, 8)
        each = random_class(chance, random_unit(chance), slots)
        terms = random_terms(chance, slots)
        prices = [chance.choice([0.0, 0.0, chance.uniform(0, 0.05)]) for _ in slots]
        found = Program([each], slots, **terms).best(np.array(prices))
        best = optimum([each], slots, prices, **terms)
        assert best is not None, seed
        assert found.value_usd[0] == pytest.approx(best.value_usd, abs=1e-9), (seed, found.modes, best.paths)


def test_the_integer_program_shares_a_cap_among_units() -> None:
    slots = [replace(slot, cap_kw=3.0) for slot in slots_at(CHEAP, CHEAP)]
    best = optimum([UnitClass(UNIT, 0, count=2)], slots)
    assert best is not None
    assert sorted(best.paths) == [[LOW, LOW], [HIGH, HIGH]]
    assert (
        optimum([UnitClass(UNIT, 0, allowed=(ON, ON))], [replace(slot, cap_kw=0.5) for slot in slots]) is None
    )


# ---- What a path may do -----------------------------------------------------------------------------------


def test_where_changes_are_free_each_slot_has_its_best_mode() -> None:
    assert path(UnitClass(UNIT, 0), slots_at(CHEAP, DEAR, SPIKE, CHEAP)) == [HIGH, LOW, 0, HIGH]


def test_a_start_is_paid_for_in_hashing_and_wear() -> None:
    slots = slots_at(DEAR, SPIKE)
    earned = 60 * 40 / 24000 * 0.25 - DEAR * 0.25
    assert path(UnitClass(replace(UNIT, wear_usd=earned * 0.99), 0), slots) == [LOW, 0]
    assert path(UnitClass(replace(UNIT, wear_usd=earned * 1.01), 0), slots) == [0, 0]
    program = Program([UnitClass(replace(UNIT, restart_s=90, wear_usd=0.001), 0)], slots)
    assert program.best(np.zeros(2)).value_usd[0] == pytest.approx(
        earned - 60 * 40 / 24000 * 90 / 3600 - 0.001
    )


def test_a_change_between_running_modes_costs_the_new_modes_hashing() -> None:
    """High instead of low for one slot brings 0.0117 USD; a change to it and back costs 160 TH/s for `change_s`."""
    slots = slots_at(0.098, CHEAP, 0.098)
    each = UnitClass(UNIT, LOW, allowed=(ON, ON, ON))
    most_s = 0.25 * (40 * 40 / 24000 - CHEAP) / (160 * 40 / 24000) * 3600
    assert path(replace(each, unit=replace(UNIT, change_s=most_s * 0.9)), slots) == [LOW, HIGH, LOW]
    assert path(replace(each, unit=replace(UNIT, change_s=most_s * 1.1)), slots) == [LOW, LOW, LOW]


def test_a_mode_no_longer_allowed_is_left_for_one_that_is_just_as_good() -> None:
    twins = PowerCurve([Mode("off", 0, 0), Mode("a", 60, 1000), Mode("b", 60, 1000)])
    each = UnitClass(Unit("u", twins), 1, allowed=(None, frozenset({"b"}), None))
    assert path(each, slots_at(CHEAP, CHEAP, CHEAP)) == [1, 2, 2]
    idle = PowerCurve([Mode("off", 0, 0), Mode("a", 1, 0)])
    obliged = UnitClass(Unit("u", idle), 0, allowed=(frozenset({"off"}), frozenset({"a"})))
    assert path(
        obliged, [replace(slot, hashprice_usd_per_ph_day=0.0) for slot in slots_at(CHEAP, CHEAP)]
    ) == [0, 1]


def test_who_is_stopped_stays_so_for_the_least_time_off() -> None:
    unit = replace(UNIT, min_off_s=1800)
    assert path(UnitClass(unit, HIGH), slots_at(CHEAP, SPIKE, CHEAP, CHEAP)) == [HIGH, 0, 0, HIGH]
    assert path(
        UnitClass(replace(unit, min_off_s=1801), HIGH), slots_at(CHEAP, SPIKE, DEAR, DEAR, CHEAP)
    ) == [
        HIGH,
        0,
        0,
        0,
        HIGH,
    ]


def test_who_is_started_stays_on_in_whatever_mode() -> None:
    unit = replace(UNIT, min_on_s=2700)
    assert path(UnitClass(unit, 0), slots_at(-0.9, 0.11, DEAR, SPIKE)) == [HIGH, LOW, LOW, 0]


def test_the_end_of_the_horizon_cuts_dwell() -> None:
    assert path(UnitClass(replace(UNIT, min_on_s=10 * 900), 0), slots_at(SPIKE, CHEAP)) == [0, HIGH]


def test_what_is_left_of_dwell_holds_from_the_first_slot() -> None:
    assert path(UnitClass(UNIT, HIGH, dwell_left=2), slots_at(SPIKE, SPIKE, SPIKE)) == [LOW, LOW, 0]
    assert path(UnitClass(UNIT, 0, dwell_left=2), slots_at(CHEAP, CHEAP, CHEAP)) == [0, 0, HIGH]
    assert path(UnitClass(UNIT, 0, dwell_left=9), slots_at(CHEAP, CHEAP, CHEAP)) == [0, 0, 0]


def test_an_obligation_outranks_dwell_and_dwell_counts_from_there() -> None:
    unit = replace(UNIT, min_on_s=2700, min_off_s=1800)
    allowed = (None, OFF, None, None, None)
    assert path(UnitClass(unit, HIGH, 4, allowed=allowed), slots_at(*[CHEAP] * 5)) == [HIGH, 0, 0, HIGH, HIGH]
    allowed = (None, ON, None, None, None)
    assert path(UnitClass(unit, 0, 4, allowed=allowed), slots_at(*[SPIKE] * 5)) == [0, LOW, LOW, LOW, 0]


def test_an_entry_without_any_mode_of_the_unit_is_none() -> None:
    strange = (frozenset({"turbo"}), frozenset())
    assert path(UnitClass(UNIT, 0, allowed=strange), slots_at(CHEAP, SPIKE)) == [HIGH, 0]


def test_a_mode_off_the_hull_is_right_where_the_others_are_forbidden() -> None:
    curve = PowerCurve(
        [Mode("off", 0, 0), Mode("low", 60, 1000), Mode("poor", 65, 1900), Mode("high", 100, 2000)]
    )
    slots = slots_at(-0.01)
    assert path(UnitClass(replace(UNIT, curve=curve), 0), slots) == [3]
    some = frozenset({"off", "low", "poor"})
    assert path(UnitClass(replace(UNIT, curve=curve), 0, allowed=(some,)), slots) == [2]


def test_starts_are_counted_by_day() -> None:
    unit = replace(UNIT, starts_per_day=1)
    prices = (CHEAP, SPIKE, 0.0, SPIKE, CHEAP, SPIKE)
    assert path(UnitClass(unit, HIGH), slots_at(*prices)) == [HIGH, 0, HIGH, 0, 0, 0]
    assert path(UnitClass(unit, HIGH), slots_at(*prices, day=(0, 0, 0, 1, 1, 1))) == [
        HIGH,
        0,
        HIGH,
        0,
        HIGH,
        0,
    ]
    spent = UnitClass(unit, HIGH, starts_left=0)
    assert path(spent, slots_at(*prices, day=(0, 0, 0, 1, 1, 1))) == [HIGH, 0, 0, 0, HIGH, 0]
    assert path(UnitClass(UNIT, HIGH, starts_left=0), slots_at(SPIKE, CHEAP, day=(0, 1))) == [0, HIGH]


def test_a_start_one_is_obliged_to_counts_but_needs_none_left() -> None:
    unit = replace(UNIT, starts_per_day=1)
    each = UnitClass(unit, 0, starts_left=2, allowed=(ON, None, None, None))
    assert path(each, slots_at(CHEAP, 0.11, CHEAP, SPIKE)) == [HIGH, 0, HIGH, 0]
    assert path(replace(each, starts_left=1), slots_at(CHEAP, 0.11, CHEAP, SPIKE)) == [HIGH, LOW, HIGH, 0]
    assert path(replace(each, starts_left=0), slots_at(*[CHEAP] * 4)) == [HIGH] * 4


def test_where_the_mode_is_not_known_the_first_is_free() -> None:
    unit = replace(UNIT, restart_s=900, wear_usd=9, min_on_s=2700, starts_per_day=1, change_s=900)
    each = UnitClass(unit, None, dwell_left=3, starts_left=0)
    assert path(each, slots_at(CHEAP, SPIKE), 0.9) == [HIGH, 0]


def test_the_dead_band_keeps_a_unit_where_it_is_in_the_first_slot_alone() -> None:
    slots = slots_at(0.065, 0.065)  # high pays 1/40 of the revenue in between more than low
    assert path(UnitClass(UNIT, LOW), slots) == [HIGH, HIGH]
    assert path(UnitClass(UNIT, LOW), slots, 0.02) == [HIGH, HIGH]
    assert path(UnitClass(UNIT, LOW), slots, 0.03) == [LOW, HIGH]
    program = Program([UnitClass(UNIT, LOW)], slots, 0.02)
    worth = program.best(np.zeros(2)).worth_usd[0]
    assert worth == pytest.approx(0.5 * (100 * 40 / 24000 - 0.13) - 0.02 * 40 * 40 / 24000 * 0.25)


def test_of_equals_a_unit_stays_where_it_is_else_takes_fewer_watts() -> None:
    nothing = [Slot(t * 900.0, 900.0, 0.0, 0.0) for t in range(3)]
    assert path(UnitClass(UNIT, HIGH), nothing) == [HIGH] * 3
    assert path(UnitClass(UNIT, 0), nothing) == [0] * 3
    assert path(UnitClass(UNIT, None), nothing) == [0] * 3
    assert path(UnitClass(UNIT, HIGH, allowed=(frozenset({"off", "low"}), None, None)), nothing) == [0] * 3
    assert path(UnitClass(UNIT, HIGH, allowed=(ON, frozenset({"low"}), None)), nothing) == [HIGH, LOW, LOW]


# ---- Room -------------------------------------------------------------------------------------------------


def test_room_forbids_what_draws_more() -> None:
    program = Program([UnitClass(UNIT, 0)], slots_at(*[CHEAP] * 4))
    found = program.best_within(0, np.array([2.0, 1.9, 1.0, 0.9]), np.zeros(4))
    assert found.modes.tolist() == [[HIGH, LOW, LOW, 0]]
    assert found.kw.tolist() == [[2.0, 1.0, 1.0, 0.0]]
    assert found.worth_usd[0] == program.worth(0, found.modes[0])
    assert (found.dwell_waived, found.allowed_waived, found.over_kw.tolist()) == ((), (), [0.0] * 4)


def test_room_outranks_dwell_and_it_is_told() -> None:
    unit = replace(UNIT, min_on_s=2700, min_off_s=1800)
    program = Program([UnitClass(unit, HIGH, dwell_left=4)], slots_at(*[CHEAP] * 5))
    found = program.best_within(0, np.array([2.0, 0.5, 2.0, 2.0, 2.0]), np.zeros(5))
    assert found.modes.tolist() == [[HIGH, 0, 0, HIGH, HIGH]]
    assert found.dwell_waived == (1,)


def test_dwell_that_an_obligation_ends_is_not_waived_for_room() -> None:
    program = Program([UnitClass(UNIT, HIGH, 4, allowed=(None, OFF, None))], slots_at(*[CHEAP] * 3))
    assert program.best_within(0, np.full(3, 0.5), np.zeros(3)).dwell_waived == (0,)
    assert program.best_within(0, np.array([2.0, 0.5, 2.0]), np.zeros(3)).dwell_waived == ()


def test_room_outranks_the_modes_allowed_and_it_is_told() -> None:
    program = Program([UnitClass(UNIT, HIGH, allowed=(ON, ON))], slots_at(CHEAP, CHEAP))
    found = program.best_within(0, np.array([1.5, 0.5]), np.zeros(2))
    assert found.modes.tolist() == [[LOW, 0]]
    assert found.allowed_waived == (1,)


def test_without_room_even_for_off_the_excess_is_told() -> None:
    standby = PowerCurve([Mode("off", 0, 15), Mode("on", 100, 2000)])
    program = Program([UnitClass(replace(UNIT, curve=standby), 1)], slots_at(CHEAP, CHEAP))
    found = program.best_within(0, np.array([0.01, -3.0]), np.zeros(2))
    assert found.modes.tolist() == [[0, 0]]
    assert found.over_kw.tolist() == pytest.approx([0.005, 3.015])


# ---- Properties -------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_dearer_power_never_earns_more_and_less_room_neither(seed: int) -> None:
    program, prices = random_program(seed, 10)
    found, dearer = program.best(prices), program.best(prices + 0.01)
    assert (dearer.value_usd <= found.value_usd + 1e-12).all()
    for index in range(len(program.classes)):
        room = np.full(len(program.slots), 1e9)
        free = program.best_within(index, room, prices)
        assert free.value_usd[0] == found.value_usd[index]
        assert free.modes[0].tolist() == found.modes[index].tolist()
        assert program.worth(index, found.modes[index]) == found.worth_usd[index]
        own = (found.kw[index] * prices * program.hours).sum()
        assert found.worth_usd[index] - own == pytest.approx(found.value_usd[index], abs=1e-12)
        tight = program.best_within(index, room * 0 + 0.5, prices)
        assert ((tight.kw[0] <= 0.5) | (tight.modes[0] == 0)).all()
        assert ((tight.kw[0] - 0.5).clip(0) == tight.over_kw).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_a_class_earns_the_same_whatever_stands_beside_it(seed: int) -> None:
    program, prices = random_program(seed, 10)
    together = program.best(prices)
    backward = np.arange(len(program.classes), dtype=np.intp)[::-1].copy()
    assert program.best(prices, of=backward).modes.tolist() == together.modes[::-1].tolist()
    for index, each in enumerate(program.classes):
        alone = program.of_classes([each]).best(prices)
        assert alone.value_usd[0] == together.value_usd[index]
        assert alone.modes[0].tolist() == together.modes[index].tolist()


# ---- The worth of modes -----------------------------------------------------------------------------------


def test_being_in_a_mode_in_its_slot_earns_its_worth_more() -> None:
    slots = slots_at(SPIKE, SPIKE, SPIKE)
    program = Program([UnitClass(UNIT, HIGH, worth_usd=(0.0, 0.2, 0.1))], slots, worth_slot=1)
    found = program.best(np.zeros(3))
    assert found.modes.tolist() == [[0, LOW, 0]]
    earned = 0.2 + 0.25 * (60 * 40 / 24000 - SPIKE)
    assert found.value_usd[0] == found.worth_usd[0] == pytest.approx(earned)
    assert program.worth(0, np.array([0, HIGH, 0], dtype=np.uint8)) == pytest.approx(
        0.1 + 0.25 * (100 * 40 / 24000 - 2 * SPIKE)
    )
    assert program.mode_worths().tolist() == [[0.0, 0.2, 0.1]]


def test_the_same_for_every_mode_is_worth_that_much_and_changes_no_path() -> None:
    for seed in range(40):
        program, prices = random_program(seed, 10)
        plain = program.of_classes([replace(each, worth_usd=()) for each in program.classes])
        same = program.of_classes(
            [replace(each, worth_usd=(0.5,) * len(each.unit.curve.modes)) for each in program.classes]
        )
        assert same.best(prices).value_usd == pytest.approx(plain.best(prices).value_usd + 0.5, abs=1e-12)
        nothing = program.of_classes(
            [replace(each, worth_usd=(0.0,) * len(each.unit.curve.modes)) for each in program.classes]
        )
        assert nothing.best(prices).modes.tolist() == plain.best(prices).modes.tolist()
        assert nothing.best(prices).value_usd.tobytes() == plain.best(prices).value_usd.tobytes()


def test_a_worth_may_be_there_for_some_classes_only() -> None:
    slots = slots_at(SPIKE)
    classes = [UnitClass(UNIT, 0), UnitClass(UNIT, 0, worth_usd=(0.0, 0.0, 9.0)), UnitClass(UNIT, 0)]
    assert Program(classes, slots).best(np.zeros(1)).modes.tolist() == [[0], [HIGH], [0]]


# ---- What is left from a mode on --------------------------------------------------------------------------


def test_tails_are_what_the_best_path_earns_from_each_mode_when_nothing_binds() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        slots = random_slots(chance, 8)
        units = [random_unit(chance) for _ in range(3)]
        free = [replace(each, min_on_s=0.0, min_off_s=0.0, starts_per_day=None) for each in units]
        tails = tail_values(units, slots)
        for unit, values in zip(free, tails, strict=True):
            classes = [UnitClass(unit, mode) for mode in range(len(unit.curve.modes))]
            assert values == pytest.approx(
                Program(classes, slots).best(np.zeros(len(slots))).value_usd, abs=1e-12
            )


def test_tails_without_slots_are_nothing_and_without_units_there_are_none() -> None:
    assert [values.tolist() for values in tail_values([UNIT], [])] == [[0.0, 0.0, 0.0]]
    assert tail_values([], slots_at(CHEAP)) == []


# ---- Edges ------------------------------------------------------------------------------------------------


def test_dwell_is_whole_slots_that_last_it() -> None:
    slots = slots_at(*[CHEAP] * 4)
    assert [dwell_slots(slots, s) for s in (0, 1, 900, 900 + 1e-7, 901, 1e9)] == [0, 1, 1, 1, 2, 4]
    assert dwell_slots(slots, 1e9, first=3) == 1


def test_without_slots_or_classes_there_is_nothing_to_earn() -> None:
    found = Program([UnitClass(UNIT, 1)], []).best(np.zeros(0))
    assert (found.value_usd.tolist(), found.modes.shape) == ([0.0], (1, 0))
    assert Program([], slots_at(CHEAP)).best(np.zeros(1)).modes.shape == (0, 1)


def test_what_does_not_fit_together_is_refused() -> None:
    slots = slots_at(CHEAP, CHEAP)
    with pytest.raises(ValueError, match="unit 'u' has no mode 3"):
        Program([UnitClass(UNIT, 3)], slots)
    with pytest.raises(ValueError, match="1 entries of modes allowed for 2 slots"):
        Program([UnitClass(UNIT, 1, allowed=(None,))], slots)
    with pytest.raises(ValueError, match="dead band"):
        Program([UnitClass(UNIT, 1)], slots, -0.1)
    with pytest.raises(ValueError, match="has no mode 3"):
        Program([UnitClass(UNIT, 1)], slots).worth(0, np.array([0, 3], dtype=np.uint8))
    many = PowerCurve([Mode(f"m{k}", 1.0 + k, 10.0 + k) for k in range(256)])
    with pytest.raises(ValueError, match="256 modes, not 257"):
        Program([UnitClass(replace(UNIT, curve=many), 1)], slots)


def test_a_curve_of_as_many_modes_as_a_byte_counts_is_planned() -> None:
    curve = PowerCurve([Mode(f"m{k:03}", 1.0 + k, 10.0 + k) for k in range(255)])
    assert path(UnitClass(replace(UNIT, curve=curve), 0), slots_at(CHEAP, 9.0)) == [255, 0]


def test_a_hashprice_below_zero_makes_no_change_a_gain() -> None:
    slots = [Slot(0.0, 900.0, -40.0, -1.0), Slot(900.0, 900.0, -40.0, -1.0)]
    each = UnitClass(replace(UNIT, restart_s=900, change_s=900), LOW)
    program = Program([each], slots)
    found = program.best(np.zeros(2))
    assert found.modes.tolist() == [[HIGH, HIGH]]
    assert found.value_usd[0] == pytest.approx(2 * 0.25 * (2.0 - 100 * 40 / 24000))
