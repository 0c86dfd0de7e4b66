import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.book import TickBook
from controller.signals import Action, SignalRule, active
from controller.sources.signal_windows import Timeline, Window
from controller.validate import MAINNET_RULES

RULE = SignalRule("dr", Action.PAUSE)
CAP = SignalRule("dr", Action.CAP)


def holds(timeline: Timeline, now: float) -> bool:
    """What a book that was only given what holds now makes of it."""
    book = TickBook(MAINNET_RULES)
    book.admit(timeline.ticks(now), 0, now)
    return bool(active(book.ticks(), [RULE], now))


def test_a_window_is_a_tick_observed_when_it_was_first_said() -> None:
    timeline = Timeline("dr", "here")
    timeline.say([Window(100, 200)], 50)
    timeline.say([Window(100, 200)], 60)
    (tick,) = timeline.ticks(70)
    assert (tick.series, tick.value, tick.unit, tick.source) == ("signal:dr", 1.0, "1", "here")
    assert (tick.valid_from, tick.valid_to, tick.observed_at) == (100, 200, 50)
    assert timeline.ticks(70, seen_at=70)[0].observed_at == 70


def test_a_limit_is_a_tick_in_kilowatts() -> None:
    timeline = Timeline("dr", "here")
    timeline.say([Window(100, 200, 500.0), Window(150, 250, 300.0)], 50)
    assert [(tick.valid_from, tick.valid_to, tick.value, tick.unit) for tick in timeline.ticks(60)] == [
        (100, 150, 500.0, "kW"),
        (150, 250, 300.0, "kW"),
    ]


def test_a_window_in_force_that_is_no_longer_said_ends_now() -> None:
    timeline = Timeline("dr", "here")
    timeline.say([Window(100, math.inf)], 100)
    timeline.say([], 160)
    (tick,) = timeline.ticks(170)
    assert (tick.valid_from, tick.valid_to) == (100, 160)


def test_a_window_to_come_that_is_no_longer_said_is_taken_back() -> None:
    book = TickBook(MAINNET_RULES)
    timeline = Timeline("dr", "here")
    timeline.say([Window(300, 400)], 100)
    book.admit(timeline.ticks(100), 0, 100)
    timeline.say([], 200)
    book.admit(timeline.ticks(200), 0, 200)
    assert active(book.ticks(), [RULE], 350) == ()


def test_a_window_that_goes_on_keeps_its_start() -> None:
    timeline = Timeline("dr", "here")
    timeline.say([Window(100, 200)], 100)
    timeline.say([Window(150, 300)], 150)
    assert timeline.windows == (Window(100, 300),)


def test_the_past_is_not_rewritten() -> None:
    timeline = Timeline("dr", "here")
    timeline.say([Window(100, 200, 500.0)], 100)
    timeline.say([Window(100, 200, 300.0)], 150)
    assert timeline.windows == (Window(100, 150, 500.0), Window(150, 200, 300.0))
    assert [(tick.valid_from, tick.valid_to) for tick in timeline.ticks(150)] == [(100, 150), (150, 200)]


def test_nothing_new_is_said_by_looking_again() -> None:
    book = TickBook(MAINNET_RULES)
    timeline = Timeline("dr", "here")
    timeline.say([Window(100, 200), Window(300, 400)], 50)
    assert len(book.admit(timeline.ticks(50), 0, 50)[0]) == 2
    for now in (60.0, 150.0, 250.0, 350.0, 450.0):
        timeline.say([Window(100, 200), Window(300, 400)], now)
        assert book.admit(timeline.ticks(now, seen_at=now), 0, now)[0] == []


@pytest.mark.parametrize(
    ("start", "stop", "cap_kw"),
    [(math.nan, 2, None), (2, 1, None), (1, 1, None), (1, math.nan, None), (1, 2, -1.0), (1, 2, math.inf)],
)
def test_what_is_no_stretch_of_time_or_no_limit_is_refused(
    start: float, stop: float, cap_kw: float | None
) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        Window(start, stop, cap_kw)


WINDOWS = st.lists(
    st.builds(
        lambda start, length, cap: Window(float(start), float(start + length), cap),
        st.integers(0, 60),
        st.integers(1, 30),
        st.sampled_from([None, 2.0, 3.0]),
    ),
    max_size=4,
)


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(1, 12), WINDOWS), min_size=1, max_size=5), st.data())
def test_whatever_is_said_and_taken_back_a_book_that_heard_it_all_holds_what_was_said_last(
    said: list[tuple[int, list[Window]]], data: st.DataObject
) -> None:
    """Also when the source is replaced by one that goes on from what was recorded."""
    book, timeline, now = TickBook(MAINNET_RULES), Timeline("dr", "here"), 0.0
    recorded = []
    windows: list[Window] = []
    for wait, windows in said:
        now += wait
        if data.draw(st.booleans()):
            timeline = Timeline("dr", "here")
            timeline.restore(recorded)
        timeline.say(windows, now)
        recorded += book.admit(timeline.ticks(now), 0, now)[0]
        book.admit(timeline.ticks(now), 0, now)
    for instant in range(int(now), 100):
        at = instant + 0.5
        wanted = [window for window in windows if window.start <= at < window.stop]
        assert bool(active(book.ticks(), [RULE], at)) == bool(wanted)
        limits = [window.cap_kw for window in wanted if window.cap_kw is not None]
        found = active(book.ticks(), [CAP], at)
        assert [each.cap_kw for each in found] == ([min(limits)] if limits else [])


def test_ticks_of_other_signals_and_other_sources_are_not_its_own() -> None:
    timeline = Timeline("dr", "here")
    timeline.say([Window(100, 200)], 100)
    ticks = timeline.ticks(100)
    for other in (Timeline("dr", "there"), Timeline("cap", "here")):
        other.restore(ticks)
        assert (other.windows, other.ticks(100)) == ((), [])


def test_what_ended_a_day_ago_is_forgotten_but_the_last() -> None:
    timeline, day = Timeline("dr", "here"), 86_400.0
    timeline.say([Window(100, 200), Window(300, 400)], 50)
    timeline.say([], 2 * day)
    assert timeline.windows == (Window(300, 400),)
    assert [tick.valid_from for tick in timeline.ticks(2 * day)] == [300]


def spans(timeline: Timeline, now: float) -> list[tuple[float, float]]:
    """What a book makes of it that heard it all."""
    timeline.ticks(now)
    return [(window.start, window.stop) for window in timeline.windows]


@pytest.mark.parametrize(
    ("window", "then"),
    [
        ((9_000, math.inf), [(3_000, math.inf)]),  # in force: it goes on
        ((9_000, 20_000), [(3_000, 20_000)]),
        ((2_000, 20_000), [(2_000, 20_000)]),
        ((2_000, 5_000), [(2_000, 3_000)]),  # over: it stays over
        ((15_000, 20_000), [(15_000, 20_000)]),  # to come: it comes
        ((4_000, 5_000), [(4_000, 5_000)]),  # its time comes again
        ((1_000, 2_000), [(1_000, 2_000)]),
    ],
)
def test_a_clock_that_was_set_back_lifts_nothing_that_was_in_force(
    window: tuple[float, float], then: list[tuple[float, float]]
) -> None:
    timeline = Timeline("dr", "here")
    book = TickBook(MAINNET_RULES)
    timeline.say([Window(*window)], window[0] - 10)
    book.admit(timeline.ticks(10_000), 0, 10_000)
    before = bool(active(book.ticks(), [RULE], 10_000))
    assert spans(timeline, 3_000) == then
    book.admit(timeline.ticks(3_000, seen_at=3_000), 0, 3_000)
    for at in (3_000, 3_060, 9_000, 12_000, 21_000):
        book.admit(timeline.ticks(at, seen_at=at), 0, at)
        assert bool(active(book.ticks(), [RULE], at)) == any(start <= at < stop for start, stop in then)
    if window != (2_000, 20_000):
        assert before == (then[0][0] == 3_000 and then[0][1] > 3_000)
    # What ends then, ends.
    timeline.say([], 22_000)
    book.admit(timeline.ticks(22_000), 0, 22_000)
    assert not active(book.ticks(), [RULE], 22_000)


def test_a_clock_that_is_put_right_by_seconds_changes_nothing() -> None:
    timeline = Timeline("dr", "here")
    timeline.say([Window(1_000, math.inf)], 1_000)
    assert spans(timeline, 950) == [(1_000, math.inf)]
