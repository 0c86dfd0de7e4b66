from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from controller.hashprice import Earned
from controller.market import Market, read_market
from controller.sources.base import Restorable, Source, SourceError
from controller.sources.pool import FEE_BLOCKS, PoolSource
from controller.ticks import BTC_USD, CHAIN_HEIGHT, DIFFICULTY, FEES, POWER, SUBSIDY, UNITS, Tick
from controller.validate import MAINNET_RULES

NOW = 1_768_176_000.0  # 2026-01-12
BITS = 0x1701EBD7
SUBSIDY_SAT = 312_500_000


@dataclass(frozen=True)
class Job:
    height: int = 931_901
    bits: int = BITS
    reward_sat: int = SUBSIDY_SAT + 1_552_873
    at: float = NOW - 20


class Pool:
    """A pool's present job, as `current` says."""

    def __init__(self) -> None:
        self.current: Job | None = Job()
        self.source = PoolSource(lambda: self.current, 210_000)

    async def values(self, now: float = NOW) -> dict[str, float]:
        return {tick.series: tick.value for tick in await self.source.read(now)}


async def test_a_job_becomes_four_series_observed_when_it_came() -> None:
    pool = Pool()
    source: Source = pool.source
    ticks = await source.read(NOW)
    assert {tick.series: tick.value for tick in ticks} == {
        DIFFICULTY: pytest.approx(0xFFFF / 0x01EBD7 * 2.0**48),
        SUBSIDY: SUBSIDY_SAT,
        FEES: 1_552_873,
        CHAIN_HEIGHT: 931_900,
    }
    assert {(tick.observed_at, tick.source) for tick in ticks} == {(NOW - 20, "pool")}


async def test_a_market_can_be_read_from_a_pool_alone_and_projects_no_retarget() -> None:
    book = {tick.series: (tick,) for tick in await Pool().source.read(NOW)}
    for series, value in ((BTC_USD, 91_000.0), (POWER, 0.05)):
        book[series] = (Tick(series, value, UNITS[series], 0, float("inf"), NOW, "test"),)
    market = read_market(book, MAINNET_RULES, Earned(), NOW)
    assert isinstance(market, Market)
    # A difficulty of 1.464e14 is what was in force then; published were 0.00043143 BTC.
    assert market.hashprice_btc_per_ph_day == pytest.approx(0.00043143, rel=0.002)
    assert market.retarget is None


async def test_while_no_pool_is_well_the_last_facts_grow_old() -> None:
    pool = Pool()
    assert await PoolSource(lambda: None, 210_000).read(NOW) == []
    first = await pool.source.read(NOW)
    pool.current = None
    assert await pool.source.read(NOW + 600) == first


async def test_fees_are_the_mean_of_the_blocks_that_were_passed_each_at_its_best_offer() -> None:
    pool = Pool()
    # A new block begins with an empty job; its fees come with the next ones, and may be offered less of later.
    offers = [(100, 0), (100, 3000), (100, 2000), (101, 0), (101, 1000), (102, 0)]
    means = []
    for height, fees in offers:
        subsidy = 50 * 100_000_000
        pool.current = Job(height=height, reward_sat=subsidy + fees)
        means.append((await pool.values())[FEES])
    assert means == [0, 3000, 3000, 3000, 3000, 2000]


async def test_the_mean_of_fees_goes_on_after_a_restart_and_gives_way_block_by_block() -> None:
    def job(height: int, fees: int) -> Job:
        return Job(height=height, reward_sat=SUBSIDY_SAT + fees)

    pool = Pool()
    for height in range(900_000, 900_201):
        pool.current = job(height, 1000)
        ticks = await pool.source.read(NOW)
    again = Pool()
    assert isinstance(again.source, Restorable)
    again.source.restore(ticks)
    means = []
    for height in range(900_200, 900_400):
        again.current = job(height, 2000)
        means.append((await again.values())[FEES])
    assert means[:2] == [1000, pytest.approx(1000 + 1000 / 144)]
    assert all(0 <= after - before < 8 for before, after in pairwise(means))
    assert means[143:145] == [pytest.approx(2000 - 1000 / 144), 2000]


@pytest.mark.parametrize(("earlier", "fees"), [(900_000 - 2 * FEE_BLOCKS, 1000), (900_000, 0)])
async def test_a_mean_of_long_ago_or_of_nothing_says_nothing(earlier: int, fees: int) -> None:
    pool = Pool()
    pool.current = Job(height=earlier, reward_sat=SUBSIDY_SAT + fees)
    again = Pool()
    again.source.restore(await pool.source.read(NOW))
    again.source.restore([])
    again.current = Job(height=900_000, reward_sat=SUBSIDY_SAT + 2000)
    assert (await again.values())[FEES] == 2000


async def test_ticks_of_another_source_are_not_its_own() -> None:
    pool = Pool()
    other = PoolSource(lambda: pool.current, 210_000, name="other")
    other.restore(await pool.source.read(NOW))
    pool.current = replace(Job(), reward_sat=SUBSIDY_SAT + 5)
    assert {tick.value for tick in await other.read(NOW) if tick.series == FEES} == {5}


async def test_fees_of_blocks_that_are_long_gone_count_no_more() -> None:
    pool = Pool()
    for height in range(300):
        pool.current = Job(height=height, reward_sat=5_000_000_000 + (10**6 if height < 150 else 7))
        values = await pool.values()
    assert values[FEES] == 7
    assert len(pool.source._fees) == FEE_BLOCKS + 1


async def test_a_coinbase_that_pays_less_than_the_subsidy_offers_no_fees() -> None:
    pool = Pool()
    pool.current = Job(reward_sat=1)
    assert (await pool.values())[FEES] == 0


async def test_a_job_from_the_future_is_observed_now() -> None:
    pool = Pool()
    pool.current = replace(Job(), at=NOW + 5)
    assert {tick.observed_at for tick in await pool.source.read(NOW)} == {NOW}


async def test_the_halving_is_the_chains() -> None:
    source = PoolSource(lambda: Job(height=300, bits=0x207FFFFF, reward_sat=1_250_000_000), 150)
    values = {tick.series: tick.value for tick in await source.read(NOW)}
    assert values[SUBSIDY] == 1_250_000_000
    assert values[DIFFICULTY] == pytest.approx(4.6565423739069247e-10)


async def test_bits_that_are_no_target_are_a_source_that_failed() -> None:
    pool = Pool()
    pool.current = Job(bits=0x17000000)
    with pytest.raises(SourceError, match="0x17000000"):
        await pool.source.read(NOW)
