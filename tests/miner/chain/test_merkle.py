"""Merkle roots against python-bitcoinlib, branches against roots."""

import json
from pathlib import Path

import pytest
from bitcoin.core import CBlock
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.merkle import merkle_branch, merkle_root, root_from_branch, sha256d, witness_commitment

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "stratum.json").read_text())
hashes = st.binary(min_size=32, max_size=32)


def test_sha256d_is_internal_order() -> None:
    genesis = bytes.fromhex(VECTORS["headers"][1]["header"])
    assert sha256d(genesis)[::-1].hex() == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


@settings(deadline=None)
@given(st.lists(hashes, min_size=1, max_size=40))
def test_roots_are_those_of_python_bitcoinlib(txids: list[bytes]) -> None:
    assert merkle_root(txids) == CBlock.build_merkle_tree_from_txids(txids)[-1]


@settings(deadline=None)
@given(hashes, st.lists(hashes, max_size=40))
def test_the_branch_of_the_other_transactions_leads_any_coinbase_to_the_root(
    coinbase: bytes, others: list[bytes]
) -> None:
    branch = merkle_branch(others)
    assert root_from_branch(coinbase, branch) == CBlock.build_merkle_tree_from_txids([coinbase, *others])[-1]
    assert len(branch) == len(others).bit_length()


@pytest.mark.parametrize("case", VECTORS["merkle_roots"])
def test_roots_of_published_coinbases_and_branches(case: dict[str, str]) -> None:
    branch = [bytes.fromhex(node) for node in case["branch"]]
    assert root_from_branch(sha256d(bytes.fromhex(case["coinbase"])), branch).hex() == case["merkle_root"]


def test_a_block_without_transactions_has_no_root() -> None:
    with pytest.raises(ValueError, match="at least its coinbase"):
        merkle_root([])


def test_the_witness_commitment_of_an_empty_block_is_the_well_known_one() -> None:
    known = "e2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"
    assert witness_commitment([]).hex() == known


@settings(deadline=None)
@given(st.lists(hashes, max_size=20))
def test_the_witness_commitment_counts_the_coinbase_as_zero(wtxids: list[bytes]) -> None:
    assert witness_commitment(wtxids) == sha256d(merkle_root([bytes(32), *wtxids]) + bytes(32))
