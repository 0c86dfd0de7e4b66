import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.signals import (
    Action,
    Active,
    SignalRule,
    active,
    allowed_modes,
    binding_span,
    cap_between,
    cap_spans,
    edges,
    strongest,
    windows,
)
from controller.ticks import Tick
from controller.units import Mode, PowerCurve, Unit

NOON = 1_800_000_000.0
HOUR = 3600.0
PAUSE = SignalRule("dr", Action.PAUSE, ramp_s=600)
SOME = SignalRule("rack", Action.PAUSE, frozenset({"a"}), ramp_s=600)
CAP = SignalRule("cap", Action.CAP, cap_kw=2.0, ramp_s=1000)
RUN = SignalRule("load", Action.RUN, ramp_s=600)
ECO = SignalRule("eco", Action.MODE, mode="eco")


def unit(name: str, *, eco: bool = True) -> Unit:
    modes = [Mode("off", 0, 100), Mode("full", 100, 3000)]
    return Unit(name, PowerCurve([*modes, Mode("eco", 70, 2000)] if eco else modes))


def tick(
    rule: SignalRule, start: float, stop: float = math.inf, value: float = 1.0, measure: str = "1"
) -> Tick:
    return Tick(rule.series, value, measure, start, stop, start, "test")


def test_a_signal_is_active_in_its_half_open_window() -> None:
    ticks = {PAUSE.series: (tick(PAUSE, NOON, NOON + HOUR),)}
    assert active(ticks, [PAUSE], NOON - 1) == ()
    (found,) = active(ticks, [PAUSE], NOON)
    assert (found.rule, found.start, found.stop, found.cap_kw) == (PAUSE, NOON, NOON + HOUR, None)
    assert active(ticks, [PAUSE], NOON + HOUR) == ()


def test_windows_to_come_are_known_ahead_and_those_past_matter_while_their_ramp_runs() -> None:
    ticks = {
        PAUSE.series: (tick(PAUSE, NOON, NOON + HOUR), tick(PAUSE, NOON + 5 * HOUR, NOON + 6 * HOUR)),
        RUN.series: (tick(RUN, NOON, NOON + HOUR),),
    }
    at = NOON + HOUR + 300
    assert [each.start for each in windows(ticks, [RUN, PAUSE], at, at + 24 * HOUR)] == [
        NOON,
        NOON + 5 * HOUR,
    ]
    assert [each.start for each in windows(ticks, [RUN, PAUSE], at, at + HOUR)] == [NOON]
    assert windows(ticks, [RUN, PAUSE], at + 300, at + HOUR) == ()


def test_a_window_taken_back_or_said_to_be_nothing_is_none() -> None:
    ticks = {PAUSE.series: (tick(PAUSE, NOON, NOON + 0.001), tick(PAUSE, NOON + 1, value=0.0))}
    assert windows(ticks, [PAUSE], NOON, NOON + HOUR) == ()


def test_a_cap_takes_its_kilowatts_from_the_tick_and_else_from_its_rule() -> None:
    ticks = {CAP.series: (tick(CAP, NOON, NOON + 10), tick(CAP, NOON + 10, NOON + 20, 0.5, "kW"))}
    assert [each.cap_kw for each in windows(ticks, [CAP], NOON, NOON + HOUR)] == [2.0, 0.5]
    bare = SignalRule("cap", Action.CAP)
    assert [each.cap_kw for each in windows(ticks, [bare], NOON, NOON + HOUR)] == [0.5]


def test_of_several_signals_a_pause_binds_before_a_mode_and_a_mode_before_a_run() -> None:
    found = [Active(rule, NOON, NOON + HOUR) for rule in (RUN, ECO, SOME)]
    found.append(Active(CAP, NOON, NOON + HOUR, 2.0))
    for unit_id, rule in (("a", SOME), ("b", ECO)):
        chosen = strongest(found, unit_id, NOON, NOON + 1)
        assert chosen is not None
        assert chosen.rule is rule
    assert strongest(found, "a", NOON - 900, NOON) is None
    assert strongest(found, "a", NOON + HOUR - 1, NOON + 2 * HOUR) is not None
    assert strongest(found[3:], "a", NOON, NOON + 1) is None


@pytest.mark.parametrize(
    ("rule", "modes"),
    [(PAUSE, {"off"}), (RUN, {"eco", "full"}), (ECO, {"eco"}), (CAP, set())],
)
def test_a_window_allows_the_modes_that_keep_it(rule: SignalRule, modes: set[str]) -> None:
    assert allowed_modes(Active(rule, NOON, NOON + HOUR), unit("a")) == modes


def test_a_unit_without_the_mode_cannot_keep_it() -> None:
    assert allowed_modes(Active(ECO, NOON, NOON + HOUR), unit("a", eco=False)) == frozenset()


def test_after_a_pause_the_power_comes_back_in_a_straight_line() -> None:
    found = [Active(PAUSE, NOON, NOON + HOUR)]
    (ramp,) = cap_spans(found, [unit("a"), unit("b")])
    end = NOON + HOUR
    assert (ramp.name, ramp.start, ramp.stop, ramp.is_ramp) == ("dr", end, end + 600, True)
    assert ramp.kw_at(end) == pytest.approx(0.2)  # what two units draw while off
    assert ramp.kw_at(end + 300) == pytest.approx(0.2 + 5.8 / 2)
    assert ramp.kw_at(end + 600) == math.inf
    assert ramp.kw_at(end - 1) == math.inf


def test_a_ramp_begins_at_what_the_signal_left_to_the_other_units() -> None:
    (ramp,) = cap_spans([Active(SOME, NOON, NOON + HOUR)], [unit("a"), unit("b")])
    assert (ramp.from_kw, ramp.to_kw) == (pytest.approx(3.1), pytest.approx(6.0))


def test_a_cap_limits_the_site_and_then_rises() -> None:
    spans = cap_spans([Active(CAP, NOON, NOON + HOUR, 2.0)], [unit("a"), unit("b")])
    end = NOON + HOUR
    assert cap_between(spans, NOON, end) == 2.0
    assert cap_between(spans, end + 500, end + 900) == pytest.approx(4.0)
    assert cap_between(spans, end - 1, end + 900) == 2.0
    assert cap_between(spans, end + 1000, end + 2000) == math.inf
    first = binding_span(spans, NOON)
    assert first is not None
    assert (first.name, first.is_ramp) == ("cap", False)
    assert binding_span(spans, end + 1000) is None


def test_a_ramp_goes_no_higher_than_the_site_may() -> None:
    (ramp,) = cap_spans([Active(PAUSE, NOON, NOON + HOUR)], [unit("a"), unit("b")], 3.2)
    assert ramp.kw_at(NOON + HOUR + 300) == pytest.approx(1.7)


def test_a_signal_that_runs_units_or_has_no_end_or_leaves_everything_has_no_ramp() -> None:
    whole = Active(CAP, NOON, math.inf, 2.0)
    roomy = SignalRule("roomy", Action.CAP, cap_kw=50.0, ramp_s=60)
    spans = cap_spans(
        [Active(RUN, NOON, NOON + HOUR), whole, Active(roomy, NOON, NOON + HOUR, 50.0)], [unit("a")]
    )
    assert [(span.name, span.is_ramp) for span in spans] == [("cap", False), ("roomy", False)]


def test_slots_are_cut_where_something_begins_or_ends() -> None:
    found = [Active(PAUSE, NOON, NOON + HOUR), Active(CAP, NOON + 60, math.inf, 2.0)]
    assert edges(found) == (NOON, NOON + 60, NOON + HOUR, NOON + HOUR + 600)


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 100), st.sampled_from([PAUSE, SOME, CAP, RUN]))),
    st.integers(0, 300),
    st.integers(1, 60),
)
def test_the_lowest_limit_of_a_slot_is_the_lowest_of_its_instants(
    given_windows: list[tuple[int, int, SignalRule]], start: int, length: int
) -> None:
    found = [
        Active(rule, 100.0 * at, 100.0 * (at + duration), 2.0 if rule is CAP else None)
        for at, duration, rule in given_windows
    ]
    spans = cap_spans(found, [unit("a"), unit("b")])
    begin, end = 100.0 * start, 100.0 * (start + length)
    instants = [min((s.kw_at(begin + 10.0 * k) for s in spans), default=math.inf) for k in range(10 * length)]
    assert cap_between(spans, begin, end) == min(instants)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "", "action": Action.PAUSE}, "needs a name"),
        ({"name": "a", "action": Action.PAUSE, "ramp_s": -1.0}, "ramp_s must be zero or more"),
        ({"name": "a", "action": Action.CAP, "cap_kw": math.inf}, "cap_kw must be zero or more"),
        ({"name": "a", "action": Action.MODE}, "names a mode"),
        ({"name": "a", "action": Action.PAUSE, "mode": "eco"}, "names a mode"),
        ({"name": "a", "action": Action.CAP, "units": frozenset({"x"})}, "whole site"),
    ],
)
def test_a_rule_that_says_nothing_or_too_much_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SignalRule(**arguments)  # type: ignore[arg-type]
