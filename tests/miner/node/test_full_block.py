"""A block as full as the chain allows, of a real node's template, accepted by that node."""

from collections.abc import Callable

import pytest
from bitcoin.core import COutPoint, CTransaction, CTxIn, CTxOut
from bitcoin.core.script import CScript

from miner.node.blocks import Accepted, submit_to
from miner.node.nodes import Node
from regtest.bitcoind import Bitcoind
from regtest.chain import fund, spendable_coins
from tests.miner.node.harness import OP_TRUE_P2WSH, make_block

pytestmark = pytest.mark.bitcoind


def crowd(bitcoind: Bitcoind, outputs: int) -> None:
    """A transaction of many outputs in the mempool, 172 weight units each."""
    coin = spendable_coins(bitcoind)[0]
    txin = CTxIn(COutPoint(bytes.fromhex(coin.txid)[::-1], coin.vout))
    amount_sat = (coin.amount_sat - 500_000) // outputs
    unsigned = CTransaction([txin], [CTxOut(amount_sat, CScript(OP_TRUE_P2WSH))] * outputs)
    signed = bitcoind.rpc("signrawtransactionwithwallet", unsigned.serialize().hex())
    bitcoind.rpc("sendrawtransaction", signed["hex"], 0)


async def test_a_block_filled_to_the_consensus_limit_is_accepted_with_our_coinbase_in_it(
    bitcoind: Bitcoind, node_of: Callable[..., Node]
) -> None:
    fund(bitcoind, 20)
    for outputs in [2250] * 9 + [1000, 1000, 500, 200, 100, 60, 20]:
        crowd(bitcoind, outputs)
    block = make_block(bitcoind, b"/" + b"x" * 58 + b"/")
    assert await submit_to(node_of(bitcoind), block, 30.0) == Accepted(active=True)

    assert 3_980_000 < bitcoind.rpc("getblock", block.hash_hex)["weight"] <= 4_000_000
