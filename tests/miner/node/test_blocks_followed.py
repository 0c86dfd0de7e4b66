"""Blocks of ours after their delivery: matured, orphaned, come back, forgotten by their node."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from miner.node import blocks
from miner.node.blocks import Accepted
from miner.node.nodes import Node
from miner.node.rpc import RpcError
from regtest.bitcoind import Bitcoind
from regtest.chain import mine
from tests.miner.node.harness import (
    QUICK,
    Proxy,
    couriers,
    make_block,
    until,
)

MakeNode = Callable[..., Node]
MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

pytestmark = pytest.mark.bitcoind


async def test_a_block_is_followed_to_its_maturity(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    block = make_block(bitcoind)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        await courier.submit(block)
        for more in (1, 1, 96):
            await asyncio.to_thread(mine, bitcoind, more)
            courier.tip_changed()
            await asyncio.sleep(0.3)
        assert ledger.statuses(block) == ["submitted", "accepted"]  # 100 confirmations only with the next one
        await asyncio.to_thread(mine, bitcoind, 1)
        courier.tip_changed()
        await until(lambda: ledger.statuses(block)[-1] == "mature")
        assert courier._followed == {}

    assert ledger.confirmations(block) == [1, 2, 3, 100]


async def test_an_orphaned_block_is_told_and_may_come_back(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    ours, node = make_block(bitcoind), node_of(bitcoind)
    rivals = [make_block(bitcoind, b"/rival/")]
    async with couriers(node) as (courier, ledger):
        await courier.submit(ours)
        await until(lambda: ledger.statuses(ours) == ["submitted", "accepted"])
        await asyncio.to_thread(bitcoind.rpc, "submitblock", rivals[0].raw.hex())
        await asyncio.to_thread(bitcoind.rpc, "preciousblock", rivals[0].hash_hex)
        courier.tip_changed()
        await until(lambda: ledger.statuses(ours)[-1] == "orphaned")
        assert ledger.confirmations(ours)[-1] == -1

        await asyncio.to_thread(bitcoind.rpc, "preciousblock", ours.hash_hex)
        courier.tip_changed()
        await until(lambda: ledger.statuses(ours)[-1] == "accepted")

        await asyncio.to_thread(bitcoind.rpc, "preciousblock", rivals[0].hash_hex)
        await asyncio.to_thread(mine, bitcoind, 99)
        courier.tip_changed()
        await until(lambda: ledger.statuses(ours)[-1] == "orphaned")
        assert ours.hash in courier._followed  # 99 blocks deep it could still return
        await asyncio.to_thread(mine, bitcoind, 1)
        courier.tip_changed()
        await until(lambda: courier._followed == {})


async def test_a_stale_block_is_submitted_as_a_competitor_and_orphaned(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    late = make_block(bitcoind)
    mine(bitcoind, 1)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        assert await courier.submit(late) == Accepted(active=False)
        await until(lambda: ledger.statuses(late) == ["submitted", "accepted", "orphaned"])

    assert ledger.told[1][2]["detail"] == "accepted beside the best chain"


async def test_a_competitor_that_wins_is_accepted(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    late = make_block(bitcoind)
    mine(bitcoind, 1)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        await courier.submit(late)
        await until(lambda: ledger.statuses(late)[-1] == "orphaned")
        await asyncio.to_thread(bitcoind.rpc, "preciousblock", late.hash_hex)
        courier.tip_changed()
        await until(lambda: ledger.statuses(late)[-1] == "accepted")


async def test_blocks_of_an_earlier_run_are_followed_on(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    block = make_block(bitcoind)
    bitcoind.rpc("submitblock", block.raw.hex())
    mine(bitcoind, 99)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        await courier.resume([replace(block, status="accepted")])
        await until(lambda: ledger.statuses(block) == ["mature"])


async def test_a_block_the_node_has_forgotten_is_submitted_again(
    bitcoind: Bitcoind, node_of: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    parent = make_block(bitcoind)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        await courier.submit(parent)
        child = make_block(bitcoind)
        await courier.submit(child)
        await until(lambda: not courier._underway)
        await asyncio.to_thread(bitcoind.kill)
        for file in (bitcoind.datadir / "regtest" / "blocks").rglob("*.*"):
            file.unlink()  # as after a power cut, before anything was written
        for file in (bitcoind.datadir / "regtest" / "chainstate").rglob("*.*"):
            file.unlink()
        for file in (bitcoind.datadir / "regtest").rglob("CURRENT"):
            file.unlink()
        await asyncio.to_thread(bitcoind.start)
        courier.tip_changed()
        await until(lambda: bitcoind.rpc("getbestblockhash") == child.hash_hex)
        await until(lambda: ledger.statuses(child)[-1] == "accepted")
        assert "block_forgotten" in caplog.messages


async def test_following_goes_on_when_the_node_is_back(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    block = make_block(bitcoind)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        await courier.submit(block)
        await until(lambda: ledger.statuses(block) == ["submitted", "accepted"])
        await asyncio.to_thread(mine, bitcoind, 99)
        await asyncio.to_thread(bitcoind.stop)
        with pytest.raises(RpcError):
            await courier.follow()
        courier.tip_changed()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(bitcoind.start)
        await until(lambda: ledger.statuses(block)[-1] == "mature")


async def test_the_raw_bytes_kept_for_later_are_bounded(
    bitcoind: Bitcoind, node_of: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with couriers(node_of(bitcoind)) as (courier, _ledger):
        first = make_block(bitcoind)
        monkeypatch.setattr(blocks, "KEPT_RAW_BYTES", 2 * len(first.raw) + 10)
        await courier.submit(first)
        for _ in range(3):
            await courier.submit(make_block(bitcoind))

    kept = {one.block.height: bool(one.block.raw) for one in courier._followed.values()}
    assert kept == {1: False, 2: False, 3: True, 4: True}


async def test_the_chain_is_looked_at_once_however_many_blocks_come(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)

    async with couriers(node_of(proxy), pacing=replace(QUICK, follow_s=5.0)) as (courier, _ledger):
        await courier.submit(make_block(bitcoind))
        for _ in range(50):
            courier.tip_changed()
            await asyncio.sleep(0.01)

    assert proxy.seen.count("getblockheader") <= 2
