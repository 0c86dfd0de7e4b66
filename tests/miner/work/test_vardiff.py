from __future__ import annotations

import math
import random
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.vardiff_simulation import SCENARIOS, Plan, Result, Simulation, simulate
from miner.work.vardiff import ENOUGH, MOST_LOWERED, REACHED, Vardiff

RUNS = 100
AIM = 12.0
EVERY_S = 60 / AIM


def vardiff(start: float = 1000.0, floor: float = 0.0, ceiling: float = math.inf) -> Vardiff:
    return Vardiff(start, floor, ceiling, AIM, 0.0)


def regular(subject: Vardiff, since: float, shares: int, every_s: float = EVERY_S) -> float:
    """Shares at even intervals, a tick and a job after each; the time of the last."""
    now = since
    for _ in range(shares):
        now += every_s
        subject.credit(1, subject.difficulty, now)
        subject.tick(now)
        subject.next_job(now)
    return now


def settled(difficulty: float = 1000.0) -> tuple[Vardiff, float]:
    """A session whose device has been at work for long at the right difficulty."""
    subject = vardiff(difficulty)
    now = regular(subject, 0.0, 100)
    assert subject.difficulty == difficulty
    return subject, now


def silent(subject: Vardiff, since: float, seconds: float) -> list[float]:
    """The changes sent while no share comes."""
    ticks = (subject.tick(since + 5.0 * count) for count in range(1, int(seconds / 5) + 1))
    return [sent for sent in ticks if sent is not None]


# ---- Convergence, simulated: the same sessions each time; bench/vardiff.py runs many more --------------------------


@cache
def result(scenario: str, aim: float) -> Result:
    return simulate(scenario, aim, RUNS)


@pytest.mark.parametrize("aim", [6.0, 12.0, 30.0])
@pytest.mark.parametrize(
    "scenario",
    ["any start within 1000x", "1000x too easy", "1000x too hard", "slow starter, 1-5 min", "off for 30 min"],
)
def test_after_ten_minutes_the_share_rate_is_right(scenario: str, aim: float) -> None:
    got = result(scenario, aim)
    assert got.mean == pytest.approx(1.0, abs=0.1)
    assert got.part_within_35 >= 0.9


@pytest.mark.parametrize("aim", [12.0, 30.0])
@pytest.mark.parametrize("scenario", ["a third fails", "hashrate halved", "hashrate doubled"])
def test_ten_minutes_after_the_hashrate_changed_the_share_rate_is_right_again(
    scenario: str, aim: float
) -> None:
    got = result(scenario, aim)
    assert got.mean == pytest.approx(1.0, abs=0.1)
    assert got.part_within_35 >= 0.9


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_device_is_flooded_after_the_first_adjustment(scenario: str) -> None:
    got = result(scenario, AIM)
    assert got.highest <= 5.0
    assert got.busiest_minute <= 5.0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_device_is_starved_for_longer_than_a_minute(scenario: str) -> None:
    got = result(scenario, AIM)
    assert got.part_starved == 0.0


def test_a_flood_from_much_too_easy_a_start_ends_with_ten_shares_and_the_way_to_the_device() -> None:
    assert result("1000x too easy", AIM).flooded_s <= 3.0


def test_a_steady_miner_is_told_less_than_six_changes_an_hour() -> None:
    assert result("steady for 3 h", AIM).messages_an_hour < 3.0


def test_the_simulation_repeats_itself() -> None:
    first, again = (Simulation(random.Random("seed"), Plan(30.0), AIM).run() for _ in range(2))
    assert first.shares == again.shares
    assert first.rates == again.rates


# ---- Rules, one by one --------------------------------------------------------------------------------------------


def test_regular_shares_at_the_right_difficulty_change_nothing() -> None:
    subject = vardiff()
    assert regular(subject, 0.0, 1000) == 5000.0
    assert subject.difficulty == 1000.0


def test_a_flood_is_raised_at_once_after_a_few_shares_and_to_the_right_difficulty() -> None:
    subject = vardiff()
    sent = [subject.credit(1, 1000.0, 0.05 * count) for count in range(1, ENOUGH + 2)]
    assert sent[:-1] == [None] * ENOUGH
    assert sent[-1] == pytest.approx(100_000, rel=0.2)


def test_old_shares_that_arrive_after_a_raise_do_not_raise_again() -> None:
    subject = vardiff()
    now = 0.0
    for _ in range(ENOUGH + 1):
        now += 0.05
        subject.credit(1, 1000.0, now)
    raised = subject.difficulty
    for _ in range(40):  # two more seconds of the old work
        now += 0.05
        assert subject.credit(1, 1000.0, now) is None
    assert regular(subject, now, 20, EVERY_S) > now
    assert subject.difficulty == pytest.approx(raised, rel=0.5)


def test_shares_held_up_on_the_way_and_handed_in_at_once_are_no_flood() -> None:
    subject, now = settled()
    assert silent(subject, now, 40.0) == []
    assert [subject.credit(1, 1000.0, now + 40.0 + 0.001 * count) for count in range(8)] == [None] * 8
    assert silent(subject, now + 40.0, 20.0) == []


def test_a_first_chunk_of_many_shares_is_no_flood() -> None:
    subject = vardiff()
    assert subject.credit(20, 20_000.0, 30.0) is None
    assert subject.credit(20, 20_000.0, 30.001) is None
    assert subject.difficulty == 1000.0


def test_before_the_first_share_silence_lowers_fast_and_then_slowly() -> None:
    subject = vardiff()
    minute = silent(subject, 0.0, 60.0)
    assert subject.difficulty == pytest.approx(1000.0 / REACHED, rel=0.01)
    assert minute == sorted(minute, reverse=True)
    lowest = subject.difficulty
    assert len(silent(subject, 60.0, 600.0)) <= 5
    assert subject.difficulty == pytest.approx(lowest / 32, rel=0.01)


def test_a_late_tick_lowers_no_more_than_two_would() -> None:
    subject = vardiff()
    sent = subject.tick(3600.0)
    assert sent is not None
    assert sent > 200.0


def test_a_device_that_was_switched_off_comes_back_to_at_most_twice_its_rate() -> None:
    subject, now = settled()
    assert silent(subject, now, 12 * 3600.0) == [1000.0 / MOST_LOWERED]


def test_each_share_after_a_silence_lets_the_difficulty_fall_further() -> None:
    subject, now = settled()
    for lowered in (1, 2, 3):
        silent(subject, now, 600.0)
        assert subject.difficulty == 1000.0 / MOST_LOWERED**lowered
        now += 600.0
        subject.credit(1, subject.difficulty, now)


def test_a_small_correction_waits_for_the_next_job() -> None:
    subject, now = settled()
    told = []
    while not subject.pending:
        now += EVERY_S / 1.4
        told += [subject.credit(1, 1000.0, now), subject.tick(now)]
    assert not any(told)
    sent = subject.next_job(now)
    assert sent == subject.difficulty == pytest.approx(1300.0, rel=0.1)
    assert not subject.pending
    assert subject.next_job(now) is None


def test_half_of_the_hashrate_is_followed_within_forty_shares() -> None:
    subject, now = settled()
    for _ in range(40):
        now = regular(subject, now, 1, EVERY_S * subject.difficulty / 500.0)
    assert subject.difficulty == pytest.approx(500.0, rel=0.15)
    assert regular(subject, now, 100, EVERY_S * subject.difficulty / 500.0) > now
    assert subject.difficulty == pytest.approx(500.0, rel=0.15)


def test_one_early_share_does_not_end_the_search() -> None:
    subject = vardiff()
    silent(subject, 0.0, 15.0)
    subject.credit(1, subject.difficulty, 16.0)
    silent(subject, 15.0, 45.0)
    assert subject.difficulty < 1000.0 / 200


def test_shares_at_the_right_rate_from_the_start_change_nothing() -> None:
    subject = vardiff()
    told = [
        subject.credit(1, 1000.0, EVERY_S * count) or subject.tick(EVERY_S * count) for count in range(1, 9)
    ]
    assert told == [None] * 8


def test_a_fixed_difficulty_never_changes() -> None:
    subject = vardiff(1e-10, 1e-10, 1e-10)
    assert [subject.credit(50, 5e-9, 0.01 * count) for count in range(100)] == [None] * 100
    assert silent(subject, 1.0, 3600.0) == []
    assert subject.next_job(3601.0) is None
    assert subject.difficulty == 1e-10


def test_the_difficulty_keeps_within_floor_and_ceiling() -> None:
    subject = vardiff(1000.0, 100.0, 2000.0)
    silent(subject, 0.0, 3600.0)
    assert subject.difficulty == 100.0
    for count in range(100):
        subject.credit(1, subject.difficulty, 3600.0 + 0.05 * count)
    assert subject.difficulty == 2000.0


def test_a_start_outside_of_the_limits_is_moved_to_them() -> None:
    assert vardiff(1.0, 100.0, 2000.0).difficulty == 100.0
    assert vardiff(1e9, 100.0, 2000.0).difficulty == 2000.0
    assert vardiff(1.0, 100.0, 50.0).difficulty == 50.0


def test_a_network_easier_than_the_difficulty_lowers_it_with_the_next_job_and_later_gives_it_back() -> None:
    subject, now = settled()
    subject.set_ceiling(1.0)
    assert subject.next_job(now) == 1.0
    subject.credit(50, 50.0, now + 0.25)
    subject.set_ceiling(1e6)
    assert subject.next_job(now + 0.25) == pytest.approx(1000.0, rel=0.5)


def test_a_session_fixed_by_an_easy_network_is_free_when_the_network_is_not() -> None:
    subject = vardiff(1000.0, 1.0, 1.0)
    subject.credit(1000, 1000.0, 100.0)
    subject.set_ceiling(1e6)
    for count in range(100):
        subject.credit(1, 1.0, 200.0 + 0.05 * count)
    assert subject.difficulty > 50.0


def test_a_fixed_port_gives_way_to_the_network_alone() -> None:
    subject = vardiff(1000.0, 1000.0, 1000.0)
    subject.set_ceiling(10.0)
    assert subject.next_job(1.0) == 10.0
    subject.set_ceiling(1000.0)
    assert subject.next_job(2.0) == 1000.0


def test_a_suggestion_counts_before_the_first_share_only() -> None:
    subject = vardiff()
    assert subject.suggest(0.5, 1.0) == 0.5
    assert subject.suggest(0.5, 2.0) is None
    subject.credit(1, 0.5, 3.0)
    assert subject.suggest(7.0, 4.0) is None
    assert subject.difficulty == 0.5


def test_a_resumed_session_goes_on_with_difficulty_and_estimate() -> None:
    before, now = settled(12_345.0)
    after = Vardiff(1.0, 0.0, math.inf, AIM, now + 300.0, before.state())
    assert after.difficulty == 12_345.0
    assert after.state() == before.state()
    assert silent(after, now + 300.0, 3600.0) == [float(f"{12_345.0 / MOST_LOWERED:.4g}")]


def test_a_session_resumed_before_its_first_share_still_searches() -> None:
    before = vardiff()
    silent(before, 0.0, 20.0)
    after = Vardiff(1000.0, 0.0, math.inf, AIM, 30.0, before.state())
    assert after.difficulty == before.difficulty
    assert silent(after, 30.0, 20.0)


@pytest.mark.parametrize(
    ("start", "floor", "ceiling", "aim"), [(0, 0, 1, 1), (1, -1, 1, 1), (1, 0, 0, 1), (1, 0, 1, 0)]
)
def test_limits_and_aims_that_make_no_sense_are_refused(
    start: float, floor: float, ceiling: float, aim: float
) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Vardiff(start, floor, ceiling, aim, 0.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["credit", "tick", "job", "ceiling", "suggest"]),
            st.floats(-10.0, 5000.0),
            st.integers(1, 5000),
            st.floats(1e-9, 1e15),
            st.booleans(),
        ),
        max_size=60,
    ),
)
def test_whatever_happens_the_difficulty_is_a_number_within_the_limits(
    events: list[tuple[str, float, int, float, bool]],
) -> None:
    subject = Vardiff(1000.0, 0.001, 1e12, AIM, 0.0)
    now, ceiling = 0.0, 1e12
    for what, wait_s, shares, value, old in events:
        now += wait_s
        match what:
            case "credit":
                subject.credit(shares, shares * (value if old else subject.difficulty), now)
            case "tick":
                subject.tick(now)
            case "job":
                subject.next_job(now)
                assert subject.difficulty <= ceiling
            case "ceiling":
                ceiling = value
                subject.set_ceiling(value)
            case _:
                subject.suggest(value, now)
        assert 0.0 < subject.difficulty <= 1e15
        assert all(math.isfinite(number) for number in subject.state())
