"""The fleet's report: against published breakevens, and against every slot reckoned one by one."""

import math
import random
from typing import Any

import pytest

from controller.economics import best_mode, margin_usd_per_hour
from controller.plan import Slot
from controller.report import Chain, Fleet, Prices, Treasury, fleet_report, needed_hashprice, running
from controller.units import Mode, PowerCurve, Unit

S19J_PRO = PowerCurve(
    Mode(f"{watts}", th_s, watts)
    for watts, th_s in ((1850, 76), (2000, 80), (2300, 87), (2500, 92), (2700, 96), (2970, 100))
)
S21 = PowerCurve([Mode("off", 0, 15), Mode("on", 200, 3500)])


def slots(*prices: float) -> tuple[Slot, ...]:
    return tuple(Slot(900.0 * i, 900.0, 40.0, price) for i, price in enumerate(prices))


def fleet(*units: Unit, power: tuple[float, ...] = (0.06,), **more: Any) -> Fleet:
    settings: dict[str, Any] = {"hashprice_usd_per_ph_day": 40.0, "paid_ratio": 1.0, **more}
    return Fleet(units=units, slots=slots(*power), **settings)


def one_mode(j_per_th: float) -> PowerCurve:
    return PowerCurve([Mode("on", 100, 100 * j_per_th)])


@pytest.mark.parametrize(("j_per_th", "cents"), [(13.5, 12.3), (17.5, 9.5), (21.5, 7.8), (29.5, 5.65)])
def test_breakevens_at_forty_dollars_are_the_published_ones(j_per_th: float, cents: float) -> None:
    report = fleet_report(fleet(Unit("a", one_mode(j_per_th))))
    mode = report["classes"][0]["modes"][1]
    assert mode["breakeven_power_usd_per_kwh"] * 100 == pytest.approx(cents, abs=0.06)


def test_the_last_step_of_a_ladder_breaks_even_long_before_the_average_says_so() -> None:
    modes = fleet_report(fleet(Unit("a", S19J_PRO)))["classes"][0]["modes"]
    last, first = modes[-1], modes[1]
    assert last["step_j_per_th"] == pytest.approx(67.5)
    assert last["step_breakeven_power_usd_per_kwh"] * 1000 == pytest.approx(24.7, abs=0.05)
    assert last["breakeven_power_usd_per_kwh"] * 1000 == pytest.approx(56, abs=0.2)
    assert first["breakeven_power_usd_per_kwh"] * 1000 == pytest.approx(68, abs=0.6)


def test_a_unit_runs_as_if_each_slot_was_reckoned_by_itself() -> None:
    chance = random.Random(6)
    for _ in range(200):
        modes = [
            Mode(f"m{i}", chance.uniform(1, 100), chance.uniform(30, 3000))
            for i in range(chance.randint(1, 6))
        ]
        curve = PowerCurve([Mode("off", 0, chance.choice((0.0, 20.0))), *modes])
        horizon = slots(*(chance.uniform(-0.05, 0.2) for _ in range(20)))
        hashprice = chance.uniform(10, 80)
        found = running(curve, hashprice, Prices(horizon))
        best = [best_mode(curve, hashprice, slot.power_usd_per_kwh) for slot in horizon]
        margins = [
            margin_usd_per_hour(mode, hashprice, slot.power_usd_per_kwh)
            for mode, slot in zip(best, horizon, strict=True)
        ]
        assert found.margin_usd_per_day == pytest.approx(24 * math.fsum(margins) / 20)
        assert found.th_s == pytest.approx(math.fsum(mode.th_s for mode in best) / 20, abs=1e-9)
        assert found.watts == pytest.approx(math.fsum(mode.watts for mode in best) / 20)


def test_survival_says_who_runs_who_throttles_and_who_is_mothballed_from_fifty_dollars_to_thirty() -> None:
    units = (Unit("new", S21), Unit("old", one_mode(38.0)), Unit("ladder", S19J_PRO))
    rows = {row["hashprice_usd_per_ph_day"]: row for row in fleet_report(fleet(*units))["survival"]}
    assert (max(rows), min(rows)) == (50.0, 30.0)
    assert rows[50.0]["run"] == ["new"]
    assert rows[50.0]["throttle"] == ["ladder"]
    assert rows[50.0]["mothball"] == ["old"]
    assert rows[30.0]["mothball"] == ["old", "ladder"]
    margins = [row["margin_usd_per_day"] for row in rows.values()]
    assert margins == sorted(margins, reverse=True)


def test_a_unit_that_pays_only_in_cheap_hours_is_throttled_not_mothballed() -> None:
    report = fleet_report(fleet(Unit("a", one_mode(30.0)), power=(0.08, 0.03)))
    assert report["now"]["throttle"] == ["a"]
    assert report["now"]["ph_s"] == pytest.approx(0.05)


def test_what_mothballed_units_draw_until_they_are_unplugged_is_told() -> None:
    report = fleet_report(fleet(Unit("a", S21), power=(0.2,)))
    assert report["now"]["mothball"] == ["a"]
    assert report["now"]["mothballed_standby_usd_per_day"] == pytest.approx(0.015 * 24 * 0.2)


def test_the_merit_order_counts_what_is_online_while_hashprice_falls() -> None:
    units = (Unit("old", one_mode(30.0)), Unit("new", one_mode(15.0)), Unit("too", one_mode(15.0)))
    order = fleet_report(fleet(*units, paid_ratio=0.5))["merit_order"]
    assert [row["unit_ids"] for row in order] == [["new", "too"], ["old"]]
    assert [row["online_ph_s"] for row in order] == pytest.approx([0.2, 0.3])
    assert order[0]["breakeven_hashprice_usd_per_ph_day"] == pytest.approx(24 * 15 * 0.06 / 0.5)


def test_cash_lasts_as_long_as_what_is_burned_each_day_allows() -> None:
    unit = Unit("a", PowerCurve([Mode("on", 1000, 20_000)]))  # 40 $ a day less 28.80 $ for power
    cash = fleet_report(fleet(unit, treasury=Treasury(1000.0, 31.2)))["cash"]
    assert cash["margin_usd_per_day"] == pytest.approx(11.2)
    assert cash["burn_usd_per_day"] == pytest.approx(20.0)
    assert cash["runway_days"] == pytest.approx(50.0)
    assert cash["needed_hashprice_usd_per_ph_day"] == pytest.approx(60.0)
    assert cash["needed_difficulty_drop_ratio"] == pytest.approx(1 / 3)


def test_who_burns_nothing_has_no_end_of_cash() -> None:
    cash = fleet_report(fleet(Unit("a", one_mode(15.0)), treasury=Treasury(10.0)))["cash"]
    assert cash["burn_usd_per_day"] == 0
    assert cash["runway_days"] is None


def test_a_difficulty_drop_brings_back_units_and_money() -> None:
    report = fleet_report(fleet(Unit("a", one_mode(29.5))))
    drops = {row["drop_ratio"]: row for row in report["difficulty_drops"]}
    assert drops[0.02]["gain_usd_per_day"] == 0  # 40.8 is still below its breakeven of 42.5
    assert drops[0.1]["hashprice_usd_per_ph_day"] == pytest.approx(40 / 0.9)
    assert drops[0.1]["gain_usd_per_day"] == pytest.approx(0.1 * (40 / 0.9) - 2.95 * 24 * 0.06)


def test_what_a_bitcoin_costs_is_told_where_the_chain_is_known() -> None:
    chain = Chain(difficulty=146.47e12, reward_sat=3.14e8)
    mode = fleet_report(fleet(Unit("a", one_mode(20.0)), chain=chain))["classes"][0]["modes"][1]
    kwh_per_block = 146.47e12 * 2**32 * 20e-12 / 3.6e6
    assert mode["cash_cost_usd_per_btc"] == pytest.approx(kwh_per_block * 0.06 / 3.14)


def test_no_hashprice_is_needed_where_nothing_is_spent_and_none_is_known_without_units() -> None:
    assert needed_hashprice(fleet(Unit("a", one_mode(20.0)))) == 0
    assert needed_hashprice(fleet()) is None


def test_a_fleet_without_a_power_price_is_refused() -> None:
    with pytest.raises(ValueError, match="power price"):
        Prices(())
