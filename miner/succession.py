"""One daemon after the other: taking over from the one that runs, and letting the next one take over."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from miner.config_ledger import LedgerConfig
from miner.handover import HandoverError, Inheritance, Successor, handover_path, offer, take_over
from miner.stratum.listener import systemd_sockets

log = logging.getLogger(__name__)

HEIR_POLL_S: Final = 0.2
"""How often it is looked whether a daemon that was started to take over has ended instead."""


class Succession:
    """The place of this process in the line of daemons on one ledger.

    `sockets()` are those that listen here, by name, to be handed over; `on_successor` is called when another daemon waits
    for this one to go.
    """

    def __init__(
        self,
        ledger: LedgerConfig,
        *,
        sockets: Callable[[], Mapping[str, socket.socket]],
        on_successor: Callable[[], None],
        command: Sequence[str] = (sys.executable, *sys.orig_argv[1:]),
    ) -> None:
        self._path = handover_path(ledger.file, f"{ledger.url} {ledger.site}")
        self._sockets = sockets
        self._on_successor = on_successor
        self._command = command
        self._successor: Successor | None = None
        self._told_to_restart = asyncio.Event()

    async def inherit(self) -> Inheritance:
        """What the daemon before hands over, once it has let go, and what systemd opened. Raises HandoverError."""
        inheritance = await take_over(self._path) or Inheritance()
        for name, listening in systemd_sockets().items():
            if inheritance.sockets.setdefault(name, listening) is not listening:
                listening.close()  # the daemon before had it from systemd, too
        return inheritance

    def restart(self) -> None:
        """Have the program started anew, to take over from this process; only while `run` runs."""
        self._told_to_restart.set()

    async def run(self) -> None:
        """Hand over to the next daemon that is started on this ledger, by whomever, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._await_successor(), name="successor")
            group.create_task(self._start_heirs(), name="restart")

    @property
    def goes_on(self) -> bool:
        """Whether another process goes on with the work of this one."""
        return self._successor is not None

    async def leave(self, state: bytes) -> None:
        """Tell the successor, if there is one, that everything is let go; `state` is what it goes on with, as JSON."""
        if self._successor is not None:
            await self._successor.leave(state)

    async def _await_successor(self) -> None:
        def came(successor: Successor) -> None:
            self._successor = successor
            self._on_successor()

        try:
            await offer(self._path, self._sockets, came)
        except HandoverError as error:
            log.warning("handover_impossible", extra={"error": str(error)})

    async def _start_heirs(self) -> None:
        """Whenever told so, start this very command again: the new process takes over from this one."""
        while True:
            await self._told_to_restart.wait()
            self._told_to_restart.clear()
            log.info("restarting")
            # It outlives this process, unless it could not take over.
            log.error("restart_failed", extra={"why": await self._heir_failed()})

    async def _heir_failed(self) -> str:
        """Why the heir that is started has ended; does not return while it lives."""
        try:
            # No subprocess of asyncio's: its transport may kill the heir when this process's loop is closed.
            heir = await asyncio.to_thread(subprocess.Popen, self._command)
        except OSError as error:
            return str(error)
        while (code := heir.poll()) is None:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(HEIR_POLL_S)
        return f"it ended with exit code {code}"
