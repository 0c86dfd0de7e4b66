"""The private signet as the Stratum benches use it: a mempool that fills blocks, and blocks of somebody else's, at will.

Difficulty is 0.0011 there. Blocks are mined here by the C core, a tenth of a second each: the node's own one slow thread would
take seconds, at the cost of the machine that is measured.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from bitcoin.core import CMutableTransaction, CMutableTxIn, CMutableTxOut, COutPoint, CTxInWitness, CTxWitness
from bitcoin.core.script import CScriptWitness
from wire import find_nonce

from regtest.bitcoind import Bitcoind
from regtest.retarget import (
    OPEN_SCRIPT,
    OPEN_WITNESS_SCRIPT,
    START_TARGET,
    SUBSIDY_SAT,
    WITNESS_RESERVED,
    coinbase,
    header,
    load_facts,
    submit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRANSACTIONS: Final = 4_095
"""With the coinbase, a merkle tree of twelve levels, full."""
CHAIN: Final = 3
"""Transactions that spend each other in a row, so that the stored chain's coins suffice."""
FEE_SAT: Final = 1_000
SEND_BATCH: Final = 500
RPC_LIMIT_S: Final = 120.0
OPEN_WITNESS: Final = CTxWitness((CTxInWitness(CScriptWitness([bytes(OPEN_WITNESS_SCRIPT)])),))


@contextlib.contextmanager
def signet_node(transactions: int = TRANSACTIONS, *, datadir: Path | None = None) -> Iterator[Bitcoind]:
    """A node of the private signet with 2,013 blocks, the last one fresh, and so many transactions in its mempool."""
    with Bitcoind("signet", wallet=False, datadir=datadir) as node:
        submit(node, load_facts())
        # Until a recent block, a node takes itself for one in its initial download and publishes nothing.
        mine_empty(node)
        fill_mempool(node, transactions)
        yield node


def fill_mempool(node: Bitcoind, transactions: int) -> None:
    """Have so many transactions in the mempool, made of the stored chain's coins, which anybody can spend.

    Raises regtest.jsonrpc.RpcFailure when the node refuses one.
    """
    raw: list[str] = []
    for height in range(1, transactions // CHAIN + 2):
        coin, value_sat = COutPoint(coinbase(height).GetTxid(), 0), SUBSIDY_SAT
        for _ in range(min(CHAIN, transactions - len(raw))):
            value_sat -= FEE_SAT
            spent = CMutableTransaction(
                [CMutableTxIn(coin)], [CMutableTxOut(value_sat, OPEN_SCRIPT)], nVersion=2
            )
            coin = COutPoint(spent.GetTxid(), 0)
            spent.wit = OPEN_WITNESS
            raw.append(spent.serialize().hex())
    for start in range(0, len(raw), SEND_BATCH):
        batch = raw[start : start + SEND_BATCH]
        node.rpc_batch([("sendrawtransaction", [each, 0]) for each in batch], limit_s=RPC_LIMIT_S)
    found = node.rpc("getmempoolinfo")["size"]
    assert found == transactions, f"{found} transactions in the mempool, not {transactions}"


def mine_empty(node: Bitcoind) -> str:
    """Hash of one more block, by nobody the daemon knows; it takes no transactions, so that the next is as full as this one.

    Raises regtest.jsonrpc.RpcFailure when the node does not take it.
    """
    block = empty_block(node)
    refused = node.rpc("submitblock", block.hex())
    assert refused is None, f"the node did not take our block: {refused}"
    tip: str = node.rpc("getbestblockhash")
    return tip


def empty_block(node: Bitcoind) -> bytes:
    """A block on the node's tip, mined, and not handed in."""
    state = node.rpc("getblockchaininfo")
    height = state["blocks"] + 1
    time_s = max(int(time.time()), state["mediantime"] + 1)
    prev_hash = bytes.fromhex(state["bestblockhash"])[::-1]
    packed = header(height, prev_hash, time_s, 0)
    packed = packed[:76] + find_nonce(packed, START_TARGET).to_bytes(4, "little")
    transaction = coinbase(height)
    transaction.wit = CTxWitness((CTxInWitness(CScriptWitness([WITNESS_RESERVED])),))
    serialized: bytes = transaction.serialize()
    return packed + b"\x01" + serialized
