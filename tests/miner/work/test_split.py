"""Shares of the work by whole units: simulated fleets whose hashrate is known by their shares alone."""

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.work.split import POOL, REBALANCE_S, SOLO, Hasher, Split, choose

SHARES_PER_MINUTE = 12
MOST_MOVES_PER_HOUR = 12
"""A unit alone changes lanes at most every 5 minutes; of more than one, few are moved at a time."""


@dataclass
class Fleet:
    """Units that hand in shares by chance, `SHARES_PER_MINUTE` each; the split sees no more of them than a roster would."""

    rates: list[float]
    share: float
    seed: int = 0
    pinned: dict[int, str] = field(default_factory=dict)
    off: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.split = Split(self.share)
        self.random = random.Random(self.seed)
        self.now = 0.0
        self.work = dict.fromkeys(range(len(self.rates)), 0.0)
        self.minutes = {number: deque[float](maxlen=10) for number in self.work}
        self.done = {POOL: 0.0, SOLO: 0.0}
        self.moves: list[int] = []

    def lane(self, number: int) -> str:
        return self.pinned.get(number) or self.split.lane_of(number)

    def hashers(self) -> list[Hasher]:
        return [
            Hasher(
                number,
                0.0 if number in self.off else sum(minutes) / max(len(minutes), 1) / 60,
                self.work[number],
                self.pinned.get(number),
            )
            for number, minutes in self.minutes.items()
        ]

    def run(self, hours: float, *, counted: bool = True) -> None:
        for _ in range(round(hours * 60)):
            self.moves += self.split.step(self.hashers(), self.now, counted=counted)
            for number, rate in enumerate(self.rates):
                shares = max(self.random.gauss(SHARES_PER_MINUTE, math.sqrt(SHARES_PER_MINUTE)), 0.0)
                work = 0.0 if number in self.off else shares * rate * 60 / SHARES_PER_MINUTE
                self.work[number] += work
                self.minutes[number].append(work)
                self.done[self.lane(number)] += work
            self.now += REBALANCE_S

    @property
    def solo(self) -> float:
        """The part of all work that was mined solo."""
        return self.done[SOLO] / sum(self.done.values())


FLEETS: dict[str, Callable[[random.Random], list[float]]] = {
    "one": lambda _: [1.0],
    "two": lambda _: [1.0, 1.0],
    "a threadripper beside an ASIC": lambda _: [1e-6, 1.0],
    "three": lambda _: [1.0, 1.0, 1.0],
    "ten and a CPU": lambda _: [1.0] * 10 + [1e-6],
    "mixed rack": lambda rng: [rng.uniform(50, 250) for _ in range(40)],
    "one giant": lambda rng: [10_000.0] + [rng.uniform(1, 100) for _ in range(20)],
    "anything": lambda rng: [rng.lognormvariate(0, 2) for _ in range(25)],
}


@pytest.mark.parametrize("share", [0.03, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("name", FLEETS)
def test_the_share_of_work_comes_out_within_two_per_cent_in_eight_hours_with_few_moves(
    name: str, share: float
) -> None:
    fleet = Fleet(FLEETS[name](random.Random(1)), share)
    fleet.run(8)
    assert abs(fleet.solo - share) < 0.02
    assert len(fleet.moves) <= len(fleet.rates) + 8 * MOST_MOVES_PER_HOUR


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=12),
    st.floats(0.02, 0.98),
    st.integers(0, 2**32),
)
def test_whatever_the_fleet_the_share_comes_out_with_few_moves(
    rates: list[float], share: float, seed: int
) -> None:
    fleet = Fleet(rates, share, seed)
    fleet.run(8)
    assert abs(fleet.solo - share) < 0.02
    assert len(fleet.moves) <= len(rates) + 8 * MOST_MOVES_PER_HOUR


def test_a_large_fleet_gets_its_share_at_login_and_hardly_moves() -> None:
    fleet = Fleet([100.0] * 400, 0.3)
    assert sum(fleet.lane(number) == SOLO for number in range(400)) == 120
    fleet.run(4)
    assert abs(fleet.solo - 0.3) < 0.005
    assert len(fleet.moves) < 20


def test_a_unit_alone_is_given_to_both_in_turns_of_some_minutes() -> None:
    fleet = Fleet([1.0], 0.5)
    fleet.run(6)
    assert 0.48 < fleet.solo < 0.52
    assert 6 * 2 <= len(fleet.moves) <= 6 * MOST_MOVES_PER_HOUR


def test_pinned_units_stay_and_the_others_make_up_for_them() -> None:
    fleet = Fleet([1.0] * 10, 0.5, pinned={0: SOLO, 1: SOLO, 2: SOLO, 3: POOL})
    fleet.run(8)
    assert abs(fleet.solo - 0.5) < 0.02
    assert {0, 1, 2, 3}.isdisjoint(fleet.moves)
    assert len(fleet.moves) < 20


def test_more_than_can_be_made_up_for_is_left_and_forgotten_in_days() -> None:
    fleet = Fleet([1.0, 1.0], 0.1, pinned={0: SOLO})
    fleet.run(24)
    assert fleet.solo == pytest.approx(0.5, abs=0.02)
    assert fleet.moves == []
    # Its debt of ten hours is paid back as far as it is remembered; then the share holds again.
    del fleet.pinned[0]
    fleet.run(48)
    fleet.done = {POOL: 0.0, SOLO: 0.0}
    fleet.run(24)
    assert fleet.solo == pytest.approx(0.1, abs=0.03)


def test_units_that_come_go_and_rest_do_not_disturb_the_share() -> None:
    fleet = Fleet([1.0] * 20, 0.25)
    for hour in range(12):
        fleet.off = {number for number in range(20) if (number + hour) % 3 == 0}
        fleet.run(1)
    assert abs(fleet.solo - 0.25) < 0.02
    assert len(fleet.moves) < 12 * MOST_MOVES_PER_HOUR


@pytest.mark.parametrize(("share", "lane"), [(0.0, POOL), (1.0, SOLO)])
def test_all_or_nothing_moves_nobody(share: float, lane: str) -> None:
    fleet = Fleet([1.0, 5.0, 0.1], share)
    fleet.run(3)
    assert {fleet.lane(number) for number in range(3)} == {lane}
    assert fleet.moves == []


def test_while_both_lanes_serve_the_same_nothing_is_counted_and_nobody_moves() -> None:
    fleet = Fleet([1.0], 0.5)
    fleet.run(12, counted=False)
    assert (fleet.moves, fleet.split.reached) == ([], None)
    fleet.run(1)
    assert fleet.split.reached is not None
    assert 2 <= len(fleet.moves) <= MOST_MOVES_PER_HOUR  # no debt of twelve hours


def test_what_was_reached_is_told() -> None:
    fleet = Fleet([1.0] * 10, 0.3)
    fleet.run(6)
    assert fleet.split.reached == pytest.approx(fleet.solo, abs=0.01)


def test_between_two_looks_nobody_is_moved() -> None:
    split = Split(0.5)
    split.step([Hasher(1, 1.0, 0.0)], 0.0)
    assert split.step([Hasher(1, 1.0, 1e9)], REBALANCE_S - 1) == []
    assert split.step([Hasher(1, 1.0, 1e9)], REBALANCE_S) == [1]


def test_a_clock_that_was_set_back_stops_nothing() -> None:
    fleet = Fleet([1.0], 0.5)
    fleet.run(2)
    fleet.now -= 7200
    fleet.run(2)
    assert 0.45 < fleet.solo < 0.55


def test_totals_that_shrank_are_another_count() -> None:
    split = Split(0.5)
    split.step([Hasher(1, 1.0, 100.0)], 0.0)
    split.step([Hasher(1, 1.0, 40.0)], REBALANCE_S)
    assert split.reached is None
    split.step([Hasher(1, 1.0, 50.0)], 2 * REBALANCE_S)
    assert split.reached == 0.0


def test_a_unit_that_left_the_roster_is_forgotten() -> None:
    split = Split(0.5)
    assert [split.lane_of(number) for number in range(4)] == [POOL, SOLO, POOL, SOLO]
    split.step([Hasher(0, 1.0, 0.0)], 0.0)
    assert split._counts == {POOL: 1, SOLO: 0}
    assert split.lane_of(9) == SOLO


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Split(share)


class TestChoosing:
    """Which units change lanes for a wanted hashrate."""

    @staticmethod
    def of(*rates: float) -> list[Hasher]:
        return [Hasher(number, rate, 0.0) for number, rate in enumerate(rates)]

    @staticmethod
    def rates(units: list[Hasher]) -> list[float]:
        return sorted(unit.rate for unit in units)

    def test_the_largest_that_fit_come_first(self) -> None:
        found = choose(self.of(1, 1, 1, 5, 9), [], 6.0, close_enough=0.1)
        assert self.rates(found) == [1, 5]

    def test_a_giver_goes_for_a_taker_that_is_a_little_smaller(self) -> None:
        found = choose(self.of(10, 10), self.of(7, 20), 3.0, close_enough=0.1)
        assert self.rates(found) == [7, 10]

    def test_one_alone_goes_where_several_come_no_nearer(self) -> None:
        assert self.rates(choose(self.of(0.1, 0.2, 0.3, 10), [], 7.0, close_enough=0.2)) == [10]

    def test_coarse_units_overshoot_rather_than_stay_below(self) -> None:
        assert self.rates(choose(self.of(10, 20), [], 2.0, at_least=1.0)) == [10]
        assert self.rates(choose(self.of(3, 4), [], 20.0, at_least=6.0)) == [3, 4]

    def test_nobody_to_give_gives_nobody(self) -> None:
        assert choose([], self.of(1, 2), 1.0, at_least=0.5) == []
