import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.work.pay import KEPT_S, MOST_REJECTED, PaidLately, rejected_ratio


def test_of_many_shares_the_rejected_part_of_the_work_counts() -> None:
    assert rejected_ratio(100_000, 9_700.0, 300.0) == pytest.approx(0.03, rel=0.01)


def test_one_rejected_share_of_two_is_no_half() -> None:
    assert rejected_ratio(2, 1.0, 1.0) == pytest.approx(1 / 102)
    assert rejected_ratio(2, 1.0, 1.0, expected=0.02) == pytest.approx(3 / 102)


def test_without_an_answered_share_nothing_is_known() -> None:
    assert rejected_ratio(0, 0.0, 0.0) is None


@given(st.integers(1, 10**9), st.floats(0, 1e18), st.floats(1e-9, 1e18), st.floats(0, 0.99))
def test_it_is_a_fraction_and_never_more_than_half(
    shares: int, accepted: float, rejected: float, expected: float
) -> None:
    found = rejected_ratio(shares, accepted, rejected, expected)
    assert found is not None
    assert 0 <= found <= MOST_REJECTED


HOUR = 3600.0


def judged(now: float, *, accepted: float = 0, rejected: float = 0) -> PaidLately:
    return PaidLately(accepted, rejected, accepted + rejected, now)


def test_what_was_judged_lately_counts_more_than_what_was_judged_a_day_ago() -> None:
    paid = judged(0.0, accepted=900, rejected=100)
    for n in range(1000):
        paid.add("accepted", 1.0, KEPT_S + n)
    assert paid.rejected_ratio(0.0, KEPT_S + 1000) == pytest.approx(
        100 / 2.72 / (1000 / 2.72 + 1000), rel=0.15
    )


def test_a_pool_that_refused_all_for_an_hour_is_tried_again_within_two_days() -> None:
    paid = judged(0.0)
    for n in range(72_000):
        paid.add("rejected", 1.0, n / 20)
    ratios = [paid.rejected_ratio(0.0, HOUR * (1 + hours)) for hours in (0, 24, 36, 48)]
    assert ratios == [
        0.5,
        pytest.approx(0.2, abs=0.05),
        pytest.approx(0.01, abs=0.01),
        pytest.approx(0, abs=0.001),
    ]


def test_a_minute_of_refusals_in_a_day_s_work_is_a_minute_s() -> None:
    paid = judged(0.0, accepted=20 * KEPT_S)
    for n in range(1200):
        paid.add("rejected", 1.0, n / 20)
    assert paid.rejected_ratio(0.0, 60.0) == pytest.approx(60 / KEPT_S, rel=0.05)


def test_while_shares_come_what_is_measured_counts_and_not_what_is_expected() -> None:
    paid = judged(0.0)
    for n in range(20_000):
        paid.add("rejected" if n % 50 == 0 else "accepted", 1.0, n / 20)
    assert paid.rejected_ratio(0.0, 1000.0) == pytest.approx(0.02, rel=0.02)


def test_what_is_no_verdict_says_nothing() -> None:
    paid = judged(0.0)
    paid.add("unanswered", 1.0, 1.0)
    assert paid.rejected_ratio(0.01, 2.0) is None
