from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.book import CAPACITY, SIGNAL_MEMORY_S, TickBook, current
from controller.ticks import BTC_USD, POWER, POWER_DAY_AHEAD, UNITS, Tick, signal_series
from controller.validate import MAINNET_RULES


def tick(
    value: float, begins: float = 0.0, ends: float = math.inf, seen: float = 0.0, source: str = "feed"
) -> Tick:
    return Tick(POWER, value, UNITS[POWER], begins, ends, seen, source)


def values(book: TickBook) -> list[float]:
    return [each.value for each in book.ticks().get(POWER, ())]


def test_a_refused_tick_never_displaces_the_last_good_one() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05)], 0, 0)
    news, refused = book.admit([tick(math.nan, begins=10, seen=10)], 0, 10)
    assert news == []
    assert [each.why for each in refused] == ["nan USD/kWh is outside -1 .. 10"]
    assert values(book) == [0.05]


def test_seeing_the_same_again_renews_its_age_and_is_no_news() -> None:
    book = TickBook(MAINNET_RULES)
    assert book.admit([tick(0.05, seen=0)], 0, 0)[0] == [tick(0.05)]
    assert book.admit([tick(0.05, seen=60)], 0, 60)[0] == []
    assert book.ticks()[POWER][0].observed_at == 60


def test_a_value_that_goes_on_is_no_news_however_often_its_source_dates_it_anew() -> None:
    book = TickBook(MAINNET_RULES)
    for minute in range(5):
        news, _ = book.admit([tick(0.05, begins=minute * 60.0, seen=minute * 60.0)], 0, minute * 60.0)
        assert len(news) == (minute == 0)
    assert book.ticks()[POWER] == (tick(0.05, begins=0, seen=240),)
    assert len(book.admit([tick(0.06, begins=300, seen=300)], 0, 300)[0]) == 1


def test_an_interval_of_its_own_is_a_fact_of_its_own_even_at_the_same_price() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05, 0, 900)], 0, 0)
    assert len(book.admit([tick(0.05, 900, 1800, seen=900)], 0, 900)[0]) == 1
    assert len(book.admit([tick(0.05, 1800, 2700, seen=900)], 0, 900)[0]) == 1


def test_after_the_clock_was_set_back_values_are_renewed_again() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05, begins=5000, seen=5000)], 0, 5000)
    for now in range(1000, 20_000, 1000):
        book.admit([tick(0.05, begins=now, seen=now)], 0, now)
        newest = current(book.ticks()[POWER], now)
        assert newest is not None
        assert newest.observed_at == now


def test_what_was_refused_last_is_known_until_a_good_value_comes() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(99.0)], 0, 0)
    assert book.refusals() == {POWER: "99 USD/kWh is outside -1 .. 10"}
    assert book.copy().refusals() == book.refusals()
    book.admit([tick(0.05)], 0, 0)
    assert book.refusals() == {}


def test_a_corrected_price_replaces_the_one_for_the_same_interval() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05, 900, 1800)], 0, 0)
    assert len(book.admit([tick(0.06, 900, 1800)], 0, 0)[0]) == 1
    assert values(book) == [0.06]


def test_prices_to_come_are_kept_and_of_past_ones_only_the_newest() -> None:
    book = TickBook(MAINNET_RULES)
    day_ahead = [tick(hour / 100, hour * 3600, (hour + 1) * 3600) for hour in range(4)]
    book.admit(day_ahead, 0, 0)
    assert values(book) == [0.0, 0.01, 0.02, 0.03]
    book.admit(day_ahead, 0, 2 * 3600 + 1)
    assert values(book) == [0.02, 0.03]


def test_what_the_market_expected_a_day_ahead_is_remembered_for_an_hour() -> None:
    book = TickBook(MAINNET_RULES)
    expected = [
        replace(tick(0.01 * hour, 3600.0 * hour, 3600.0 * (hour + 1)), series=POWER_DAY_AHEAD)
        for hour in range(5)
    ]
    book.admit(expected, 0, 0)
    for now, first in ((3600, 0.0), (7199, 0.0), (7200, 0.01), (10_800, 0.02)):
        book.admit(expected[3:], 0, now)
        assert book.ticks()[POWER_DAY_AHEAD][0].value == first


def test_an_older_price_that_arrives_late_does_not_come_back() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.06, 900, 1800)], 0, 1000)
    book.admit([tick(0.05, 0, 900)], 0, 1000)
    assert values(book) == [0.06]


def test_a_series_belongs_to_the_first_source_that_gave_it_even_while_it_is_silent() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.09, source="fallback")], 1, 0)
    assert values(book) == [0.09]
    book.admit([tick(0.05, source="meter")], 0, 10)
    book.admit([tick(0.09, source="fallback", seen=20)], 1, 20)
    assert values(book) == [0.05]


def test_a_copy_can_be_written_in_without_touching_the_book() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05)], 0, 0)
    book.copy().admit([tick(0.07, begins=5)], 0, 10)
    assert values(book) == [0.05]


def test_the_book_is_bounded() -> None:
    book = TickBook(MAINNET_RULES)
    for hour in range(0, CAPACITY + 10, 500):
        book.admit([tick(0.05, h * 60.0, (h + 1) * 60.0) for h in range(hour, hour + 500)], 0, 0)
    assert len(values(book)) == CAPACITY


@given(st.lists(st.integers(0, 100), unique=True), st.integers(-1, 101))
def test_the_current_tick_is_the_newest_that_has_begun(begins: list[int], at: int) -> None:
    found = current([tick(0.0, begin) for begin in sorted(begins)], at)
    begun = [begin for begin in begins if begin <= at]
    assert (None if found is None else found.valid_from) == (max(begun) if begun else None)


# --- sources one behind the other ---------------------------------------------------------------------

DAY_AHEAD = tuple(
    tick(hour / 100, hour * 3600.0, (hour + 1) * 3600.0, source="auction") for hour in range(1, 5)
)


def test_a_day_ahead_list_is_not_mixed_with_a_lower_source_s_price_of_the_moment() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit(DAY_AHEAD, 1, 3600)
    for now in (3600.0, 4000.0, 5 * 3600.0 + 1):  # within the list, and when it is over
        news, _ = book.admit([tick(0.5, begins=now, seen=now, source="meter")], 2, now)
        assert news == []
    newest = current(book.ticks()[POWER], 5 * 3600.0 + 1)
    assert newest == DAY_AHEAD[-1]


def test_the_lower_source_has_the_series_until_a_better_one_speaks_and_never_again() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.5, source="meter")], 2, 0)
    book.admit(DAY_AHEAD, 1, 10)
    assert book.ticks()[POWER] == DAY_AHEAD
    tape = tick(0.02, begins=20, source="tape")
    book.admit([tape], 0, 20)
    assert book.ticks()[POWER] == (tape,)
    book.admit(DAY_AHEAD, 1, 30)
    assert book.ticks()[POWER] == (tape,)
    assert book.owners(["tape", "auction", "meter"]) == {POWER: "tape"}


def test_one_source_may_put_a_price_of_the_moment_before_the_intervals_it_knows() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.5, 0, 3600, source="meter"), *DAY_AHEAD], 0, 0)
    assert values(book) == [0.5, 0.01, 0.02, 0.03, 0.04]
    book.admit([tick(0.6, 0, 3600, seen=600, source="meter"), *DAY_AHEAD], 0, 600)
    assert values(book) == [0.6, 0.01, 0.02, 0.03, 0.04]


def test_a_faulty_list_of_a_better_source_does_not_take_the_series() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.5, source="meter")], 1, 0)
    book.admit([tick(99.0, source="auction")], 0, 10)
    book.admit([tick(0.6, begins=20, seen=20, source="meter")], 1, 20)
    assert values(book) == [0.6]


# --- signals ------------------------------------------------------------------------------------------

DR = signal_series("dr")


def window(begins: float, ends: float, source: str = "webhook", seen: float = 0.0) -> Tick:
    return Tick(DR, 1.0, "1", begins, ends, seen, source)


def windows(book: TickBook) -> list[tuple[float, float]]:
    return [(each.valid_from, each.valid_to) for each in book.ticks().get(DR, ())]


def test_all_announced_windows_of_a_signal_are_kept() -> None:
    book = TickBook(MAINNET_RULES)
    told = [window(begin, begin + 50) for begin in (100.0, 200.0, 300.0)]
    assert book.admit(told, 0, 0)[0] == told
    assert book.admit(told, 0, 120)[0] == []
    assert windows(book) == [(100, 150), (200, 250), (300, 350)]


def test_a_window_is_ended_early_by_a_tick_of_the_same_start() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([window(100, math.inf), window(900, 950)], 0, 100)
    ended = window(100, 130, seen=130)
    assert book.admit([ended], 0, 130)[0] == [ended]
    assert windows(book) == [(100, 130), (900, 950)]
    (first, *_) = book.ticks()[DR]
    assert (first.holds_at(129.9), first.holds_at(130)) == (True, False)


def test_a_window_that_ended_is_remembered_for_its_ramp_though_another_began() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([window(100, 200), window(250, 300)], 0, 0)
    book.admit([window(250, 300)], 0, 260)
    assert windows(book) == [(100, 200), (250, 300)]
    book.admit([window(250, 300)], 0, 200 + SIGNAL_MEMORY_S)
    assert windows(book) == [(250, 300)]


def test_the_last_window_of_a_source_is_no_news_however_long_ago_it_ended() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([window(100, 200)], 0, 0)
    assert book.admit([window(100, 200)], 0, 10 * SIGNAL_MEMORY_S)[0] == []


def test_a_signal_belongs_to_nobody_and_windows_of_two_sources_both_hold() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([window(100, 500, "schedule")], 0, 0)
    book.admit([window(100, 200, "webhook")], 1, 100)
    assert windows(book) == [(100, 500), (100, 200)]
    book.admit([window(100, 120, "webhook")], 1, 120)
    assert windows(book) == [(100, 500), (100, 120)]
    assert book.owners(["schedule", "webhook"]) == {}


def test_signals_are_bounded_and_those_that_ended_go_first() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([window(float(n), n + 0.5) for n in range(100)], 0, 1000)
    coming = [window(2000.0 + n, 2000.5 + n) for n in range(CAPACITY)]
    book.admit(coming, 0, 1000)
    assert windows(book) == [(each.valid_from, each.valid_to) for each in coming]


# --- starting again -----------------------------------------------------------------------------------

NAMES = ["tape", "feed", "webhook"]


def started_again(
    book: TickBook, now: float, before: list[str] = NAMES, names: list[str] = NAMES
) -> TickBook:
    again = TickBook(MAINNET_RULES)
    again.restore(book.ticks(), book.refusals(), book.owners(before), names, now)
    return again


def test_after_a_start_ages_go_on_from_where_they_were() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05, seen=100)], 1, 100)
    again = started_again(book, 5000)
    assert again.ticks() == book.ticks()
    assert again.ticks()[POWER][0].observed_at == 100
    news, _ = again.admit([tick(0.05, begins=5000, seen=5000)], 1, 5000)
    assert news == []
    assert again.ticks()[POWER] == (tick(0.05, begins=0, seen=5000),)


def test_after_a_start_a_series_still_belongs_to_its_silent_source() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05, source="tape")], 0, 0)
    again = started_again(book, 60, names=["other", "tape", "feed"])
    again.admit([tick(0.5, begins=60, seen=60, source="feed")], 2, 60)
    assert values(again) == [0.05]
    again.admit([tick(0.7, begins=70, seen=70, source="other")], 0, 70)
    assert values(again) == [0.7]


def test_what_belonged_to_a_source_that_is_not_configured_any_more_is_left_out() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05, source="tape")], 0, 0)
    book.admit([window(0, math.inf)], 2, 0)
    again = started_again(book, 60, names=["feed"])
    assert again.ticks() == {}
    again.admit([tick(0.5, begins=60, seen=60)], 0, 60)
    assert values(again) == [0.5]


def test_what_today_s_bounds_refuse_is_not_believed_because_it_once_was() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05), tick(0.06, begins=50)], 1, 0)
    stricter = TickBook({**MAINNET_RULES, POWER: replace(MAINNET_RULES[POWER], high=0.055)})
    stricter.restore(book.ticks(), {}, book.owners(NAMES), NAMES, 60)
    assert values(stricter) == [0.05]


def test_why_a_value_was_refused_is_known_after_a_start() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05)], 1, 0)
    book.admit([tick(99.0, begins=5), Tick(BTC_USD, 1.0, UNITS[BTC_USD], 0, math.inf, 0, "feed")], 1, 5)
    assert started_again(book, 60).refusals() == book.refusals()
    assert list(started_again(book, 60, names=["tape"]).refusals()) == [BTC_USD]


def test_coming_prices_of_before_a_start_stand_until_their_source_speaks_and_then_only_what_it_says() -> None:
    book = TickBook(MAINNET_RULES)
    old = [tick(0.05, 0, 3600), tick(0.30, 3600, 7200), tick(0.06, 7200, 9000)]
    book.admit(old, 1, 0)
    again = started_again(book, 60)
    assert again.ticks()[POWER] == tuple(old)
    # The tariff was changed meanwhile: the dear hour is another one.
    new = [tick(0.05, 0, 4000, seen=60), tick(0.30, 4000, 7600, seen=60), tick(0.06, 7600, 9000, seen=60)]
    again.admit(new, 1, 60)
    assert again.ticks()[POWER] == tuple(new)
    # From then on what was announced stays, as ever.
    again.admit(new[:2], 1, 120)
    assert again.ticks()[POWER] == tuple(new)


def test_windows_of_another_source_stay_when_one_speaks_after_a_start() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([window(100, 200, "feed"), window(300, 400, "feed")], 1, 0)
    book.admit([window(100, 500), window(600, 700)], 2, 0)
    again = started_again(book, 50)
    again.admit([window(100, 150)], 2, 50)
    assert windows(again) == [(100, 200), (100, 150), (300, 400)]


def test_after_the_clock_was_set_back_a_silent_source_is_as_old_as_it_was_and_its_value_holds() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05, begins=7_000, seen=9_990)], 0, 10_000)
    book.admit([], 0, 3_000)
    assert book.ticks()[POWER] == (tick(0.05, begins=3_000, seen=3_000),)
    book.admit([], 0, 4_000)
    assert book.ticks()[POWER] == (tick(0.05, begins=3_000, seen=3_000),)


def test_what_was_seen_before_the_clock_was_set_back_does_not_return_when_it_has_caught_up() -> None:
    book = TickBook(MAINNET_RULES)
    book.admit([tick(0.05, begins=10_000, seen=10_000)], 0, 10_000)
    for now in range(3_000, 12_000, 60):
        book.admit([tick(0.09, begins=3_000, seen=now)], 0, now)
        assert values(book) == [0.09]


def test_intervals_of_a_list_are_where_they_are_whatever_the_clock_does() -> None:
    book = TickBook(MAINNET_RULES)
    hours = [tick(hour / 100, hour * 3_600, (hour + 1) * 3_600, seen=100) for hour in range(4)]
    book.admit(hours, 0, 100)
    book.admit([], 0, 100)
    book.admit([replace(each, observed_at=5_000) for each in hours], 0, 5_000)
    assert values(book) == [0.01, 0.02, 0.03]
    book.admit([], 0, 100)
    assert [each.valid_from for each in book.ticks()[POWER]] == [3_600, 7_200, 10_800]
    assert {each.observed_at for each in book.ticks()[POWER]} == {100}


def test_a_price_that_ended_outlives_one_that_was_withdrawn_for_as_long_as_it_may_stand() -> None:
    book = TickBook(MAINNET_RULES)
    now = 1_780_000_000.0
    last = Tick(POWER, 0.1, UNITS[POWER], now - 900, now, now, "feed")
    gone = Tick(POWER, 0.5, UNITS[POWER], now - 60, now - 59.999, now, "feed")
    book.admit([last, gone], 0, now)
    assert book.ticks()[POWER] == (last, gone)
    book.admit([gone], 0, now + 2699)
    assert book.ticks()[POWER] == (last, gone)
    book.admit([gone], 0, now + 2700)
    assert book.ticks()[POWER] == (gone,)
