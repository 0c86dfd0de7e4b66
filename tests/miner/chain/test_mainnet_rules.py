"""2,016 blocks mined to mainnet's rules, rebuilt from their times and nonces (bitcoin/bitcoin, MIT).

Each block holds a coinbase only. Its coinbase is ours but for the two fields that BIP54 changed since.
"""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from miner.chain.block import Header, header_hash
from miner.chain.coinbase import build_coinbase, subsidy_sat
from miner.chain.difficulty import (
    POW_LIMIT,
    RETARGET_INTERVAL,
    bits_to_target,
    difficulty_of_target,
    hash_to_int,
    next_bits,
)
from miner.chain.merkle import merkle_root, sha256d

GENESIS_HASH = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")[::-1]
GENESIS_TIME_S = 1231006505
PAYOUT_SCRIPT = bytes.fromhex("76a914eadbac7f36c37e39361168b7aaee3cb24a25312d88ac")
FIRST_BITS = 0x1D00FFFF


def coinbase_txid(height: int) -> bytes:
    """The coinbase of that time: final nSequence, no nLockTime, no commitment."""
    ours = build_coinbase(height, subsidy_sat(height), PAYOUT_SCRIPT, None, b"", 0)
    assert ours.suffix.startswith(b"\x00" * (height <= 16) + b"\xfe\xff\xff\xff")
    sequence_at = int(height <= 16)
    suffix = ours.suffix[:sequence_at] + b"\xff\xff\xff\xff" + ours.suffix[sequence_at + 4 : -4] + bytes(4)
    return sha256d(ours.prefix + suffix)


@pytest.fixture(scope="module")
def headers() -> list[Header]:
    """Headers of heights 1 to 2016, each built on the one before it, with the bits our retarget rule gives."""
    facts = json.loads((Path(__file__).parents[2] / "data" / "mainnet_alt.json").read_text())
    times = [GENESIS_TIME_S, *facts["timestamps"]]
    built: list[Header] = []
    prev_hash, bits = GENESIS_HASH, FIRST_BITS
    for height, nonce in enumerate(facts["nonces"], start=1):
        if height % RETARGET_INTERVAL == 0:
            bits = next_bits(bits, times[height - RETARGET_INTERVAL], times[height - 1], POW_LIMIT["main"])
        root = merkle_root([coinbase_txid(height)])
        built.append(Header(0x20000000, prev_hash, root, times[height], bits, nonce))
        prev_hash = header_hash(built[-1].pack())
    return built


def test_every_block_rebuilt_from_time_and_nonce_meets_its_target(headers: list[Header]) -> None:
    assert len(headers) == RETARGET_INTERVAL
    failing = [
        height
        for height, header in enumerate(headers, start=1)
        if hash_to_int(header_hash(header.pack())) > bits_to_target(header.bits)
    ]
    assert not failing


def test_the_first_retarget_quadruples_the_difficulty(headers: list[Header]) -> None:
    assert {header.bits for header in headers[:-1]} == {FIRST_BITS}
    assert headers[-1].bits == 0x1C3FFFC0
    ratio = difficulty_of_target(bits_to_target(headers[-1].bits)) / difficulty_of_target(
        bits_to_target(FIRST_BITS)
    )
    assert ratio == 4.0


def test_each_block_stands_on_the_one_before_it(headers: list[Header]) -> None:
    for below, above in pairwise(headers):
        assert above.prev_hash == header_hash(below.pack())
