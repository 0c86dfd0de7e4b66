from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from controller.book import CAPACITY, TickBook, current
from controller.ticks import POWER, UNITS, Tick
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
