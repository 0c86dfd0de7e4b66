"""The worth of standing in a mode, block by block; that the first decision follows it is shown in test_deciding_real_time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from controller import standing
from controller.forecast import PowerAhead
from controller.plan import Member, Slot, Standing
from controller.recent import KEPT, Recent
from controller.standing import RealTime, UnitWorth, last_known, seen_of, worth_of
from controller.ticks import POWER_DAY_AHEAD
from controller.units import OFF, Mode, PowerCurve, Unit
from controller.worth import AHEAD, Seen, Sees
from tests.controller.real_time_rig import LADDER, NOW, QUARTER, SINGLE, pinned, priced

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE = Unit("one", SINGLE, restart_s=600.0)
STEPS = Unit("steps", LADDER, restart_s=120.0, change_s=120.0)
BLIND = Seen(QUARTER, np.full(KEPT, np.nan), np.full(1 + AHEAD, np.nan))
NOTHING = PowerAhead(((NOW, 0.05),), NOW + 900)


def slots(*prices: float) -> list[Slot]:
    return [Slot(NOW + 900 * n, 900, 40.0, price) for n, price in enumerate(prices)]


def worth(
    unit: Unit, horizon: Sequence[Slot], sees: Sees = Sees.A, known: int = 1
) -> tuple[UnitWorth, tuple[float, ...]]:
    members, found = worth_of([Member(unit, Standing(OFF))], horizon, known, BLIND, RealTime(sees))
    of = found.of(unit)
    assert of is not None
    return of, members[0].worth_usd


@pytest.fixture(autouse=True)
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda at: 0.5 - at / 20))


def test_a_block_costs_what_its_stop_and_start_lose_and_breaks_even_where_its_hashrate_pays_its_watts() -> (
    None
):
    found, _ = worth(STEPS, slots(0.05))
    first, second = found.blocks[:2]
    assert (first.lower.name, first.upper, second.lower) == (OFF, LADDER.hull()[1], LADDER.hull()[1])
    assert first.breakeven_usd_per_kwh == pytest.approx(40 / 24e3 * 76 / 1.83)
    assert first.cost_usd_per_kw == pytest.approx(40 / 24e3 * 76 / 30 / 1.83)
    gained = second.upper.th_s - second.lower.th_s
    kw = (second.upper.watts - second.lower.watts) / 1000
    assert second.breakeven_usd_per_kwh == pytest.approx(40 / 24e3 * gained / kw)
    assert second.cost_usd_per_kw == pytest.approx(
        40 / 24e3 / 30 * (second.upper.th_s + second.lower.th_s) / kw
    )
    assert found.worth_usd[0] == 0.0


def test_what_the_plan_expects_is_taken_off() -> None:
    # Over one slot of 15 minutes, in which running earns much, off starts when that pays.
    found, bonus = worth(ONE, slots(0.05, 0.01))
    earns, start = 40 / 24e3 * 25 - 0.01 * 0.5, 40 / 24e3 * 100 / 6
    assert earns > start
    assert bonus == pytest.approx((0.0, found.worth_usd[1] - start))
    nothing_after, plain = worth(ONE, slots(0.05))
    assert plain == nothing_after.worth_usd
    for price in (0.07, 0.08):
        held, less = worth(ONE, slots(0.05, price))
        stays = max(40 / 24e3 * 25 - price * 0.5, 0)
        assert less == pytest.approx((0.0, held.worth_usd[1] - stays))


def test_where_this_slot_is_not_known_what_it_seems_to_earn_is_taken_off_too() -> None:
    found, bonus = worth(ONE, slots(0.05, 0.5), Sees.B)
    assert bonus == pytest.approx((0.0, found.worth_usd[1] - (40 / 24e3 * 25 - 0.05 * 0.5)))


def test_units_that_can_do_the_same_share_one_tuple() -> None:
    units = [replace(ONE, id="a"), replace(ONE, id="b", min_on_s=60.0, starts_per_day=2), STEPS]
    members = [Member(unit, Standing(OFF, 60.0), (None,)) for unit in units]
    given, found = worth_of(members, slots(0.05), 1, BLIND, RealTime())
    assert given[0].worth_usd is given[1].worth_usd
    assert [replace(each, worth_usd=()) for each in given] == members
    assert len(given[2].worth_usd) == len(LADDER.modes)
    assert found.of(units[0]) is found.of(units[1])
    assert found.of(Unit("other", SINGLE)) is None
    assert found.methods == {"band": 1 + len(LADDER.hull()) - 1}


def test_changes_that_cost_nothing_are_worth_nothing_and_go_by_the_price() -> None:
    free = Unit("free", SINGLE)
    for price, pays in ((0.05, True), (0.5, False)):
        found, bonus = worth(free, slots(price, 0.01))
        assert found.worth_usd == (0.0, 0.0)
        assert bonus == (0.0, 0.0)
        block = found.blocks[0]
        assert (block.method, block.numbers(), block.on_ratio > 1) == ("", {}, pays)
        assert block.stop == block.start
        assert block.stop.power_usd_per_kwh == block.breakeven_usd_per_kwh
        _, unseen = worth(free, slots(price, 0.01), Sees.B)
        assert unseen == pytest.approx((0.0, 0.0), abs=1e-15)


def test_a_curve_without_a_ladder_is_left_to_the_plan() -> None:
    curve = PowerCurve([Mode("off", 0, 100), Mode("free", 5, 100), Mode("full", 100, 2000)])
    unit = Unit("u", curve, restart_s=600.0)
    members, found = worth_of(
        [Member(unit, Standing(OFF)), Member(ONE, Standing(OFF))], slots(0.05), 1, BLIND, RealTime()
    )
    assert found.of(unit) is None
    assert members[0].worth_usd == ()
    assert len(members[1].worth_usd) == 2


def test_a_fleet_without_units_is_worth_nothing() -> None:
    members, found = worth_of([], slots(0.05), 1, BLIND, RealTime())
    assert (members, found.methods) == ((), {})


def test_hashing_lost_is_never_a_gain() -> None:
    horizon = [replace(slot, hashprice_usd_per_ph_day=-1.0) for slot in slots(-0.05)]
    assert worth(replace(ONE, wear_usd=0.1), horizon)[0].blocks[0].cost_usd_per_kw == pytest.approx(0.05)


def test_prices_at_which_a_block_turns_are_those_of_a_quarter_hour() -> None:
    block = worth(ONE, slots(0.05))[0].blocks[0]
    even, cost = block.breakeven_usd_per_kwh, block.cost_usd_per_kw
    assert block.on_ratio == pytest.approx((even - 0.05) / 4 / cost + 0.5)
    assert block.stop.power_usd_per_kwh == pytest.approx(even + 0.5 * cost * 4)
    assert block.start.power_usd_per_kwh == pytest.approx(even - 0.5 * cost * 4)
    unseen = worth(ONE, slots(0.05), Sees.B)[0].blocks[0]
    assert (unseen.ratio, unseen.on_ratio) == (0.5, 0.5)
    assert unseen.stop.power_usd_per_kwh == pytest.approx(0.05 + 0.5 * cost * 4)
    assert unseen.start.power_usd_per_kwh == pytest.approx(0.05 - 0.5 * cost * 4)


@pytest.mark.parametrize("sees", list(Sees))
def test_at_those_prices_it_is_worth_just_nothing_or_just_the_cost(sees: Sees) -> None:
    block = worth(ONE, slots(0.05, 0.06, 0.2, 0.04), sees, 3)[0].blocks[0]
    for point, worth_then in ((block.stop, 0.0), (block.start, 1.0)):
        assert point.power_usd_per_kwh is not None
        then = worth(ONE, slots(point.power_usd_per_kwh, 0.06, 0.2, 0.04), sees, 3)[0].blocks[0]
        assert then.on_ratio == pytest.approx(worth_then, abs=1e-9)
        assert point.hashprice_usd_per_ph_day is not None


@pytest.mark.parametrize("sees", list(Sees))
def test_a_hashprice_at_which_it_turns_does_what_the_power_price_does(sees: Sees) -> None:
    stop = worth(ONE, slots(0.05))[0].blocks[0].stop
    assert stop.hashprice_usd_per_ph_day is not None
    then = [replace(slot, hashprice_usd_per_ph_day=stop.hashprice_usd_per_ph_day) for slot in slots(0.05)]
    assert worth(ONE, then)[0].blocks[0].on_ratio == pytest.approx(0.0, abs=1e-9)
    assert worth(ONE, slots(-0.05), sees)[0].blocks[0].stop.hashprice_usd_per_ph_day is None


def test_through_known_slots_the_worth_is_reckoned_back_and_never_leaves_its_bounds() -> None:
    block = worth(ONE, slots(0.05, 0.3, 0.05), known=3)[0].blocks[0]
    even, cost = block.breakeven_usd_per_kwh, block.cost_usd_per_kw
    assert block.on_ratio == pytest.approx(
        (even - 0.05) / 4 / cost
    )  # nothing is left over the quarter hour at 30 ct
    block = worth(ONE, slots(0.05, 0.09, 0.05), Sees.B, known=3)[0].blocks[0]
    assert block.on_ratio == pytest.approx((even - 0.05) / 4 / cost + (even - 0.09) / 4 / cost + 0.5)


def test_each_block_alone_says_where_a_unit_would_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda at: (1.5, 1.2, 0.5, -0.1, -1.0)[at]))
    found, _ = worth(STEPS, slots(0.05), Sees.B)
    hull = LADDER.hull()
    assert found.wanted(LADDER.off) == hull[2]
    assert found.wanted(hull[3]) == hull[3]
    assert found.wanted(LADDER.full) == hull[3]
    assert found.at_stake(LADDER.off) is found.blocks[0]
    assert found.at_stake(hull[3]) is found.blocks[2]
    assert found.above(LADDER.full) is None
    assert found.between(LADDER.full).up is None
    assert found.between(LADDER.off).down is None
    down, up = found.between(hull[2]).down, found.between(hull[2]).up
    assert down == (hull[1], found.blocks[1].stop)
    assert up == (hull[3], found.blocks[2].start)


# --- what is in sight ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known_until", "quarters"),
    [(NOW, 0), (NOW + 60, 0), (NOW + 900, 0), (NOW + 901, 1), (NOW + 1800, 1), (NOW + 7200, 7)],
)
def test_the_last_known_quarter_hour_is_that_of_now_at_least(known_until: float, quarters: int) -> None:
    for at in (NOW, NOW + 59):
        assert last_known(PowerAhead(((at, 0.05),), max(known_until, at)), at) == QUARTER + quarters


@pytest.mark.parametrize("sees", list(Sees))
def test_prices_in_sight_end_with_the_last_known_one_and_gaps_are_no_numbers(sees: Sees) -> None:
    power = PowerAhead(((NOW + 60, 0.05), (NOW + 900, 0.06), (NOW + 1800, 0.07)), NOW + 2700)
    recent = Recent(QUARTER, (0.02, None, 0.05))
    seen = seen_of(recent, power, QUARTER + 2, {}, sees)
    assert seen.quarter == QUARTER + (1 if sees is Sees.B else 2)
    assert seen.recent[-5:].tolist()[:1] == [0.02]
    assert math.isnan(seen.recent[-4])
    assert seen.recent[-3:].tolist() == [0.05, 0.06, 0.07]
    assert np.isnan(seen.recent[:-5]).all()
    assert np.isnan(seen.day_ahead).all()


def test_no_more_prices_are_in_sight_than_are_kept() -> None:
    recent = Recent(QUARTER, tuple(float(n) for n in range(KEPT)))
    seen = seen_of(recent, NOTHING, QUARTER + 1, {}, Sees.A)
    assert seen.recent.tolist() == [*(float(n) for n in range(1, KEPT)), 0.05]


@pytest.mark.parametrize(("sees", "shift"), [(Sees.A, 0), (Sees.B, 1)])
def test_day_ahead_prices_stand_in_their_quarter_hours(sees: Sees, shift: int) -> None:
    hours: Any = {
        POWER_DAY_AHEAD: tuple(
            priced(POWER_DAY_AHEAD, float(n), NOW + 3600 * n, NOW + 3600 * (n + 1)) for n in range(-2, 3)
        )
    }
    seen = seen_of(Recent(QUARTER, (0.05,)), NOTHING, QUARTER, hours, sees)
    told = [n // 4 for n in range(-shift, 1 + AHEAD - shift)]
    assert [each for each in seen.day_ahead if not math.isnan(each)] == [n for n in told if n < 3]
    assert math.isnan(seen.day_ahead[-1]) is (told[-1] >= 3)


def test_a_day_ahead_price_that_was_withdrawn_says_nothing() -> None:
    ticks = {POWER_DAY_AHEAD: (priced(POWER_DAY_AHEAD, 9.0, NOW, NOW + 0.001),)}
    seen = seen_of(Recent(QUARTER, (0.05,)), NOTHING, QUARTER, ticks, Sees.A)
    assert all(math.isnan(each) for each in seen.day_ahead)
