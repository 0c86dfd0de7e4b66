"""Where the next prices are not known, the first step of a unit without limits is the model's, and limits still hold."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from controller import standing
from controller.deciding import AHEAD_KNOWN_S, RealTime, Sees, decide_tick, learned, seen_ticks
from controller.decisions import Reason
from controller.limits import SiteConfig
from controller.signals import Action, SignalRule
from controller.ticks import HASHPRICE, POWER, Tick
from controller.units import OFF, PowerCurve, Unit
from tests.controller.real_time_rig import LADDER, LIVE, NOW, QUARTER, SINGLE, Market, pinned, priced

if TYPE_CHECKING:
    from controller.worth import Seen

EITHER = pytest.mark.parametrize("sees", list(Sees))
ONE = Unit("u", SINGLE, restart_s=600.0, wear_usd=0.01)
STEPS = Unit("u", LADDER, restart_s=120.0, change_s=120.0)
FLAT = (0.05,) * 200


def revenue(th_s: float, hours: float, hashprice: float = 40.0) -> float:
    return hashprice / 24_000 * th_s * hours


prices_ = st.floats(-0.05, 0.25)
ratios_ = st.floats(-0.5, 1.5)
minutes_ = st.sampled_from([0, 0, 1, 7, 14])


@given(st.sampled_from(list(Sees)), prices_, ratios_, minutes_, st.sampled_from([OFF, "full"]))
@settings(max_examples=150, deadline=None)
def test_the_first_decision_of_a_unit_without_limits_is_the_models(
    sees: Sees, price: float, ratio: float, minute: int, mode: str
) -> None:
    if sees is Sees.A:
        ratio = min(max(ratio, 0.0), 1.0)
    cost = (revenue(100, 1 / 6) + 0.01) / 2.0
    margin = (revenue(100, 1) / 2.0 - price) * (15 - minute) / 60
    on_worth = ratio if sees is Sees.B else margin / cost + ratio
    assume(min(abs(on_worth), abs(on_worth - 1)) > 1e-9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standing, "expected", pinned(lambda _: ratio))
        market = Market([ONE], (price,) * 9, RealTime(sees), mode)
        view = market.decide(NOW + 60 * minute)
    assert view.plan is not None
    assert view.plan.units["u"].modes[0] == ("full" if on_worth > (mode == OFF) else OFF)
    if mode != OFF:
        assert view.decisions["u"].to_mode == view.plan.units["u"].modes[0]
    assert view.decisions["u"].numbers["worth_now_ratio"] == pytest.approx(on_worth, rel=1e-9, abs=1e-9)


@given(
    st.sampled_from(list(Sees)),
    prices_,
    st.lists(st.floats(0, 1), min_size=6, max_size=6),
    st.sampled_from(LADDER.modes),
    minutes_,
)
@settings(max_examples=150, deadline=None)
def test_on_a_ladder_it_is_the_mode_with_the_greatest_worth_less_what_the_change_costs(
    sees: Sees, price: float, ratios: list[float], present: object, minute: int
) -> None:
    names = {mode.name: mode for mode in LADDER.modes}
    now = names[present.name]  # type: ignore[attr-defined]
    worth, total, hull = {LADDER.off: 0.0}, 0.0, LADDER.hull()
    for at, (lower, upper) in enumerate(pairwise(hull)):
        kw = (upper.watts - lower.watts) / 1000
        up, down = revenue(upper.th_s, 1 / 30) / kw, revenue(lower.th_s, 1 / 30) / kw
        total += kw * ((up + down) * ratios[at] - down)
        worth[upper] = total
    hours = (15 - minute) / 60

    def value(mode: object) -> float:
        name = mode.name  # type: ignore[attr-defined]
        known = revenue(names[name].th_s, hours) - price * names[name].watts / 1000 * hours
        change = 0.0 if names[name] in {now, LADDER.off} else revenue(names[name].th_s, 1 / 30)
        return (known if sees is Sees.A else 0.0) - change + worth[names[name]]

    ranked = sorted(map(value, worth), reverse=True)
    assume(ranked[0] - ranked[1] > 1e-9)
    assume(now in worth)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standing, "expected", pinned(lambda at: ratios[at]))
        market = Market([STEPS], (price,) * 9, RealTime(sees), now.name)
        assert market.first(NOW + 60 * minute) == max(worth, key=value).name


def test_a_mode_off_the_hull_is_worth_what_lies_between_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    curve = PowerCurve([*LADDER.modes, replace(LADDER.modes[3], name="worse", th_s=60.0, watts=1925.0)])
    assert "worse" not in {mode.name for mode in curve.hull()}
    monkeypatch.setattr(standing, "expected", pinned(lambda at: 0.9 - at / 10))
    view = Market([replace(STEPS, curve=curve)], FLAT).decide(NOW)
    assert view.worth is not None
    found = view.worth.of(replace(STEPS, curve=curve))
    assert found is not None
    worth = dict(zip([mode.name for mode in curve.modes], found.worth_usd, strict=True))
    assert worth["worse"] == pytest.approx((worth["1850 W"] + worth["2000 W"]) / 2)


@EITHER
def test_within_a_quarter_hour_a_decision_stands(sees: Sees, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda at: 0.6 - at / 10))
    waves = [0.07 + 0.04 * math.sin(n * 2.4) for n in range(40)]
    for unit in (ONE, STEPS):
        market = Market([unit], waves, RealTime(sees), unit.curve.full.name)
        for number in range(1, 25):
            seen = [market.live(NOW + 900 * number + 60 * minute) for minute in range(15)]
            modes = [view.decisions["u"].to_mode for view in seen]
            assert len(set(modes)) == 1


@EITHER
def test_a_cap_is_kept_and_the_rest_is_the_models(sees: Sees, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda _: 0.99))
    units = [replace(ONE, id=f"u{n}", restart_s=300.0 + 60 * n) for n in range(5)]
    policy = replace(LIVE, site=SiteConfig(7.0))
    view = Market(units, FLAT, RealTime(sees), "full", policy).decide(NOW)
    assert view.plan is not None
    for slot in range(len(view.plan.slots)):
        assert sum(path.modes[slot] != OFF for path in view.plan.units.values()) <= 3
    assert sum(path.modes[0] != OFF for path in view.plan.units.values()) == 3
    assert view.plan.gap_ratio < 0.01


@EITHER
def test_a_signal_in_an_hour_is_obeyed(sees: Sees, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda _: 1.0))
    policy = replace(LIVE, site=SiteConfig(signals=(SignalRule("grid", Action.PAUSE),)))
    window = Tick("signal:grid", 1.0, "1", NOW + 3600, NOW + 7200, NOW, "grid")
    market = Market([ONE], FLAT, RealTime(sees), "full", policy, signals=[window])
    view = market.decide(NOW)
    assert view.plan is not None
    modes = [(slot.start, view.plan.units["u"].modes[at]) for at, slot in enumerate(view.plan.slots)]
    assert {mode for start, mode in modes if NOW + 3600 <= start < NOW + 7200} == {OFF}
    assert view.plan.units["u"].modes[0] == "full"
    assert market.live(NOW + 3600).decisions["u"].reason is Reason.SIGNAL


def test_a_minimum_time_off_that_reaches_beyond_is_weighed_by_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda _: 0.0))
    dear = Market([ONE], (0.09,) * 40, mode="full")
    dear.memory = learned(dear.memory, {POWER: (priced(POWER, 0.02, NOW - 900),)}, NOW - 900, dear.config)
    assert dear.first(NOW) == OFF
    assert dear.but(units=[replace(ONE, min_on_s=7200.0)]).live(NOW).decisions["u"].to_mode in {OFF, "full"}


@EITHER
def test_known_prices_beyond_two_hours_leave_the_plan_to_itself(sees: Sees) -> None:
    market = Market([ONE], FLAT, RealTime(sees))
    snapshot = market.snapshot(NOW)
    for known_s, is_used in ((AHEAD_KNOWN_S, True), (AHEAD_KNOWN_S + 900, False)):
        ticks = {**snapshot.ticks, POWER: (priced(POWER, 0.05, NOW - 900, NOW + known_s),)}
        view = decide_tick(replace(snapshot, ticks=ticks), {}, market.config)
        assert (view.worth is not None) is is_used
        if not is_used and sees is Sees.A:
            plain = decide_tick(replace(snapshot, ticks=ticks), {}, replace(market.config, real_time=None))
            assert repr(plain.decisions) == repr(view.decisions)
            assert plain.plan == view.plan


def test_through_prices_known_a_while_ahead_the_plan_goes_as_it_sees_and_the_worth_stands_at_their_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda _: 1.0))
    market = Market([ONE], FLAT, mode="full")
    told = [(0, 0.09), (1, 0.09), (2, 0.3), (3, 0.05)]
    ticks = tuple(priced(POWER, price, NOW + 900 * n, NOW + 900 * (n + 1)) for n, price in told)
    snapshot = replace(market.snapshot(NOW), ticks={**market.snapshot(NOW).ticks, POWER: ticks})
    view = decide_tick(snapshot, {}, market.config)
    assert view.plan is not None
    assert view.plan.units["u"].modes[:4] == ("off", "off", "off", "full")
    assert view.worth is not None
    found = view.worth.of(ONE)
    assert found is not None
    # Reckoned back: a quarter hour at 30 ct costs more than a start, so that nothing is left of being on before it.
    assert found.blocks[0].on_ratio == pytest.approx(
        (revenue(100, 1) / 2 - 0.09) * 0.25 / ((revenue(100, 1 / 6) + 0.01) / 2)
    )


def test_the_dead_band_does_not_come_on_top_of_the_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda _: 0.0))
    market = Market([ONE], (0.0834,) * 9, mode="full")
    assert market.decide(NOW).decisions["u"].reason is Reason.PAUSE
    held = market.but(real_time=None).decide(NOW).decisions["u"]
    assert held.to_mode == "full"


def spans(ticks: tuple[Tick, ...]) -> list[tuple[float, float, float]]:
    return [(each.value, each.valid_from, each.valid_to) for each in ticks]


def test_who_sees_only_the_last_price_decides_as_if_it_held_for_the_rest_of_this_quarter_hour() -> None:
    told = (priced(POWER, 0.1, NOW - 900, NOW), priced(POWER, 0.2, NOW + 1800, NOW + 2700))
    for late_s in (0, 60, 899):
        seen = seen_ticks({POWER: told}, Sees.B, NOW + late_s)[POWER]
        assert spans(seen) == [(0.1, NOW, NOW + 900), (0.2, NOW + 1800, NOW + 2700)]
    assert seen_ticks({POWER: told}, Sees.A, NOW) == {POWER: told}


def test_the_last_price_stands_until_the_next_is_told_and_no_longer_than_feeds_are_late() -> None:
    for length in (300, 900, 3600):
        told = (priced(POWER, 0.1, NOW - length, NOW),)
        until = NOW + max(length, 900) + 1800
        for at in range(int(NOW), int(until) + 1800, 300):
            (held,) = seen_ticks({POWER: told}, Sees.B, at)[POWER]
            assert (held.valid_from, held.holds_at(at)) == (NOW, at < until)
            assert held.valid_to <= (at // 900 + 1) * 900
        following = (*told, priced(POWER, 0.2, NOW, NOW + length))
        (held,) = seen_ticks({POWER: following}, Sees.B, NOW + length)[POWER]
        assert (held.value, held.valid_from) == (0.2, NOW + length)


def test_a_price_in_force_is_known_and_one_that_was_withdrawn_says_nothing() -> None:
    now_known = {POWER: (priced(POWER, 0.1, NOW - 900, NOW), priced(POWER, 0.2, NOW, NOW + 900))}
    for at in (NOW, NOW + 899):
        assert seen_ticks(now_known, Sees.B, at) == now_known
    moment = {POWER: (priced(POWER, 0.1, NOW - 900, NOW), priced(POWER, 0.2, NOW)), HASHPRICE: ()}
    assert seen_ticks(moment, Sees.B, NOW + 5) == moment
    withdrawn = (priced(POWER, 0.1, NOW - 900, NOW), priced(POWER, 9.0, NOW, NOW + 0.001))
    assert spans(seen_ticks({POWER: withdrawn}, Sees.B, NOW + 60)[POWER]) == [(0.1, NOW, NOW + 900)]


def test_what_was_learned_is_what_was_seen() -> None:
    told = {POWER: (priced(POWER, 0.1, NOW - 900, NOW),)}
    late, early = Market([ONE], FLAT, RealTime(Sees.B)), Market([ONE], FLAT)
    after = learned(late.memory, told, NOW, late.config)
    assert (after.recent.quarter, after.recent.prices_usd_per_kwh) == (QUARTER, (0.1,))
    assert after.typical_day.price_usd_per_kwh == 0.1
    assert learned(early.memory, told, NOW, early.config) is early.memory


def test_a_price_that_stands_for_one_that_is_late_is_not_seen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Seen] = []

    def expected(seen: Seen, *rest: Any) -> Any:
        looked.append(seen)
        return pinned(lambda _: 0.5)(seen, *rest)

    monkeypatch.setattr(standing, "expected", expected)
    market = Market([ONE], FLAT, RealTime(Sees.B))
    memory = market.memory
    for at in (NOW, NOW + 960):
        snapshot = market.snapshot(at)
        ticks = {**snapshot.ticks, POWER: (priced(POWER, 0.3, NOW - 900, NOW),)}
        memory = learned(memory, ticks, at, market.config)
        view = decide_tick(replace(snapshot, ticks=ticks, recent=memory.recent), {}, market.config)
        assert view.worth is not None
        assert (memory.recent.quarter, memory.recent.prices_usd_per_kwh) == (QUARTER, (0.3,))
        assert looked[-1].quarter == QUARTER - 1
        assert [each for each in looked[-1].recent if not math.isnan(each)] == [0.3]
    assert len(looked) == 2


def test_where_changes_cost_nothing_the_dead_band_stays() -> None:
    free = Market([Unit("u", SINGLE)], (0.0834,) * 9, mode="full")
    view = free.decide(NOW)
    assert view.worth is not None
    assert not view.worth.methods
    assert view.decisions["u"].to_mode == "full"


@EITHER
def test_what_comes_later_changes_no_bit_of_what_is_decided_now(sees: Sees) -> None:
    waves = [0.07 + 0.04 * math.sin(n * 2.4) for n in range(60)]
    units = [ONE, replace(STEPS, id="steps")]
    one = Market(units, waves, RealTime(sees), day_ahead=[0.06, 0.08] * 20)
    back = 1 if sees is Sees.B else 0
    other = one.but(prices=[*waves[: 31 - back], *(9 * p for p in reversed(waves))])
    for number in range(1, 31):
        views = [each.live(NOW + 900 * number) for each in (one, other)]
        assert repr(views[0].decisions) == repr(views[1].decisions)
    assert one.live(NOW + 31 * 900).market != other.live(NOW + 31 * 900).market
