import math
import random
from dataclasses import dataclass

import pytest

from miner.work.hashrate import MOST_SHARES, SAMPLES, ShareRate, TallyRate, gamma_quantile


def test_the_rate_is_the_work_of_the_window_over_its_length() -> None:
    rate = ShareRate(window_s=100.0)
    rate.start(0.0)
    for second in range(200):
        rate.add(2.0, float(second))
    assert rate.hashes_per_second(199.0) == pytest.approx(2.0 * 2**32, rel=0.02)


def test_a_young_unit_is_judged_by_its_own_age() -> None:
    rate = ShareRate(window_s=100.0)
    rate.start(50.0)
    for second in range(51, 61):
        rate.add(1.0, float(second))
    assert rate.hashes_per_second(60.0) == pytest.approx(2**32)


def test_a_stopped_unit_has_no_rate_and_its_late_shares_give_it_none() -> None:
    rate = ShareRate()
    rate.start(0.0)
    rate.add(1.0, 1.0)
    rate.stop()
    rate.add(1.0, 2.0)
    assert rate.hashes_per_second(3.0) == 0.0


def test_a_unit_that_falls_silent_fades_out() -> None:
    rate = ShareRate(window_s=10.0)
    rate.start(0.0)
    rate.add(1.0, 1.0)
    assert rate.hashes_per_second(5.0) > 0.0
    assert rate.hashes_per_second(12.0) == 0.0


def test_more_shares_than_are_kept_still_give_the_right_rate() -> None:
    rate = ShareRate(window_s=1e6)
    rate.start(0.0)
    for second in range(3 * MOST_SHARES):
        rate.add(1.0, float(second))
    assert rate.hashes_per_second(3.0 * MOST_SHARES - 1) == pytest.approx(2**32, rel=0.01)


@dataclass
class Count:
    work: float = 0.0
    work_squared: float = 0.0

    def add(self, difficulty: float, shares: int = 1) -> None:
        self.work += shares * difficulty
        self.work_squared += shares * difficulty**2


def sampled(count: Count, since: int, until: int, shares: int = 2, difficulty: float = 3.0) -> TallyRate:
    """A unit that hands in as many shares before each look, every 10 s."""
    rate = TallyRate()
    follow(rate, count, since, until, shares, difficulty)
    return rate


def follow(
    rate: TallyRate, count: Count, since: int, until: int, shares: int = 2, difficulty: float = 3.0
) -> None:
    for now in range(since, until + 1, 10):
        rate.sample(count, float(now))
        count.add(difficulty, shares)


def test_the_rate_of_a_tally_is_its_work_over_the_window() -> None:
    assert sampled(Count(), 0, 7200).hashes_per_second(7200.0) == pytest.approx(0.6 * 2**32)


def test_a_young_tally_is_judged_by_its_own_age() -> None:
    assert sampled(Count(), 1000, 1060).hashes_per_second(1060.0) == pytest.approx(0.6 * 2**32)


def test_what_was_there_before_the_first_look_does_not_count() -> None:
    count = Count(1e9, 1e18)
    assert sampled(count, 0, 600).hashes_per_second(600.0) == pytest.approx(0.6 * 2**32)


def test_a_tally_never_looked_at_has_no_rate_and_any_rate_may_explain_it() -> None:
    assert TallyRate().hashes_per_second(5.0) == 0.0
    assert TallyRate().interval(5.0) == (0.0, math.inf)


def test_a_unit_without_a_share_has_no_rate_and_no_bound() -> None:
    rate = sampled(Count(), 0, 600, shares=0)
    assert rate.hashes_per_second(600.0) == 0.0
    assert rate.interval(600.0) == (0.0, math.inf)


def test_the_rate_of_a_unit_that_is_gone_fades_to_nothing_over_the_window() -> None:
    count = Count()
    rate = sampled(count, 0, 3600)
    rates = []
    for now in range(3610, 4300, 10):
        rate.sample(count, float(now))
        rates.append(rate.hashes_per_second(float(now)))
    assert rates == sorted(rates, reverse=True)
    assert rates[30] == pytest.approx(0.3 * 2**32, rel=0.1)
    assert rates[-1] == 0.0
    low, high = rate.interval(4290.0)
    assert low == 0.0
    assert 0.0 < high < 0.03 * 2**32


def test_a_tally_that_nobody_looks_at_any_more_fades_too() -> None:
    rate = sampled(Count(), 0, 3600)
    assert rate.hashes_per_second(3605.0) == pytest.approx(0.6 * 2**32)
    assert rate.hashes_per_second(4100.0) < 0.4 * 2**32
    assert rate.hashes_per_second(20_000.0) == 0.0


@pytest.mark.parametrize("now", [310.0, 5.0])
def test_a_tally_or_a_clock_that_steps_back_is_begun_anew(now: float) -> None:
    rate = sampled(Count(), 0, 300)
    count = Count()
    rate.sample(count, now)
    assert rate.hashes_per_second(now) == 0.0
    follow(rate, count, int(now), int(now) + 100)
    assert rate.hashes_per_second(now + 100) == pytest.approx(0.6 * 2**32)


def test_a_month_of_looks_takes_no_more_room_than_a_window() -> None:
    rate = sampled(Count(), 0, 10_000)
    assert len(rate._samples) <= 3 * (SAMPLES + 2)


@pytest.mark.parametrize(
    ("degrees", "probability", "quantile"),
    [
        # Chi-square quantiles of printed tables.
        (1, 0.95, 3.841459),
        (2, 0.025, 0.0506356),
        (2, 0.975, 7.377759),
        (4, 0.025, 0.4844186),
        (4, 0.975, 11.143287),
        (10, 0.025, 3.246973),
        (10, 0.975, 20.483177),
        (20, 0.005, 7.433844),
        (100, 0.025, 74.221927),
        (100, 0.975, 129.561197),
    ],
)
def test_gamma_quantiles_are_those_of_the_tables(degrees: int, probability: float, quantile: float) -> None:
    assert 2 * gamma_quantile(degrees / 2, probability) == pytest.approx(quantile, rel=1e-6)


def test_the_quantile_of_one_event_is_that_of_the_exponential_distribution() -> None:
    for probability in (0.001, 0.025, 0.5, 0.975, 0.999):
        assert gamma_quantile(1.0, probability) == pytest.approx(-math.log1p(-probability), rel=1e-9)


@pytest.mark.parametrize("probability", [0.005, 0.025, 0.975, 0.995])
def test_the_approximation_takes_over_without_a_step(probability: float) -> None:
    below, above = gamma_quantile(59.999999, probability), gamma_quantile(60.0, probability)
    assert below == pytest.approx(above, rel=3e-4)


def test_the_interval_of_ten_shares_is_that_of_the_poisson_tables() -> None:
    count, rate = Count(), TallyRate()
    rate.sample(count, 0.0)
    count.add(5.0, 10)
    rate.sample(count, 100.0)
    low, high = (bound / 2**32 * 100 / 5 for bound in rate.interval(100.0))
    assert (low, high) == (pytest.approx(4.7954, rel=1e-4), pytest.approx(18.3904, rel=1e-4))


def test_a_few_hard_shares_make_the_interval_wider_than_many_easy_ones_of_the_same_work() -> None:
    widths = []
    for difficulties in ([1.0] * 200, [1.0] * 100 + [50.0, 50.0]):
        count, rate = Count(), TallyRate()
        rate.sample(count, 0.0)
        for difficulty in difficulties:
            count.add(difficulty)
        rate.sample(count, 600.0)
        low, high = rate.interval(600.0)
        assert low < rate.hashes_per_second(600.0) < high
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1.5])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TallyRate().interval(0.0, confidence)


@pytest.mark.parametrize("second", [1.0, 2.0])
@pytest.mark.parametrize("expected", [3.0, 12.0, 120.0])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_holds_the_true_hashrate_as_often_as_it_says(
    confidence: float, expected: float, second: float
) -> None:
    rng = random.Random(1)
    held, runs = 0, 1500
    for _ in range(runs):
        count, rate = Count(), TallyRate()
        rate.sample(count, 0.0)
        # Half of the time at one difficulty, half at a second one.
        for difficulty, rate_s in ((1.0, expected / 600), (second, expected / 600)):
            at = rng.expovariate(rate_s / difficulty)
            while at < 300.0:
                count.add(difficulty)
                at += rng.expovariate(rate_s / difficulty)
        rate.sample(count, 600.0)
        low, high = rate.interval(600.0, confidence)
        held += low <= expected / 600 * 2**32 <= high
    assert held / runs >= confidence - 0.03
