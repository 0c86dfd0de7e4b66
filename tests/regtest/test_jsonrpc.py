"""The synchronous RPC helper, against a real node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from regtest.jsonrpc import RpcFailure

if TYPE_CHECKING:
    from regtest.bitcoind import Bitcoind

pytestmark = pytest.mark.bitcoind


def test_refusal_carries_the_nodes_code_and_words(bitcoind: Bitcoind) -> None:
    with pytest.raises(RpcFailure, match=r"Block height out of range \(-8\)") as caught:
        bitcoind.rpc("getblockhash", 1)
    assert caught.value.code == -8


def test_batch_answers_in_the_order_of_its_calls(bitcoind: Bitcoind) -> None:
    results = bitcoind.rpc_batch([("echo", [n]) for n in range(50)])
    assert [result[0] for result in results] == list(range(50))
    with pytest.raises(RpcFailure, match="Method not found"):
        bitcoind.rpc_batch([("echo", []), ("nonsense", [])])


def test_call_can_name_its_wallet(bitcoind: Bitcoind) -> None:
    bitcoind.rpc("createwallet", "a second/one")
    assert bitcoind.rpc("getwalletinfo", wallet="a second/one")["walletname"] == "a second/one"
    with pytest.raises(RpcFailure, match="Multiple wallets"):
        bitcoind.rpc("getwalletinfo")


def test_node_that_is_down_is_no_answer_rather_than_a_refusal(bitcoind: Bitcoind) -> None:
    bitcoind.kill()
    with pytest.raises(OSError, match="refused"):
        bitcoind.rpc("getblockcount")
