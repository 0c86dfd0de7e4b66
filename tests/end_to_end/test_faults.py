"""What goes wrong in practice: reorganisations, dead nodes, a daemon killed with a block in its hands, wrong addresses."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from miner.ledger.reader import Reader
from regtest import chain
from regtest.process import HashmillProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regtest.bitcoind import Bitcoind

pytestmark = pytest.mark.bitcoind

SLOW = {"min_block_interval_s": 0.5}


def count(daemon: HashmillProcess, status: str) -> int:
    return int(daemon.status()["blocks"][status])


def hashes(daemon: HashmillProcess) -> int:
    return sum(unit["hashes"] for unit in daemon.status()["units"])


def test_a_reorganisation_orphans_our_blocks_and_the_ledger_says_so(
    bitcoind_factory: Callable[..., Bitcoind], start_daemon: Callable[..., HashmillProcess]
) -> None:
    ours, theirs = bitcoind_factory(), bitcoind_factory()
    ours.connect(theirs)
    chain.mine(ours, 10)
    deadline = time.monotonic() + 20
    while theirs.rpc("getblockcount") < 10:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    ours.disconnect(theirs)
    daemon = start_daemon([ours], solo={"min_block_interval_s": 0.2})
    daemon.wait_until(lambda: count(daemon, "accepted") >= 2, "mine two blocks")
    assert daemon.stop() == 0
    mined = {block["hash"] for block in daemon_blocks(daemon)}
    chain.mine(theirs, len(mined) + 5)

    daemon = start_daemon([ours], cpu={"threads": 0})
    ours.connect(theirs)
    daemon.wait_until(lambda: count(daemon, "orphaned") >= len(mined), "see its blocks orphaned")
    assert {block["hash"] for block in daemon.blocks() if block["status"] == "orphaned"} == mined
    assert daemon.metric('hashmill_blocks_total{result="orphaned"}') == len(mined)
    daemon.wait_until(
        lambda: daemon.status()["work"]["prev_hash"] == theirs.rpc("getbestblockhash"), "work on their tip"
    )
    assert "status=orphaned" in daemon.log


def daemon_blocks(daemon: HashmillProcess) -> list[dict[str, str]]:
    """The blocks in the ledger of a daemon that is down."""
    with Reader.open(f"sqlite:///{daemon.ledger_file}") as ledger:
        return [{"hash": row.hash, "status": row.status} for row in ledger.blocks(1000)]


def test_the_daemon_outlives_its_node_and_mines_again_when_it_returns(
    bitcoind: Bitcoind, start_daemon: Callable[..., HashmillProcess]
) -> None:
    chain.mine(bitcoind, 5)
    bitcoind.flush()
    daemon = start_daemon([bitcoind], solo={**SLOW, "refresh_s": 3.0, "job_max_age_s": 3.0})
    (node,) = daemon.status()["nodes"]
    up = f'hashmill_bitcoind_up{{node="{node["name"]}"}}'
    daemon.wait_until(lambda: count(daemon, "accepted") >= 1, "mine a block")
    assert daemon.metric(up) == 1.0
    bitcoind.kill()
    daemon.wait_until(lambda: daemon.metric(up) == 0.0, "see its node down")
    assert "node_down" in daemon.log
    daemon.wait_until(lambda: daemon.http("/readyz")[0] == 503, "withdraw work nobody vouches for")
    assert "work_withdrawn" in daemon.log
    stopped_at = hashes(daemon)
    time.sleep(0.3)
    assert hashes(daemon) == stopped_at
    height = daemon.status()["blocks"]["found"]
    bitcoind.start()
    daemon.wait_until(lambda: daemon.http("/readyz")[0] == 200, "have work again", 20)
    daemon.wait_until(lambda: count(daemon, "found") > height, "find a block again", 20)
    daemon.wait_until(lambda: count(daemon, "accepted") > height, "mine on", 20)
    assert daemon.metric(up) == 1.0
    assert "node_up" in daemon.log


def test_of_two_nodes_one_dies_and_blocks_still_go_out(
    bitcoind_factory: Callable[..., Bitcoind], start_daemon: Callable[..., HashmillProcess]
) -> None:
    first, second = bitcoind_factory(), bitcoind_factory()
    first.connect(second)
    chain.mine(first, 5)
    daemon = start_daemon([first, second], solo=SLOW)
    daemon.wait_until(lambda: count(daemon, "accepted") >= 2, "mine with both")
    first.kill()
    before = count(daemon, "accepted")
    daemon.wait_until(lambda: count(daemon, "accepted") >= before + 3, "mine with the second alone")
    newest = next(block for block in daemon.blocks() if block["status"] == "accepted")
    assert second.rpc("getblockheader", newest["hash"])["confirmations"] > 0
    assert [node["up"] for node in daemon.status()["nodes"]] == [False, True]


def test_every_node_gets_our_block_from_us_and_not_only_from_its_peers(
    bitcoind_factory: Callable[..., Bitcoind], start_daemon: Callable[..., HashmillProcess]
) -> None:
    first, second = bitcoind_factory(), bitcoind_factory()
    daemon = start_daemon([first, second], solo={"min_block_interval_s": 0.3})
    daemon.wait_until(lambda: count(daemon, "accepted") >= 2, "mine two blocks")
    daemon.wait_until(lambda: second.rpc("getblockcount") >= 2, "bring them to the second node too")
    assert second.rpc("getpeerinfo") == []


def test_a_block_found_before_a_kill_is_submitted_at_the_next_start(
    bitcoind: Bitcoind, make_daemon: Callable[..., HashmillProcess]
) -> None:
    chain.mine(bitcoind, 5)
    bitcoind.flush()
    address = chain.new_address(bitcoind)
    daemon = make_daemon([bitcoind], address, cpu={"share_difficulty": 0.02})
    daemon.start()
    daemon.wait_until(lambda: hashes(daemon) > 0, "hash")
    # The node hears nothing from here on: what is found cannot be told to anybody.
    os.kill(bitcoind.pid, signal.SIGSTOP)
    known = {block["hash"] for block in daemon.blocks()}

    def found() -> list[str]:
        blocks = [block for block in daemon.blocks() if block["hash"] not in known]
        return [block["hash"] for block in blocks if block["status"] in {"found", "submitted"}]

    daemon.wait_until(lambda: bool(found()), "find a block", 60)
    (block_hash,) = found()
    daemon.kill()
    bitcoind.kill()
    bitcoind.start()
    assert all(block_hash != tip["hash"] for tip in bitcoind.rpc("getchaintips"))

    daemon.start()
    daemon.wait_until(
        lambda: any(b["hash"] == block_hash and b["status"] == "accepted" for b in daemon.blocks()),
        "bring the block at last",
    )
    assert bitcoind.rpc("getblockheader", block_hash)["confirmations"] >= 0
    assert "block_resumed" in daemon.log


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "looks like an address of main"),
        ("bcrt1qnonsense", "is refused by"),
    ],
)
def test_an_address_the_node_does_not_own_up_to_is_refused(
    address: str, says: str, bitcoind: Bitcoind, make_daemon: Callable[..., HashmillProcess]
) -> None:
    daemon = make_daemon([bitcoind], address)
    daemon.launch()
    assert daemon.wait() == 2
    assert says in daemon.log
    assert "block_found" not in daemon.log


def test_a_node_of_another_network_is_refused(
    signet_bitcoind: Bitcoind, bitcoind: Bitcoind, make_daemon: Callable[..., HashmillProcess]
) -> None:
    address = chain.new_address(signet_bitcoind)
    daemon = make_daemon([bitcoind], address, network="signet")
    daemon.launch()
    assert daemon.wait() == 2
    assert "is on 'regtest', the configuration says 'signet'" in daemon.log


def test_a_signet_whose_blocks_need_a_signature_is_refused(
    bitcoind_factory: Callable[..., Bitcoind], make_daemon: Callable[..., HashmillProcess]
) -> None:
    signed = bitcoind_factory("signet", signet_challenge="0051")
    daemon = make_daemon([signed])
    daemon.launch()
    assert daemon.wait() == 2
    assert "need a signature" in daemon.log


def test_a_daemon_waits_for_a_node_that_is_not_there_yet(
    bitcoind: Bitcoind, make_daemon: Callable[..., HashmillProcess]
) -> None:
    address = chain.new_address(bitcoind)
    bitcoind.stop()
    daemon = make_daemon([bitcoind], address, solo=SLOW)
    daemon.start()
    assert daemon.http("/readyz")[0] == 503
    assert "no bitcoind answers" in daemon.http("/readyz")[1]
    bitcoind.start()
    daemon.wait_until(lambda: count(daemon, "accepted") >= 1, "mine")


def test_a_stop_while_no_node_was_ever_there_is_clean(
    bitcoind: Bitcoind, make_daemon: Callable[..., HashmillProcess]
) -> None:
    address = chain.new_address(bitcoind)
    bitcoind.stop()
    daemon = make_daemon([bitcoind], address)
    daemon.start()
    assert daemon.stop(signal.SIGINT) == 0


@pytest.fixture
def start_twin() -> Iterator[Callable[..., HashmillProcess]]:
    """Launches a daemon beside a running one, in a folder of its own, with parts of the first one's configuration."""
    with contextlib.ExitStack() as twins:

        def start(daemon: HashmillProcess, *shared: str) -> HashmillProcess:
            folder = daemon.folder / "twin"
            folder.mkdir()
            twin = HashmillProcess(folder, {})
            twins.callback(twin.close)
            text = daemon.config_file.read_text()
            if "port" not in shared:
                text = text.replace(str(daemon.http_port), str(twin.http_port))
            if "ledger" not in shared:
                text = text.replace(str(daemon.ledger_file), str(twin.ledger_file))
            twin.config_file.write_text(text)
            twin.launch()
            return twin

        yield start


def test_a_taken_port_is_told_and_fails(
    bitcoind: Bitcoind,
    start_daemon: Callable[..., HashmillProcess],
    start_twin: Callable[..., HashmillProcess],
) -> None:
    twin = start_twin(start_daemon([bitcoind]), "port")
    assert twin.wait() == 1
    assert "cannot listen" in twin.log


def test_a_second_daemon_on_a_ledger_takes_it_over_from_the_first(
    bitcoind: Bitcoind,
    start_daemon: Callable[..., HashmillProcess],
    start_twin: Callable[..., HashmillProcess],
) -> None:
    daemon = start_daemon([bitcoind], solo=SLOW)
    daemon.wait_until(lambda: count(daemon, "accepted") >= 1, "mine")
    twin = start_twin(daemon, "ledger")
    assert daemon.wait() == 0
    assert "handing_over" in daemon.log
    known = len(daemon_blocks(daemon))
    twin.wait_until(lambda: count(twin, "accepted") > known, "mine on")


def test_two_daemons_on_one_ledger_are_one_too_many(
    bitcoind: Bitcoind,
    start_daemon: Callable[..., HashmillProcess],
    start_twin: Callable[..., HashmillProcess],
) -> None:
    daemon = start_daemon([bitcoind], solo=SLOW)
    daemon.wait_until(lambda: count(daemon, "accepted") >= 1, "mine")
    daemon.ledger_file.with_name("hashmill.db.handover").unlink()  # as on another machine: it cannot be asked
    twin = start_twin(daemon, "ledger")
    assert twin.wait() == 1
    assert "another hashmill runs on the ledger" in twin.log
    before = count(daemon, "accepted")
    daemon.wait_until(lambda: count(daemon, "accepted") > before, "mine on undisturbed")
