"""What the controller earns with whole fleets."""

from __future__ import annotations

import pytest

from controller.backtest_controlled import each_alone, one_site
from controller.backtest_money import prices_of
from tests.controller.backtest_rig import A, asked, fleet, ladder, recorded, wild


def quiet(_: float) -> None:
    """Nobody listens."""


def test_fleets_without_a_cap_do_not_know_of_each_other() -> None:
    told = recorded(wild(1, 60), warm_up=30)
    fleets = [fleet(25.0), fleet(31.0)]
    both = each_alone(told, fleets, A, prices_of(told, 0.0), quiet)
    for index, each in enumerate(fleets):
        alone = each_alone(told, [each], A, prices_of(told, 0.0), quiet)
        assert both.own[index].money_usd.tolist() == alone.own[0].money_usd.tolist()


def test_of_one_mode_the_best_single_mode_is_the_whole() -> None:
    told = recorded(wild(1, 40), warm_up=30)
    found = each_alone(told, [fleet(30.0)], A, prices_of(told, 0.0), quiet)
    assert found.single == found.own
    assert found.alone_usd == ({"full": found.own[0].usd},)


def test_of_a_ladder_every_mode_is_tried_alone_and_the_best_is_kept() -> None:
    told = recorded(wild(2, 60) + 15, warm_up=30)
    found = each_alone(told, [ladder()], A, prices_of(told, 0.0), quiet)
    assert set(found.alone_usd[0]) == {"eco", "mid", "full"}
    assert found.single[0].usd == max(found.alone_usd[0].values())


def test_equal_units_earn_as_many_times_what_one_does() -> None:
    told = recorded(wild(1, 40), warm_up=30)
    one, four = (
        each_alone(told, [fleet(30.0, count=count)], A, prices_of(told, 0.0), quiet).own[0]
        for count in (1, 4)
    )
    assert four.usd == pytest.approx(4 * one.usd)
    assert four.starts == 4 * one.starts


def test_under_a_cap_no_more_is_drawn_and_each_unit_decides_for_itself() -> None:
    told = recorded(wild(1, 42) - 40, warm_up=30)
    how = asked(A.sees, cap_kw=7.0)
    found = one_site(told, [fleet(20.0, count=2), fleet(30.0, count=2)], how, prices_of(told, 0.0), quiet)
    drawn = found.own[0].drawn_kw + found.own[1].drawn_kw
    assert drawn[2:].max() == 6.0
    assert found.own[0].drawn_kw[2:].min() == 6.0


def test_under_a_cap_all_fleets_try_their_modes_of_one_rank_together() -> None:
    told = recorded(wild(1, 34), warm_up=30)
    how = asked(A.sees, cap_kw=4.9)
    done: list[float] = []
    found = one_site(told, [ladder(), fleet(30.0)], how, prices_of(told, 0.0), done.append)
    assert [list(each) for each in found.alone_usd] == [["eco", "mid", "full"], ["full"]]
    assert done == sorted(done)
    assert done[-1] == 1.0
