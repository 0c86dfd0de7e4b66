"""A connection to a pool is hijacked: its work pays somebody else, or is worth nothing. It is noticed, and mining goes on elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from regtest import chain
from regtest.process import bitcoind_sections
from tests.end_to_end.pool_client import EASY, active, assert_mined_on, mines_at_first, name_of
from tests.miner.stratum.scripted_pool import PoolThread
from tests.miner.stratum.scripted_work import PAYEE

if TYPE_CHECKING:
    from regtest.bitcoind import Bitcoind
    from tests.end_to_end.rig import Rig

THIEF = bytes.fromhex("0014") + b"\x66" * 20


@pytest.mark.bitcoind
def test_a_pool_that_builds_on_a_block_our_node_has_never_seen(
    mine_at: Any, bitcoind: Bitcoind, rig: Rig
) -> None:
    chain.mine(bitcoind, 1)
    tip = bytes.fromhex(bitcoind.rpc("getbestblockhash"))[::-1]
    on_tip: dict[str, Any] = {"difficulty": EASY, "job_every_s": 0.5, "prev_hash": tip, "height": 2}
    with PoolThread("a", **on_tip) as pool, PoolThread("b", **on_tip) as good:
        daemon = mine_at(pool, good, bitcoind=bitcoind_sections([bitcoind]))
        with rig:
            mines_at_first(daemon, rig, pool)
            pool.do(lambda each: each.new_block())
            daemon.wait_until(lambda: active(daemon) == name_of(good), "leave the pool", 60.0)
            assert_mined_on(daemon, rig, pool, good)
    assert "kind=unknown_prev_hash" in daemon.log


@pytest.mark.parametrize("known", ["configured", "learned"])
def test_a_pool_whose_jobs_pay_somebody_else(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig, known: str
) -> None:
    daemon = mine_at(pool, second, keys={"payees": [PAYEE.hex()]} if known == "configured" else {})
    with rig:
        mines_at_first(daemon, rig, pool)
        for _ in range(3):
            pool.do(lambda each: each.new_job(clean=True, outputs=((312_500_000, THIEF),)))
        assert_mined_on(daemon, rig, pool, second)
    assert daemon.log.count("kind=pays_nobody_we_know") == 3
    assert "pool_condemned" in daemon.log


def test_a_pool_whose_shares_are_to_be_absurdly_hard(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool, second)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: each.set_difficulty(1e12))
        for _ in range(3):
            pool.do(lambda each: each.new_job(clean=True))
        assert_mined_on(daemon, rig, pool, second)
    assert daemon.log.count("kind=absurd_difficulty") == 3
