"""Miners attached over Stratum: a block found is paid, a share is never lost, a restart is hardly noticed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from miner.ledger.rollup import RECORD
from miner.ledger.store import Store
from regtest import chain
from regtest.ports import Reservation
from tests.end_to_end.asic import Asic, Found, sha256d
from tests.end_to_end.test_control import control, tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from regtest.bitcoind import Bitcoind
    from regtest.process import HashmillProcess

pytestmark = pytest.mark.bitcoind

EASY = 1e-6
"""About 4,300 hashes: hashlib finds one in milliseconds."""


@pytest.fixture
def ports() -> Iterator[Sequence[int]]:
    with Reservation(2) as reserved:
        yield reserved.ports


@pytest.fixture
def port(ports: Sequence[int]) -> int:
    return ports[0]


Serve: TypeAlias = "Callable[..., HashmillProcess]"


def server_on(node: Bitcoind, make_daemon: Serve, port: int) -> Serve:
    """Starts a daemon on `node` that serves miners at `port` with an easy fixed difficulty, and does not hash itself."""

    def start(stratum: dict[str, Any] | None = None, **sections: Any) -> HashmillProcess:
        fixed = {"start_difficulty": EASY, "min_difficulty": EASY, "max_difficulty": EASY}
        server = {"listen": f"127.0.0.1:{port}", **fixed, **(stratum or {})}
        daemon = make_daemon([node], **{"cpu": {"threads": 0}, "stratum": server, **sections})
        daemon.start()
        await_work(daemon)
        return daemon

    return start


@pytest.fixture
def serve_blocks(bitcoind: Bitcoind, make_daemon: Serve, port: int) -> Serve:
    """A server on regtest, where a share is never harder than a block, so that each is one."""
    return server_on(bitcoind, make_daemon, port)


@pytest.fixture
def serve(signet_bitcoind: Bitcoind, make_daemon: Serve, port: int) -> Serve:
    """A server on the private signet, where one share in a thousand is a block."""
    return server_on(signet_bitcoind, make_daemon, port)


def await_work(daemon: HashmillProcess) -> None:
    daemon.wait_until(lambda: daemon.http("/readyz")[0] == 200, "have work")


def share_of(asic: Asic) -> Found:
    asic.wait_for_job()
    return asic.mine()


def recorded(daemon: HashmillProcess) -> list[bytes]:
    """Header hashes of all shares in the ledger, internal order."""
    with Store.open(f"sqlite:///{daemon.ledger_file}") as store:
        return [row[5] for records in store.share_records(0.0) for row in RECORD.iter_unpack(records)]


def outputs_of(node: Bitcoind, block_hash: str) -> list[dict[str, Any]]:
    """What the coinbase of a block pays, as the node tells it."""
    outputs: list[dict[str, Any]] = node.rpc("getblock", block_hash, 2)["tx"][0]["vout"]
    return outputs


def document(daemon: HashmillProcess, path: str) -> dict[str, Any]:
    status, body = daemon.http(path)
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_miner_finds_a_block_and_the_operator_is_paid(
    bitcoind: Bitcoind, serve_blocks: Serve, port: int
) -> None:
    address = chain.new_address(bitcoind)
    daemon = serve_blocks(solo={"payout_address": address})
    with Asic(port, "rack1.07") as asic:
        assert asic.login()["result"] is True
        asic.wait_for_job()
        found = asic.mine()
        assert asic.submit(found) == {"id": 3, "result": True, "error": None}
        daemon.wait_until(lambda: bitcoind.rpc("getblockcount") == 1, "bring the block home")
    paid = outputs_of(bitcoind, found.block_hash)
    assert (paid[0]["scriptPubKey"]["address"], float(paid[0]["value"])) == (address, 50.0)
    (block,) = daemon.blocks()
    assert (block["unit_id"], block["hash"]) == ("rack1.07", found.block_hash)


def test_a_miner_that_logs_in_with_its_address_is_paid_itself(
    bitcoind: Bitcoind, serve_blocks: Serve, port: int
) -> None:
    operator = chain.new_address(bitcoind)
    daemon = serve_blocks(solo={"payout_address": operator, "payout": "worker"})
    for kind in ("legacy", "p2sh-segwit", "bech32", "bech32m"):
        before = bitcoind.rpc("getblockcount")
        address = bitcoind.rpc("getnewaddress", "", kind)
        with Asic(port, f"{address}.rig1") as asic:
            assert asic.login()["result"] is True
            asic.wait_for_job()
            found = asic.mine()
            assert asic.submit(found)["result"] is True
            daemon.wait_until(lambda seen=before: bitcoind.rpc("getblockcount") == seen + 1, "bring it home")  # type: ignore[misc] # bound on purpose
        assert outputs_of(bitcoind, found.block_hash)[0]["scriptPubKey"]["address"] == address
    with Asic(port, "1BoatSLRHtKNngkdXEeobR76b53LETtpyT.rig") as asic:
        refusal = asic.login()
        assert refusal["result"] is None
        assert "main" in refusal["error"][1]
        assert "regtest" in refusal["error"][1]


def test_shares_are_in_the_ledger_when_they_are_answered_and_known_after_a_kill(
    serve: Serve, port: int
) -> None:
    daemon = serve()
    with Asic(port, "rack1.07") as asic:
        asic.login()
        shares = [share_of(asic) for _ in range(5)]
        assert [asic.submit(share)["result"] for share in shares] == [True] * 5
        daemon.kill()
        extranonce1 = asic.extranonce1
    assert recorded(daemon) == [sha256d(share.header) for share in shares]
    daemon.start()
    await_work(daemon)
    told = document(daemon, "/api/v1/shares")["shares"]
    assert [row["hash"] for row in told] == [share.block_hash for share in reversed(shares)]
    with Asic(port, "rack1.07") as asic:
        asic.login()
        assert asic.extranonce1 != extranonce1
        assert asic.submit(shares[0])["error"][0] == 21
        assert asic.submit(share_of(asic))["result"] is True
    assert daemon.stop() == 0
    assert len(recorded(daemon)) == len(set(recorded(daemon))) == 6


@pytest.mark.parametrize("how", ["a second start", "SIGUSR2"])
def test_a_restart_takes_over_sockets_and_sessions(serve: Serve, port: int, how: str) -> None:
    daemon = serve()
    with Asic(port, "rack1.07") as asic:
        asic.login()
        share = share_of(asic)
        assert asic.submit(share)["result"] is True
        heir: subprocess.Popen[bytes] | None = None
        if how == "SIGUSR2":
            daemon.tell(signal.SIGUSR2)
        else:
            command = [sys.executable, "-m", "miner", "run", "--config", str(daemon.config_file)]
            with daemon.log_file.open("ab") as sink:
                heir = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
        try:
            asic.wait_until_closed()
            assert any("restarts" in str(message["params"]) for message in asic.heard)
            with Asic(port, "rack1.07", session=asic.session) as again:
                assert again.login()["result"] is True
                assert again.extranonce1 == asic.extranonce1
                assert again.submit(share_of(again))["result"] is True
            assert daemon.wait() == 0
            assert document(daemon, "/api/v1/status")["stratum"]["units"] == 1
        finally:
            if heir is not None:
                heir.terminate()
                assert heir.wait(30) == 0
            else:
                daemon.end_heir()
    assert len(recorded(daemon)) == 2


def test_every_port_has_its_own_rules(serve: Serve, ports: Sequence[int]) -> None:
    small = {
        "listen": f"127.0.0.1:{ports[1]}",
        "start_difficulty": EASY / 10,
        "min_difficulty": EASY / 10,
        "max_difficulty": EASY / 10,
    }
    serve({"listener": [small]})
    for number, difficulty in zip(ports, (EASY, EASY / 10), strict=True):
        with Asic(number, "nerd") as asic:
            asic.login()
            asic.wait_for_job()
            assert asic.difficulty == pytest.approx(difficulty)
            assert asic.submit(share_of(asic))["result"] is True


def test_the_controller_closes_a_gate_while_power_is_dear_and_opens_it_again(
    tmp_path: Path, serve: Serve, port: int
) -> None:
    rate = 40e6 / 1e12
    daemon = serve(
        tape=tape(tmp_path, [0.03, 0.12, 0.03], 5.0),
        controller=control(),
        unit=[
            {
                "id": "rack1-07",
                "worker": "rack1.07",
                "control": "gate",
                "modes": [{"name": "full", "th_s": rate, "watts": 15.0}],
            }
        ],
    )
    with Asic(port, "rack1.07") as asic:
        assert asic.login()["result"] is True
        asic.wait_until_closed()
        assert any(
            "paused" in str(message["params"])
            for message in asic.heard
            if message["method"] == "client.show_message"
        )
    with Asic(port, "rack1.07") as asic:
        refusal = asic.login()
        assert refusal["error"][0] == 24
        assert "paused" in refusal["error"][1]
    unit = document(daemon, "/api/v1/units/rack1-07")
    assert (unit["state"], unit["mode"]) == ("gated", "off")

    def let_in() -> bool:
        with Asic(port, "rack1.07") as back:
            return bool(back.login()["result"])

    daemon.wait_until(let_in, "give it work again")
    reasons = [row["reason"] for row in daemon.decisions() if row["from_mode"] != row["to_mode"]]
    assert len(reasons) >= 2


def test_a_stranger_that_talks_nonsense_disturbs_nobody(serve: Serve, port: int) -> None:
    daemon = serve()
    with Asic(port, "good") as good, Asic(port, "bad") as bad:
        good.login()
        bad._socket.sendall(b"\x00\xff{]" * 1000 + b"\n" + b"x" * 100_000)
        bad.wait_until_closed()
        assert good.submit(share_of(good))["result"] is True
    assert daemon.running
