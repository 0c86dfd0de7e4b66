"""Blocks: mined by the daemon, accepted by a real bitcoind, paid to us to the satoshi, mature and spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from miner.chain.coinbase import HALVING_INTERVAL, subsidy_sat
from regtest import chain, retarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from regtest.bitcoind import Bitcoind
    from regtest.process import HashmillProcess

pytestmark = pytest.mark.bitcoind

BLOCKS = 100
FEES_SAT = [1_000 + 137 * number for number in range(30)]


def good_blocks(daemon: HashmillProcess) -> int:
    counts = daemon.status()["blocks"]
    return int(counts["accepted"] + counts["mature"])


def paid_sat(node: Bitcoind, block_hash: str, script: str) -> int:
    """What a block's coinbase pays to `script`, and nothing to anybody else."""
    outputs = node.rpc("getblock", block_hash, 2)["tx"][0]["vout"]
    paid = {out["scriptPubKey"]["hex"]: chain.btc_to_sat(out["value"]) for out in outputs}
    return paid.pop(script) if all(value == 0 for key, value in paid.items() if key != script) else -1


def test_a_hundred_regtest_blocks_pay_us_every_fee_and_mature_and_are_spent(
    bitcoind: Bitcoind, start_daemon: Callable[..., HashmillProcess]
) -> None:
    chain.fund(bitcoind, len(FEES_SAT))
    before = bitcoind.rpc("getblockcount")
    address = chain.new_address(bitcoind, "bech32m")
    script = bitcoind.rpc("validateaddress", address)["scriptPubKey"]
    chain.send_transactions(bitcoind, FEES_SAT[:10])
    daemon = start_daemon([bitcoind], address, solo={"min_block_interval_s": 0.02})
    daemon.wait_until(lambda: good_blocks(daemon) >= 20, "mine 20 blocks", 60)
    chain.send_transactions(bitcoind, FEES_SAT[10:20])
    daemon.wait_until(lambda: good_blocks(daemon) >= 60, "mine 60 blocks", 60)
    chain.send_transactions(bitcoind, FEES_SAT[20:])
    daemon.wait_until(lambda: good_blocks(daemon) >= BLOCKS + 10, "mine 110 blocks", 60)
    daemon.wait_until(lambda: daemon.status()["blocks"]["mature"] > 0, "see its first block mature", 60)
    ours = daemon.blocks()
    assert daemon.stop() == 0

    heights = [block["height"] for block in ours]
    assert len(heights) >= BLOCKS
    assert sorted(heights) == list(range(before + 1, before + 1 + len(heights)))
    fees_sat = 0
    for block in ours:
        stats = bitcoind.rpc("getblockstats", block["hash"], ["totalfee", "height"])
        subsidy = subsidy_sat(stats["height"], HALVING_INTERVAL["regtest"])
        assert paid_sat(bitcoind, block["hash"], script) == subsidy + stats["totalfee"] == block["reward_sat"]
        fees_sat += stats["totalfee"]
    assert fees_sat == sum(FEES_SAT)

    first = min(ours, key=lambda block: block["height"])
    sent = chain.spend(bitcoind, chain.coinbase_of(bitcoind, first["hash"]), fee_sat=500)
    (mined,) = chain.mine(bitcoind, 1)
    assert sent.txid in bitcoind.rpc("getblock", mined)["tx"]


def test_twenty_blocks_of_the_private_signet_with_transactions_are_ours(
    signet_bitcoind: Bitcoind, start_daemon: Callable[..., HashmillProcess]
) -> None:
    node = signet_bitcoind
    retarget.submit(node, retarget.load_facts())
    before = node.rpc("getblockcount")
    fees_sat = [2_000 + 11 * number for number in range(6)]
    for height, fee_sat in enumerate(fees_sat, start=1):
        retarget.spend_open_coin(node, height, fee_sat)
    address = chain.new_address(node)
    script = node.rpc("validateaddress", address)["scriptPubKey"]
    daemon = start_daemon([node], address, cpu={"threads": 2, "share_difficulty": "auto"})
    daemon.wait_until(lambda: good_blocks(daemon) >= 20, "mine 20 signet blocks", 120)
    ours = daemon.blocks()
    assert daemon.stop() == 0
    assert {block["status"] for block in ours} <= {"accepted", "found", "submitted"}
    collected = 0
    for block in ours:
        if block["status"] == "accepted":
            stats = node.rpc("getblockstats", block["hash"], ["totalfee", "height"])
            assert stats["height"] > before
            assert paid_sat(node, block["hash"], script) == block["reward_sat"]
            collected += stats["totalfee"]
    assert collected == sum(fees_sat)


@pytest.mark.parametrize("kind", chain.ADDRESS_KINDS)
def test_every_kind_of_address_is_paid(
    kind: chain.AddressKind, bitcoind: Bitcoind, start_daemon: Callable[..., HashmillProcess]
) -> None:
    address = chain.new_address(bitcoind, kind)
    script = bitcoind.rpc("validateaddress", address)["scriptPubKey"]
    daemon = start_daemon([bitcoind], address, solo={"min_block_interval_s": 0.1})
    daemon.wait_until(lambda: good_blocks(daemon) >= 2, "mine two blocks", 60)
    block = daemon.blocks()[-1]
    assert block["payout_script"] == script
    assert paid_sat(bitcoind, block["hash"], script) == block["reward_sat"] == 5_000_000_000


def test_a_retarget_is_crossed_with_bits_that_really_change(
    bitcoind_factory: Callable[..., Bitcoind], start_daemon: Callable[..., HashmillProcess]
) -> None:
    facts = retarget.load_facts()
    node = bitcoind_factory("signet", mocktime_s=facts.mocktime_s)
    retarget.submit(node, facts)
    before = node.rpc("getblockcount")
    assert before < retarget.RETARGET_HEIGHT - 1
    daemon = start_daemon([node], cpu={"threads": 2, "share_difficulty": "auto"})
    daemon.wait_until(
        lambda: node.rpc("getblockcount") > retarget.RETARGET_HEIGHT, "mine over the retarget", 180
    )
    headers = [
        node.rpc("getblockheader", node.rpc("getblockhash", height))
        for height in range(before + 1, retarget.RETARGET_HEIGHT + 2)
    ]
    old, new = headers[0]["bits"], headers[-1]["bits"]
    assert int(old, 16) == retarget.START_BITS
    assert old != new
    assert headers[-1]["difficulty"] / headers[0]["difficulty"] == pytest.approx(2.0, rel=0.01)
    assert [h["bits"] for h in headers] == [
        old if h["height"] < retarget.RETARGET_HEIGHT else new for h in headers
    ]
    mined = {block["hash"] for block in daemon.blocks()}
    assert {header["hash"] for header in headers} <= mined
