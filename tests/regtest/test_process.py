"""`hashmill run` as a process: configured, started, read, stopped, killed; no bitcoind is needed to see that."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from miner.config_file import load
from regtest.ports import Reservation
from regtest.process import DaemonError, HashmillProcess, bitcoind_sections, pool_sections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regtest.bitcoind import Bitcoind

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def sections(**changed: Any) -> dict[str, Any]:
    """A configuration whose node is not there."""
    return {
        "network": "regtest",
        "bitcoind": [{"rpc_url": "http://127.0.0.1:1", "cookie_file": "/nowhere/.cookie"}],
        "solo": {"payout_address": ADDRESS},
        "controller": {"enabled": False},
        **changed,
    }


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[HashmillProcess]:
    """One that is not started."""
    made = HashmillProcess(tmp_path, sections())
    yield made
    made.close()


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[HashmillProcess]:
    """One whose configuration is refused."""
    made = HashmillProcess(tmp_path, sections(network="moonnet"))
    yield made
    made.close()


def test_its_configuration_is_one_that_hashmill_reads_with_its_own_port_and_ledger(
    daemon: HashmillProcess, tmp_path: Path
) -> None:
    config = load(daemon.config_file, {})
    assert config.solo is not None
    assert config.solo.payout_address == ADDRESS
    assert config.http.address == ("127.0.0.1", daemon.http_port)
    assert config.ledger.file == daemon.ledger_file == tmp_path / "hashmill.db"


def test_its_ledger_may_be_elsewhere_and_keep_its_other_keys(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:5432/hashmill"
    for name, ledger in {"elsewhere": {"url": url, "site": "north"}, "here": {"keep_days": 1.0}}.items():
        (tmp_path / name).mkdir()
        HashmillProcess(tmp_path / name, sections(ledger=ledger)).close()
    elsewhere = load(tmp_path / "elsewhere" / "hashmill.toml", {}).ledger
    assert (elsewhere.full_url, elsewhere.site, elsewhere.file) == (url, "north", None)
    here = load(tmp_path / "here" / "hashmill.toml", {}).ledger
    assert (here.file, here.keep_days) == (tmp_path / "here" / "hashmill.db", 1.0)


def test_it_may_mine_at_pools(tmp_path: Path) -> None:
    pools = pool_sections(3333, 3334, user="me", password="hunter2", no_work_s=2.0)
    HashmillProcess(tmp_path, {"network": "main", "pool": pools, "controller": {"enabled": False}}).close()
    first, second = load(tmp_path / "hashmill.toml", {}).pool
    assert (first.label, second.label) == ("127.0.0.1:3333", "127.0.0.1:3334")
    assert (second.user, second.secret, second.no_work_s) == ("me", "hunter2", 2.0)


def test_two_daemons_never_get_the_same_port(daemon: HashmillProcess, doomed: HashmillProcess) -> None:
    assert daemon.http_port != doomed.http_port


def test_its_port_is_given_back_when_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = HashmillProcess(tmp_path, sections())
    monkeypatch.setattr("random.randrange", lambda _low, _high: made.http_port)
    with pytest.raises(OSError, match="no free port"):
        Reservation(1)
    made.close()
    with Reservation(1) as again:
        assert again.ports == (made.http_port,)


@pytest.mark.bitcoind
def test_a_node_s_section_is_where_it_answers(bitcoind_factory: Callable[..., Bitcoind]) -> None:
    heard, silent = bitcoind_factory(wallet=False), bitcoind_factory(wallet=False, zmq=False)
    first, second = bitcoind_sections([heard, silent])
    assert first == {
        "rpc_url": heard.rpc_url,
        "cookie_file": str(heard.cookie_file),
        "zmq_hashblock": heard.zmq_hashblock,
    }
    assert second == {"rpc_url": silent.rpc_url, "cookie_file": str(silent.cookie_file)}


def test_it_lives_from_start_to_stop_and_what_it_says_is_read_meanwhile(daemon: HashmillProcess) -> None:
    daemon.start()
    assert daemon.running
    assert Path(f"/proc/{daemon.pid}").exists()
    assert daemon.status()["network"] == "regtest"
    assert (daemon.blocks(), daemon.decisions()) == ([], [])
    assert daemon.metric('hashmill_blocks_total{result="found"}') == 0.0
    assert daemon.metric("hashmill_unheard_of") is None
    assert daemon.http("/readyz")[0] == 503
    with pytest.raises(DaemonError, match="running already"):
        daemon.launch()
    assert daemon.stop() == 0
    assert not daemon.running
    assert daemon.log_tail(1).endswith("stopped")


def test_it_can_be_started_again_in_the_same_folder(daemon: HashmillProcess) -> None:
    daemon.start()
    daemon.kill()
    assert not daemon.running
    daemon.start()
    assert daemon.stop(signal.SIGINT) == 0
    assert daemon.log.count("starting") == 2


def test_as_a_context_manager_it_runs_inside_and_not_after(tmp_path: Path) -> None:
    with HashmillProcess(tmp_path, sections()) as daemon:
        process = Path(f"/proc/{daemon.pid}")
        assert daemon.http("/healthz") == (200, "ok\n")
    assert not process.exists()


def test_one_that_does_not_start_says_why(doomed: HashmillProcess) -> None:
    with pytest.raises(
        DaemonError, match=r"the daemon ended, waited for it to answer on its HTTP port.*moonnet"
    ):
        doomed.start()
    assert doomed.wait() == 2
    assert doomed.stop() == 2
    with pytest.raises(DaemonError, match="is not running"):
        _ = doomed.pid


def test_one_that_does_not_start_leaves_no_context(tmp_path: Path) -> None:
    doomed = HashmillProcess(tmp_path, sections(network="moonnet"))
    with pytest.raises(DaemonError), doomed:
        pytest.fail("it runs")
    assert not doomed.running


def test_what_never_comes_true_is_waited_for_so_long_and_no_longer(
    daemon: HashmillProcess,
) -> None:
    daemon.start()
    began = time.monotonic()
    with pytest.raises(DaemonError, match=r"in 0 s the daemon did not mine a block"):
        daemon.wait_until(lambda: daemon.blocks() != [], "mine a block", 0.2)
    assert 0.2 <= time.monotonic() - began < 5.0
    assert daemon.wait_until(lambda: True, "be there") < 1.0
    with pytest.raises(DaemonError, match="did not end in 0 s"):
        daemon.wait(0.1)


def test_before_it_ever_ran_there_is_nothing_to_read_and_nothing_to_stop(daemon: HashmillProcess) -> None:
    assert daemon.http("/healthz") == (0, "")
    assert daemon.metric("hashmill_build_info") is None
    assert daemon.log == ""
    assert daemon.log_tail() == "it logged nothing"
    assert daemon.stop() == 0
    daemon.kill()
    with pytest.raises(DaemonError, match="answered 0"):
        daemon.status()
    with pytest.raises(DaemonError, match="never started"):
        daemon.wait()
