"""Fleets dealt out to processes."""

from __future__ import annotations

from multiprocessing import Pipe
from typing import TYPE_CHECKING

import pytest

from controller.backtest import Policy
from controller.backtest_parallel import WorkerError, _gathered, backtest_in_parallel
from controller.backtest_run import backtest
from tests.controller.backtest_rig import A, asked, fleet, recorded, wild

if TYPE_CHECKING:
    from controller.backtest import BacktestResult


def numbers(result: BacktestResult) -> list[object]:
    return [
        (each.fleet.key, policy, found.usd, found.regret_low, found.starts, found.money_usd.tolist())
        for each in result.fleets
        for policy, found in each.policies.items()
    ]


def test_two_processes_give_what_one_does_in_the_same_order() -> None:
    told, fleets = recorded(wild(1, 50), warm_up=30), [fleet(25.0), fleet(28.0), fleet(31.0)]
    done: list[float] = []
    both = backtest_in_parallel(told, fleets, A, {"a": 1}, lambda part, _: done.append(part), 2)
    assert numbers(both) == numbers(backtest(told, fleets, A))
    assert both.settings == {"a": 1}
    assert done == sorted(done)


def test_a_fault_in_a_process_is_raised_here() -> None:
    told = recorded(wild(1, 40), warm_up=30)
    with pytest.raises(ValueError, match="horizon_hours"):
        backtest_in_parallel(
            told, [fleet(25.0), fleet(28.0)], asked(A.sees, horizon_hours=0), {}, lambda *_: None, 2
        )


def test_a_process_that_was_killed_is_told_apart_from_one_that_is_done() -> None:
    ours, theirs = Pipe()
    theirs.close()
    with pytest.raises(WorkerError, match="killed"):
        _gathered([ours], lambda *_: None)


def test_one_site_under_a_cap_stays_in_one_process() -> None:
    told = recorded(wild(1, 33), warm_up=30)
    result = backtest_in_parallel(
        told, [fleet(25.0), fleet(28.0)], asked(A.sees, cap_kw=4.0), {}, lambda *_: None, 2
    )
    assert result.together is not None
    assert set(result.together.policies) == set(Policy)
