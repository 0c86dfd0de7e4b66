from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan import Member, Plan, Standing
from controller.planner import plan
from controller.units import Unit
from tests.controller.capped import CURVE, OFF, ON, slots_of


def member(name: str, mode: str | None = "high", dwell_left_s: float = 0.0, **unit: float) -> Member:
    return Member(Unit(name, CURVE, **unit), Standing(mode, dwell_left_s))


def modes(made: Plan) -> dict[str, tuple[str, ...]]:
    return {unit_id: path.modes for unit_id, path in made.units.items()}


def test_equal_units_share_a_path_and_all_values_add_up() -> None:
    made = plan([member(f"u{index}") for index in range(3)], slots_of([math.inf] * 2))
    assert set(modes(made).values()) == {("high", "high")}
    assert made.value_usd == pytest.approx(3 * made.units["u0"].value_usd)
    assert (made.bound_usd, made.gap_ratio, made.broken) == (made.value_usd, 0, ())


def test_of_equal_units_the_first_by_id_run_hardest() -> None:
    made = plan([member(name) for name in "cab"], slots_of([5.0, 4.0]))
    assert modes(made) == {"a": ("high", "high"), "b": ("high", "low"), "c": ("low", "low")}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_in_which_units_are_given_does_not_matter(seed: int, shuffle: random.Random) -> None:
    chance = random.Random(seed)
    members = [
        member(
            f"u{index}",
            chance.choice(["off", "low", "high", None]),
            chance.choice([0.0, 900.0]),
            min_on_s=chance.choice([0.0, 1800.0]),
            restart_s=chance.choice([0.0, 300.0]),
        )
        for index in range(chance.randint(1, 8))
    ]
    slots = slots_of([chance.uniform(0.2, 2) * len(members) for _ in range(4)], chance.choice([0.02, 0.08]))
    made = plan(members, slots, dead_band=0.05)
    shuffle.shuffle(members)
    assert plan(members, slots, dead_band=0.05) == made
    assert made.value_usd <= made.bound_usd
    load = [sum(CURVE.mode(path.modes[at]).watts for path in made.units.values()) / 1000 for at in range(4)]
    over = max((broken.over_kw for broken in made.broken), default=0.0)
    assert all(kw <= slot.cap_kw + over + 1e-6 for kw, slot in zip(load, slots, strict=True))


def test_the_dead_band_keeps_a_unit_where_it_is_and_is_part_of_the_value() -> None:
    slots = slots_of([math.inf], price=0.066)  # high pays just so: 6.67 ct is its last watt's breakeven
    assert modes(plan([member("u", "low")], slots)) == {"u": ("high",)}
    held = plan([member("u", "low")], slots, dead_band=0.05)
    assert modes(held) == {"u": ("low",)}
    moved = plan([member("u", "low")], slots_of([math.inf], price=0.01), dead_band=0.05)
    free = plan([member("u", "low")], slots_of([math.inf], price=0.01))
    assert modes(moved) == modes(free)
    assert moved.bound_usd == moved.value_usd < free.value_usd


def test_the_worth_of_modes_moves_units_and_is_part_of_value_and_bound() -> None:
    slots = slots_of([math.inf] * 3, price=0.2)
    on = replace(member("a"), worth_usd=(0.0, 0.0, 1.0))
    made = plan([on, member("b")], slots, worth_slot=1)
    assert modes(made) == {"a": ("off", "high", "off"), "b": ("off", "off", "off")}
    loss = 2 * 0.25 * 0.2 - 0.25 * 100 * 40 / 24000
    assert made.value_usd == made.bound_usd == made.units["a"].value_usd == pytest.approx(1.0 - loss)


def test_under_a_cap_whose_mode_is_worth_most_comes_first() -> None:
    members = [
        replace(member(name), worth_usd=(0.0, 0.0, usd))
        for name, usd in zip("abc", (0.0, 0.002, 0.001), strict=True)
    ]
    made = plan(members, slots_of([4.0, 6.0]), worth_slot=0)
    assert modes(made) == {"a": ("low", "high"), "b": ("high", "high"), "c": ("low", "high")}
    assert made.value_usd <= made.bound_usd <= made.value_usd + 1e-6


def test_waiving_for_the_cap_is_not_undone_by_what_modes_are_worth() -> None:
    members = [
        replace(member(name, dwell_left_s=1800.0, min_on_s=3600.0), worth_usd=(0.0, 1e6, 3e6))
        for name in "abc"
    ]
    made = plan(members, slots_of([2.0, 6.0, 6.0]))
    (broken,) = made.broken
    assert (broken.unit_ids, broken.over_kw) == (("c",), 0.0)
    assert [path[0] for path in modes(made).values()] == ["low", "low", "off"]
    assert made.value_usd <= made.bound_usd


def test_who_must_run_runs_and_the_others_make_room() -> None:
    must = replace(member("a"), allowed=(ON, ON))
    made = plan([must, member("b", min_on_s=0.0)], slots_of([1.0, 1.0]))
    assert modes(made) == {"a": ("low", "low"), "b": ("off", "off")}
    assert made.broken == ()


def test_minimum_time_waived_for_the_cap_is_named_with_its_units() -> None:
    members = [member(name, dwell_left_s=1800.0, min_on_s=3600.0) for name in "abc"]
    made = plan(members, slots_of([2.0, 6.0, 6.0]))
    (broken,) = made.broken
    assert broken.unit_ids == ("c",)
    assert (broken.start, broken.stop, broken.over_kw) == (0.0, 900.0, 0.0)
    assert "c must change before the minimum time is over" in broken.why
    assert [modes(made)[name][0] for name in "abc"] == ["low", "low", "off"]
    assert made.value_usd <= made.bound_usd


def test_a_cap_nobody_can_keep_is_named_with_its_excess_and_who_must_run() -> None:
    must = [replace(member(name), allowed=(ON, ON, None)) for name in "ab"]
    made = plan([*must, member("c")], slots_of([1.5, 1.0, 6.0]))
    (broken,) = made.broken
    assert (broken.start, broken.stop) == (0.0, 1800.0)
    assert broken.over_kw == pytest.approx(1.0)
    assert broken.unit_ids == ("a", "b")
    assert broken.why.startswith("the power cap is exceeded by up to 1.0 kW: a, b must draw")


def test_an_obligation_to_modes_a_unit_does_not_have_is_named_and_left_out() -> None:
    strange = replace(member("u"), allowed=(None, frozenset({"turbo"}), OFF))
    made = plan([strange], slots_of([math.inf] * 3))
    assert modes(made) == {"u": ("high", "high", "off")}
    (broken,) = made.broken
    assert (broken.start, broken.stop, broken.unit_ids) == (900.0, 1800.0, ("u",))
    assert "turbo" in broken.why


def test_of_many_units_some_are_named_in_words_and_all_beside() -> None:
    members = [member(f"u{index}", dwell_left_s=900.0) for index in range(5)]
    (broken,) = plan(members, slots_of([0.0])).broken
    assert broken.why.startswith("u0, u1, u2 and 2 more must change")
    assert len(broken.unit_ids) == 5


def test_dwell_left_is_rounded_up_to_whole_slots() -> None:
    made = plan([member("u", "off", dwell_left_s=901.0)], slots_of([math.inf] * 3))
    assert modes(made) == {"u": ("off", "off", "high")}


def test_a_mode_nobody_knows_is_free_to_be_any() -> None:
    made = plan([member("u", None, restart_s=600.0, wear_usd=5.0)], slots_of([math.inf]))
    assert modes(made) == {"u": ("high",)}


def test_a_unit_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'u' is to be planned twice"):
        plan([member("u"), member("u")], slots_of([1.0]))


def test_nothing_to_plan_is_an_empty_plan() -> None:
    made = plan([], slots_of([1.0]))
    assert (made.units, made.value_usd, made.bound_usd, made.broken) == ({}, 0.0, 0.0, ())
    assert plan([member("u")], []).units["u"].modes == ()
