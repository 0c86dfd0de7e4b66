"""The controller's place in the daemon: what it is built of, its journal in the ledger, what it tells."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.earnings import GROSS
from controller.ticks import BTC_USD, CHAIN_HEIGHT, DIFFICULTY, FEES, POWER, SUBSIDY
from miner.control import UnitWorth
from miner.control_refusals import TapeRefusedError
from miner.hashing.station import OFF
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from miner.web.status import MarketStatus
from miner.work.pay import PoolPay
from tests.miner.control_harness import (
    CHEAP,
    HARD,
    LIVE,
    config_of,
    room_of,
)
from tests.miner.harness import job, shown


async def test_before_the_first_tick_nothing_is_known(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of()), recorder) as room:
        assert room.control.worth() == UnitWorth()
        assert room.control.market() == MarketStatus()
        status = room.control.status()
        assert (status.enabled, status.dry_run, status.next_tick_at) == (True, True, None)


async def test_where_hashing_pays_the_unit_is_started_and_the_ledger_knows_why(
    recorder: Recorder, store: Store, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP), controller=LIVE), recorder) as room:
        await room.tick(2)
        assert room.station.read().mode == "full"
        row, _ = store.decisions()
        assert (row.to_mode, row.numbers["power_usd_per_kwh"]) == ("full", CHEAP)
        ((*_, outcome),) = store.outcomes([row.id]).values()
        assert (outcome.outcome, outcome.mode_read) == ("confirmed", "full")
        assert shown(room.metrics, 'hashmill_actuations_total{outcome="confirmed",unit="cpu"}') == 1


async def test_in_a_dry_run_the_same_is_decided_and_nothing_is_touched(
    recorder: Recorder, store: Store, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP)), recorder) as room:
        await room.tick(2)
        assert room.station.read().mode == OFF
        row, _ = store.decisions()
        assert (row.to_mode, row.dry_run) == ("full", True)
        assert store.outcomes([row.id]) == {}


async def test_the_market_is_told_with_the_age_of_each_series(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP)), recorder) as room:
        await room.tick()
        market = room.control.market()
        assert (market.btc_usd, market.power_usd_per_kwh) == (90_000, CHEAP)
        # 86400 s of 1e15 H/s, 2**32 hashes for each difficulty, 3.125 BTC a block.
        expected = 86400 * 1e15 / (0.02 * 2**32) * 3.125 * 90_000
        assert market.hashprice_usd_per_ph_day == pytest.approx(expected)
        assert set(market.ages_s) == {BTC_USD, POWER, DIFFICULTY, SUBSIDY, FEES}
        assert all(0 <= age < 10 for age in market.ages_s.values())
        assert shown(room.metrics, "hashmill_hashprice_usd_per_ph_day") == pytest.approx(expected)
        assert shown(room.metrics, "hashmill_network_difficulty") == 0.02


async def test_hashprice_is_shown_after_pool_fee_and_stale_work_in_either_currency(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    config = config_of(tape=tape_of(usd_per_kwh=CHEAP), controller={"pool_fee": 0.1, "stale_ratio": 0.5})
    async with room_of(config, recorder) as room:
        await room.tick()
    gross_btc = 86400 * 1e15 / (0.02 * 2**32) * 3.125
    assert shown(room.metrics, "hashmill_hashprice_btc_per_ph_day") == pytest.approx(gross_btc * 0.45)
    assert shown(room.metrics, "hashmill_hashprice_usd_per_ph_day") == pytest.approx(
        gross_btc * 0.45 * 90_000
    )


async def test_what_the_pool_pays_is_asked_at_every_tick_and_kept_with_each_decision(
    recorder: Recorder, store: Store, tape_of: Callable[..., dict[str, Any]]
) -> None:
    config = config_of(tape=tape_of(usd_per_kwh=CHEAP), controller={"pool_fee": 0.1, "stale_ratio": 0.5})
    pays = [PoolPay("pool.example", "pps", fee=0.02, rejected_ratio=0.01), None]
    async with room_of(config, recorder, earnings=lambda: pays[0]) as room:
        await room.tick()
        at_the_pool = room.control.market().hashprice_usd_per_ph_day
        pays.pop(0)
        await room.tick()
        as_configured = room.control.market().hashprice_usd_per_ph_day
    gross = 86400 * 1e15 / (0.02 * 2**32) * 3.125 * 90_000
    assert at_the_pool == pytest.approx(gross * 0.98 * 0.99)
    assert as_configured == pytest.approx(gross * 0.45)
    numbers = [row.numbers for row in sorted(store.decisions(), key=lambda row: row.at)]
    assert [(row["pool_fee_ratio"], row["rejected_ratio"]) for row in numbers] == [(0.02, 0.01), (0.1, 0.5)]
    assert [row[GROSS] for row in numbers] == pytest.approx([gross, gross])


async def test_without_a_node_a_market_is_known_from_the_pools_job(recorder: Recorder) -> None:
    pool = {"url": "stratum+tcp://pool.example:3333", "user": "me"}
    prices = {"market": {"btc_usd": 90_000}, "power": {"usd_per_kwh": CHEAP}}
    config = config_of(bitcoind=[], solo=None, pool=[pool], **prices)
    work = replace(job("1"), created_at=time.time(), bits=0x1B0404CB, reward_sat=1_250_000_000)
    async with room_of(config, recorder, pool_job=lambda: work) as room:
        await room.tick()
        market = room.control.market()
    assert market.hashprice_usd_per_ph_day == pytest.approx(
        86400 * 1e15 / (16307.420938523983 * 2**32) * 12.5 * 90_000
    )
    assert set(market.ages_s) == {BTC_USD, POWER, DIFFICULTY, SUBSIDY, FEES, CHAIN_HEIGHT}


async def test_how_good_a_plan_is_shows_while_there_is_one(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP)), recorder) as room:
        await room.tick()
        assert shown(room.metrics, "hashmill_plan_gap_ratio") == 0.0
        assert shown(room.metrics, "hashmill_plan_seconds_count") == 1
        room.control._loop._book._ticks.pop(POWER)
        room.control._loop._reading._sources = ()
        await room.tick()
        assert shown(room.metrics, "hashmill_plan_gap_ratio") is None


async def test_a_running_unit_is_worth_its_margin_and_a_paused_one_costs_nothing(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    config = config_of(tape=tape_of(usd_per_kwh=CHEAP), controller=LIVE)
    async with room_of(config, recorder) as room:
        await room.tick(2)
        running = room.control.worth()
        hashprice = room.control.market().hashprice_usd_per_ph_day
    assert hashprice is not None
    assert running.wanted_mode == "full"
    assert running.breakeven_usd_per_kwh is not None
    assert running.margin_usd_per_hour == pytest.approx(hashprice / 24e3 * 4e-5 - CHEAP * 0.015)
    # At breakeven the power of an hour costs what is earned in it.
    assert running.breakeven_usd_per_kwh == pytest.approx(hashprice / 24e3 * 4e-5 / 0.015)
    tape_of(usd_per_kwh=CHEAP, difficulty=HARD)
    async with room_of(config, recorder) as room:
        await room.tick()
        paused = room.control.worth()
    assert (paused.wanted_mode, paused.margin_usd_per_hour) == (OFF, 0.0)
    assert paused.breakeven_usd_per_kwh == pytest.approx(running.breakeven_usd_per_kwh * 0.02 / HARD)
    assert paused.last_decision is not None
    assert "runs again" in paused.last_decision.flip


async def test_without_a_price_only_the_decision_is_known(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(), controller=LIVE), recorder) as room:
        await room.tick()
        worth, market = room.control.worth(), room.control.market()
    assert (worth.margin_usd_per_hour, worth.breakeven_usd_per_kwh) == (None, None)
    assert worth.last_decision is not None
    assert (market.btc_usd, market.power_usd_per_kwh, market.hashprice_usd_per_ph_day) == (90_000, None, None)
    assert shown(room.metrics, "hashmill_hashprice_usd_per_ph_day") is None


async def test_a_unit_whose_power_counts_as_nothing_has_no_breakeven(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    modes = [{"name": "full", "threads": 1, "watts": 0.0, "th_s": 4e-5}]
    config = config_of(tape=tape_of(usd_per_kwh=CHEAP), cpu={"threads": 1, "modes": modes}, controller=LIVE)
    async with room_of(config, recorder) as room:
        await room.tick(3)
        worth = room.control.worth()
    assert worth.breakeven_usd_per_kwh is None
    assert worth.margin_usd_per_hour is not None
    assert worth.margin_usd_per_hour > 0


async def test_a_refused_tape_starts_no_controller(recorder: Recorder, tmp_path: Path) -> None:
    file = tmp_path / "tape.csv"
    file.write_text("offset_s,usd_per_kwh\n0,\n0,\n")
    with pytest.raises(TapeRefusedError):
        async with room_of(config_of(tape={"file": str(file)}), recorder):
            pass
