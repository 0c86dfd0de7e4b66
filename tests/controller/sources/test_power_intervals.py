"""Prices by interval: order, revisions, holes."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.sources.power_intervals import (
    Interval,
    from_starts,
    holes,
    holes_text,
    joined,
    overlaid,
    tidy,
    utc,
)

spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(-5, 5)).map(
        lambda item: Interval(item[0], item[0] + item[1], item[2])
    ),
    max_size=12,
)


def value_at(found: tuple[Interval, ...], at: float) -> float | None:
    return next((each.value for each in found if each.start <= at < each.end), None)


@settings(deadline=None)
@given(spans)
def test_at_each_instant_the_interval_given_last_holds(found: list[Interval]) -> None:
    tidied = tidy(found)
    for at in range(62):
        covering = [each.value for each in found if each.start <= at < each.end]
        assert value_at(tidied, at) == (covering[-1] if covering else None)


@settings(deadline=None)
@given(spans)
def test_tidy_intervals_are_in_order_and_do_not_overlap(found: list[Interval]) -> None:
    tidied = tidy(found)
    assert all(before.end <= after.start for before, after in pairwise(tidied))
    assert tidy(tidied) == tidied


@settings(deadline=None)
@given(spans)
def test_joined_intervals_say_the_same_in_fewer_words(found: list[Interval]) -> None:
    tidied = tidy(found)
    fewer = joined(tidied)
    assert len(fewer) <= len(tidied)
    assert [value_at(fewer, at) for at in range(62)] == [value_at(tidied, at) for at in range(62)]


def test_spans_may_last_for_ever() -> None:
    assert overlaid([(0, math.inf), (5, 10)]) == [(0, 5, 0), (5, 10, 1), (10, math.inf, 0)]


@pytest.mark.parametrize(
    ("start", "end", "value"),
    [
        (5, 5, 1),
        (5, 4, 1),
        (0, 1, math.nan),
        (0, 1, math.inf),
        (math.nan, 1, 1),
        (-math.inf, 1, 1),
        (0, math.nan, 1),
    ],
)
def test_what_holds_at_no_time_or_is_no_number_is_refused(start: float, end: float, value: float) -> None:
    with pytest.raises(ValueError, match=r"is empty|no finite number"):
        Interval(start, end, value)


class TestFromStarts:
    """Prices of which only the start is told."""

    def test_each_lasts_to_the_next_and_the_last_as_long_as_usual(self) -> None:
        assert from_starts([(0, 1.0), (900, 2.0), (1800, 3.0)]) == (
            Interval(0, 900, 1),
            Interval(900, 1800, 2),
            Interval(1800, 2700, 3),
        )

    def test_a_hole_is_not_filled_with_the_price_before_it(self) -> None:
        found = from_starts([(0, 1.0), (900, 2.0), (1800, 3.0), (4500, 4.0)])
        assert value_at(found, 2699) == 3
        assert value_at(found, 2700) is None

    def test_two_holes_in_a_row_are_not_taken_for_long_intervals(self) -> None:
        found = from_starts([(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (10, 2.0), (20, 3.0)])
        assert value_at(found, 12) is None

    def test_a_price_that_is_not_known_is_a_hole(self) -> None:
        assert from_starts([(0, 1.0), (900, None), (1800, 3.0)]) == (
            Interval(0, 900, 1),
            Interval(1800, 2700, 3),
        )

    def test_of_a_start_given_twice_the_last_counts(self) -> None:
        assert from_starts([(0, 1.0), (900, 2.0), (0, 7.0)])[0] == Interval(0, 900, 7)

    def test_a_single_start_needs_to_be_told_how_long_it_holds(self) -> None:
        with pytest.raises(ValueError, match="how long it holds is not known"):
            from_starts([(0, 1.0)])
        assert from_starts([(0, 1.0)], 3600) == (Interval(0, 3600, 1),)

    def test_nothing_gives_nothing(self) -> None:
        assert from_starts([]) == ()

    def test_of_steps_that_are_equally_usual_the_shorter_counts(self) -> None:
        assert from_starts([(0, 1.0), (900, 2.0), (4500, 3.0)])[1] == Interval(900, 1800, 2)


class TestHoles:
    """What is not known though something later is."""

    def test_holes_are_named_and_not_guessed(self) -> None:
        known = (Interval(0, 10, 1), Interval(20, 30, 1), Interval(30, 40, 2), Interval(50, 60, 1))
        assert holes(known, 5) == [(10, 20), (40, 50)]
        assert holes(known, 12) == [(12, 20), (40, 50)]
        assert holes(known, 55) == []

    def test_the_end_of_what_is_known_is_no_hole(self) -> None:
        assert holes((), 5) == []
        assert holes((Interval(0, 10, 1),), 12) == []

    def test_the_words_name_a_few_and_count_the_others(self) -> None:
        text = holes_text([(n * 7200.0, n * 7200.0 + 3600) for n in range(5)])
        assert text.startswith("no price is known from 1970-01-01 00:00Z to 1970-01-01 01:00Z, from ")
        assert text.endswith("and 2 more times")
        assert not holes_text([])


def test_times_are_told_in_utc() -> None:
    assert utc(1_762_128_000) == "2025-11-03 00:00Z"
    assert utc(1_762_128_001) == "2025-11-03 00:00:01Z"
    assert utc(math.inf) == "for ever"
    assert utc(math.nan) == "?"
