from collections.abc import Awaitable, Callable

import pytest

from miner.node.chain_facts import EPOCH_BLOCKS, FeeCache, chain_facts
from miner.node.nodes import Node
from miner.node.rpc import NodeUnreachableError
from regtest.bitcoind import Bitcoind
from regtest.chain import fund, mine, send_transactions
from tests.miner.node.harness import Proxy, refuse

MakeNode = Callable[..., Node]
MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

pytestmark = pytest.mark.bitcoind


async def test_a_chain_of_only_its_genesis_block_has_facts_too(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    facts = await chain_facts(node_of(bitcoind).rpc)

    assert (facts.chain, facts.height, facts.bits) == ("regtest", 0, 0x207FFFFF)
    assert facts.difficulty == pytest.approx(4.6565423739069247e-10)
    assert (facts.fees_sat_mean_144, facts.fee_blocks) == (0.0, 0)
    assert facts.subsidy_sat == 50_0000_0000
    assert facts.epoch_start_time_s == facts.tip_time_s == 1296688602


async def test_fees_are_the_mean_of_the_blocks_there_are(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    fund(bitcoind, 3)  # 103 blocks
    send_transactions(bitcoind, [1000, 2000, 5000])
    (tip,) = mine(bitcoind, 1)

    facts = await chain_facts(node_of(bitcoind).rpc)

    assert facts.height == facts.fee_blocks == 104
    assert facts.fees_sat_mean_144 == pytest.approx(8000 / 104)
    assert facts.tip_hash == bytes.fromhex(tip)[::-1]
    assert facts.epoch_start_height == 0
    assert facts.median_time_s <= facts.tip_time_s


async def test_the_window_is_144_blocks_and_the_subsidy_is_that_of_the_next(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    fund(bitcoind, 1)
    send_transactions(bitcoind, [144_000])
    mine(bitcoind, 48)  # the paying block is the 102nd of 149
    facts = await chain_facts(node_of(bitcoind).rpc)

    assert (facts.height, facts.fee_blocks) == (149, 144)
    assert facts.fees_sat_mean_144 == pytest.approx(1000.0)
    assert facts.subsidy_sat == 25_0000_0000  # block 150 is regtest's first halving


async def test_a_block_is_summed_up_once(bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode) -> None:
    mine(bitcoind, 30)
    proxy = await proxy_of(bitcoind)
    rpc, cache = node_of(proxy).rpc, FeeCache()
    await chain_facts(rpc, cache)
    assert proxy.seen.count("getblockstats") == 2  # thirty blocks, in batches

    await chain_facts(rpc, cache)
    assert proxy.seen.count("getblockstats") == 2
    mine(bitcoind, 1)
    await chain_facts(rpc, cache)

    assert proxy.seen.count("getblockstats") == 3
    assert len(cache.fees_sat) == 31


async def test_blocks_a_pruned_node_no_longer_has_are_left_out(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    mine(bitcoind, 30)
    proxy = await proxy_of(bitcoind)
    proxy.fail("getblockstats", refuse(-1, "Block not available (pruned data)"), times=1)

    facts = await chain_facts(node_of(proxy).rpc)

    assert facts.fee_blocks == 6


async def test_the_epoch_starts_at_its_first_block(
    bitcoind: Bitcoind, node_of: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EPOCH_BLOCKS == 2016
    monkeypatch.setattr(
        "miner.node.chain_facts.EPOCH_BLOCKS", 20
    )  # mining two thousand blocks takes half a minute
    hashes = mine(bitcoind, 47)
    first = bitcoind.rpc("getblockheader", hashes[39])

    facts = await chain_facts(node_of(bitcoind).rpc)

    assert (facts.epoch_start_height, facts.epoch_start_time_s) == (40, first["time"])


async def test_a_node_that_is_down_is_an_error(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    rpc = node_of(bitcoind).rpc
    bitcoind.kill()

    with pytest.raises(NodeUnreachableError):
        await chain_facts(rpc)
