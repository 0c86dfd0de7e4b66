"""Miners attached over Stratum: a block found is paid, a share is never lost, a restart is hardly noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from miner.ledger.store import Store
from regtest import chain
from regtest.ports import Reservation
from tests.end_to_end.asic import Asic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regtest.bitcoind import Bitcoind
    from regtest.process import HashmillProcess

pytestmark = pytest.mark.bitcoind

EASY = 1e-6


@pytest.fixture
def port() -> Iterator[int]:
    with Reservation(1) as reserved:
        yield reserved.ports[0]


def serving(port: int, **more: Any) -> dict[str, dict[str, Any]]:
    """Sections of a daemon that serves miners and does not hash itself."""
    return {
        "cpu": {"threads": 0},
        "stratum": {
            "listen": f"127.0.0.1:{port}",
            "start_difficulty": EASY,
            "min_difficulty": EASY,
            "max_difficulty": EASY,
            **more,
        },
    }


def outputs_of(node: Bitcoind, block_hash: str) -> list[dict[str, Any]]:
    """What the coinbase of a block pays, as the node tells it."""
    outputs: list[dict[str, Any]] = node.rpc("getblock", block_hash, 2)["tx"][0]["vout"]
    return outputs


def test_a_miner_finds_a_block_and_the_operator_is_paid(
    bitcoind: Bitcoind, start_daemon: Callable[..., HashmillProcess], port: int
) -> None:
    address = chain.new_address(bitcoind)
    start_daemon([bitcoind], payout_address=address, **serving(port))
    before = bitcoind.rpc("getblockcount")
    with Asic(port, "rack1.07") as asic:
        assert asic.login()["result"] is True
        asic.wait_for_job()
        found = asic.mine()
        assert asic.submit(found) == {"id": 3, "result": True, "error": None}
    assert bitcoind.rpc("getblockcount") == before + 1
    paid = outputs_of(bitcoind, found.block_hash)
    assert paid[0]["scriptPubKey"]["address"] == address
    assert paid[0]["value"] > 0
