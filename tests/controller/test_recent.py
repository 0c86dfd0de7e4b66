from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.recent import A_DAY, KEPT, QUARTER_S, Recent, counts_at, quarter_of, remember

Q = 1_888_888
NOW = Q * QUARTER_S


def seen(*looks: tuple[float, float]) -> Recent:
    """After looks at prices, each so many quarter hours after `NOW`."""
    recent = Recent()
    for quarters, price in looks:
        recent = remember(recent, price, NOW + quarters * QUARTER_S)
    return recent


def test_the_latest_price_of_a_quarter_hour_counts() -> None:
    assert seen((0, 0.05), (0.1, 0.06), (0.99, 0.07)) == Recent(Q, (0.07,))


def test_nothing_new_leaves_the_same_object() -> None:
    recent = seen((0, 0.05))
    assert remember(recent, 0.05, NOW + 60) is recent


def test_zeros_of_either_sign_are_told_apart_as_the_journal_does() -> None:
    recent = seen((0, 0.0))
    assert str(remember(recent, -0.0, NOW).prices_usd_per_kwh) == "(-0.0,)"
    assert remember(recent, 0.0, NOW) is recent


def test_quarter_hours_without_a_look_are_not_known() -> None:
    assert seen((0, 0.05), (1, 0.06), (4.5, 0.07)) == Recent(Q + 4, (0.05, 0.06, None, None, 0.07))


def test_a_clock_set_back_forgets_what_was_remembered_of_the_time_to_come() -> None:
    recent = seen((0, 0.05), (1, 0.06), (2, 0.07), (3, 0.4))
    assert remember(recent, 0.2, NOW + QUARTER_S) == Recent(Q + 1, (0.05, 0.2))
    assert remember(recent, 0.2, NOW - QUARTER_S * 9) == Recent(Q - 9, (0.2,))


def test_a_price_counts_for_its_quarter_hour_until_the_next_is_overdue() -> None:
    assert counts_at(NOW - 900, NOW, NOW + 899) == NOW + 899
    for late_s in (900, 1700):
        assert quarter_of(counts_at(NOW - 900, NOW, NOW + late_s)) == Q
    assert counts_at(NOW - 3600, NOW, NOW + 3599) == NOW + 3599


def test_after_a_clock_set_back_by_days_all_is_new() -> None:
    recent = seen((0, 0.05))
    assert remember(recent, 0.2, NOW - QUARTER_S * A_DAY) == Recent(Q - A_DAY, (0.2,))


def test_a_day_and_a_quarter_hour_is_kept_and_a_longer_pause_begins_anew() -> None:
    recent = seen(*((n, float(n)) for n in range(200)))
    assert recent == Recent(Q + 199, tuple(float(n) for n in range(200 - KEPT, 200)))
    kept = remember(recent, 0.5, NOW + QUARTER_S * (199 + KEPT - 1))
    assert kept.prices_usd_per_kwh == (199.0, *(None,) * (KEPT - 2), 0.5)
    assert remember(recent, 0.5, NOW + QUARTER_S * (199 + KEPT)) == Recent(Q + 199 + KEPT, (0.5,))


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(-1, 9)), max_size=40))
def test_whatever_was_seen_stands_in_its_quarter_hour(looks: list[tuple[int, float]]) -> None:
    looks.sort(key=lambda look: look[0])
    recent = seen(*looks)
    latest = dict(looks)
    if recent.quarter is None:
        assert not looks
        return
    assert recent.quarter == Q + max(latest)
    for back, price in enumerate(reversed(recent.prices_usd_per_kwh)):
        assert price == latest.get(recent.quarter - Q - back)


def test_the_quarter_hour_that_begins_is_the_one_that_counts() -> None:
    assert [quarter_of(NOW + s) for s in (-0.01, 0.0, 899.99, 900.0)] == [Q - 1, Q, Q, Q + 1]


@pytest.mark.parametrize(("quarter", "prices"), [(None, (0.1,)), (Q, ()), (Q, (0.1,) * (KEPT + 1))])
def test_what_nothing_remembers_is_refused(quarter: int | None, prices: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="97 quarter hours"):
        Recent(quarter, prices)
