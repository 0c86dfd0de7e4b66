import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from miner.node.blocks import Accepted, Rejected, Unknown, submit_to
from miner.node.nodes import Node
from regtest.bitcoind import Bitcoind
from regtest.chain import mine
from tests.miner.node.harness import (
    QUICK,
    Proxy,
    answer,
    couriers,
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


async def test_a_dead_node_does_not_hold_up_the_news_that_the_living_refuse_a_block(
    bitcoind_factory: Callable[..., Bitcoind], node_of: MakeNode
) -> None:
    dead, alive = bitcoind_factory(), bitcoind_factory()
    block = make_block(alive, break_merkle=True)
    unreachable = node_of(dead, "dead")
    async with couriers(unreachable, node_of(alive, "alive")) as (courier, ledger):
        dead.kill()
        started = time.monotonic()
        assert await courier.submit(block) == Rejected("bad-txnmrklroot")
        assert time.monotonic() - started < 1.0
        assert ledger.statuses(block) == ["submitted"]  # the dead one has not judged it yet
        await asyncio.to_thread(dead.start)
        await until(lambda: ledger.statuses(block) == ["submitted", "rejected"])


async def test_a_block_whose_time_is_too_new_for_a_node_is_asked_again_until_it_is_not(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    bitcoind.rpc("setmocktime", 1_700_000_000)
    block = make_block(bitcoind)
    bitcoind.rpc("setmocktime", 1_700_000_000 - 7201)
    async with couriers(node_of(bitcoind)) as (courier, ledger):
        submission = asyncio.ensure_future(courier.submit(block))
        await asyncio.sleep(0.3)
        assert not submission.done()
        bitcoind.rpc("setmocktime", 1_700_000_000)
        assert await submission == Accepted(active=True)
        await until(lambda: ledger.statuses(block) == ["submitted", "accepted"])


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
