"""The composition root: builds the node and the controller from a configuration and runs them until they are stopped."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Final

from miner import front, kernel
from miner import log as logs
from miner.config import Config
from miner.control import Control, UnitWorth
from miner.control_commands import token_reader
from miner.control_settings import PlayedTape, played_tape
from miner.event_loop import loop_factory, spare_the_loop
from miner.handover import HandoverError, Inheritance
from miner.hashing.calibration import choose
from miner.hashing.station import OFF, CpuStation
from miner.inquiries import CONFIGURATION_ERRORS, cpu_modes
from miner.keeper import BlockBooks
from miner.ledger.lock import sole_writer
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerError
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.overview import block_counts, node_statuses, readiness, work_status
from miner.overview_pools import pool_statuses
from miner.overview_units import Units
from miner.plant import Plant, find_payout, make_shelf
from miner.site import node_set
from miner.solo import EXTRANONCE1_SIZE, Payout
from miner.stratum.listener import ListenError, Port
from miner.stratum.tls import TlsError
from miner.succession import Succession
from miner.systemd import notify
from miner.web.app import NoUnits, UnitReader, WebError, make_app, serve
from miner.web.commands import NoCommands
from miner.web.events import Events
from miner.web.status import Alert, ControllerStatus, MarketStatus, StatusDocument, StratumStatus
from miner.work.job import Job
from miner.work.pay import PoolPay
from miner.work.roster import HashingUnit, Roster
from miner.work.share import Submission

log = logging.getLogger(__name__)

SAMPLE_S: Final = 5.0
"""How often a unit's readings go into the metrics."""
BLOCK_WAIT_S: Final = 1.0
"""How long a found block waits for a ledger that another process holds, before it is sent all the same."""
MOST_ALERTS: Final = 20
FAILURES: Final = (LedgerError, WebError, ListenError, HandoverError, kernel.KernelError)
"""What ends the daemon with exit code 1."""


class HashingError(Exception):
    """A hashing thread ended; what it says of the machine makes going on wrong."""


def run(config: Config) -> int:
    """Run the daemon until SIGINT or SIGTERM; returns the exit code: 0 stopped, 1 failed, 2 wrong configuration."""
    logs.configure(config.log.level, config.log.format)
    spare_the_loop()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(Daemon(config).run())
    except (*CONFIGURATION_ERRORS, TlsError) as error:
        log.critical("configuration_refused", extra={"error": str(error)})
        return 2
    except (*FAILURES, HashingError) as error:
        log.critical("daemon_failed", extra={"error": str(error)})
        return 1
    return 0


class Daemon:
    """One running Hashmill: `run` is its life, from the first node's answer to the last block's delivery."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._started_at = clock()
        self._version = version("hashmill")
        self._kernel = choose(config.cpu.versions).kernel
        self._metrics = Metrics(self._version, self._kernel, clock)
        self._nodes = node_set(config)
        self._events = Events(f"{round(self._started_at * 1000):x}")
        self._closing = asyncio.Event()
        self._fatal: Exception | None = None
        self._alerts: dict[str, Alert] = {}
        self._books: BlockBooks | None = None
        self._station: CpuStation | None = None
        self._plant: Plant | None = None
        self._control: Control | None = None
        self._units: Units | None = None
        self._http_sockets: dict[str, socket.socket] = {}
        self._succession = Succession(
            config.ledger, sockets=self._listening_sockets, on_successor=lambda: self._close("handover")
        )

    async def run(self) -> None:
        """Live until stopped, or until another process takes over.

        Raises what made it end otherwise: one of FAILURES, HashingError, TlsError, one of CONFIGURATION_ERRORS.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._close, number.name)
        loop.add_signal_handler(signal.SIGUSR2, self._succession.restart)
        log.info(
            "starting",
            extra={"version": self._version, "kernel": self._kernel, "network": self._config.network},
        )
        self._warn_of_kernels(await asyncio.to_thread(kernel.faulty))
        # What is wrong with the configuration is told before anything is waited for, or taken from a running daemon.
        tape = played_tape(self._config, self._clock()) if self._config.controller.enabled else None
        ports = front.ports(self._config)
        inherited = await self._succession.inherit()
        notify({"MAINPID": os.getpid()})
        try:
            await self._live(tape, ports, inherited)
        finally:
            inherited.close()
            if self._succession.goes_on:
                await self._succession.leave(b"[]" if self._plant is None else self._plant.front.legacy())
        if self._fatal is not None:
            raise self._fatal
        log.info("stopped")

    async def _live(self, tape: PlayedTape | None, ports: Sequence[Port], inherited: Inheritance) -> None:
        """Everything between a configuration that is right and a ledger that is let go."""
        async with AsyncExitStack() as stack:
            store = await self._ledger(stack)
            recorder = await stack.enter_async_context(
                Recorder(store, block_wait_s=BLOCK_WAIT_S, on_ticks_dropped=self._metrics.ticks_dropped)
            )
            stack.push_async_callback(self._nodes.close)
            if self._config.http.address is not None:
                await self._open_http(stack, recorder, self._config.http.address, inherited)
            payout = None
            if not self._config.pool:  # which do not wait for a node
                payout = await self._first_node()
                if payout is None:
                    return
            await self._work(store, recorder, payout, tape, ports, inherited)

    async def _open_http(
        self, stack: AsyncExitStack, recorder: Recorder, address: tuple[str, int], inherited: Inheritance
    ) -> None:
        app = make_app(
            metrics=self._metrics,
            status=self.status,
            ready=lambda: readiness(self._plant, self._nodes),
            ledger=recorder,
            units=self._unit_reader,
            commands=lambda: NoCommands() if self._control is None else self._control.commands,
            reports=lambda: self._control,
            events=self._events,
            read_token=token_reader(self._config.http.token_file),
            allowed_hosts=[address[0], *self._config.http.allowed_hosts],
        )
        name = "http:{}:{}".format(*address)
        bound = await stack.enter_async_context(serve(app, *address, inherited.sockets.pop(name, None)))
        stack.callback(self._events.close)  # streams end first, or the server would wait for them
        self._http_sockets = {name: bound.socket}
        log.info("http_listening", extra={"host": bound.host, "port": bound.port})

    def _listening_sockets(self) -> dict[str, socket.socket]:
        return {**self._http_sockets, **(self._plant.front.sockets if self._plant is not None else {})}

    async def _ledger(self, stack: AsyncExitStack) -> Store:
        """The ledger, ours alone until `stack` ends, with what an earlier process did not get to count."""
        ledger, loop = self._config.ledger, asyncio.get_running_loop()

        def taken(error: LedgerError) -> None:
            loop.call_soon_threadsafe(self._fail, error)

        lock = await asyncio.to_thread(
            stack.enter_context, sole_writer(ledger.full_url, ledger.site, on_taken=taken)
        )
        store = await asyncio.to_thread(Store.open, ledger.full_url, site=ledger.site, lock=lock)
        stack.callback(store.close)
        doubted = await asyncio.to_thread(store.doubt_pool_shares, self._clock())
        if doubted:
            log.warning("pool_shares_in_doubt", extra={"shares": doubted})
        counted = await asyncio.to_thread(store.roll_up)
        if counted:
            log.info("shares_counted", extra={"shares": counted})
        return store

    def _warn_of_kernels(self, faulty: Sequence[str]) -> None:
        if faulty:
            names, used = ", ".join(faulty), kernel.selected()
            log.warning("kernel_faulty", extra={"kernels": names, "used": used})
            self._alert(
                "kernel", f"{names} fails its self-test, {used} is used: this machine may compute wrongly"
            )

    def _close(self, reason: str) -> None:
        log.info("stopping", extra={"reason": reason})
        self._closing.set()

    def _fail(self, error: Exception) -> None:
        self._fatal = self._fatal or error
        self._close(type(error).__name__)

    async def _first_node(self) -> Payout | None:
        """Wait for a node that is on our chain, and have it translate the payout address; None when stopped before."""
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._ask_nodes(), name="first node")
            closing = group.create_task(self._closing.wait(), name="closing")
            done, _ = await asyncio.wait({asking, closing}, return_when=asyncio.FIRST_COMPLETED)
            asking.cancel()
            closing.cancel()
        return asking.result() if asking in done else None

    async def _ask_nodes(self) -> Payout | None:
        try:
            return await find_payout(self._config, self._nodes)
        except CONFIGURATION_ERRORS as error:
            self._fail(error)
            return None

    async def _work(
        self,
        store: Store,
        recorder: Recorder,
        payout: Payout | None,
        tape: PlayedTape | None,
        ports: Sequence[Port],
        inherited: Inheritance,
    ) -> None:
        """Mine and control until stopped; then stop the hashing first, and the delivery of blocks last."""
        unsettled = {row.hash: row.status for row in await recorder.unsettled_blocks()}
        self._books = BlockBooks(
            recorder,
            self._metrics,
            unsettled,
            await recorder.block_counts(),
            on_change=lambda block, status: self._events.publish("block", {"hash": block, "status": status}),
        )
        # By chance, so that two hosts of one payout address never hash the same headers.
        own_extranonce1 = secrets.token_bytes(EXTRANONCE1_SIZE)
        station = self._station = await self._make_station(own_extranonce1)
        roster = front.make_roster(self._config, await recorder.units(), self._clock())
        self._units = Units(self._config, roster, station=station, worth=self._worth, clock=self._clock)
        self._metrics.follow_units(self._units.counts, self._config.http.most_unit_metrics)
        plant = self._plant = Plant(
            self._config,
            self._nodes,
            payout,
            shelf=await make_shelf(self._config, store),
            store=store,
            recorder=recorder,
            books=self._books,
            metrics=self._metrics,
            roster=roster,
            station=station,
            ports=ports,
            reserved=own_extranonce1,
            version=self._version,
            on_alert=self._alert,
            on_fatal=self._fail,
            clock=self._clock,
        )
        control = self._make_control(station, recorder, tape, roster)
        if control is not None:
            await control.recall()
        self._control = control  # which answers over HTTP from now on, with all that it remembers
        plant.front.open(inherited.sockets, inherited.state)
        try:
            await self._run_parts(plant, station, control)
        finally:
            plant.front.close()

    async def _run_parts(self, plant: Plant, station: CpuStation | None, control: Control | None) -> None:
        """Run everything, and end it in order: decisions, miners, threads, shares, blocks."""
        hashing_ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(plant.run(hashing_ended), name="plant")
            side = [
                group.create_task(self._sample(), name="sample"),
                group.create_task(self._succession.run(), name="succession"),
            ]
            if control is not None:
                side.append(group.create_task(control.run(), name="controller"))
            try:
                if station is not None:
                    # Until the controller has looked, nothing is hashed that may not pay.
                    station.start(station.full if control is None or control.dry_run else OFF)
                notify({"READY": 1})
                await plant.front.run(self._closing)
            finally:
                if not self._succession.goes_on:
                    notify({"STOPPING": 1})
                for task in side:
                    task.cancel()
                if station is not None:
                    # What the threads found is handed to the loop before this returns, so no block is cut off.
                    await asyncio.to_thread(station.stop)
                    await asyncio.sleep(0)
                await plant.front.settle()
                hashing_ended.set()

    async def _make_station(self, extranonce1: bytes) -> CpuStation | None:
        """The CPU unit, its threads not started yet; None where the configuration gives it no threads."""
        modes = await cpu_modes(self._config)
        if not modes:
            if self._config.stratum is None:
                log.warning("nothing_hashes", extra={"why": "[cpu] threads = 0 and no [stratum]"})
            return None
        loop = asyncio.get_running_loop()

        def hand_in(submission: Submission, share_target: int) -> None:
            loop.call_soon_threadsafe(self._submit, submission, share_target)

        def fail(error: BaseException) -> None:
            loop.call_soon_threadsafe(self._fail, HashingError(f"a hashing thread failed: {error!r}"))

        return CpuStation(
            self._config.cpu,
            modes,
            paced=self._config.network == "regtest",
            extranonce1=extranonce1,
            on_submission=hand_in,
            on_failure=fail,
            clock=self._clock,
        )

    def _submit(self, submission: Submission, share_target: int) -> None:
        if self._plant is not None:
            self._plant.delivery.desk.take(submission, share_target)

    def _make_control(
        self, station: CpuStation | None, recorder: Recorder, tape: PlayedTape | None, roster: Roster
    ) -> Control | None:
        """The controller over the units, if there are any that it can switch and it is to do so."""
        switched = station is not None or any(unit.control == "gate" for unit in self._config.unit)
        if not switched or not self._config.controller.enabled:
            return None
        return Control(
            self._config,
            self._nodes,
            station,
            recorder,
            self._metrics,
            tape=tape,
            alert=self._alert,
            clock=self._clock,
            roster=roster,
            on_gate=self._gate,
            earnings=self._pay,
            pool_job=self._pool_job,
            publish=self._events.publish,
        )

    def _pay(self) -> PoolPay | None:
        """What the pool that is mined pays; None where there is none."""
        pools = self._plant.pools if self._plant is not None else None
        return None if pools is None else pools.pay()

    def _pool_job(self) -> Job | None:
        pools = self._plant.pools if self._plant is not None else None
        return None if pools is None else pools.job

    def _gate(self, unit: HashingUnit, reason: str, /) -> None:
        """A worker is given no work (why), or work again (no reason)."""
        server = self._plant.front.server if self._plant is not None else None
        if reason and server is not None:
            server.close_gate(unit, reason)

    def _alert(self, name: str, message: str) -> None:
        """Show an operator what to look at; an empty message says that it is over."""
        if not message:
            if self._alerts.pop(name, None) is not None:
                self._events.publish("alert", {"name": name, "message": ""})
            return
        known = self._alerts.get(name)
        if known is None or known.message != message:
            self._events.publish("alert", {"name": name, "message": message})
        since = self._clock() if known is None else known.since
        self._alerts[name] = Alert(name=name, message=message, since=since, severity="critical")
        while len(self._alerts) > MOST_ALERTS:
            del self._alerts[next(iter(self._alerts))]

    async def _sample(self) -> None:
        """Put what the units do into the metrics, now and again."""
        while True:
            if self._units is not None:
                self._units.show(self._metrics)
            await asyncio.sleep(SAMPLE_S)

    def status(self) -> StatusDocument:
        """Everything at a glance, for the API."""
        now, control, units = self._clock(), self._control, self._units
        return StatusDocument(
            version=self._version,
            kernel=self._kernel,
            network=self._config.network,
            now=now,
            uptime_s=now - self._started_at,
            nodes=node_statuses(self._nodes),
            work=work_status(self._plant, now),
            units=() if units is None else units.at_a_glance(),
            stratum=self._stratum_status(),
            blocks=block_counts(self._books),
            market=control.market() if control is not None else MarketStatus(),
            controller=control.status() if control is not None else self._idle_controller(),
            pools=pool_statuses(self._plant.pools if self._plant is not None else None),
            alerts=tuple(self._alerts.values()),
        )

    def _stratum_status(self) -> StratumStatus | None:
        server = self._plant.front.server if self._plant is not None else None
        if server is None or self._units is None:
            return None
        return self._units.stratum([f"{host}:{port}" for host, port in server.addresses], server.connections)

    def _idle_controller(self) -> ControllerStatus:
        """The controller as configured, while it has nothing to control."""
        settings = self._config.controller
        return ControllerStatus(enabled=settings.enabled, dry_run=settings.dry_run)

    def _worth(self, unit_id: str) -> UnitWorth:
        return self._control.worth(unit_id) if self._control is not None else UnitWorth()

    def _unit_reader(self) -> UnitReader:
        return self._units or NoUnits()
