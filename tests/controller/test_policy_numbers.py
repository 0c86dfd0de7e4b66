from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller import standing
from controller.policy import CHANGED, CONTRADICTS, TOLD, SiteConfig
from controller.units import Unit
from tests.controller.fleet_rig import LIVE, NOW, TICK, UNIT, Fleet
from tests.controller.real_time_rig import LADDER, Market, pinned
from tests.controller.real_time_rig import NOW as QUARTER_AT


def test_numbers_are_finite_and_zero_has_no_sign() -> None:
    numbers = Fleet(config=replace(LIVE, site=SiteConfig(50.0))).one(NOW, -0.0).numbers
    assert all(math.isfinite(value) and math.copysign(1, value or 1) > 0 for value in numbers.values())
    assert all(isinstance(value, float) for value in numbers.values())


def test_under_a_limit_of_power_a_decision_says_limit_draw_and_shadow_price() -> None:
    units = [replace(UNIT, id=f"u{index}") for index in range(2)]
    numbers = Fleet(*units, config=replace(LIVE, site=SiteConfig(50.0))).decide(NOW, 0.02)[0].numbers
    assert (numbers["cap_kw"], numbers["drawn_kw"], numbers["shadow_price_usd_per_kwh"]) == (50.0, 5.94, 0.0)


def test_what_a_unit_was_told_is_remembered_until_it_is_seen_there() -> None:
    fleet = Fleet()
    fleet.deaf = {"u1"}
    told = fleet.one(NOW, 0.5).numbers
    assert (told[CHANGED], told[TOLD]) == (NOW, NOW)
    assert fleet.one(NOW + TICK, 0.5).numbers[TOLD] == NOW + TICK
    fleet.deaf.clear()
    fleet.one(NOW + 2 * TICK, 0.5)
    assert TOLD not in fleet.one(NOW + 3 * TICK, 0.5).numbers


def test_a_contradiction_is_remembered_as_long_as_it_lasts() -> None:
    fleet = Fleet()
    fleet.th_s["u1"] = 0.0
    fleet.one(NOW, 0.02)
    assert fleet.one(NOW + TICK, 0.02).numbers[CONTRADICTS] == NOW
    fleet.th_s["u1"] = 1.0
    assert CONTRADICTS not in fleet.one(NOW + 2 * TICK, 0.02).numbers


def test_the_next_watt_decides_and_its_margin_is_told() -> None:
    numbers = Fleet(mode="eco").one(NOW, 0.05).numbers
    assert numbers["marginal_margin_usd_per_hour"] == pytest.approx(40 / 24e3 * 76 - 0.05 * 1.85)


def test_where_the_next_prices_are_not_known_the_worth_of_the_block_at_stake_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "expected", pinned(lambda at: 0.5 - at / 10, "markov"))
    unit = Unit("u", LADDER, restart_s=120.0, change_s=120.0)
    numbers = Market([unit], (0.05,) * 9, mode="1850 W").decide(QUARTER_AT).decisions["u"].numbers
    assert (numbers["worth_ratio"], numbers["by_markov"]) == (0.5, 1.0)
    assert numbers["change_cost_usd_per_kw"] == pytest.approx(40 / 24e3 * 76 / 30 / 1.83)
    even = 40 / 24e3 * 76 / 1.83
    assert numbers["worth_now_ratio"] == pytest.approx(
        0.5 + (even - 0.05) / 4 / numbers["change_cost_usd_per_kw"]
    )
    plain = Market([unit], (0.05,) * 9, None, mode="1850 W").decide(QUARTER_AT).decisions["u"].numbers
    assert numbers.keys() - plain.keys() == {
        "worth_ratio",
        "worth_now_ratio",
        "change_cost_usd_per_kw",
        "by_markov",
    }
