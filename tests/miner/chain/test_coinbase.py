"""Our coinbase: what is in it, by python-bitcoinlib's reading, and by BIP34, BIP54 and BIP141."""

import json
from pathlib import Path

import pytest
from bitcoin.core import CTransaction
from bitcoin.core.script import CScript
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.coinbase import (
    HALVING_INTERVAL,
    MAX_SCRIPT_SIG,
    build_coinbase,
    height_push,
    subsidy_sat,
    with_witness,
)

BIP54 = json.loads((Path(__file__).parents[2] / "data" / "bip54_coinbases.json").read_text())
P2WPKH = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")
COMMITMENT = bytes(range(32))
heights = st.integers(1, 40) | st.integers(1, 499_999_999)


def parsed(
    height: int = 900_000,
    reward_sat: int = 312_500_000,
    commitment: bytes | None = COMMITMENT,
    tag: bytes = b"/hashmill/",
    extranonce: bytes = b"extranonce12",
) -> CTransaction:
    """A coinbase of ours as python-bitcoinlib reads it."""
    coinbase = build_coinbase(height, reward_sat, P2WPKH, commitment, tag, len(extranonce))
    return CTransaction.deserialize(coinbase.prefix + extranonce + coinbase.suffix)


def obeys_bip54(coinbase: CTransaction, height: int) -> bool:
    """The coinbase rule of BIP54: nLockTime is the height less one, and nSequence makes it count."""
    return coinbase.nLockTime == height - 1 and coinbase.vin[0].nSequence != 0xFFFFFFFF


@pytest.mark.parametrize(
    ("height", "sat"),
    [
        (0, 5_000_000_000),
        (209_999, 5_000_000_000),
        (210_000, 2_500_000_000),
        (840_000, 312_500_000),
        (1_050_000, 156_250_000),
        (6_929_999, 1),
        (6_930_000, 0),
        (13_440_000, 0),
        (10**9, 0),
    ],
)
def test_subsidy_halves_every_210000_blocks(height: int, sat: int) -> None:
    assert subsidy_sat(height) == sat


def test_regtest_halves_every_150_blocks() -> None:
    assert subsidy_sat(149, HALVING_INTERVAL["regtest"]) == 5_000_000_000
    assert subsidy_sat(150, HALVING_INTERVAL["regtest"]) == 2_500_000_000


@pytest.mark.parametrize(("height", "interval"), [(-1, 210_000), (0, 0)])
def test_subsidy_of_nothing_is_refused(height: int, interval: int) -> None:
    with pytest.raises(ValueError, match="at least one block"):
        subsidy_sat(height, interval)


@settings(deadline=None)
@given(heights)
def test_heights_are_pushed_as_python_bitcoinlib_pushes_numbers(height: int) -> None:
    assert height_push(height) == bytes(CScript([height]))


@pytest.mark.parametrize(
    ("height", "push"),
    [
        (1, "51"),
        (16, "60"),
        (17, "0111"),
        (127, "017f"),
        (128, "028000"),
        (32_767, "02ff7f"),
        (32_768, "03008000"),
        (8_388_608, "0400008000"),
    ],
)
def test_heights_at_the_edges_of_bip34(height: int, push: str) -> None:
    assert height_push(height).hex() == push


@pytest.mark.parametrize("height", [0, -1])
def test_a_height_that_nobody_mines_is_refused(height: int) -> None:
    with pytest.raises(ValueError, match="cannot be mined"):
        height_push(height)


@settings(deadline=None)
@given(
    heights,
    st.integers(0, 21 * 10**14),
    st.none() | st.binary(min_size=32, max_size=32),
    st.binary(max_size=60),
    st.binary(max_size=12),
)
def test_every_coinbase_holds_what_was_asked_for(
    height: int, reward_sat: int, commitment: bytes | None, tag: bytes, extranonce: bytes
) -> None:
    tx = parsed(height, reward_sat, commitment, tag, extranonce)
    script = tx.vin[0].scriptSig
    assert tx.is_coinbase()
    assert tx.nVersion == 2
    assert obeys_bip54(tx, height)
    assert 2 <= len(script) <= MAX_SCRIPT_SIG
    assert script.startswith(height_push(height))
    pushes = [data for _, data, _ in script.raw_iter()][1:]
    wanted = [data for data in (tag, extranonce) if data]
    assert pushes == wanted if wanted else not any(pushes)
    assert script.GetSigOpCount(False) == 0
    assert (tx.vout[0].nValue, tx.vout[0].scriptPubKey) == (reward_sat, P2WPKH)
    assert [bytes(out.scriptPubKey) for out in tx.vout[1:]] == (
        [bytes.fromhex("6a24aa21a9ed") + commitment] if commitment is not None else []
    )
    assert sum(out.nValue for out in tx.vout) == reward_sat


@pytest.mark.parametrize("case", BIP54, ids=lambda case: case["comment"])
def test_the_bip54_rule_judges_the_bips_own_cases(case: dict[str, object]) -> None:
    coinbase = CTransaction.deserialize(bytes.fromhex(str(case["coinbase"])))
    assert obeys_bip54(coinbase, int(str(case["height"]))) == case["valid"]


def test_a_short_script_is_padded_to_the_two_bytes_that_consensus_asks_for() -> None:
    coinbase = build_coinbase(1, 0, P2WPKH, None, b"", 0)
    assert bytes(CTransaction.deserialize(coinbase.prefix + coinbase.suffix).vin[0].scriptSig).hex() == "5100"
    assert bytes(parsed(height=1, tag=b"", extranonce=b"\x07").vin[0].scriptSig).hex() == "510107"
    assert bytes(parsed(height=17, tag=b"", extranonce=b"").vin[0].scriptSig).hex() == "0111"


def test_the_coinbase_stays_small_enough_for_every_firmware() -> None:
    assert len(parsed().serialize()) < 200


def test_a_script_of_100_bytes_is_the_longest() -> None:
    assert len(parsed(tag=b"t" * 81).vin[0].scriptSig) == MAX_SCRIPT_SIG
    with pytest.raises(ValueError, match="shorten the tag"):
        parsed(tag=b"t" * 82)
    with pytest.raises(ValueError, match="do not fit"):
        parsed(tag=b"t" * 300)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1, P2WPKH, None, b"", 12), "cannot be mined"),
        ((500_000_001, 1, P2WPKH, None, b"", 12), "BIP54"),
        ((1, -1, P2WPKH, None, b"", 12), "reward"),
        ((1, 21 * 10**14 + 1, P2WPKH, None, b"", 12), "reward"),
        ((1, 1, b"", None, b"", 12), "payout script"),
        ((1, 1, P2WPKH, bytes(31), b"", 12), "32 bytes"),
        ((1, 1, P2WPKH, None, b"", -1), "negative"),
    ],
)
def test_what_cannot_be_a_coinbase_is_refused(
    arguments: tuple[int, int, bytes, bytes | None, bytes, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        build_coinbase(*arguments)


def test_the_witness_is_the_reserved_value_and_leaves_the_txid_as_it_was() -> None:
    plain = parsed()
    whole = CTransaction.deserialize(with_witness(plain.serialize()))
    assert whole.wit.vtxinwit[0].scriptWitness.stack == (bytes(32),)
    assert whole.GetTxid() == plain.GetTxid()
    assert (whole.vin, whole.vout, whole.nLockTime) == (plain.vin, plain.vout, plain.nLockTime)


def test_a_witness_is_added_once_and_to_coinbases_only() -> None:
    with pytest.raises(ValueError, match="not a coinbase"):
        with_witness(with_witness(parsed().serialize()))
    with pytest.raises(ValueError, match="not a coinbase"):
        with_witness(b"\x02\x00\x00\x00")


@given(
    height=heights,
    script=st.binary(min_size=1, max_size=300),
    commitment=st.none() | st.just(COMMITMENT),
    extranonce=st.integers(0, 12),
)
def test_the_payout_can_be_cut_out_and_replaced(
    height: int, script: bytes, commitment: bytes | None, extranonce: int
) -> None:
    coinbase = build_coinbase(height, 1000, P2WPKH, commitment, b"", extranonce)
    other = build_coinbase(height, 1000, script, commitment, b"", extranonce)
    offset, length = coinbase.payout_at
    assert coinbase.suffix[offset : offset + length] == bytes((len(P2WPKH),)) + P2WPKH
    start, size = other.payout_at
    payout = other.suffix[start : start + size]
    assert payout.endswith(script)
    assert coinbase.suffix[:offset] + payout + coinbase.suffix[offset + length :] == other.suffix
