"""A node of our own: starts, stops, survives what a node survives, and never outlives us."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regtest
from regtest import bitcoind as module
from regtest import chain
from regtest.bitcoind import Bitcoind, BitcoindError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.bitcoind

NODE_OF_A_PARENT = """\
import sys, time
from regtest.bitcoind import Bitcoind
node = Bitcoind(wallet=False)
node.start()
print(node.pid, node.datadir, flush=True)
if sys.argv[1] == "hang":
    time.sleep(60)
elif sys.argv[1] == "raise":
    raise SystemExit(3)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone_within(pid: int, limit_s: float) -> bool:
    deadline_s = time.monotonic() + limit_s
    while alive(pid) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return not alive(pid)


def test_fresh_node_has_a_wallet_zmq_and_nothing_but_loopback(bitcoind: Bitcoind) -> None:
    assert bitcoind.rpc("getblockchaininfo")["chain"] == "regtest"
    assert bitcoind.rpc("listwallets") == [module.WALLET]
    assert [z["address"] for z in bitcoind.rpc("getzmqnotifications")] == [bitcoind.zmq_hashblock]
    assert bitcoind.cookie_file.is_file()
    assert bitcoind.rpc("getpeerinfo") == []


def test_stopped_node_starts_again_on_the_same_ports_with_its_chain_and_wallet(bitcoind: Bitcoind) -> None:
    chain.mine(bitcoind, 3)
    before = (bitcoind.rpc_url, bitcoind.p2p_address, bitcoind.zmq_hashblock)
    bitcoind.stop()
    assert not bitcoind.running
    bitcoind.start()
    assert (bitcoind.rpc_url, bitcoind.p2p_address, bitcoind.zmq_hashblock) == before
    assert bitcoind.rpc("getblockcount") == 3
    assert bitcoind.rpc("getwalletinfo")["immature_balance"] == 150


def test_killed_node_starts_again_with_what_was_flushed(bitcoind: Bitcoind) -> None:
    chain.mine(bitcoind, 2)
    bitcoind.flush()
    bitcoind.kill()
    with pytest.raises(BitcoindError, match="not running"):
        _ = bitcoind.pid
    bitcoind.start()
    assert bitcoind.rpc("getblockcount") == 2


def test_connected_nodes_share_blocks_and_parted_ones_do_not(
    bitcoind_factory: Callable[..., Bitcoind],
) -> None:
    one, other = bitcoind_factory(), bitcoind_factory(wallet=False, zmq=False)
    assert other.zmq_hashblock is None
    one.connect(other)
    (tip,) = chain.mine(one, 1)
    assert other.rpc("waitforblock", tip, 10_000)["hash"] == tip
    one.disconnect(other)
    chain.mine(one, 1)
    assert other.rpc("waitforblockheight", 2, 300)["height"] == 1
    one.connect(other)
    assert other.rpc("waitforblockheight", 2, 10_000)["height"] == 2


def test_private_signet_mines_without_a_signature_and_its_clock_can_be_set(
    bitcoind_factory: Callable[..., Bitcoind],
) -> None:
    node = bitcoind_factory("signet", mocktime_s=1_598_919_000)
    info = node.rpc("getblockchaininfo")
    assert (info["chain"], info["signet_challenge"]) == ("signet", "51")
    template = node.rpc("getblocktemplate", {"rules": ["segwit", "signet"]})
    assert template["curtime"] == 1_598_919_000
    chain.mine(node, 1)
    assert node.rpc("getblockcount") == 1


def test_node_that_cannot_start_says_why_and_leaves_nothing(
    bitcoind_factory: Callable[..., Bitcoind],
) -> None:
    with pytest.raises(BitcoindError, match=r"ended while starting: .*-no-such-option"):
        bitcoind_factory(extra=["-no-such-option=1"])


def test_own_data_folder_is_kept_and_a_temporary_one_is_not(tmp_path: Path) -> None:
    with Bitcoind(datadir=tmp_path / "node", wallet=False) as kept:
        assert kept.running
    assert kept.log_file.is_file()
    with Bitcoind(wallet=False) as temporary:
        pid = temporary.pid
    assert not temporary.datadir.exists()
    assert not alive(pid)


@pytest.mark.parametrize("end", ["return", "raise", "hang"])
def test_node_ends_with_the_process_that_started_it(end: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NODE_OF_A_PARENT, end],
        cwd=Path(regtest.__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid, datadir = parent.stdout.readline().split()
        if end == "hang":
            parent.send_signal(signal.SIGKILL)
        parent.wait(30)
        assert gone_within(int(pid), 15)
        assert Path(datadir).exists() == (end == "hang")
        shutil.rmtree(datadir, ignore_errors=True)
