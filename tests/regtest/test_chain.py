"""Helpers for wallet and chain, against a real node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from regtest import chain
from regtest.jsonrpc import RpcFailure

if TYPE_CHECKING:
    from regtest.bitcoind import Bitcoind

SCRIPT_SHAPES = {
    "legacy": ("76a914", 25),
    "p2sh-segwit": ("a914", 23),
    "bech32": ("0014", 22),
    "p2wsh": ("0020", 34),
    "bech32m": ("5120", 34),
}


@pytest.mark.bitcoind
def test_each_kind_of_address_has_its_script_and_its_coinbase_can_be_spent_when_mature(
    bitcoind: Bitcoind,
) -> None:
    addresses = {kind: chain.new_address(bitcoind, kind) for kind in chain.ADDRESS_KINDS}
    blocks = {kind: chain.mine(bitcoind, 1, address)[0] for kind, address in addresses.items()}
    young = chain.coinbase_of(bitcoind, blocks["bech32"])
    with pytest.raises(RpcFailure, match="premature"):
        chain.spend(bitcoind, young, 1_000)
    chain.mine(bitcoind, chain.COINBASE_MATURITY)
    for kind, address in addresses.items():
        prefix, size = SCRIPT_SHAPES[kind]
        script = chain.script_of(bitcoind, address)
        assert (script.hex()[: len(prefix)], len(script)) == (prefix, size)
        sent = chain.spend(bitcoind, chain.coinbase_of(bitcoind, blocks[kind]), 1_000)
        assert sent.txid in bitcoind.rpc("getrawmempool")


@pytest.mark.bitcoind
def test_transactions_pay_exactly_the_fees_asked_for(bitcoind: Bitcoind) -> None:
    chain.fund(bitcoind, 3)
    fees_sat = [1_000, 2_345, 100_001]
    sent = chain.send_transactions(bitcoind, fees_sat)
    entries = bitcoind.rpc("getrawmempool", True)
    assert [chain.btc_to_sat(entries[s.txid]["fees"]["base"]) for s in sent] == fees_sat
    (block,) = chain.mine(bitcoind, 1)
    assert bitcoind.rpc("getblockstats", block, ["totalfee"])["totalfee"] == sum(fees_sat)


@pytest.mark.bitcoind
def test_more_transactions_than_coins_are_refused_before_any_is_sent(bitcoind: Bitcoind) -> None:
    chain.fund(bitcoind, 1)
    with pytest.raises(ValueError, match="the wallet has 1"):
        chain.send_transactions(bitcoind, [1_000, 1_000])
    assert bitcoind.rpc("getrawmempool") == []


def test_amounts_keep_every_satoshi() -> None:
    for amount_sat in (0, 1, 5_000_000_000, 2_099_999_999_999_999, 99_999_999, 100_000_001):
        assert chain.btc_to_sat(chain.sat_to_btc(amount_sat)) == amount_sat
