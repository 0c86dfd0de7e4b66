from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.limits import (
    MOST_CUTS,
    Limits,
    SiteConfig,
    local_day,
    local_days,
    midnights,
    obliged_slots,
    read_limits,
)
from controller.overrides import Override
from controller.plan import Slot
from controller.signals import Action, SignalRule
from controller.snapshot import Snapshot
from controller.units import Mode, PowerCurve, Unit
from tests.controller.fleet_rig import window

CURVE = PowerCurve([Mode("off", 0, 0), Mode("eco", 76, 1850), Mode("full", 100, 3000)])
UNITS = (Unit("a", CURVE), Unit("b", CURVE))
PAUSE = SignalRule("grid", Action.PAUSE, ramp_s=100)
CAP = SignalRule("limit", Action.CAP)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def snapshot(*signals: tuple[str, float, float], now: float = 0.0, **wishes: Override) -> Snapshot:
    ticks = {f"signal:{name}": (window(name, start, stop),) for name, start, stop in signals}
    return Snapshot(now, ticks, UNITS, {}, overrides=wishes)


def test_the_lowest_of_the_sites_limit_and_what_signals_leave_holds_and_is_named() -> None:
    caps = {"signal:limit": (window("limit", 100, 200, 2.5, "kW"),)}
    limits = read_limits(Snapshot(0.0, caps, UNITS, {}), SiteConfig(5.0, (CAP,)), 1000)
    assert [limits.cap_kw_at(each) for each in (0, 100, 199.9, 200)] == [5.0, 2.5, 2.5, 5.0]
    assert limits.cap_kw(50, 150) == 2.5
    assert limits.cap_text(0) == "the site's limit of 5 kW"
    assert limits.cap_text(100) == "signal limit: 2.5 kW"
    assert read_limits(snapshot(), SiteConfig(), 1000).cap_kw_at(0) == math.inf


def test_a_ramp_after_a_signal_is_a_limit_of_its_own() -> None:
    limits = read_limits(snapshot(("grid", 0, 100)), SiteConfig(None, (PAUSE,)), 1000)
    assert limits.cap_kw_at(50) == math.inf, "the signal itself is an obligation of units"
    assert limits.cap_kw_at(150) == pytest.approx(3.0)
    assert limits.cap_text(150) == "the ramp after signal grid: 3 kW"


def test_what_units_that_cannot_be_told_anything_draw_is_taken_from_the_limit() -> None:
    limits = read_limits(snapshot(), SiteConfig(5.0, zone="Europe/Berlin"), 1000)
    stretches = [(0.0, 60.0), (86_400.0, 86_460.0)]
    (cap_kw, day), (next_kw, next_day) = limits.rooms(stretches, 2.0)
    assert (cap_kw, next_kw) == (3.0, 3.0)
    assert next_day - day == 1
    assert limits.rooms(stretches, 9.0)[0][0] == 0
    assert limits.rooms(stretches, 2.0, 1.5)[0][0] == 2.0


def test_room_under_a_signal_is_what_is_left_of_it_and_infinite_without_any_limit() -> None:
    caps = {"signal:limit": (window("limit", 100, 200, 2.5, "kW"),)}
    limits = read_limits(Snapshot(0.0, caps, UNITS, {}), SiteConfig(None, (CAP,)), 1000)
    stretches = [(0.0, 100.0), (100.0, 150.0), (150.0, 300.0), (300.0, 400.0)]
    assert [kw for kw, _ in limits.rooms(stretches, 1.0)] == [math.inf, 1.5, 1.5, math.inf]


def test_a_signal_binds_a_unit_before_a_person_does_slot_by_slot() -> None:
    wish = Override("a", "eco", 0, 300, "ann")
    limits = read_limits(snapshot(("grid", 100, 200), a=wish), SiteConfig(None, (PAUSE,)), 1000)
    slots = [Slot(start, 100, 40, 0.05) for start in (0.0, 100.0, 200.0, 300.0)]
    eco, off = frozenset({"eco"}), frozenset({"off"})
    assert obliged_slots(limits, UNITS[0], slots) == (eco, off, eco, None)
    assert obliged_slots(limits, UNITS[1], slots) == (None, off, None, None)
    assert limits.cuts(0, 1000)[:4] == (100, 200, 300)
    assert obliged_slots(read_limits(snapshot(), SiteConfig(), 1000), UNITS[0], slots) == ()


def test_an_override_that_is_over_or_for_a_mode_the_unit_lacks_binds_nobody() -> None:
    over = read_limits(snapshot(now=300, a=Override("a", "eco", 0, 300, "ann")), SiteConfig(), 1000)
    assert over.overrides == {}
    turbo = read_limits(snapshot(a=Override("a", "turbo", 0, 300, "ann")), SiteConfig(), 1000)
    assert turbo.override_at(UNITS[0], 0) is None


def test_the_next_change_is_when_a_signal_or_an_override_begins_or_ends() -> None:
    limits = read_limits(
        snapshot(("grid", 100, 200), a=Override("a", "eco", 0, 150, "ann")), SiteConfig(None, (PAUSE,)), 1000
    )
    changes = [limits.next_change(each) for each in (0, 100, 150, 200, 300)]
    assert changes == [100, 150, 200, 300, math.inf]


def test_days_are_those_of_the_sites_zone_also_when_they_have_23_or_25_hours() -> None:
    spring = midnights(at("2026-03-28T12:00"), at("2026-03-30T12:00"), "Europe/Berlin")
    assert spring == (at("2026-03-28T23:00"), at("2026-03-29T22:00"))
    autumn = midnights(at("2026-10-24T12:00"), at("2026-10-26T12:00"), "Europe/Berlin")
    assert autumn == (at("2026-10-24T22:00"), at("2026-10-25T23:00"))
    assert local_day(at("2026-03-29T21:59"), "Europe/Berlin") + 1 == local_day(
        at("2026-03-29T22:00"), "Europe/Berlin"
    )


ZONES = ("UTC", "Europe/Berlin", "America/Santiago", "Africa/Cairo", "America/Havana", "Asia/Kathmandu")


@settings(deadline=None)  # a zone is read from disk when it is first asked for
@given(
    st.sampled_from(ZONES),
    st.floats(1_735_689_600, 1_798_761_600),
    st.lists(st.floats(1e-7, 30_000), max_size=100),
)
def test_days_of_many_times_are_those_of_each(zone: str, start: float, waits_s: list[float]) -> None:
    times = list(accumulate(waits_s, initial=start))
    assert local_days(times, zone) == [local_day(each, zone) for each in times]


@pytest.mark.parametrize("zone", ZONES)
def test_days_change_at_midnight_to_the_rounding_of_the_wall_clock(zone: str) -> None:
    for midnight in midnights(1_735_689_600, 1_767_225_600, zone):
        times = [midnight + each for each in (-3600.0, -2e-6, -4e-7, 0.0, 1800.0, 3600.0)]
        assert local_days(times, zone) == [local_day(each, zone) for each in times]


@pytest.mark.parametrize("cap_kw", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_nobody_could_keep_is_refused(cap_kw: float) -> None:
    with pytest.raises(ValueError, match="cap_kw"):
        SiteConfig(cap_kw)


def test_an_unknown_zone_and_two_rules_for_a_signal_are_refused() -> None:
    with pytest.raises(ValueError, match="no IANA time zone"):
        SiteConfig(zone="Mars/Olympus")
    with pytest.raises(ValueError, match="one rule"):
        SiteConfig(None, (PAUSE, PAUSE))


def test_many_overrides_do_not_cut_the_plan_into_many_slots() -> None:
    wishes = {f"u{n}": Override(f"u{n}", "off", -1.0, 10.0 + n, "ana", "") for n in range(500)}
    limits = Limits(SiteConfig(), overrides=wishes)
    cuts = limits.cuts(0.0, 36 * 3600.0)
    assert len(cuts) <= MOST_CUTS + 2
    assert cuts[0] == 10
