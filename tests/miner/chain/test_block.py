"""Headers and whole blocks against facts of the chain and python-bitcoinlib."""

import json
import math
from pathlib import Path

import pytest
from bitcoin.core import CBlock, CTransaction
from bitcoin.core.serialize import VarIntSerializer
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.block import Header, assemble_block, compact_size, header_hash
from miner.chain.coinbase import build_coinbase, with_witness
from miner.chain.difficulty import difficulty_of_hash
from miner.chain.merkle import sha256d

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "stratum.json").read_text())
uint32 = st.integers(0, 2**32 - 1)
hashes = st.binary(min_size=32, max_size=32)
headers = st.builds(Header, uint32, hashes, hashes, uint32, uint32, uint32)
GENESIS = Header(
    version=1,
    prev_hash=bytes(32),
    merkle_root=bytes.fromhex("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")[::-1],
    ntime_s=1231006505,
    bits=0x1D00FFFF,
    nonce=2083236893,
)


def test_the_genesis_header_is_packed_and_hashed() -> None:
    assert header_hash(GENESIS.pack())[::-1].hex() == VECTORS["headers"][1]["hash"]


@pytest.mark.parametrize("case", VECTORS["headers"] + VECTORS["sessions"], ids=lambda case: case["source"])
def test_published_headers_have_their_hash_and_difficulty(case: dict[str, str]) -> None:
    digest = header_hash(bytes.fromhex(case["header"]))
    assert digest[::-1].hex() == case["hash"]
    assert math.isclose(difficulty_of_hash(digest), float(case["difficulty"]), rel_tol=1e-14)


@settings(deadline=None)
@given(headers)
def test_headers_survive_packing(header: Header) -> None:
    assert Header.unpack(header.pack()) == header


def test_a_header_that_does_not_fit_80_bytes_is_refused() -> None:
    for broken in (
        Header(2**32, bytes(32), bytes(32), 0, 0, 0),
        Header(0, bytes(32), bytes(32), 0, 0, -1),
        Header(0, bytes(31), bytes(32), 0, 0, 0),
        Header(0, bytes(32), bytes(33), 0, 0, 0),
    ):
        with pytest.raises(ValueError, match="a header's"):
            broken.pack()


@pytest.mark.parametrize("size", [0, 79, 81])
def test_other_lengths_are_no_header(size: int) -> None:
    with pytest.raises(ValueError, match="80 bytes"):
        Header.unpack(bytes(size))
    with pytest.raises(ValueError, match="80 bytes"):
        header_hash(bytes(size))
    with pytest.raises(ValueError, match="80 bytes"):
        assemble_block(bytes(size), b"", ())


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1) | st.sampled_from([0xFC, 0xFD, 0xFFFF, 0x10000, 2**32 - 1, 2**32]))
def test_lengths_are_written_as_python_bitcoinlib_writes_them(n: int) -> None:
    assert compact_size(n) == VarIntSerializer.serialize(n)


@pytest.mark.parametrize("n", [-1, 2**64])
def test_what_is_no_length_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="cannot be a length"):
        compact_size(n)


def test_an_assembled_block_is_read_back_by_python_bitcoinlib() -> None:
    parts = build_coinbase(300, 50, b"\x51", bytes(32), b"tag", 0)
    coinbase = parts.prefix + parts.suffix
    spend = CTransaction().serialize()
    txids = [sha256d(coinbase)] + [CTransaction.deserialize(spend).GetTxid()] * 300
    root = CBlock.build_merkle_tree_from_txids(txids)[-1]
    header = Header(0x20000000, bytes(32), root, 1700000000, 0x207FFFFF, 5).pack()
    block = CBlock.deserialize(assemble_block(header, with_witness(coinbase), [spend] * 300))
    assert block.get_header().serialize() == header
    assert [tx.GetTxid() for tx in block.vtx] == txids
    assert block.vtx[0].wit.vtxinwit[0].scriptWitness.stack == (bytes(32),)
