from __future__ import annotations

from dataclasses import dataclass

import pytest

from controller.sources.node import NodeSource
from controller.ticks import CHAIN_HEIGHT, DIFFICULTY, EPOCH_START, FEES, SUBSIDY, TIP_TIME


@dataclass(frozen=True)
class Facts:
    chain: str = "main"
    height: int = 931_900
    difficulty: float = 146472570619930.78
    subsidy_sat: int = 312_500_000
    fees_sat_mean_144: float = 1_552_873.5
    epoch_start_time_s: int = 1_767_859_543
    tip_time_s: int = 1_768_175_900


class Chain:
    def __init__(self, chain: str = "main") -> None:
        self.chain = chain
        self.reads = 0
        self.down = False

    async def facts(self) -> Facts:
        self.reads += 1
        if self.down:
            raise OSError("connection refused")
        return Facts(self.chain)


async def test_the_chain_becomes_six_series() -> None:
    ticks = await NodeSource(Chain().facts).read(1000.0)
    assert {tick.series: tick.value for tick in ticks} == {
        DIFFICULTY: 146472570619930.78,
        SUBSIDY: 312_500_000,
        FEES: 1_552_873.5,
        CHAIN_HEIGHT: 931_900,
        EPOCH_START: 1_767_859_543,
        TIP_TIME: 1_768_175_900,
    }
    assert {(tick.observed_at, tick.source) for tick in ticks} == {(1000.0, "node")}


async def test_regtest_never_retargets_so_nothing_is_said_of_its_epoch() -> None:
    ticks = await NodeSource(Chain("regtest").facts).read(1000.0)
    assert {tick.series for tick in ticks} == {DIFFICULTY, SUBSIDY, FEES, CHAIN_HEIGHT}


async def test_the_node_is_asked_no_more_often_than_said_and_ages_show_it() -> None:
    chain = Chain()
    source = NodeSource(chain.facts, refresh_s=60)
    await source.read(1000.0)
    assert {tick.observed_at for tick in await source.read(1059.0)} == {1000.0}
    assert chain.reads == 1
    assert {tick.observed_at for tick in await source.read(1060.0)} == {1060.0}
    assert chain.reads == 2


async def test_a_node_that_is_down_raises_once_and_its_last_facts_grow_old() -> None:
    chain = Chain()
    source = NodeSource(chain.facts, refresh_s=60)
    await source.read(1000.0)
    chain.down = True
    with pytest.raises(OSError, match="refused"):
        await source.read(1060.0)
    assert {tick.observed_at for tick in await source.read(1070.0)} == {1000.0}
    assert chain.reads == 2


async def test_a_clock_set_back_does_not_silence_the_node() -> None:
    chain = Chain()
    source = NodeSource(chain.facts, refresh_s=60)
    await source.read(1000.0)
    assert {tick.observed_at for tick in await source.read(500.0)} == {500.0}
