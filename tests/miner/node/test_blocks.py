import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from miner.node import blocks
from miner.node.blocks import (
    Accepted,
    BlockCourier,
    CourierPacing,
    FoundBlock,
    Rejected,
    Unknown,
    submit_to,
)
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcError
from regtest.bitcoind import Bitcoind
from regtest.chain import mine
from tests.miner.node.harness import (
    Proxy,
    answer,
    drop,
    drop_after,
    hang,
    hang_after,
    make_block,
    refuse,
    result,
    until,
)

MakeNode = Callable[..., Node]
MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

pytestmark = pytest.mark.bitcoind

QUICK = CourierPacing(submit_limit_s=1.0, budget_s=20.0, follow_s=0.05, backoff_cap_s=0.2)


class Ledger:
    """What the courier told, in order; `broken` makes it fail as a full disk would."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.broken = False

    async def set_block_status(self, block_hash: str, status: str, /, **columns: Any) -> None:
        self.told.append((block_hash, status, columns))
        if self.broken:
            raise OSError("disk full")

    def statuses(self, block: FoundBlock) -> list[str]:
        """Statuses of one block in order, repetitions once."""
        seen = [status for block_hash, status, _ in self.told if block_hash == block.hash_hex]
        return [status for at, status in enumerate(seen) if at == 0 or seen[at - 1] != status]

    def confirmations(self, block: FoundBlock) -> list[int]:
        return [
            columns["confirmations"]
            for block_hash, _status, columns in self.told
            if block_hash == block.hash_hex and "confirmations" in columns
        ]


@asynccontextmanager
async def couriers(*nodes: Node, pacing: CourierPacing = QUICK) -> AsyncIterator[tuple[BlockCourier, Ledger]]:
    ledger = Ledger()
    courier = BlockCourier(NodeSet(nodes, "regtest"), ledger, pacing=pacing)
    running = asyncio.ensure_future(courier.run())
    try:
        yield courier, ledger
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


# What a node's answer means


async def test_a_good_block_is_accepted_and_the_same_again_is_too(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    block, node = make_block(bitcoind), node_of(bitcoind)

    assert await submit_to(node, block, 5.0) == Accepted(active=True)
    assert await submit_to(node, block, 5.0) == Accepted(active=True)
    assert bitcoind.rpc("getbestblockhash") == block.hash_hex


async def test_a_competitor_is_accepted_beside_the_best_chain(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    late, node = make_block(bitcoind), node_of(bitcoind)
    mine(bitcoind, 1)

    assert await submit_to(node, late, 5.0) == Accepted(active=False)  # "inconclusive"
    assert await submit_to(node, late, 5.0) == Accepted(
        active=False
    )  # "duplicate" or "duplicate-inconclusive"


async def test_a_broken_block_is_rejected_with_the_nodes_reason(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    node = node_of(bitcoind)
    broken = make_block(bitcoind, break_merkle=True)

    assert await submit_to(node, broken, 5.0) == Rejected("bad-txnmrklroot")
    truncated = replace(broken, raw=broken.raw[:-1])
    assert await submit_to(node, truncated, 5.0) == Rejected("Block decode failed")


async def test_a_block_without_its_parent_is_not_judged_yet(
    bitcoind_factory: Callable[..., Bitcoind], node_of: MakeNode
) -> None:
    ahead, behind = bitcoind_factory(), bitcoind_factory()
    mine(ahead, 1)

    assert isinstance(await submit_to(node_of(behind), make_block(ahead), 5.0), Unknown)


@pytest.mark.parametrize(
    "fault",
    [
        drop,
        drop_after,
        hang,
        hang_after,
        answer("<html>"),
        answer("", 503),
        answer("", 401),
        result({"odd": 1}),
        result("inconclusive"),
        refuse(-9, "Bitcoin is not connected!"),
        refuse(-10, "Bitcoin is in initial sync and waiting for blocks..."),
        refuse(-28, "Loading block index..."),
        refuse(-20, "Database error"),
    ],
)
async def test_what_is_no_judgement_is_unknown(
    fault: Any, bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("submitblock", fault)

    assert isinstance(await submit_to(node_of(proxy), make_block(bitcoind), 0.3), Unknown)


async def test_duplicate_is_acceptance_even_if_no_more_can_be_learnt(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("submitblock", result("duplicate"))
    proxy.fail("getblockheader", drop)

    assert await submit_to(node_of(proxy), make_block(bitcoind), 1.0) == Accepted(active=False)
    proxy.heal()
    proxy.fail("submitblock", result("duplicate-invalid"))
    assert await submit_to(node_of(proxy), make_block(bitcoind), 1.0) == Rejected("duplicate-invalid")


# Delivery


async def test_a_block_reaches_every_node(
    bitcoind_factory: Callable[..., Bitcoind], node_of: MakeNode
) -> None:
    one, two = bitcoind_factory(), bitcoind_factory()  # not connected
    block = make_block(one)
    async with couriers(node_of(one, "one"), node_of(two, "two")) as (courier, ledger):
        assert await courier.submit(block) == Accepted(active=True)
        await until(lambda: two.rpc("getbestblockhash") == block.hash_hex)
        await until(lambda: ledger.statuses(block) == ["submitted", "accepted"])

    assert one.rpc("getbestblockhash") == block.hash_hex
    assert ledger.told[0][2]["submitted_at"] == pytest.approx(time.time(), abs=30)


@pytest.mark.parametrize(
    "fault", [drop, drop_after, hang_after, answer("<html>", 502), refuse(-28, "Loading...")]
)
async def test_an_unknown_outcome_is_asked_again_until_it_is_known(
    fault: Any, bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("submitblock", fault, times=2)
    block = make_block(bitcoind)
    async with couriers(node_of(proxy), pacing=replace(QUICK, submit_limit_s=0.3)) as (courier, ledger):
        assert await courier.submit(block) == Accepted(active=True)
        await until(lambda: ledger.statuses(block) == ["submitted", "accepted"])

    assert proxy.seen.count("submitblock") == 3
    assert bitcoind.rpc("getbestblockhash") == block.hash_hex


async def test_a_block_waits_out_the_restart_of_the_only_node(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    block = make_block(bitcoind)
    async with couriers(node_of(bitcoind)) as (courier, _ledger):
        bitcoind.kill()
        submission = asyncio.ensure_future(courier.submit(block))
        await asyncio.sleep(0.5)
        assert not submission.done()
        await asyncio.to_thread(bitcoind.start)
        assert await submission == Accepted(active=True)

    assert bitcoind.rpc("getbestblockhash") == block.hash_hex


async def test_a_dead_node_does_not_hold_up_a_living_one(
    bitcoind_factory: Callable[..., Bitcoind], node_of: MakeNode
) -> None:
    dead, alive = bitcoind_factory(), bitcoind_factory()
    block = make_block(alive)
    async with couriers(node_of(dead, "dead"), node_of(alive, "alive")) as (courier, _ledger):
        dead.kill()
        started = time.monotonic()
        assert await courier.submit(block) == Accepted(active=True)
        assert time.monotonic() - started < 1.0
        assert await courier.drain(0.1) == 0
        await asyncio.to_thread(dead.start)
        await until(lambda: dead.rpc("getbestblockhash") == block.hash_hex)


async def test_a_rejection_by_one_node_is_a_warning_while_another_accepts(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("submitblock", result("high-hash"))
    block = make_block(bitcoind)
    async with couriers(node_of(proxy, "odd"), node_of(bitcoind, "good")) as (courier, ledger):
        assert await courier.submit(block) == Accepted(active=True)
        await until(lambda: block.hash not in courier._underway)

    assert ledger.statuses(block) == ["submitted", "accepted"]
    (warning,) = [record for record in caplog.records if record.message == "block_rejected"]
    assert (warning.levelname, warning.__dict__["node"], warning.__dict__["reason"]) == (
        "WARNING",
        "odd",
        "high-hash",
    )


async def test_a_block_every_node_refuses_is_rejected(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    block = make_block(bitcoind, break_merkle=True)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        assert await courier.submit(block) == Rejected("bad-txnmrklroot")

    assert ledger.statuses(block) == ["submitted", "rejected"]
    assert ledger.told[-1][2]["detail"] == "bad-txnmrklroot"


async def test_a_spent_budget_leaves_the_block_unknown_and_it_is_found_later(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("submitblock", drop)
    block = make_block(bitcoind)
    async with couriers(node_of(proxy), pacing=replace(QUICK, budget_s=0.5)) as (courier, ledger):
        assert isinstance(await courier.submit(block), Unknown)
        assert ledger.statuses(block) == ["submitted"]
        await until(lambda: block.hash not in courier._underway)
        proxy.heal()
        courier.tip_changed()  # whatever brings news brings the block, too
        await until(lambda: ledger.statuses(block)[-1] == "accepted")

    assert bitcoind.rpc("getbestblockhash") == block.hash_hex


async def test_a_ledger_that_fails_does_not_stop_a_block(
    bitcoind: Bitcoind, node_of: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    block = make_block(bitcoind)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        ledger.broken = True
        assert await courier.submit(block) == Accepted(active=True)
        await until(lambda: block.hash not in courier._underway)

    assert "block_status_unwritten" in {record.message for record in caplog.records}


async def test_stopping_the_courier_leaves_what_is_under_way_unknown(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    block = make_block(bitcoind)
    bitcoind.kill()
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        submission = asyncio.ensure_future(courier.submit(block))
        await until(lambda: ledger.told)
        assert await courier.drain(0.1) == 1

    assert isinstance(await submission, Unknown)
    assert ledger.statuses(block) == ["submitted"]


async def test_the_same_block_twice_is_one_delivery(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    block = make_block(bitcoind)
    async with couriers(node_of(proxy)) as (courier, _ledger):
        assert (
            await asyncio.gather(courier.submit(block), courier.submit(block)) == [Accepted(active=True)] * 2
        )

    assert proxy.seen.count("submitblock") == 1


async def test_blocks_of_an_earlier_run_are_submitted_at_the_next_start(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    found = make_block(bitcoind)
    lost = make_block(bitcoind, b"/other/", break_merkle=True)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        await courier.resume([replace(lost, status="submitted"), found])
        await until(lambda: ledger.statuses(found)[-1:] == ["accepted"])
        await until(lambda: ledger.statuses(lost)[-1:] == ["rejected"])

    assert bitcoind.rpc("getbestblockhash") == found.hash_hex


# Following


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
    bitcoind: Bitcoind, node_of: MakeNode
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
        assert bitcoind.rpc("getblockcount") == 0
        courier.tip_changed()
        await until(lambda: bitcoind.rpc("getbestblockhash") == child.hash_hex)
        await until(lambda: ledger.statuses(child)[-1] == "accepted")


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
