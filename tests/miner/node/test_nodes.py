from collections.abc import Callable
from pathlib import Path

import pytest

from miner.node.nodes import Node, NodeSet
from miner.node.rpc import CookieFile, RpcClient


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Node]:
    return lambda name: Node(name, RpcClient("http://127.0.0.1:1", CookieFile(tmp_path / "cookie")))


def test_the_first_usable_node_is_the_active_one(make: Callable[[str], Node]) -> None:
    a, b = make("a"), make("b")
    nodes = NodeSet([a, b], "main")
    assert nodes.active is a  # nothing speaks against it yet

    a.up = False
    assert nodes.active is b
    b.synced = False
    assert nodes.active is None
    assert nodes.usable() == []

    a.up = True
    b.synced = True
    assert nodes.usable() == [a, b]
    assert nodes.active is a


def test_only_public_chains_need_a_node_out_of_its_initial_download(make: Callable[[str], Node]) -> None:
    needs = {
        network: NodeSet([make("a")], network).needs_sync
        for network in ("main", "test", "testnet4", "signet", "regtest")
    }
    assert needs == {"main": True, "test": True, "testnet4": True, "signet": False, "regtest": False}


def test_silence_is_counted_from_the_last_answer_of_any_node(make: Callable[[str], Node]) -> None:
    now = 100.0
    a, b = make("a"), make("b")
    nodes = NodeSet([a, b], "regtest", clock=lambda: now)
    now = 107.0
    assert nodes.silent_s() == 7.0
    nodes.answered(b)
    now = 110.0
    assert nodes.silent_s() == 3.0
    assert len(nodes) == len(list(nodes)) == 2


def test_a_node_that_may_give_no_work_does_not_vouch_for_the_work_of_another(
    make: Callable[[str], Node],
) -> None:
    now = 100.0
    a, b = make("a"), make("b")
    nodes = NodeSet([a, b], "main", clock=lambda: now)
    a.up, b.up, b.synced = False, True, False
    now = 107.0
    nodes.answered(b)
    assert nodes.silent_s() == 7.0
    b.synced, b.cut_off = True, True
    nodes.answered(b)
    assert nodes.silent_s() == 7.0
    b.cut_off = False
    nodes.answered(b)
    assert nodes.silent_s() == 0.0


async def test_a_set_without_nodes_has_none_that_is_active() -> None:
    nodes = NodeSet([], "regtest")
    assert (list(nodes), len(nodes), nodes.usable(), nodes.active) == ([], 0, [], None)
    await nodes.close()


async def test_closing_the_set_closes_every_client(make: Callable[[str], Node]) -> None:
    a = make("a")
    session = a.rpc._open_session()

    await NodeSet([a], "regtest").close()

    assert session.closed
