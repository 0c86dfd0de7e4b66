"""One daemon after the other on a ledger, in this process, and heirs that are programs of their own."""

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from miner import succession as succession_module
from miner.config_ledger import LedgerConfig
from miner.succession import Succession
from tests.miner.node.harness import until


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerConfig:
    return LedgerConfig(url=f"sqlite:///{tmp_path / 'hashmill.db'}")


@pytest.fixture
def make(ledger: LedgerConfig) -> Callable[..., Succession]:
    """Makes the place of a daemon on the ledger that listens nowhere."""

    def made(
        command: Sequence[str] = ("false",),
        on_successor: Callable[[], None] = lambda: None,
        sockets: dict[str, socket.socket] | None = None,
    ) -> Succession:
        return Succession(ledger, sockets=lambda: sockets or {}, on_successor=on_successor, command=command)

    return made


@asynccontextmanager
async def running(succession: Succession) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(succession.run())
        await asyncio.sleep(0)
        yield
        task.cancel()


async def test_the_first_daemon_on_a_ledger_inherits_nothing(make: Callable[..., Succession]) -> None:
    first = make()
    inherited = await first.inherit()
    assert (inherited.sockets, inherited.state) == ({}, b"null")
    await first.leave(b"[]")  # to nobody
    assert not first.goes_on


async def test_sockets_that_systemd_opened_are_inherited_where_no_daemon_hands_over_its_own(
    make: Callable[..., Succession], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        monkeypatch.setattr(succession_module, "systemd_sockets", lambda: {"port": opened.dup()})
        inherited = await make().inherit()
        assert inherited.sockets["port"].getsockname() == opened.getsockname()
        inherited.close()


async def test_the_next_one_has_the_sockets_and_the_state_once_the_first_has_left(
    make: Callable[..., Succession],
) -> None:
    came = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        first = make(on_successor=came.set, sockets={"port": listening})
        async with running(first), asyncio.TaskGroup() as group:
            taking = group.create_task(make().inherit())
            await came.wait()
            assert first.goes_on
            assert not taking.done()
            await first.leave(b'["a session"]')
        inherited = taking.result()
        assert inherited.sockets["port"].getsockname() == listening.getsockname()
        assert inherited.state == b'["a session"]'
        inherited.close()


async def test_a_daemon_that_cannot_be_followed_says_so_and_runs_on(
    make: Callable[..., Succession], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hashmill.db.handover").mkdir()
    (tmp_path / "hashmill.db.handover" / "occupied").touch()
    async with running(make()):
        await until(lambda: "handover_impossible" in caplog.messages)


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # as it is meant to
async def test_told_to_restart_it_starts_its_own_command_which_outlives_it(
    make: Callable[..., Succession], tmp_path: Path
) -> None:
    alive, leave = tmp_path / "alive", tmp_path / "leave"
    heir = (
        "import pathlib, sys, time\n"
        "alive, leave = map(pathlib.Path, sys.argv[1:])\n"
        "alive.touch()\n"
        "while not leave.exists(): time.sleep(0.01)\n"
        "alive.unlink()\n"
    )
    first = make((sys.executable, "-c", heir, str(alive), str(leave)))
    async with running(first):
        first.restart()
        await until(alive.exists)
    assert alive.exists()
    leave.touch()
    await until(lambda: not alive.exists())


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("false",), "it ended with exit code 1"),
        (("/nowhere/python",), "[Errno 2] No such file or directory: '/nowhere/python'"),
    ],
)
async def test_an_heir_that_does_not_take_over_is_told_and_another_may_be_started(
    make: Callable[..., Succession],
    command: Sequence[str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(succession_module, "HEIR_POLL_S", 0.01)
    first = make(command)
    async with running(first):
        for number in (1, 2):
            first.restart()
            await until(lambda number=number: caplog.messages.count("restart_failed") == number)
    told = [vars(record)["why"] for record in caplog.records if record.message == "restart_failed"]
    assert told == [why, why]
    assert {r.levelno for r in caplog.records if r.message == "restart_failed"} == {logging.ERROR}
