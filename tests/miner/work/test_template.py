"""Templates: what a node's JSON becomes, and everything that makes one unfit to be mined."""

import dataclasses
import json
from typing import Any

import pytest

from miner.chain.coinbase import HALVING_INTERVAL, subsidy_sat
from miner.chain.merkle import witness_commitment
from miner.work.template import (
    KNOWN_RULES,
    SignetChallengeError,
    Template,
    TemplateError,
    decode_template,
    parse_template,
    template_request,
)

REGTEST_TARGET = "7fffff" + "00" * 29
TXS = [
    {
        "data": "02aa",
        "txid": "11" * 31 + "01",
        "hash": "11" * 31 + "01",
        "fee": 1000,
        "depends": [],
        "weight": 400,
    },
    {
        "data": "02bb",
        "txid": "22" * 31 + "02",
        "hash": "33" * 31 + "03",
        "fee": 2500,
        "depends": [1],
        "sigops": 4,
    },
]


def commitment_of(txs: list[dict[str, Any]]) -> str:
    return "6a24aa21a9ed" + witness_commitment([bytes.fromhex(tx["hash"])[::-1] for tx in txs]).hex()


def reply(**changes: Any) -> dict[str, Any]:
    """A regtest node's reply with two transactions, and what a test changes in it."""
    return {
        "capabilities": ["proposal"],
        "version": 0x20000000,
        "rules": ["csv", "!segwit", "taproot"],
        "vbavailable": {},
        "vbrequired": 0,
        "previousblockhash": "aa" * 31 + "0a",
        "transactions": TXS,
        "coinbaseaux": {},
        "coinbasevalue": subsidy_sat(201, HALVING_INTERVAL["regtest"]) + 3500,
        "longpollid": "aa0a17",
        "target": REGTEST_TARGET,
        "mintime": 1_700_000_001,
        "mutable": ["time", "transactions", "prevblock"],
        "noncerange": "00000000ffffffff",
        "sigoplimit": 80000,
        "sizelimit": 4000000,
        "weightlimit": 4000000,
        "curtime": 1_700_000_500,
        "bits": "207fffff",
        "height": 201,
        "default_witness_commitment": commitment_of(TXS),
    } | changes


def parsed(network: str = "regtest", **changes: Any) -> Template:
    return parse_template(decode_template(json.dumps(reply(**changes)).encode()), network)


def problems(network: str = "regtest", **changes: Any) -> tuple[str, ...]:
    with pytest.raises(TemplateError) as caught:
        parsed(network, **changes)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_a_template_is_taken_over_in_internal_order() -> None:
    template = parsed()
    assert (template.height, template.version, template.bits) == (201, 0x20000000, 0x207FFFFF)
    assert template.prev_hash == bytes.fromhex("0a" + "aa" * 31)
    assert (template.min_time_s, template.cur_time_s) == (1_700_000_001, 1_700_000_500)
    assert template.reward_sat == 2_500_003_500
    assert template.fees_sat == 3500
    assert template.longpoll_id == "aa0a17"
    assert template.witness_commitment == bytes.fromhex(commitment_of(TXS)[12:])
    assert [tx.raw for tx in template.txs] == [b"\x02\xaa", b"\x02\xbb"]
    assert template.txs[1].txid == bytes.fromhex("02" + "22" * 31)
    assert template.txs[1].wtxid == bytes.fromhex("03" + "33" * 31)


def test_an_empty_template_is_one_too() -> None:
    template = parsed(
        transactions=[], default_witness_commitment=commitment_of([]), coinbasevalue=2_500_000_000
    )
    assert template.txs == ()
    assert template.fees_sat == 0


def test_a_version_with_the_sign_bit_is_kept_as_unsigned() -> None:
    assert parsed(version=-(2**31)).version == 2**31


def test_a_chain_without_segwit_has_no_commitment() -> None:
    without = [TXS[0]]
    template = parsed(transactions=without, coinbasevalue=2_500_001_000, default_witness_commitment=None)
    assert template.witness_commitment is None


@pytest.mark.parametrize("rule", sorted(KNOWN_RULES))
def test_rules_we_know_may_be_mandatory(rule: str) -> None:
    assert parsed(rules=[f"!{rule}"]).height == 201


def test_a_rule_that_is_unknown_but_not_mandatory_is_no_obstacle() -> None:
    assert parsed(rules=["csv", "!segwit", "newsoftfork"]).height == 201


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rules": ["!segwit", "!bip99"]}, "'bip99'"),
        ({"default_witness_commitment": commitment_of(TXS[:1])}, "which follows from the transactions"),
        ({"default_witness_commitment": None}, "no witness commitment"),
        ({"bits": "207ffffe"}, "is not what bits"),
        ({"target": "00" * 32}, "is not what bits"),
        ({"bits": "ff7fffff"}, "above 2"),
        ({"bits": "xyz"}, "invalid literal"),
        ({"bits": "21008000", "target": "80" + "00" * 31}, "another chain"),
        ({"coinbasevalue": 3499}, "between the fees"),
        ({"coinbasevalue": 2_500_003_501}, "between the fees"),
        ({"previousblockhash": "aa" * 31}, "previousblockhash"),
        ({"previousblockhash": "zz" * 32}, "previousblockhash"),
        ({"mintime": 1_700_000_501}, "do not go together"),
        ({"mintime": -1}, "do not go together"),
        ({"curtime": 2**32}, "do not go together"),
        ({"height": 0}, "height 0"),
        ({"version": 2**32}, "version"),
        ({"transactions": [TXS[0], TXS[1] | {"data": "0"}]}, "transaction 1: data"),
        ({"transactions": [TXS[0] | {"data": ""}, TXS[1]]}, "transaction 0: data"),
        ({"transactions": [TXS[0] | {"fee": -1}, TXS[1]]}, "transaction 0: fee"),
        ({"transactions": [TXS[0] | {"txid": "11"}, TXS[1]]}, "transaction 0: txid"),
        ({"transactions": [TXS[0], TXS[1] | {"hash": "no"}]}, "transaction 1: hash"),
    ],
)
def test_a_template_unfit_to_be_mined_says_why(changes: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in problems(**changes))


def test_all_problems_are_told_at_once() -> None:
    told = problems(rules=["!bip99", "!bip100"], bits="207ffffe", mintime=2**31, coinbasevalue=0)
    assert len(told) == 5


def test_a_node_of_another_chain_is_noticed_by_its_bits() -> None:
    assert any("another chain" in problem for problem in problems("main"))


@pytest.mark.parametrize("raw", [b"{}", b"[", b"null", b'{"version": "1"}'])
def test_json_of_another_shape_is_a_template_error(raw: bytes) -> None:
    with pytest.raises(TemplateError, match="not a block template"):
        decode_template(raw)


SIGNET = {
    "bits": "1e0377ae",
    "target": "00000377ae" + "00" * 27,
    "coinbasevalue": 5_000_003_500,
    "rules": ["csv", "!segwit", "!signet", "taproot"],
    "signet_challenge": "51",
}


def test_a_signet_whose_challenge_is_op_true_can_be_mined() -> None:
    assert parsed("signet", **SIGNET).bits == 0x1E0377AE


def test_a_signet_that_wants_signatures_is_refused_by_its_own_error() -> None:
    with pytest.raises(SignetChallengeError, match="5121ad"):
        parsed("signet", **SIGNET | {"signet_challenge": "5121ad"})


def test_a_signet_block_needs_its_witness_commitment_even_when_empty() -> None:
    told = problems("signet", **SIGNET | {"transactions": [], "default_witness_commitment": None})
    assert any("signet block needs" in problem for problem in told)


def test_requests_name_the_rules_of_their_network() -> None:
    assert template_request("main") == {"rules": ["segwit"]}
    assert template_request("signet") == {"rules": ["segwit", "signet"]}


@pytest.mark.parametrize(("network", "fixed"), [("main", False), ("test", True), ("testnet4", True)])
def test_on_the_test_chains_the_bits_hold_for_the_template_s_own_time_only(
    network: str, *, fixed: bool
) -> None:
    template = parsed(
        network, bits="1d00ffff", target=f"{0xFFFF << 208:064x}", coinbasevalue=50_0000_0000 + 3500
    )
    assert template.time_sets_bits is fixed


def test_transactions_of_the_template_before_are_shared_and_not_copied() -> None:
    before = parsed()
    after = parse_template(decode_template(json.dumps(reply()).encode()), "regtest", before)

    assert after == before
    assert all(new is old for new, old in zip(after.txs, before.txs, strict=True))


def test_a_transaction_is_not_taken_for_another_with_the_same_witness_hash() -> None:
    before = parsed()
    other = [dataclasses.replace(tx, fee_sat=tx.fee_sat + 1, raw=b"") for tx in before.txs]
    after = parse_template(
        decode_template(json.dumps(reply()).encode()),
        "regtest",
        dataclasses.replace(before, txs=tuple(other)),
    )

    assert after == before
