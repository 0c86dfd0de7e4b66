"""From what was recorded to what every policy made of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.backtest import Asked, Policy
from controller.backtest_run import backtest
from controller.worth_seen import Sees
from tests.controller.backtest_rig import A, B, asked, fleet, ladder, recorded, wild


@pytest.mark.parametrize("how", [A, B])
def test_nobody_beats_the_oracle_and_all_policies_are_told(how: Asked) -> None:
    told = recorded(wild(1, 130), warm_up=30)
    result = backtest(told, [fleet(30.0), ladder()], how)
    for each in result.fleets:
        assert list(each.policies) == list(Policy)
        best = each.policies[Policy.ORACLE]
        assert best.regret == 0.0
        for found in each.policies.values():
            assert found.usd <= best.usd + 1e-9
            assert found.regret == pytest.approx((best.usd - found.usd) / best.usd)
            assert found.usd == pytest.approx(float(found.money_usd.sum()))


def test_the_result_says_what_it_was_judged_on() -> None:
    told = replace(recorded(wild(1, 40), ahead=wild(2, 60), warm_up=30), gaps=("a gap",))
    result = backtest(told, [fleet()], asked(Sees.B, fee=0.5), {"--fee": 0.5})
    assert (result.sees, result.gaps, result.settings) == (Sees.B, ("a gap",), {"--fee": 0.5})
    assert len(result.starts) == len(result.day_ahead_usd_per_kwh) == 10
    assert result.hashprice_usd_per_ph_day.tolist() == [25.0] * 10
    assert result.fleets[0].methods == {"band": 10}


def test_money_in_gaps_counts_for_nobody() -> None:
    prices = wild(3, 60)
    prices[40:44] = np.nan
    result = backtest(recorded(prices, warm_up=30), [fleet()], A)
    assert int((~result.counts).sum()) == 4
    for found in result.fleets[0].policies.values():
        assert not found.money_usd[10:14].any()


def test_under_a_cap_the_site_is_judged_as_one() -> None:
    told = recorded(wild(1, 42) - 30, warm_up=30)
    result = backtest(told, [fleet(20.0, count=2), fleet(30.0, count=2)], asked(Sees.A, cap_kw=7.0))
    assert all(found.regret is None for found in result.fleets[0].policies.values())
    assert result.together is not None
    whole = result.together.policies
    bound = result.settings["oracle_bound_usd"]
    assert isinstance(bound, float)
    assert whole[Policy.ORACLE].usd <= bound + 1e-9
    for policy, found in whole.items():
        assert found.drawn_kw.max() <= 7.0
        assert found.usd == pytest.approx(sum(each.policies[policy].usd for each in result.fleets))


def test_under_a_cap_one_fleet_is_the_whole_site() -> None:
    result = backtest(recorded(wild(1, 34), warm_up=30), [fleet(20.0, count=2)], asked(Sees.A, cap_kw=4.0))
    assert result.together is not None
    for policy, found in result.fleets[0].policies.items():
        assert found.regret == result.together.policies[policy].regret is not None


def test_progress_rises_to_the_end() -> None:
    told: list[float] = []
    backtest(recorded(wild(1, 34), warm_up=30), [fleet()], A, {}, lambda done, _: told.append(done))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_without_a_fleet_there_is_nothing_to_run() -> None:
    with pytest.raises(ValueError, match="no fleet"):
        backtest(recorded([50.0]), [], A)
