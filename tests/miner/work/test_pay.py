import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.work.pay import rejected_ratio


def test_of_many_shares_the_rejected_part_of_the_work_counts() -> None:
    assert rejected_ratio(100_000, 9_700.0, 300.0) == pytest.approx(0.03, rel=0.01)


def test_one_rejected_share_of_two_is_no_half() -> None:
    assert rejected_ratio(2, 1.0, 1.0) == pytest.approx(1 / 102)
    assert rejected_ratio(2, 1.0, 1.0, expected=0.02) == pytest.approx(3 / 102)


def test_without_an_answered_share_nothing_is_known() -> None:
    assert rejected_ratio(0, 0.0, 0.0) is None


@given(st.integers(1, 10**9), st.floats(0, 1e18), st.floats(1e-9, 1e18), st.floats(0, 0.99))
def test_it_is_a_fraction_that_never_reaches_one(
    shares: int, accepted: float, rejected: float, expected: float
) -> None:
    found = rejected_ratio(shares, accepted, rejected, expected)
    assert found is not None
    assert 0 <= found < 1
