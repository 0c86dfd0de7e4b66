from __future__ import annotations

import numpy as np
import pytest

from controller.standing_ladders import Kind, kind_of, ladders_of
from controller.units import Mode, PowerCurve, Unit
from tests.controller.real_time_rig import LADDER, SINGLE

FREE = PowerCurve([Mode("off", 0, 100), Mode("free", 5, 100), Mode("full", 100, 2000)])
"""A mode that hashes and draws no more than off."""


def kind(curve: PowerCurve) -> Kind:
    return kind_of(Unit("u", curve, restart_s=600.0, wear_usd=0.25, change_s=120.0, min_on_s=60.0))


def test_a_curve_is_a_ladder_from_off_along_its_hull() -> None:
    table = ladders_of((kind(SINGLE), kind(LADDER)))
    assert [len(blocks) for blocks in table.blocks] == [1, len(LADDER.hull()) - 1]
    assert table.blocks[1][0] == (LADDER.off, LADDER.hull()[1])
    assert table.kw[:2] == pytest.approx([2.0, 1.83])
    assert table.th_s[0] == 100
    assert table.lost_h[:3] == pytest.approx([1 / 6, 1 / 6, 1 / 30])
    assert table.wear_usd.tolist() == [0.25, 0.25] + [0.0] * (len(table.kw) - 2)
    assert (table.first, table.modes) == ((0, 1), (2, 7))
    assert table.shape == (2, len(LADDER.hull()) - 1)


def test_modes_lie_between_points_of_the_hull() -> None:
    table = ladders_of((kind(LADDER),))
    hull = np.array([mode.watts for mode in LADDER.hull()])
    low, high = hull[table.low[1][0]], hull[table.high[1][0]]
    watts = [mode.watts for mode in LADDER.modes]
    assert low + table.part[0] * (high - low) == pytest.approx(watts)
    assert (table.part >= 0).all()
    assert (table.part <= 1).all()


def test_where_a_mode_draws_no_more_than_off_there_is_no_ladder() -> None:
    table = ladders_of((kind(FREE), kind(SINGLE)))
    assert table.blocks[0] == ()
    assert table.first == (0, 0)
    assert table.kw.tolist() == [2.0]


def test_of_no_units_there_is_nothing() -> None:
    table = ladders_of(())
    assert (table.blocks, table.first, table.shape) == ((), (), (0, 0))


def test_the_same_fleet_has_the_same_table() -> None:
    assert ladders_of((kind(LADDER),)) is ladders_of((kind(PowerCurve(LADDER.modes)),))
