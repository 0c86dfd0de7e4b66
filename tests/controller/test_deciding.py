"""One tick as a pure function: what goes in decides, and nothing else."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.deciding import (
    LASTING,
    DecidingConfig,
    Memory,
    cannot_wait,
    decide_tick,
    learned,
    limits_since,
    next_memory,
)
from controller.decisions import Reason
from controller.forecast import TypicalDay
from controller.overrides import Override
from controller.planner import plan
from controller.policy import SiteConfig
from controller.signals import Action, SignalRule
from controller.snapshot import Snapshot
from controller.sources.fixed import FixedSource
from controller.ticks import HASHPRICE, POWER, UNITS, Tick
from controller.units import Unit, UnitState
from miner.control_power import FALLBACK, FIXED
from tests.controller.fleet_rig import CURVE, LIVE, NOW, UNIT, Fleet, no_plan, tick, window

if TYPE_CHECKING:
    from controller.decisions import Decision
    from controller.plan import Member, Plan

RULE = SignalRule("grid", Action.PAUSE, ramp_s=300)
SITE = replace(LIVE, site=SiteConfig(8.0, (RULE,), "Europe/Berlin"))


def fleet() -> Fleet:
    units = [
        replace(UNIT, id=f"u{index}", restart_s=60.0 * (index % 3), starts_per_day=4) for index in range(6)
    ]
    made = Fleet(*units, config=SITE)
    made.signals = [window("grid", NOW + 400, NOW + 700)]
    made.later = [(NOW + 200, 0.08)]
    return made


def test_without_explanations_the_same_is_decided_from_what_is_remembered_alone() -> None:
    one = fleet()
    config = DecidingConfig(SITE, 1.0)
    told: dict[str, Decision] = {}
    for index in range(16):
        now = NOW + 60.0 * index
        power = 0.03 + 0.05 * (index % 5 > 2)
        given, last = one.snapshot(now, power, 40.0, 0.0), dict(one.last)
        told = dict(decide_tick(given, told, config, explain=False).decisions)
        view = decide_tick(given, last, config)
        for each, short in zip(view.decisions.values(), told.values(), strict=True):
            assert replace(each, numbers={}, flip="") == replace(short, numbers={})
            assert short.numbers.items() <= each.numbers.items()
            assert "margin_usd_per_hour" not in short.numbers
        one.decide(now, power)


def test_the_same_in_gives_the_same_out_bit_for_bit_and_the_past_of_the_process_does_not_matter() -> None:
    one = fleet()
    one.decide(NOW, 0.02)
    snapshot, last = one.snapshot(NOW + 60, 0.03, 40.0, 0.0), dict(one.last)
    config = DecidingConfig(SITE, 1.0)
    first = decide_tick(snapshot, last, config)
    its_snapshot, its_last = pickle.loads(pickle.dumps((snapshot, last)))
    again = decide_tick(its_snapshot, its_last, config)
    assert repr(first.decisions) == repr(again.decisions)
    assert first.plan == again.plan


def test_last_decisions_of_other_units_mean_nothing() -> None:
    one = fleet()
    one.decide(NOW, 0.02)
    snapshot, config = one.snapshot(NOW + 60, 0.03, 40.0, 0.0), DecidingConfig(SITE, 1.0)
    others = {**one.last, "gone": replace(one.last["u0"], unit_id="gone")}
    assert (
        decide_tick(snapshot, one.last, config).decisions == decide_tick(snapshot, others, config).decisions
    )


def test_what_is_planned_are_the_units_that_answer_under_what_is_left_of_the_limit() -> None:
    seen: list[Any] = []

    def noting(members: list[Member], slots: Any, **named: Any) -> Plan:
        seen.extend((members, slots, named))
        return plan(members, slots, **named)

    made = fleet()
    made.unreachable = {"u0"}
    made.decide(NOW, 0.02, make_plan=noting)
    members, slots, named = seen
    assert [member.unit.id for member in members] == ["u1", "u2", "u3", "u4", "u5"]
    assert slots[0].cap_kw == pytest.approx(8.0 - 2.97)
    assert [slot.start - NOW for slot in slots[:4]] == [0, 100, 200, 400]
    assert named["dead_band"] == LIVE.dead_band


def test_a_planner_that_fails_leaves_signals_and_heat_their_way() -> None:
    hot = Unit("hot", CURVE, max_temp_c=80)
    made = Fleet(hot, Unit("u", CURVE), config=SITE)
    made.temp_c["hot"] = 85.0
    first = made.decide(NOW, 0.02, make_plan=no_plan)
    assert [one.reason for one in first] == [Reason.THERMAL, Reason.NO_PLAN]
    assert made.view is not None
    assert made.view.plan is None
    made.signals = [window("grid", NOW, NOW + 100)]
    assert made.decide(NOW + 1, 0.02, make_plan=no_plan)[1].reason is Reason.SIGNAL


@pytest.mark.parametrize("name", ["horizon_hours", "slot_s"])
def test_a_horizon_that_never_passes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        DecidingConfig(**{name: 0.0})  # type: ignore[arg-type] # by name


# --- beyond the prices that are known ----------------------------------------------------------------


def test_slots_beyond_the_last_known_price_have_what_is_expected_of_a_typical_day() -> None:
    snapshot = fleet().snapshot(NOW, 0.02, 40.0, 0.0)
    known = Tick(POWER, 0.02, UNITS[POWER], NOW - 100, NOW + 100, NOW - 5, "feed")  # a quarter hour
    usual = TypicalDay("Europe/Berlin", (0.05,) * 96, (7,) * 96)
    snapshot = replace(snapshot, ticks={**snapshot.ticks, POWER: (known,)}, typical_day=usual)
    made = decide_tick(snapshot, {}, DecidingConfig(replace(SITE, site=replace(SITE.site, signals=())), 2.0))
    assert made.plan is not None
    assert made.power_ahead is not None
    assert (made.power_ahead.known_until, made.power_ahead.typical) == (NOW + 100, True)
    prices = [slot.power_usd_per_kwh for slot in made.plan.slots]
    assert prices[:4] == pytest.approx([0.02, *(0.05 - 0.03 * 0.85**count for count in (1, 2, 3))])
    again = decide_tick(snapshot, {}, DecidingConfig(replace(SITE, site=replace(SITE.site, signals=())), 2.0))
    assert (repr(again.plan), repr(again.decisions)) == (repr(made.plan), repr(made.decisions))


def test_the_forecast_moves_decisions_a_restart_for_one_cheap_quarter_hour_does_not_pay() -> None:
    unit = replace(UNIT, restart_s=600.0, min_on_s=0.0, min_off_s=0.0)
    now = NOW - 100  # the begin of a quarter hour
    known = Tick(POWER, 0.06, UNITS[POWER], now, now + 900, now - 3600, "feed")
    seen = Snapshot(
        now,
        {POWER: (known,), HASHPRICE: (tick(HASHPRICE, 40.0, now),)},
        (unit,),
        {unit.id: UnitState(unit.id, "off", None, None, None, now)},
    )
    config = DecidingConfig(LIVE, 4.0)

    def planned(day: TypicalDay) -> str | None:
        plan = decide_tick(replace(seen, typical_day=day), {}, config).plan
        return None if plan is None else plan.mode_at(unit.id, now)

    cheap, dear = (TypicalDay("UTC", (price,) * 96, (7,) * 96) for price in (0.06, 0.30))
    assert planned(TypicalDay()) == planned(cheap) == "eco"
    assert planned(dear) == "off"


def test_the_one_price_of_the_configuration_is_known_to_hold_and_what_stands_in_is_not() -> None:
    assert FIXED in LASTING
    assert FixedSource({POWER: 0.05}).name in LASTING
    assert FALLBACK not in LASTING


def test_the_next_tick_knows_the_price_in_force_and_none_that_is_stale() -> None:
    config = DecidingConfig(replace(LIVE, site=SiteConfig(zone="Europe/Berlin")))
    ticks = {POWER: (tick(POWER, 0.04, NOW),)}
    memory = learned(Memory(), ticks, NOW, config)
    assert (memory.typical_day.zone, memory.typical_day.price_usd_per_kwh) == ("Europe/Berlin", 0.04)
    assert memory.recent.prices_usd_per_kwh == (0.04,)
    assert learned(memory, {POWER: (tick(POWER, 0.9, NOW, 3600),)}, NOW + 900, config) is memory
    assert learned(memory, {}, NOW + 900, config) is memory
    same = learned(memory, ticks, NOW + 10, config)
    assert same.typical_day is memory.typical_day
    assert same.recent is memory.recent


def test_the_next_plan_starts_from_the_prices_of_the_last_one_and_keeps_them_where_there_is_none() -> None:
    made = fleet()
    config = DecidingConfig(SITE, 2.0)
    view = decide_tick(made.snapshot(NOW, 0.02, 40.0, 0.0), {}, config)
    assert view.plan is not None
    memory = next_memory(Memory(), view, config)
    starts = [slot.start for slot in view.plan.slots]
    assert memory.starting_prices == tuple(zip(starts, view.plan.prices_usd_per_kwh, strict=True))
    unknown = decide_tick(made.snapshot(NOW + 60, None, 40.0, 0.0), {}, config)
    assert next_memory(memory, unknown, config) == memory
    free = decide_tick(Fleet().snapshot(NOW, 0.02, 40.0, 0.0), {}, DecidingConfig(LIVE))
    assert next_memory(memory, free, config).starting_prices == ()


# --- what cannot wait after a restart -----------------------------------------------------------------


def _cannot_wait(made: Fleet, seconds: float = 20.0) -> bool:
    snapshot, config = made.snapshot(NOW + seconds, None, None, 0.0), DecidingConfig(made.config, 1.0)
    return cannot_wait(snapshot, made.last, limits_since(snapshot, made.last, config), config)


def test_after_a_restart_an_interval_already_decided_is_not_decided_again() -> None:
    made = fleet()
    made.decide(NOW, 0.02)
    assert not _cannot_wait(made)
    made.modes["u0"] = made.last["u0"].from_mode  # told, and not there yet
    assert not _cannot_wait(made)


def test_what_cannot_wait_after_a_restart() -> None:
    def astray(made: Fleet) -> None:
        made.modes["u0"] = "off" if made.last["u0"].to_mode == "eco" else "eco"
        made.last["u0"] = replace(made.last["u0"], from_mode=made.last["u0"].to_mode)

    def signal(made: Fleet) -> None:
        made.signals.append(window("grid", NOW + 10, NOW + 90))

    def signal_of_before(made: Fleet) -> None:
        made.signals.append(window("grid", NOW - 10, NOW + 90))

    def brief_signal(made: Fleet) -> None:
        made.signals.append(window("grid", NOW + 5, NOW + 10))

    def wish(made: Fleet) -> None:
        made.overrides["u1"] = Override("u1", "off", NOW + 5, NOW + 90, "ann")

    def less_power(made: Fleet) -> None:
        made.config = replace(SITE, site=replace(SITE.site, cap_kw=4.0))

    def heat(made: Fleet) -> None:
        made.units = tuple(replace(unit, max_temp_c=80.0) for unit in made.units)
        made.temp_c["u2"] = 81.0

    def gone(made: Fleet) -> None:
        del made.last["u3"]

    for happened in (astray, signal, signal_of_before, brief_signal, wish, less_power, heat, gone):
        made = fleet()
        made.decide(NOW, 0.02)
        happened(made)
        assert _cannot_wait(made), happened.__name__


def test_a_unit_that_answers_again_waits_for_the_next_tick_and_one_that_does_not_is_no_reason() -> None:
    made = fleet()
    made.unreachable = {"u0"}
    made.decide(NOW, 0.02)
    assert not _cannot_wait(made)
    made.unreachable = {"u1"}
    made.modes["u0"] = "off"
    assert not _cannot_wait(made)
