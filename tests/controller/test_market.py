from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from controller.earnings import Earnings, Scheme
from controller.hashprice import Earned
from controller.market import (
    Market,
    MarketUnknown,
    horizon_slots,
    power_in_force,
    read_market,
    read_retarget,
)
from controller.ticks import (
    BTC_USD,
    CHAIN_HEIGHT,
    DIFFICULTY,
    EPOCH_START,
    FEES,
    HASHPRICE,
    POWER,
    SUBSIDY,
    TIP_TIME,
    UNITS,
    Tick,
)
from controller.validate import MAINNET_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.plan import Slot

NOW = 1_768_176_000.0  # 2026-01-12
CHAIN = {
    DIFFICULTY: 146472570619930.78,
    SUBSIDY: 312_500_000.0,
    FEES: 1_552_873.0,
    CHAIN_HEIGHT: 931_900.0,
    EPOCH_START: 1_767_859_543.0,
    TIP_TIME: 1_768_175_900.0,
}
PPS = Earnings(Scheme.PPS, fee=0.02, rejected_ratio=0.01, pool="pool.example")


def ticks(**extra: float) -> dict[str, tuple[Tick, ...]]:
    values = {BTC_USD: 91_000.0, POWER: 0.05, **CHAIN, **extra}
    return {
        series: (Tick(series, value, UNITS[series], 0, math.inf, NOW - 30, "test"),)
        for series, value in values.items()
    }


def read(book: dict[str, tuple[Tick, ...]], earned: Earned | None = None) -> Market | MarketUnknown:
    return read_market(book, MAINNET_RULES, earned or Earned(), NOW)


def test_hashprice_comes_from_the_chain_and_the_bitcoin_price() -> None:
    market = read(ticks(), Earned(pool_fee=0.02))
    assert isinstance(market, Market)
    assert market.hashprice_btc_per_ph_day == pytest.approx(0.00043132, rel=1e-4)
    assert market.gross_hashprice_usd_per_ph_day == pytest.approx(39.25, abs=0.01)
    assert market.hashprice_usd_per_ph_day == pytest.approx(39.25 * 0.98, abs=0.01)
    assert market.net_hashprice_btc_per_ph_day == pytest.approx(0.00043132 * 0.98, rel=1e-4)
    assert market.ages_s == {BTC_USD: 30, DIFFICULTY: 30, SUBSIDY: 30, FEES: 30, POWER: 30}


def test_a_hashprice_given_directly_outranks_the_chain() -> None:
    market = read(ticks(hashprice_usd_per_ph_day=50.0))
    assert isinstance(market, Market)
    assert (market.gross_hashprice_usd_per_ph_day, market.hashprice_btc_per_ph_day) == (50.0, None)
    assert market.net_hashprice_btc_per_ph_day is None


def test_a_direct_hashprice_that_is_stale_is_not_replaced_behind_the_operators_back() -> None:
    book = ticks(hashprice_usd_per_ph_day=50.0)
    book[HASHPRICE] = (replace(book[HASHPRICE][0], observed_at=NOW - 3601),)
    market = read(book)
    assert isinstance(market, MarketUnknown)
    assert [problem.series for problem in market.problems] == [HASHPRICE]
    assert market.since == NOW - 1


def test_every_problem_is_named_and_a_series_never_seen_has_no_since() -> None:
    book = ticks(btc_usd=math.nan)
    del book[POWER]
    market = read(book)
    assert isinstance(market, MarketUnknown)
    assert [(problem.series, problem.why) for problem in market.problems] == [
        (BTC_USD, "nan USD/BTC is outside 1000 .. 1e+07"),
        (POWER, "no value was ever seen"),
    ]
    assert market.since is None


def test_an_interval_that_is_over_is_no_price_for_now() -> None:
    book = ticks()
    book[POWER] = (replace(book[POWER][0], valid_to=NOW - 5),)
    market = read(book)
    assert isinstance(market, MarketUnknown)
    assert market.problems[0].why == "the last one known ended 5 s ago"
    assert market.since == NOW - 5


def test_a_price_that_is_missing_because_it_was_refused_says_so() -> None:
    book = ticks()
    del book[POWER]
    book[BTC_USD] = (replace(book[BTC_USD][0], observed_at=NOW - 4000),)
    refused = {POWER: "99 is outside -1 .. 10", BTC_USD: "0 is outside 1000 .. 1e+07"}
    market = read_market(book, MAINNET_RULES, Earned(), NOW, refused)
    assert isinstance(market, MarketUnknown)
    assert [problem.why for problem in market.problems] == [
        "last seen 4000 s ago; since then refused: 0 is outside 1000 .. 1e+07",
        "no good value was ever seen; refused: 99 is outside -1 .. 10",
    ]


def test_a_hashprice_that_comes_out_absurd_is_refused() -> None:
    market = read(ticks(network_difficulty=1e12))
    assert isinstance(market, MarketUnknown)
    assert "computed" in market.problems[0].why
    assert market.problems[0].series == HASHPRICE


def test_an_age_never_comes_out_negative() -> None:
    book = ticks()
    book[POWER] = (replace(book[POWER][0], observed_at=NOW + 30),)
    market = read(book)
    assert isinstance(market, Market)
    assert market.ages_s[POWER] == 0


def test_a_live_price_is_confirmed_by_being_seen_again_and_a_scheduled_one_by_itself() -> None:
    market = read(ticks())
    assert isinstance(market, Market)
    assert market.confirmed_since(NOW - 31)
    assert not market.confirmed_since(NOW - 30)
    book = ticks()
    for series in (POWER, BTC_USD):
        book[series] = (replace(book[series][0], valid_from=NOW - 10),)
    scheduled = read(book)
    assert isinstance(scheduled, Market)
    assert scheduled.confirmed_since(NOW)


def test_a_power_price_told_by_the_time_it_begins_and_another_that_held_before_are_known_in_time() -> None:
    def known(since: float, observed_at: float = NOW - 60, stop: float = math.inf) -> bool:
        book = ticks(hashprice_usd_per_ph_day=50.0)
        book[POWER] = (replace(book[POWER][0], valid_from=NOW - 60, valid_to=stop, observed_at=observed_at),)
        book[HASHPRICE] = (replace(book[HASHPRICE][0], valid_from=NOW - 900, observed_at=NOW),)
        market = read(book)
        assert isinstance(market, Market)
        return market.known_in_time(since)

    assert not known(NOW - 60), "a reading of the moment is dated when it is seen"
    assert known(NOW - 60, stop=NOW + 60)
    assert not known(NOW - 60, NOW - 59, NOW + 60)
    assert known(NOW - 60, NOW - 61)
    assert not known(NOW - 900)  # the hashprice is new since then, and no schedule's


def test_the_retarget_is_projected_only_from_one_and_the_same_source() -> None:
    book = ticks()
    assert read_retarget(book, MAINNET_RULES, NOW) is not None
    book[DIFFICULTY] = (replace(book[DIFFICULTY][0], source="tape"),)
    assert read_retarget(book, MAINNET_RULES, NOW) is None
    del book[DIFFICULTY]
    assert read_retarget(book, MAINNET_RULES, NOW) is None


def test_slots_cover_the_horizon_with_known_power_prices_and_hashprice_stepping_at_the_retarget() -> None:
    book = ticks()
    hours = [
        Tick(POWER, 0.01 * hour, UNITS[POWER], NOW + 3600 * hour, NOW + 3600 * (hour + 1), NOW, "day ahead")
        for hour in range(3)
    ]
    book[POWER] = tuple(hours)
    market = read(book)
    assert isinstance(market, Market)
    assert market.retarget is not None
    market = replace(market, retarget=replace(market.retarget, at=NOW + 7200, ratio=0.8))
    power = [(NOW + 3600 * hour, 0.01 * hour) for hour in range(3)]
    slots = horizon_slots(market, power, 4 * 3600, 1800)
    assert [slot.start for slot in slots] == [NOW + 1800 * index for index in range(8)]
    assert [slot.power_usd_per_kwh for slot in slots] == [0, 0, 0.01, 0.01, 0.02, 0.02, 0.02, 0.02]
    ratios = [slot.hashprice_usd_per_ph_day / market.hashprice_usd_per_ph_day for slot in slots]
    assert ratios == pytest.approx([1] * 4 + [1.25] * 4)


def test_a_power_price_is_in_force_while_it_may_be_acted_on() -> None:
    book = ticks()
    assert power_in_force(book, MAINNET_RULES, NOW) == 0.05
    assert power_in_force(book, MAINNET_RULES, NOW + 1770) is None
    assert power_in_force({}, MAINNET_RULES, NOW) is None


def test_slots_are_cut_at_the_grid_and_the_horizon() -> None:
    market = read(ticks())
    assert isinstance(market, Market)
    slots = horizon_slots(replace(market, at=NOW + 100), [(NOW + 100, 0.05)], 2000, 900)
    assert [slot.duration_s for slot in slots] == [800, 900, 300]
    assert all(one.stop == other.start for one, other in pairwise(slots))


def test_slots_have_the_rooms_and_the_days_that_are_told_for_them() -> None:
    market = read(ticks())
    assert isinstance(market, Market)
    asked: list[tuple[float, float]] = []

    def rooms(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
        asked.extend(stretches)
        return [(float(index), 7) for index, _ in enumerate(stretches)]

    slots = horizon_slots(replace(market, at=NOW + 100), [(NOW + 100, 0.05)], 2000, 900, (), rooms)
    assert [(slot.cap_kw, slot.day) for slot in slots] == [(0.0, 7), (1.0, 7), (2.0, 7)]
    assert asked == [(slot.start, slot.stop) for slot in slots]


def test_a_pool_without_fees_pays_the_subsidys_part_of_hashprice() -> None:
    book = ticks()
    market = read_market(book, MAINNET_RULES, Earned(stale=0.5), NOW, earnings=PPS)
    assert isinstance(market, Market)
    # Published for 2026-01-12 are 0.00043143 BTC; of 3.1405 BTC a block 3.125 are subsidy.
    part = 312_500_000 / (312_500_000 + 1_552_873)
    assert market.gross_hashprice_usd_per_ph_day == pytest.approx(39.25, abs=0.01)
    assert market.hashprice_usd_per_ph_day == pytest.approx(39.25 * 0.98 * 0.99 * part, abs=0.01)
    assert market.net_hashprice_btc_per_ph_day == pytest.approx(0.00043132 * 0.98 * 0.99 * part, rel=1e-4)


def test_of_a_direct_hashprice_the_subsidys_part_comes_from_the_chain() -> None:
    book = ticks(hashprice_usd_per_ph_day=50.0, fees_sat_per_block=312_500_000.0)
    market = read_market(book, MAINNET_RULES, Earned(), NOW, earnings=PPS)
    assert isinstance(market, Market)
    assert market.hashprice_usd_per_ph_day == pytest.approx(50 * 0.98 * 0.99 * 0.5)
    assert {tick.series for tick in market.inputs} == {HASHPRICE, SUBSIDY, FEES, POWER}
    book[FEES] = (replace(book[FEES][0], observed_at=NOW - 7201),)
    silent = read_market(book, MAINNET_RULES, Earned(), NOW, earnings=PPS)
    assert isinstance(silent, MarketUnknown)
    assert [problem.series for problem in silent.problems] == [FEES]
    assert isinstance(read_market(book, MAINNET_RULES, Earned(), NOW), Market)


def test_a_direct_hashprice_without_a_chain_counts_whole() -> None:
    book = {
        series: tick for series, tick in ticks(hashprice_usd_per_ph_day=50.0).items() if series not in CHAIN
    }
    market = read_market(book, MAINNET_RULES, Earned(), NOW, earnings=PPS)
    assert isinstance(market, Market)
    assert market.hashprice_usd_per_ph_day == pytest.approx(50 * 0.98 * 0.99)


# --- slots --------------------------------------------------------------------------------------------

SLOT_START = 1_768_176_000.0  # a multiple of 900


def slots_of(
    now: float, later: tuple[tuple[float, float], ...] = (), cuts: tuple[float, ...] = ()
) -> list[Slot]:
    market = Market(now, 40.0, 40.0, None, 0.05, (), None)
    return list(horizon_slots(market, [(now, 0.05), *later], 3600, 900, cuts))


def test_slots_are_cut_where_something_begins_or_ends() -> None:
    slots = slots_of(SLOT_START + 100, cuts=(SLOT_START + 150, SLOT_START + 150.001, SLOT_START + 1800))
    starts = [slot.start - SLOT_START for slot in slots]
    assert starts == [100, 150, 900, 1800, 2700, 3600]
    assert all(before.stop == after.start for before, after in pairwise(slots))
    assert slots[-1].stop == SLOT_START + 3700


def test_no_slot_is_shorter_than_a_moment_however_the_clock_stands() -> None:
    for offset in (899.9999, 1e-7, 0.0):
        slots = slots_of(SLOT_START + offset, cuts=(SLOT_START + offset + 1e-4,))
        assert min(slot.duration_s for slot in slots[:-1]) > 0.0099
        assert slots[-1].stop == SLOT_START + offset + 3600


def test_the_first_slot_ends_with_its_price_and_later_ones_have_the_mean_of_theirs() -> None:
    slots = slots_of(SLOT_START, ((SLOT_START + 300, 0.10), (SLOT_START + 1200, 0.40)))
    assert [(slot.duration_s, slot.power_usd_per_kwh) for slot in slots] == [
        (300, 0.05),
        (600, 0.10),
        (900, pytest.approx(0.10 / 3 + 0.40 * 2 / 3)),
        (900, 0.40),
        (900, 0.40),
    ]


def test_after_an_epochs_last_block_hashprice_is_already_that_of_the_next_difficulty() -> None:
    def price(height: int) -> tuple[float, float | None]:
        chain = {
            DIFFICULTY: 1e14,
            CHAIN_HEIGHT: float(height),
            EPOCH_START: NOW - 2015 * 540.0,
            TIP_TIME: NOW,
        }
        values = {BTC_USD: 90_000.0, SUBSIDY: 3.125e8, FEES: 0.0, POWER: 0.05, **chain}
        ticks = {s: (Tick(s, v, UNITS[s], NOW, math.inf, NOW, "node"),) for s, v in values.items()}
        market = read_market(ticks, MAINNET_RULES, Earned(), NOW)
        assert isinstance(market, Market)
        return market.hashprice_usd_per_ph_day, None if market.retarget is None else market.retarget.ratio

    before, ratio = price(2016 * 400 + 2014)
    after, nothing = price(2016 * 400 + 2015)
    assert ratio == pytest.approx(600 * 2016 / (540 * 2015), rel=1e-3)
    assert after == pytest.approx(before * 540 * 2015 / (600 * 2016))
    assert nothing is None
