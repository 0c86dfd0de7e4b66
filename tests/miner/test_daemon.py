"""The daemon as a whole, inside this process where that shows more than its log: how it starts, what it tells, how it ends."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from miner import daemon as daemon_module
from miner import kernel
from miner.config import Config
from miner.daemon import Daemon, run
from miner.delivery import Delivery
from miner.ledger.reader import Reader
from miner.plant import Plant
from miner.work.share import Block
from regtest import chain
from regtest.bitcoind import Bitcoind
from regtest.ports import Reservation
from regtest.process import HashmillProcess
from tests.miner.harness import ADDRESS, ANY_HASH, block_on, shown
from tests.miner.node.harness import until


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """`run` sets up logging for a process of its own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@asynccontextmanager
async def alive(config: Config) -> AsyncIterator[Daemon]:
    """A daemon that runs; it is told to end, and has ended, when this ends."""
    daemon = Daemon(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(daemon.run(), name="daemon")
        await asyncio.sleep(0)
        try:
            yield daemon
        finally:
            daemon._close("test")


async def has_work(daemon: Daemon) -> Plant:
    await until(lambda: daemon.status().work.serving)
    assert daemon._plant is not None
    return daemon._plant


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def hashing_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("cpu-")]


class TestExitCode:
    """What `run` ends with, and what it says then."""

    def test_a_file_that_is_no_ledger_is_a_failure(
        self, make_config: Callable[..., Config], tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "hashmill.db").write_text(
            "not a database, but long enough to be looked at as one\n" * 100
        )
        assert run(make_config()) == 1
        last = capfd.readouterr().err.splitlines()[-1]
        assert "daemon_failed" in last
        assert "hashmill.db" in last

    def test_a_port_that_is_taken_is_a_failure(
        self, make_config: Callable[..., Config], capfd: pytest.CaptureFixture[str]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            assert run(make_config(http={"listen": address})) == 1
        assert f"cannot listen on {address}" in capfd.readouterr().err.splitlines()[-1]

    def test_a_kernel_that_cannot_be_used_is_a_failure_told_in_one_line(
        self,
        make_config: Callable[..., Config],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        def none_works(_versions: int) -> None:
            raise kernel.KernelFaultError("every kernel failed its self-test (portable)")

        monkeypatch.setattr(daemon_module, "choose", none_works)
        assert run(make_config()) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert "daemon_failed" in line
        assert "every kernel failed its self-test" in line

    @pytest.mark.bitcoind
    def test_an_address_that_the_node_does_not_own_up_to_is_a_wrong_configuration(
        self, bitcoind: Bitcoind, make_config: Callable[..., Config], capfd: pytest.CaptureFixture[str]
    ) -> None:
        mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
        assert run(make_config(bitcoind, solo={"payout_address": mainnet})) == 2
        assert "configuration_refused" in capfd.readouterr().err

    @pytest.mark.bitcoind
    def test_a_node_of_another_network_is_a_wrong_configuration(
        self, bitcoind: Bitcoind, make_config: Callable[..., Config], capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert run(make_config(bitcoind, network="testnet4")) == 2
        assert "the configuration says 'testnet4'" in capfd.readouterr().err

    @pytest.mark.bitcoind
    def test_a_tape_with_a_fault_is_a_wrong_configuration_and_starts_no_thread(
        self,
        bitcoind: Bitcoind,
        make_config: Callable[..., Config],
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        tape = tmp_path / "tape.csv"
        tape.write_text("offset_s,usd_per_kwh\n0,0.05\n60,a lot\n")
        config = make_config(
            bitcoind, tape={"file": str(tape)}, controller={"enabled": True}, cpu={"threads": 1}
        )
        assert run(config) == 2
        last = capfd.readouterr().err.splitlines()[-1]
        assert "configuration_refused" in last
        assert f"{tape}:3" in last
        assert hashing_threads() == []

    @pytest.mark.bitcoind
    def test_a_hashing_thread_that_fails_is_a_failure_of_the_daemon(
        self,
        bitcoind: Bitcoind,
        make_config: Callable[..., Config],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        scan = kernel.scan

        def breaks_down(*arguments: Any) -> kernel.ScanResult:
            if threading.current_thread().name.startswith("cpu-"):
                raise MemoryError("a bit fell over")
            return scan(*arguments)

        monkeypatch.setattr(kernel, "scan", breaks_down)
        assert run(make_config(bitcoind, cpu={"threads": 1})) == 1
        last = capfd.readouterr().err.splitlines()[-1]
        assert "daemon_failed" in last
        assert "a bit fell over" in last
        assert hashing_threads() == []

    @pytest.mark.bitcoind
    def test_a_node_that_comes_back_on_another_chain_ends_the_daemon(
        self, bitcoind_factory: Callable[..., Bitcoind], tmp_path: Path
    ) -> None:
        ours = bitcoind_factory()
        cookie = tmp_path / "cookie"
        shutil.copy(ours.cookie_file, cookie)
        sections = {
            "network": "regtest",
            "bitcoind": [{"rpc_url": ours.rpc_url, "cookie_file": str(cookie)}],
            "solo": {"payout_address": ADDRESS},
            "controller": {"enabled": False},
        }
        other = Bitcoind("signet", wallet=False)
        with HashmillProcess(tmp_path, sections) as daemon:
            daemon.wait_until(lambda: daemon.http("/readyz")[0] == 200, "have work")
            ours.stop()
            daemon.wait_until(lambda: "node_down" in daemon.log, "see its node down")
            other.rpc_port = ours.rpc_port
            with other:
                shutil.copy(other.cookie_file, cookie)
                assert daemon.wait() == 2
            assert "configuration_refused" in daemon.log_tail(1)
            assert "is on 'signet', the configuration says 'regtest'" in daemon.log_tail(1)


@pytest.mark.bitcoind
class TestLife:
    """A daemon that runs: what it tells of itself."""

    async def test_its_status_is_complete(
        self, bitcoind: Bitcoind, make_config: Callable[..., Config]
    ) -> None:
        chain.mine(bitcoind, 3)
        config = make_config(
            bitcoind, cpu={"threads": 1, "share_difficulty": 1e12}, controller={"enabled": False}
        )
        async with alive(config) as daemon:
            await has_work(daemon)
            await until(lambda: daemon.status().nodes[0].up and daemon.status().units[0].hashes)
            status = daemon.status()
            await until(lambda: shown(daemon._metrics, 'hashmill_unit_mode{mode="full",unit="cpu"}') == 1)
        assert (status.network, status.kernel) == ("regtest", kernel.selected())
        assert (status.work.height, status.work.payout_address) == (4, ADDRESS)
        assert status.work.payout_script == chain.script_of(bitcoind, ADDRESS).hex()
        assert [unit.mode for unit in status.units] == ["full"]
        assert (status.controller.enabled, status.market.ages_s, status.alerts) == (False, {}, ())
        assert 0 < status.uptime_s < 60
        assert hashing_threads() == []

    async def test_without_hashing_threads_it_follows_the_chain_and_has_no_unit(
        self, bitcoind: Bitcoind, make_config: Callable[..., Config], caplog: pytest.LogCaptureFixture
    ) -> None:
        config = make_config(bitcoind, controller={"enabled": True}, power={"usd_per_kwh": 0.05})
        async with alive(config) as daemon:
            plant = await has_work(daemon)
            (theirs,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
            assert plant.mining is not None
            book = plant.mining.book
            await until(lambda: book.tip == bytes.fromhex(theirs)[::-1])
            assert daemon.status().units == ()
            assert daemon.status().controller.next_tick_at is None
            assert "nothing_hashes" in caplog.messages

    @pytest.mark.parametrize(("mode", "found"), [("live", "off"), ("dry", "full")])
    async def test_a_live_controller_finds_the_unit_off_and_a_dry_one_finds_it_running(
        self, mode: str, found: str, bitcoind: Bitcoind, make_config: Callable[..., Config], tmp_path: Path
    ) -> None:
        tape = tmp_path / "tape.csv"
        tape.write_text("offset_s,usd_per_kwh,hashprice_usd_per_ph_day\n0,1.0,1\n")
        config = make_config(
            bitcoind,
            tape={"file": str(tape)},
            cpu={"threads": 1, "share_difficulty": 1e12},
            controller={"enabled": True, "dry_run": mode == "dry"},
        )
        async with alive(config) as daemon:
            await until(lambda: daemon.status().controller.next_tick_at)
            (unit,) = daemon.status().units
        with Reader.open(config.ledger.url) as ledger:
            (first,) = ledger.decisions()
        assert (first.from_mode, first.to_mode) == (found, "off")
        assert (unit.mode, unit.wanted_mode) == (found, "off")


class TestAlerts:
    """What an operator should look at."""

    async def test_an_alert_shows_its_last_message_since_its_first_until_it_is_over(
        self, make_config: Callable[..., Config]
    ) -> None:
        now = [100.0]
        daemon = Daemon(make_config(), clock=lambda: now[0])
        daemon._alert("proposal_refused", "bad-cb-amount")
        now[0] = 200.0
        daemon._alert("proposal_refused", "bad-cb-height")
        (alert,) = daemon.status().alerts
        assert (alert.name, alert.message, alert.since) == ("proposal_refused", "bad-cb-height", 100.0)
        daemon._alert("proposal_refused", "")
        daemon._alert("never raised", "")
        assert daemon.status().alerts == ()

    async def test_alerts_without_end_do_not_fill_the_memory(
        self, make_config: Callable[..., Config]
    ) -> None:
        daemon = Daemon(make_config())
        for number in range(100):
            daemon._alert(f"unit {number}", "does not answer")
        assert [alert.name for alert in daemon.status().alerts][-1] == "unit 99"
        assert len(daemon.status().alerts) == daemon_module.MOST_ALERTS

    async def test_a_kernel_that_computes_wrongly_is_warned_of_though_another_is_used(
        self,
        make_config: Callable[..., Config],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(kernel, "faulty", lambda: ("avx512",))
        async with alive(make_config()) as daemon:
            await until(lambda: daemon.status().alerts)
            (alert,) = daemon.status().alerts
        assert alert.message.startswith("avx512 fails its self-test")
        (record,) = (record for record in caplog.records if record.message == "kernel_faulty")
        assert record.levelno == logging.WARNING
        assert vars(record)["kernels"] == "avx512"


async def test_a_stop_before_any_node_was_there_ends_at_once(make_config: Callable[..., Config]) -> None:
    with Reservation(1) as reserved:
        (port,) = reserved.ports
        async with (
            alive(make_config(http={"listen": f"127.0.0.1:{port}"})),
            aiohttp.ClientSession() as web,
        ):
            await until(lambda: listening(port))
            async with web.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 503
                assert "no bitcoind answers" in await answer.text()
        assert not listening(port)


@pytest.mark.bitcoind
class TestEnd:
    """However it ends: blocks first, threads and ports gone."""

    async def test_a_stop_with_a_block_under_way_waits_for_it_however_often_it_is_told(
        self, bitcoind: Bitcoind, make_config: Callable[..., Config], tmp_path: Path
    ) -> None:
        async with alive(make_config(bitcoind)) as daemon:
            plant = await has_work(daemon)
            assert plant.job is not None
            os.kill(bitcoind.pid, signal.SIGSTOP)
            try:
                verdict = plant.delivery.desk.take(block_on(plant.job), ANY_HASH)
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGTERM)
                    await asyncio.sleep(0.2)
                assert daemon._closing.is_set()
            finally:
                os.kill(bitcoind.pid, signal.SIGCONT)
        assert isinstance(verdict, Block)
        with Reader.open(f"sqlite:///{tmp_path / 'hashmill.db'}") as ledger:
            row = ledger.block(verdict.hash[::-1].hex())
        assert row is not None
        assert row.status == "accepted"
        assert bitcoind.rpc("getbestblockhash") == row.hash

    async def test_when_a_part_of_it_breaks_down_its_threads_do_not_go_on(
        self, bitcoind: Bitcoind, make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashing: list[list[str]] = []

        async def break_down(_delivery: Delivery) -> None:
            await until(hashing_threads)
            hashing.append(hashing_threads())
            raise ZeroDivisionError

        monkeypatch.setattr(Delivery, "_housekeep", break_down)
        with pytest.raises(ExceptionGroup) as caught:
            await Daemon(make_config(bitcoind, cpu={"threads": 1})).run()
        assert caught.group_contains(ZeroDivisionError)
        assert hashing == [["cpu-0"]]
        assert hashing_threads() == []
