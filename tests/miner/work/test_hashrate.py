import pytest

from miner.work.hashrate import MOST_SHARES, ShareRate


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
