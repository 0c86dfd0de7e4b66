"""What operators do without a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from controller.backtest import Policy
from controller.backtest_baselines import baselines
from controller.backtest_money import prices_of
from tests.controller.backtest_rig import A, B, asked, fleet, recorded

if TYPE_CHECKING:
    from controller.backtest import Asked, Fleet, Recorded

CHEAP, DEAR = 20.0, 300.0


def path(policy: Policy, told: Recorded, how: Asked = A, machine: Fleet | None = None) -> list[int]:
    machine = machine or fleet()
    (found,) = baselines(told, [machine], how, prices_of(told, how.fee))[policy]
    return [int(each) for each in found[0]]


def test_the_threshold_follows_the_price_that_is_seen() -> None:
    told = recorded([CHEAP, DEAR, CHEAP, CHEAP])
    assert path(Policy.THRESHOLD, told) == [1, 0, 1, 1]


def test_without_the_price_that_begins_it_follows_the_one_before() -> None:
    told = recorded([CHEAP, CHEAP, DEAR, CHEAP, CHEAP], warm_up=1)
    assert path(Policy.THRESHOLD, told, B) == [1, 1, 0, 1]


def test_always_on_is_always_on() -> None:
    assert path(Policy.ALWAYS_ON, recorded([DEAR] * 3)) == [1, 1, 1]


def test_debounced_it_waits_for_two_dear_and_four_cheap_quarter_hours() -> None:
    told = recorded([DEAR, CHEAP, DEAR, DEAR, CHEAP, CHEAP, CHEAP, CHEAP, DEAR])
    assert path(Policy.DEBOUNCE, told) == [1, 1, 1, 0, 0, 0, 0, 1, 1]


def test_the_band_stays_through_a_small_loss_where_prices_move_and_stops_for_a_large_one() -> None:
    quiet = [60.0, 66.0] * 50
    assert path(Policy.BAND, recorded([*quiet, 71.0, 64.0, 64.0], warm_up=100)) == [1, 1, 1]
    assert path(Policy.BAND, recorded([*quiet, 400.0, 400.0, 20.0], warm_up=100)) == [0, 0, 1]


def test_what_costs_nothing_to_start_follows_the_price_by_the_band_too() -> None:
    told = recorded([50.0] * 30 + [70.0, 68.0], warm_up=30)
    assert path(Policy.BAND, told, machine=fleet(restart_s=0.0)) == [0, 1]


def test_in_a_gap_they_hold_for_the_grace_time_and_then_run() -> None:
    told = recorded([DEAR, np.nan, np.nan, np.nan, DEAR])
    assert path(Policy.THRESHOLD, told) == [0, 0, 1, 1, 0]


def test_without_a_hashprice_they_hold_too() -> None:
    told = recorded([DEAR, CHEAP, CHEAP], hashprice=[50.0, np.nan, 50.0])
    assert path(Policy.THRESHOLD, told) == [0, 0, 1]


def test_minimum_times_bind_them() -> None:
    told = recorded([DEAR, CHEAP, CHEAP, CHEAP, DEAR, CHEAP])
    assert path(Policy.THRESHOLD, told, machine=fleet(min_off_s=1800.0)) == [0, 0, 1, 1, 0, 0]


def test_under_a_cap_the_thriftiest_run() -> None:
    told = recorded([CHEAP, CHEAP])
    how = asked(A.sees, cap_kw=10.0)
    dear, thrifty = fleet(30.0, count=3), fleet(20.0, count=2)
    found = baselines(told, [dear, thrifty], how, prices_of(told, 0.0))[Policy.ALWAYS_ON]
    assert [each.sum(axis=0).tolist() for each in found] == [[1, 1], [2, 2]]
