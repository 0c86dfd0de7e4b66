"""Several feeds made one series of ticks, in a book as the controller keeps it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.book import TickBook, current
from controller.sources.power_intervals import Interval
from controller.sources.power_timeline import (
    Piece,
    Present,
    Quotes,
    TickMemory,
    pieces_of,
    ranked,
    restored,
)
from controller.ticks import POWER, Tick
from controller.validate import MAINNET_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 900_000.0
AGE = 1800.0


def day_ahead(*prices: float, start: float = NOW, step: float = 3600.0, source: str = "da") -> list[Piece]:
    return [Piece(start + n * step, start + (n + 1) * step, price, source) for n, price in enumerate(prices)]


def moment(value: float, since: float = NOW, seen_at: float = NOW, source: str = "rt") -> list[Piece]:
    return [Piece(since, math.inf, value, source, seen_at)]


def fixed(value: float) -> list[Piece]:
    return [Piece(0.0, math.inf, value, "fixed")]


def price_at(pieces: Sequence[Piece], at: float) -> float | None:
    return next((each.value for each in pieces if each.start <= at < each.end), None)


class TestRanked:
    """At each instant the first feed that knows."""

    def test_the_better_feed_holds_where_it_knows_and_the_other_elsewhere(self) -> None:
        merged = ranked([(day_ahead(1, 2), []), (fixed(9), [])], NOW, AGE)
        assert [price_at(merged, NOW + hours * 3600) for hours in (0, 1, 2, 30)] == [1, 2, 9, 9]

    def test_a_price_of_the_moment_does_not_override_better_prices_known_for_the_future(self) -> None:
        merged = ranked([(day_ahead(1, 2, 3), []), ([], moment(9))], NOW, AGE)
        assert [price_at(merged, NOW + hours * 3600) for hours in (0, 1, 2)] == [1, 2, 3]
        assert price_at(merged, NOW + 3 * 3600) is None  # and is no forecast of what comes after them either

    def test_a_better_price_of_the_moment_holds_now_and_not_over_the_day_ahead_of_later(self) -> None:
        merged = ranked([([], moment(9)), (day_ahead(1, 2, 3), [])], NOW, AGE)
        assert price_at(merged, NOW) == 9
        assert price_at(merged, NOW + AGE) == 1
        assert price_at(merged, NOW + 3600) == 2

    def test_a_price_of_the_moment_that_is_too_old_gives_way(self) -> None:
        merged = ranked([([], moment(9, NOW - 4000, NOW - 4000)), (day_ahead(1), [])], NOW, AGE)
        assert price_at(merged, NOW) == 1

    def test_alone_a_price_of_the_moment_has_no_end(self) -> None:
        (piece,) = ranked([([], moment(9))], NOW, AGE)
        assert (piece.start, piece.end) == (NOW, math.inf)

    def test_the_last_resort_comes_after_a_price_of_the_moment(self) -> None:
        merged = ranked([([], moment(9)), (fixed(5), [])], NOW, AGE)
        assert [price_at(merged, NOW + hours * 3600) for hours in (0, 1, 30)] == [9, 5, 5]

    def test_where_nobody_knows_there_is_no_price(self) -> None:
        merged = ranked([(day_ahead(1), []), (day_ahead(2, start=NOW + 7200), [])], NOW, AGE)
        assert price_at(merged, NOW + 3600) is None

    def test_looking_again_a_little_later_moves_nothing(self) -> None:
        feeds = [([], moment(9)), (day_ahead(*range(9)), [])]
        later = [([], moment(9, NOW, NOW + 60)), (day_ahead(*range(9)), [])]
        edges = [piece.start for piece in ranked(feeds, NOW, AGE)]
        assert [piece.start for piece in ranked(later, NOW + 60, AGE)] == edges


def test_pieces_are_cut_where_an_adder_changes() -> None:
    quotes = Quotes("USD", (Interval(0, 3600, 1.0),), Present(2.0, 100, 200))
    settled, present = pieces_of(
        quotes, "x", lambda energy, at: energy + (at >= 1800), lambda a, b: [1800] if a < 1800 < b else []
    )
    assert [(each.start, each.end, each.value) for each in settled] == [(0, 1800, 1), (1800, 3600, 2)]
    assert [(each.start, each.end, each.value, each.seen_at) for each in present] == [
        (100, 1800, 2, 200),
        (1800, math.inf, 3, 200),
    ]


class World:
    """A memory and the controller's book, fed as the loop does."""

    def __init__(self) -> None:
        self.memory = TickMemory()
        self.book = TickBook(MAINNET_RULES)

    def tell(self, pieces: Sequence[Piece], now: float, *, whole: bool = True) -> int:
        news, refused = self.book.admit(self.memory.ticks(pieces, now, whole=whole), 0, now)
        assert refused == []
        return len(news)

    def restart(self, now: float) -> None:
        """As the daemon does: the book goes on, the sources begin anew."""
        old, self.memory, self.book = self.book, TickMemory(), TickBook(MAINNET_RULES)
        self.book.restore(old.ticks(), old.refusals(), old.owners(["power"]), ["power"], now)

    def price(self, at: float) -> float | None:
        tick = current(self.book.ticks().get(POWER, ()), at)
        return None if tick is None or at >= tick.valid_to else tick.value


class TestInTheBook:
    """The book replaces only ticks of the same start; what it says must be what the feeds say all the same."""

    def test_prices_known_ahead_reach_the_book_once(self) -> None:
        world = World()
        assert world.tell(day_ahead(0.1, 0.2, 0.3), NOW) == 3
        assert world.tell(day_ahead(0.1, 0.2, 0.3), NOW + 60) == 0
        assert [world.price(NOW + hours * 3600 + 90) for hours in (0, 1, 2, 3)] == [0.1, 0.2, 0.3, None]

    def test_a_day_ahead_price_takes_over_from_the_last_resort_within_its_hour(self) -> None:
        world = World()
        world.tell(ranked([(fixed(0.5), [])], NOW, AGE), NOW)
        feeds = [(day_ahead(0.1, 0.2, start=NOW - 600), []), (fixed(0.5), [])]
        world.tell(ranked(feeds, NOW + 60, AGE), NOW + 60)
        assert world.price(NOW + 60) == 0.1
        assert world.price(NOW + 3100) == 0.2
        assert world.price(NOW + 9000) == 0.5

    def test_a_start_that_is_no_border_any_more_does_not_linger(self) -> None:
        world = World()
        world.tell([Piece(NOW, NOW + 100, 0.1, "a"), Piece(NOW + 100, NOW + 200, 0.2, "a")], NOW)
        world.tell([Piece(NOW, NOW + 200, 0.3, "a")], NOW + 10)
        assert [world.price(NOW + at) for at in (20, 120)] == [0.3, 0.3]

    def test_a_coming_price_that_is_withdrawn_is_not_known_then(self) -> None:
        world = World()
        world.tell(day_ahead(0.1, 0.2), NOW)
        world.tell(day_ahead(0.1), NOW + 60)
        assert world.price(NOW + 3700) is None

    def test_nothing_is_withdrawn_while_a_feed_was_not_heard(self) -> None:
        world = World()
        world.tell(day_ahead(0.1, 0.2), NOW)
        world.tell([], NOW + 60, whole=False)
        assert world.price(NOW + 3700) == 0.2

    def test_what_is_to_come_keeps_the_time_it_was_first_known_and_what_holds_is_seen_now(self) -> None:
        memory = TickMemory()
        memory.ticks(day_ahead(0.1, 0.2), NOW)
        now, coming = memory.ticks(day_ahead(0.1, 0.2), NOW + 600)
        assert (now.observed_at, coming.observed_at) == (NOW + 600, NOW)
        assert memory.ticks(day_ahead(0.1, 0.2), NOW + 600)[1] is coming

    def test_a_price_of_the_moment_ages_from_when_it_was_seen(self) -> None:
        memory = TickMemory()
        for seen_at in (NOW - 100, NOW + 200):
            (tick,) = memory.ticks(moment(0.2, NOW - 500, seen_at), seen_at + 100)
            assert (tick.valid_from, tick.valid_to, tick.observed_at) == (NOW, math.inf, seen_at)

    def test_what_an_earlier_run_left_in_the_book_does_not_hide_the_price_of_now(self) -> None:
        world = World()
        world.tell(ranked([(fixed(0.5), [])], NOW, AGE), NOW + 600)
        world.restart(NOW + 700)
        world.tell(day_ahead(0.1, 0.2), NOW + 700)
        assert [world.price(NOW + at) for at in (700, 3700, 9000)] == [0.1, 0.2, None]


class TestRestored:
    """What ticks of an earlier run say of each source."""

    @staticmethod
    def ticks(*feeds: tuple[Sequence[Piece], Sequence[Piece]]) -> list[Tick]:
        return TickMemory().ticks(ranked(feeds, NOW, AGE), NOW)

    def test_prices_told_ahead_hold_to_their_end(self) -> None:
        ticks = self.ticks((day_ahead(1, 2), []))
        assert restored(ticks, AGE) == {"da": (day_ahead(1, 2), [])}

    def test_a_price_of_the_moment_has_the_age_it_had(self) -> None:
        for others in ([], [(day_ahead(1, 2), [])]):
            told = restored(self.ticks(([], moment(9, NOW, NOW - 60)), *others), AGE)
            settled, present = told["rt"]
            assert settled == []
            assert [(each.start, each.seen_at) for each in present] == [(NOW, NOW - 60)]

    def test_what_was_taken_back_is_not_known(self) -> None:
        memory = TickMemory()
        memory.ticks(day_ahead(1, 2), NOW)
        assert restored(memory.ticks(day_ahead(1), NOW + 60), AGE) == {"da": (day_ahead(1), [])}


def test_a_price_goes_on_under_the_start_it_was_given_under_before_a_restart() -> None:
    memory = TickMemory()
    memory.restore(TickMemory().ticks(day_ahead(0.1, 0.2), NOW))
    first, second = memory.ticks(day_ahead(0.1, 0.2, start=NOW), NOW + 600)
    assert (first.valid_from, second.observed_at) == (NOW, NOW)
    (same, *_) = memory.ticks([Piece(NOW + 700, NOW + 3600, 0.1, "da", NOW + 700)], NOW + 720)
    assert (same.valid_from, same.observed_at) == (NOW, NOW + 700)


cents = st.integers(-50, 50).map(lambda value: value / 100)
pieces = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10), cents), max_size=8)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(pieces, st.integers(1, 7), st.booleans()), min_size=1, max_size=5))
def test_whatever_feeds_say_from_look_to_look_the_book_says_the_same_from_now_on(
    looks: list[tuple[list[tuple[int, int, float]], int, bool]],
) -> None:
    world, now = World(), NOW
    for spans, step, restarts in looks:
        feed = [Piece(NOW + a, NOW + a + length, value, "x") for a, length, value in spans]
        settled = ranked([([piece], []) for piece in feed], now, AGE)
        if restarts and price_at(settled, now) is not None:  # else what was last known stays known
            world.restart(now)
        world.tell(settled, now)
        for at in range(int(now), int(NOW) + 45):
            assert world.price(at + 0.5) == price_at(settled, at + 0.5)
        now += step


def test_only_as_many_ticks_are_given_as_the_book_holds() -> None:
    many = TickMemory().ticks(day_ahead(*([0.1, 0.2] * 2000), step=60.0), NOW)
    assert len(many) == 1900


@pytest.mark.parametrize("now", [NOW + 3600, NOW + 3599.5])
def test_a_piece_holds_up_to_but_not_at_its_end(now: float) -> None:
    ticks = TickMemory().ticks(day_ahead(0.1), now)
    assert len(ticks) == (now < NOW + 3600)
