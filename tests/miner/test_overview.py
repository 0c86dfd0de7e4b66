"""The status document from its parts, each real and in the state a test puts it in."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from miner.mining import Mining
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcClient, UserPassword
from miner.overview import (
    block_counts,
    node_statuses,
    readiness,
    work_status,
)
from miner.pools import Pools
from miner.web.status import BlockCounts, NodeStatus, NotReady, Ready, WorkStatus
from miner.work.job import Job
from tests.miner.harness import ADDRESS, NOW, PAYOUT, Rig, rig_of, template


def node(name: str) -> Node:
    return Node(name, RpcClient("http://127.0.0.1:1", UserPassword("u", "p"), name=name))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """The mining half, not running, with two nodes nobody has asked yet."""
    async with rig_of([node("a"), node("b")], tmp_path / "hashmill.db") as made:
        yield made


@dataclass
class Works:
    """A plant without pools."""

    job: Job | None
    mining: Mining
    pools: Pools | None = None


def works(rig: Rig) -> Works:
    return Works(rig.mining.book.current, rig.mining)


def test_a_node_is_up_only_when_it_was_seen_to_be() -> None:
    unasked, up, down = node("unasked"), node("up"), node("down")
    up.up, down.up, down.error = True, False, "connection refused"
    assert node_statuses(NodeSet([unasked, up, down], "regtest")) == (
        NodeStatus(name="unasked", up=False),
        NodeStatus(name="up", up=True),
        NodeStatus(name="down", up=False, error="connection refused"),
    )


async def test_the_work_is_that_of_the_present_job(rig: Rig) -> None:
    rig.mining.solo.take_template(template(reward_sat=1_250_000_777))
    work = work_status(works(rig), rig.current.created_at + 2.5)
    assert (work.serving, work.height, work.prev_hash, work.bits) == (True, 300, "a0" * 32, "207fffff")
    assert work.difficulty == pytest.approx(4.656542373906925e-10)
    assert (work.reward_sat, work.payout_address) == (1_250_000_777, ADDRESS)
    assert work.payout_script == PAYOUT.script.hex()
    assert work.template_age_s == pytest.approx(2.5)


async def test_hashes_are_told_as_people_write_them(rig: Rig) -> None:
    rig.mining.solo.take_template(template(prev_hash=bytes(range(32))))
    assert work_status(works(rig), NOW).prev_hash == bytes(reversed(range(32))).hex()


async def test_without_a_job_nothing_is_served(rig: Rig) -> None:
    assert work_status(None, NOW) == WorkStatus(serving=False)
    assert work_status(works(rig), NOW) == WorkStatus(serving=False)
    rig.mining.solo.take_template(template())
    rig.mining.solo.withdraw()
    assert work_status(works(rig), NOW) == WorkStatus(serving=False)


async def test_ready_is_who_has_work(rig: Rig) -> None:
    rig.mining.solo.take_template(template())
    assert readiness(works(rig), rig.nodes) == Ready()


async def test_who_is_not_ready_for_want_of_a_node_says_what_ails_each(rig: Rig) -> None:
    first, _ = rig.nodes
    first.up, first.error = False, "connection refused"
    reason = "no bitcoind answers: a: connection refused; b: not asked yet"
    assert readiness(works(rig), rig.nodes) == NotReady(reason)
    assert readiness(None, rig.nodes) == NotReady(reason)


async def test_a_node_without_a_template_is_another_thing_than_no_node(rig: Rig) -> None:
    _, second = rig.nodes
    second.up = True
    assert readiness(works(rig), rig.nodes) == NotReady(
        "no bitcoind has given a template for the present tip yet"
    )


async def test_found_blocks_are_all_there_ever_were(rig: Rig) -> None:
    assert block_counts(None) == BlockCounts()
    rig.books.counts.update({"accepted": 2, "mature": 5, "orphaned": 1, "submitted": 1})
    assert block_counts(rig.books) == BlockCounts(found=9, accepted=2, mature=5, orphaned=1)
