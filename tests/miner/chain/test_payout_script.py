"""Kinds of payout scripts: the five that wallets use, and nothing else."""

import pytest

from miner.chain.payout_script import payout_kind

HASH20, HASH32 = b"\x14" + b"\x88" * 20, b"\x20" + b"\x88" * 32


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (b"\x76\xa9" + HASH20 + b"\x88\xac", "p2pkh"),
        (b"\xa9" + HASH20 + b"\x87", "p2sh"),
        (b"\x00" + HASH20, "p2wpkh"),
        (b"\x00" + HASH32, "p2wsh"),
        (b"\x51" + HASH32, "p2tr"),
    ],
)
def test_the_scripts_of_wallets_are_told_apart(script: bytes, kind: str) -> None:
    assert payout_kind(script) == kind
    assert payout_kind(script + b"\x00") is None
    assert payout_kind(script[:-1]) is None


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\x51",  # OP_TRUE
        b"\x51\x02\x4e\x73",  # pay to anchor: anybody's
        b"\x52" + HASH32,  # a witness version without rules yet: anybody's
        b"\x51" + HASH20,
        b"\x00\x02\x88\x88",
        b"\x6a\x14" + b"\x88" * 20,  # OP_RETURN
        b"\x76\xa9\x13" + b"\x88" * 20 + b"\x88\xac",
        b"\x76\xa9" + HASH20 + b"\x88\xad",
        b"\xa9" + HASH20 + b"\x88",
    ],
)
def test_every_other_script_is_of_no_kind(script: bytes) -> None:
    assert payout_kind(script) is None
