"""What a pool pays of hashprice, and that a decision's numbers say it again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.earnings import Earnings, Paid, Scheme, paid
from controller.hashprice import Earned

SUBSIDY_RATIO = 312_500_000 / (312_500_000 + 1_552_873)  # of 2026-01-12
PART = st.floats(0, 0.99)


@pytest.mark.parametrize("scheme", ["fpps", "pps+", "pplns", "tides", "solo", "other"])
def test_a_pool_that_pays_fees_takes_its_fee_and_what_it_rejects(scheme: str) -> None:
    found = paid(Earned(), Earnings(Scheme(scheme), fee=0.02, rejected_ratio=0.01), SUBSIDY_RATIO)
    assert found.ratio == pytest.approx(0.98 * 0.99)


def test_plain_pps_pays_the_subsidy_only() -> None:
    found = paid(Earned(), Earnings(Scheme.PPS, fee=0.02), SUBSIDY_RATIO)
    assert found.ratio == pytest.approx(0.98 * 0.995055, rel=1e-5)


def test_without_a_pool_what_is_configured_counts() -> None:
    found = paid(Earned(pool_fee=0.03, stale=0.01, uptime=0.97), None, SUBSIDY_RATIO)
    assert found.ratio == Earned(pool_fee=0.03, stale=0.01, uptime=0.97).ratio


def test_a_pools_own_fee_and_rejections_take_the_place_of_what_is_configured() -> None:
    configured = Earned(pool_fee=0.03, stale=0.05, uptime=0.9)
    known = paid(configured, Earnings(Scheme.FPPS, fee=0.02, rejected_ratio=0.01), 1.0)
    assert (known.pool_fee, known.rejected, known.uptime) == (0.02, 0.01, 0.9)
    assert paid(configured, Earnings(Scheme.FPPS, fee=0.02), 1.0).rejected == 0.05


def test_work_that_is_mined_solo_pays_no_fee_and_keeps_the_fees_of_its_blocks() -> None:
    half = Earnings(Scheme.PPS, fee=0.04, rejected_ratio=0.01, pool_work_ratio=0.5)
    found = paid(Earned(stale=0.02), half, 0.9)
    assert found.ratio == pytest.approx(0.5 * 0.96 * 0.99 * 0.9 + 0.5 * 0.98)


@pytest.mark.parametrize(
    "bad", [{"fee": 1.0}, {"fee": -0.1}, {"rejected_ratio": 1.1}, {"pool_work_ratio": 1.1}]
)
def test_what_is_no_fraction_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Earnings(Scheme.FPPS, **bad)


@given(PART, PART, PART, st.floats(0, 1), PART, st.floats(0.01, 1))
def test_a_decisions_numbers_say_it_again_to_the_last_bit(
    fee: float, rejected: float, reward: float, work: float, stale: float, uptime: float
) -> None:
    # Without solo work its stale part means nothing, and is not kept.
    made = Paid(fee, rejected, reward, work, stale if work < 1 else 0.0, uptime)
    assert Paid.of_numbers(made.numbers()) == made


def test_only_what_is_unusual_is_kept_beside_fee_and_rejected_work() -> None:
    assert Paid(0.02, 0.01).numbers() == {"pool_fee_ratio": 0.02, "rejected_ratio": 0.01}
    assert set(Paid(pool_work=0.7, solo_stale=0.01).numbers()) == {
        "pool_fee_ratio",
        "rejected_ratio",
        "pool_work_ratio",
        "solo_stale_ratio",
    }
