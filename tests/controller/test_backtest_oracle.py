"""Who knew all prices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from controller.backtest_money import earned
from controller.backtest_oracle import best_paths, best_paths_within, stretches
from tests.controller.backtest_rig import fleet, ladder, prices, wild


def test_no_path_earns_more_as_trying_all_of_them_shows() -> None:
    machine, told = ladder(), prices([60.0, 95.0, 300.0, 20.0, 85.0])
    best = earned(machine.unit, best_paths([machine], told)[0], told).usd
    all_paths = [np.array([each], dtype=np.uint8) for each in itertools.product(range(4), repeat=5)]
    assert best == pytest.approx(max(earned(machine.unit, path, told).usd for path in all_paths))


def test_after_a_gap_it_may_begin_as_it_likes() -> None:
    machine, told = fleet(), prices([300.0, np.nan, 20.0])
    (path,) = best_paths([machine], told)
    assert path.tolist() == [[0, 1, 1]]
    assert list(stretches(told.counts)) == [(0, 1), (2, 3)]


def test_a_start_within_a_gap_costs_the_oracle_nothing_as_it_costs_no_one() -> None:
    machine, told = fleet(restart_s=3000.0), prices([np.nan, 300.0, np.nan, np.nan, 60.0])
    best = earned(machine.unit, best_paths([machine], told)[0], told)
    ((capped,), bound_usd) = best_paths_within([machine], told, 100.0)
    assert best.starts == 0
    assert best.usd == pytest.approx(earned(machine.unit, capped, told).usd) == pytest.approx(bound_usd)
    all_paths = [np.array([each], dtype=np.uint8) for each in itertools.product(range(2), repeat=5)]
    assert best.usd == pytest.approx(max(earned(machine.unit, path, told).usd for path in all_paths))


def test_minimum_times_bind_the_oracle_too() -> None:
    (path,) = best_paths([fleet(min_off_s=3600.0)], prices([900.0, 20.0, 20.0, 20.0, 20.0, 20.0]))
    assert path.tolist() == [[0, 0, 0, 0, 1, 1]]


def test_under_a_cap_it_keeps_the_cap_and_earns_hardly_less_than_the_bound() -> None:
    fleets, told = [fleet(20.0, count=2), fleet(30.0, count=2)], prices(wild(3, 8 * 96))
    paths, bound_usd = best_paths_within(fleets, told, 9.5)
    drawn = sum(path.sum(axis=0) for path in paths) * 3.0
    usd = sum(earned(each.unit, path, told).usd for each, path in zip(fleets, paths, strict=True))
    assert drawn.max() <= 9.5
    assert 0.999 * bound_usd < usd <= bound_usd


def test_a_minimum_time_goes_on_from_one_week_to_the_next() -> None:
    told = prices([20.0] * (7 * 96 - 1) + [900.0] + [20.0] * 10)
    ((path,), _) = best_paths_within([fleet(min_off_s=4 * 900.0)], told, 100.0)
    off = np.flatnonzero(path[0] == 0).tolist()
    assert len(off) in {0, 4}


def test_with_a_cap_that_never_binds_it_is_the_same_as_without() -> None:
    machine, told = fleet(), prices(wild(4, 8 * 96))
    (alone,) = best_paths([machine], told)
    ((capped,), _) = best_paths_within([machine], told, 1e6)
    assert earned(machine.unit, capped, told).usd == pytest.approx(earned(machine.unit, alone, told).usd)
