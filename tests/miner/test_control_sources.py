"""Where the controller's numbers come from, and what it takes a pool to pay."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.earnings import Earnings, Scheme
from controller.sources.base import SourceError
from controller.ticks import CHAIN_HEIGHT, DIFFICULTY, FEES, POWER, SUBSIDY
from miner import control_sources
from miner.config import Config
from miner.config_pool import PoolConfig
from miner.control_settings import played_tape
from miner.control_sources import Facts, earnings_of, expected_pay, sources
from miner.ledger.rows import PoolShareSums
from miner.node.rpc import NodeUnreachableError
from miner.site import node_set
from miner.work.pay import PoolPay
from tests.miner.control_harness import config_of, silent_nodes
from tests.miner.harness import NOW, job

POOL = {"url": "stratum+tcp://pool.example:3333", "user": "me", "scheme": "pps", "fee": 0.02}


def pool_config(**sections: Any) -> Config:
    """A pool and no node."""
    return Config.model_validate({"network": "regtest", "pool": [POOL], **sections})


@pytest.fixture
def tape(tmp_path: Path) -> dict[str, Any]:
    """A tape of four minutes, played from its second one, thirty times as fast, on and on."""
    file = tmp_path / "tape.csv"
    file.write_text("offset_s,usd_per_kwh\n0,0.1\n60,0.2\n120,0.3\n180,0.4\n")
    return {"file": str(file), "speed": 30.0, "start": 60, "at_end": "loop"}


def test_the_tape_is_asked_before_the_configuration_and_that_before_the_node(tape: dict[str, Any]) -> None:
    config = config_of(tape=tape, market={"btc_usd": 1e5}, power={"usd_per_kwh": 0.1})
    found = sources(config, node_set(config), played_tape(config, NOW))
    assert [source.name for source in found] == ["tape", "configuration", "node"]


AHEAD = {"http": [{"preset": "ercot-day-ahead", "area": "HB_NORTH"}]}


def test_day_ahead_prices_are_a_source_of_their_own_unless_the_tape_brings_them(tmp_path: Path) -> None:
    config = config_of(market={"btc_usd": 1e5}, power={"usd_per_kwh": 0.1, "day_ahead": AHEAD})
    found = sources(config, node_set(config), None)
    assert [source.name for source in found] == ["configuration", "power", "power_day_ahead", "node"]
    file = tmp_path / "tape.csv"
    file.write_text("offset_s,usd_per_kwh,day_ahead_usd_per_mwh\n0,0.1,90\n")
    config = config_of(
        tape={"file": str(file)}, market={"btc_usd": 1e5}, power={"usd_per_kwh": 0.1, "day_ahead": AHEAD}
    )
    found = sources(config, node_set(config), played_tape(config, NOW))
    assert [source.name for source in found] == ["tape", "configuration", "node"]


async def test_a_price_that_is_not_written_down_is_not_made_up() -> None:
    config = config_of(power={"usd_per_kwh": -0.02})
    fixed, node = sources(config, node_set(config), None)
    assert [(tick.series, tick.value) for tick in await fixed.read(NOW)] == [(POWER, -0.02)]
    assert node.name == "node"


async def test_a_tape_is_played_at_its_speed_from_its_start(tape: dict[str, Any]) -> None:
    config = config_of(tape=tape)
    played, _ = sources(config, node_set(config), played_tape(config, NOW))
    values = [[tick.value for tick in await played.read(NOW + s)] for s in (0.0, 2.0, 4.0, 6.0)]
    assert values == [[0.2], [0.3], [0.4], [0.1]]


async def test_without_a_node_that_answers_the_chain_is_not_known() -> None:
    with pytest.raises(SourceError, match="no bitcoind answers"):
        await Facts(silent_nodes(config_of()))()


async def test_a_node_that_does_not_answer_is_a_source_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_answer(*_: object) -> None:
        raise NodeUnreachableError("bitcoind a does not answer")

    monkeypatch.setattr(control_sources, "chain_facts", no_answer)
    with pytest.raises(SourceError, match="bitcoind a does not answer"):
        await Facts(node_set(config_of()))()


async def test_without_a_node_of_our_own_the_pools_job_tells_of_the_chain() -> None:
    config = pool_config()
    present = [replace(job("1"), height=300, reward_sat=1_250_000_700), None]
    (pool,) = sources(config, node_set(config), None, lambda: present[0])
    ticks = await pool.read(NOW + 60)
    assert {tick.series: tick.value for tick in ticks} == {
        DIFFICULTY: pytest.approx(4.6565423739069247e-10),
        SUBSIDY: 1_250_000_000,  # regtest's second halving was at 300
        FEES: 700,
        CHAIN_HEIGHT: 299,
    }
    assert {tick.observed_at for tick in ticks} == {NOW}
    present.pop(0)
    assert await pool.read(NOW + 120) == ticks
    assert sources(config, node_set(config), None) == []


def test_a_node_of_our_own_goes_before_what_a_pool_says() -> None:
    config = config_of(pool=[POOL])
    assert [one.name for one in sources(config, node_set(config), None, lambda: None)] == ["node"]


@pytest.mark.parametrize("scheme", PoolConfig.model_fields["scheme"].annotation.__args__)  # type: ignore[union-attr] # a Literal
def test_every_scheme_that_can_be_configured_is_one_the_controller_knows(scheme: str) -> None:
    pay = PoolPay("pool.example", scheme, fee=0.02, rejected_ratio=0.01, pool_work_ratio=0.7)
    assert earnings_of(pay) == Earnings(Scheme(scheme), 0.02, 0.01, 0.7, "pool.example")


def test_where_nothing_is_known_of_a_pool_nothing_is_made_up() -> None:
    assert earnings_of(None) is None
    assert expected_pay(config_of(), {}) is None


def test_of_a_pool_that_is_not_connected_its_terms_and_the_rejected_work_of_late_count() -> None:
    config = pool_config(controller={"stale_ratio": 0.02})
    assert expected_pay(config, {}) == PoolPay("pool.example:3333", "pps", 0.02, None, 1.0)
    sums = {
        "pool.example:3333": PoolShareSums(accepted=900, rejected=100, work_accepted=9e5, work_rejected=1e5)
    }
    pay = expected_pay(config, sums)
    assert pay is not None
    assert pay.rejected_ratio == pytest.approx((1e5 + 0.02 * 1e5) / 1.1e6)


def test_with_solo_beside_the_pool_only_a_part_of_the_work_is_the_pools() -> None:
    config = config_of(pool=[POOL], solo={**config_of().solo.model_dump(exclude_none=True), "share": 0.25})  # type: ignore[union-attr] # it is there
    pay = expected_pay(config, {})
    assert pay is not None
    assert pay.pool_work_ratio == 0.75
