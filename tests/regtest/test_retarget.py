"""The stored chain of the private signet: a real node takes it, and its target changes where and as it should."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from miner.chain.difficulty import POW_LIMIT, next_bits
from regtest import chain, retarget
from regtest.bitcoind import Bitcoind
from regtest.jsonrpc import RpcFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_FILE_BYTES = 40_000


@pytest.fixture(scope="module")
def node_at_the_boundary() -> Iterator[Bitcoind]:
    """A node whose next block is the first that these facts leave to be mined."""
    facts = retarget.load_facts()
    with Bitcoind("signet", mocktime_s=facts.mocktime_s) as node:
        retarget.submit(node, facts)
        yield node


def test_facts_end_just_before_the_retarget_in_a_small_file() -> None:
    facts = retarget.load_facts()
    assert len(facts.nonces) == len(facts.times_s) == retarget.STORED_BLOCKS == retarget.RETARGET_HEIGHT - 4
    assert retarget.FACTS_FILE.stat().st_size < MAX_FILE_BYTES


@pytest.mark.bitcoind
def test_target_halves_at_the_boundary_as_our_own_rule_says(node_at_the_boundary: Bitcoind) -> None:
    node, facts = node_at_the_boundary, retarget.load_facts()
    assert node.rpc("getblockcount") == retarget.STORED_BLOCKS
    assert node.rpc("getblockheader", node.rpc("getbestblockhash"))["bits"] == f"{retarget.START_BITS:08x}"
    # The three missing blocks of the period, mined now as the facts were, then one by the node at the new target.
    left = retarget.RETARGET_HEIGHT - 1 - retarget.STORED_BLOCKS
    *_, facts = retarget.mine_facts(facts, left)
    for block in list(retarget.rebuild(facts))[-left:]:
        assert node.rpc("submitblock", block.hex()) is None
    expected = next_bits(retarget.START_BITS, retarget.GENESIS_TIME_S, facts.times_s[-1], POW_LIMIT["signet"])
    (tip,) = chain.mine(node, 1)
    header = node.rpc("getblockheader", tip)
    assert (header["height"], header["bits"]) == (retarget.RETARGET_HEIGHT, f"{expected:08x}")
    assert (
        header["difficulty"] > 1.9 * node.rpc("getblockheader", node.rpc("getblockhash", 2015))["difficulty"]
    )


@pytest.mark.bitcoind
def test_coins_of_the_facts_pay_whoever_asks(node_at_the_boundary: Bitcoind) -> None:
    node = node_at_the_boundary
    script = chain.script_of(node, chain.new_address(node, "bech32m"))
    txid = retarget.spend_open_coin(node, 7, 12_345, script)
    assert chain.btc_to_sat(node.rpc("getmempoolentry", txid)["fees"]["base"]) == 12_345
    assert node.rpc("getrawtransaction", txid, True)["vout"][0]["scriptPubKey"]["hex"] == script.hex()
    with pytest.raises(RpcFailure, match="premature"):
        retarget.spend_open_coin(node, retarget.STORED_BLOCKS - 5, 1_000)


@pytest.mark.bitcoind
def test_wrong_fact_is_named_by_its_height(signet_bitcoind: Bitcoind) -> None:
    facts = retarget.load_facts()
    nonces = list(facts.nonces[:5])
    nonces[2] ^= 1
    with pytest.raises(RpcFailure, match="block 3 of the facts: high-hash"):
        retarget.submit(
            signet_bitcoind, dataclasses.replace(facts, times_s=facts.times_s[:5], nonces=tuple(nonces))
        )


def test_mining_anew_gives_the_stored_facts(tmp_path: Path) -> None:
    out = tmp_path / "facts.json"
    assert retarget.main(["--blocks", "2", "--out", str(out)]) == 0
    mined, stored = retarget.load_facts(out), retarget.load_facts()
    assert (mined.times_s, mined.nonces) == (stored.times_s[:2], stored.nonces[:2])


def test_facts_cannot_be_mined_across_the_retarget() -> None:
    facts = retarget.Facts(tuple(range(2015)), (0,) * 2015)
    with pytest.raises(ValueError, match="the facts end before the retarget"):
        next(retarget.mine_facts(facts, 1))


def test_file_that_lost_a_line_is_refused(tmp_path: Path) -> None:
    stored = json.loads(retarget.FACTS_FILE.read_text())
    stored["nonces"].pop()
    (tmp_path / "short.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="2004 nonces for 2012 blocks"):
        retarget.load_facts(tmp_path / "short.json")
