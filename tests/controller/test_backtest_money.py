"""What paths earn, booked as the planner books it."""

import math

import numpy as np
import pytest

from controller.backtest import Fleet
from controller.backtest_money import breakeven_usd_per_kwh, earned, together
from controller.backtest_oracle import classes_of, slots_of
from controller.program import Program
from tests.controller.backtest_rig import HASHPRICE, fleet, ladder, prices, wild


@pytest.mark.parametrize("machine", [fleet(wear_usd=0.3), ladder()])
def test_money_is_what_the_program_says_a_path_is_worth(machine: Fleet) -> None:
    told = prices(wild(1, 50))
    path = np.random.default_rng(2).integers(0, len(machine.unit.curve.modes), 50).astype(np.uint8)
    program = Program(classes_of([machine], standing=True), slots_of(told, 0, 50))
    assert earned(machine.unit, path[None], told).usd == pytest.approx(program.worth(0, path), rel=1e-12)


def test_a_quarter_hour_on_and_a_start_as_one_reckons_by_hand() -> None:
    told = prices([50.0, 50.0, 50.0])
    found = earned(fleet(30.0).unit, np.array([[1, 0, 1]], dtype=np.uint8), told)
    hour = HASHPRICE / 1000 / 24 * 100
    assert found.money_usd.tolist() == pytest.approx(
        [0.25 * (hour - 0.15), 0.0, 0.25 * (hour - 0.15) - hour / 6]
    )
    assert (found.starts, found.changes, found.uptime) == (1, 0, pytest.approx(2 / 3))
    assert found.drawn_kw.tolist() == [3.0, 0.0, 3.0]


def test_changes_between_modes_are_counted_apart_from_starts() -> None:
    found = earned(ladder().unit, np.array([[3, 2, 0, 1]], dtype=np.uint8), prices([50.0] * 4))
    assert (found.starts, found.changes) == (1, 1)


def test_in_a_gap_nothing_counts_not_even_a_start() -> None:
    told = prices([50.0, math.nan, 50.0])
    found = earned(fleet().unit, np.array([[0, 1, 1]], dtype=np.uint8), told)
    assert found.money_usd[1] == 0.0
    assert (found.starts, found.uptime) == (0, 0.5)


def test_at_the_breakeven_full_hashrate_earns_nothing() -> None:
    machine = fleet(21.5)
    at = breakeven_usd_per_kwh(machine.unit, prices([50.0]))[0]
    found = earned(machine.unit, np.array([[1]], dtype=np.uint8), prices([at * 1000]))
    assert found.usd == pytest.approx(0.0, abs=1e-12)


def test_several_fleets_together_are_weighed_by_their_units() -> None:
    told = prices([50.0])
    on, off = (
        earned(fleet().unit, np.full((3 - 2 * mode, 1), mode, dtype=np.uint8), told) for mode in (1, 0)
    )
    whole = together([fleet(count=1), fleet(count=3)], [on, off])
    assert whole.uptime == 0.25
    assert whole.usd == on.usd
