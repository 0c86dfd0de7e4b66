"""The composition root: builds the node and the controller from a configuration and runs them until they are stopped."""

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from miner import kernel
from miner import log as logs
from miner.checks import CheckRow, check_nodes, check_units
from miner.config import Config
from miner.control import Control, PlayedTape, Preview, TapeRefusedError, UnitWorth, played_tape
from miner.hashing.calibration import choose
from miner.hashing.station import OFF, CpuStation, StationMode, measured_rate, station_modes
from miner.keeper import BlockBooks
from miner.ledger.lock import sole_writer
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerError
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.mining import Mining
from miner.node.nodes import NodeSet
from miner.node.rpc import RpcError
from miner.node.templates import NetworkMismatchError, PayoutAddressError, check_chain, validate_payout
from miner.overview import block_counts, node_statuses, readiness, show_unit, unit_statuses, work_status
from miner.site import node_set
from miner.solo import EXTRANONCE1_SIZE, Payout
from miner.web.app import WebError, make_app, serve
from miner.web.status import Alert, ControllerStatus, MarketStatus, StatusDocument
from miner.work.share import Submission
from miner.work.template import SignetChallengeError

log = logging.getLogger(__name__)

SAMPLE_S: Final = 5.0
"""How often a unit's readings go into the metrics."""
NODE_RETRY_S: Final = 1.0
BLOCK_WAIT_S: Final = 1.0
"""How long a found block waits for a ledger that another process holds, before it is sent all the same."""
MOST_ALERTS: Final = 20
CONFIGURATION_ERRORS: Final = (
    NetworkMismatchError,
    PayoutAddressError,
    SignetChallengeError,
    TapeRefusedError,
)


class HashingError(Exception):
    """A hashing thread ended; what it says of the machine makes going on wrong."""


def run(config: Config) -> int:
    """Run the daemon until SIGINT or SIGTERM; returns the exit code: 0 stopped, 1 failed, 2 wrong configuration."""
    logs.configure(config.log.level, config.log.format)
    try:
        asyncio.run(Daemon(config).run())
    except CONFIGURATION_ERRORS as error:
        log.critical("configuration_refused", extra={"error": str(error)})
        return 2
    except (LedgerError, WebError, HashingError, kernel.KernelError) as error:
        log.critical("daemon_failed", extra={"error": str(error)})
        return 1
    return 0


def check(config: Config) -> list[CheckRow]:
    """What can be known before anything is mined: nodes, payout, a proposed block, units, prices; touches nothing."""

    async def rows() -> list[CheckRow]:
        async with _asking(config) as nodes:
            found = await check_nodes(config, nodes)
            found += check_units(config, _cores())
            return found + await _price_rows(config, nodes)

    return asyncio.run(rows())


def hashprice(config: Config) -> dict[str, Any]:
    """Hashprice now and after the projected retarget, with its inputs."""
    return asyncio.run(_preview(config)).hashprice()


def plan(config: Config) -> dict[str, Any]:
    """What the controller would do now and over the horizon, and why; touches nothing."""
    return asyncio.run(_preview(config)).plan()


async def _price_rows(config: Config, nodes: NodeSet) -> list[CheckRow]:
    if not config.controller.enabled:
        return []
    try:
        return (await Preview.make(config, nodes, await _modes(config))).price_rows()
    except TapeRefusedError as error:
        return [CheckRow("tape", ok=False, detail=line, exit_code=2) for line in str(error).splitlines()]
    except LedgerError as error:
        return [CheckRow("ledger", ok=False, detail=str(error), exit_code=1)]


async def _preview(config: Config) -> Preview:
    choose(config.cpu.versions)
    async with _asking(config) as nodes:
        return await Preview.make(config, nodes, await _modes(config))


@asynccontextmanager
async def _asking(config: Config) -> AsyncIterator[NodeSet]:
    """The nodes of a command that asks and goes."""
    nodes = node_set(config)
    try:
        yield nodes
    finally:
        await nodes.close()


async def _modes(config: Config) -> tuple[StationMode, ...]:
    """Modes of the CPU unit, its hashrate measured now; none where it has no threads."""
    if config.cpu.thread_count(_cores()) == 0:
        return ()
    rate = await asyncio.to_thread(measured_rate, config.cpu.versions)
    return station_modes(config.cpu, _cores(), rate)


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


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
        self._closing = asyncio.Event()
        self._fatal: Exception | None = None
        self._alerts: dict[str, Alert] = {}
        self._books: BlockBooks | None = None
        self._station: CpuStation | None = None
        self._mining: Mining | None = None
        self._control: Control | None = None

    async def run(self) -> None:
        """Live until stopped.

        Raises what made it end otherwise: LedgerError, WebError, HashingError, KernelError, one of CONFIGURATION_ERRORS.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._close, number.name)
        log.info(
            "starting",
            extra={"version": self._version, "kernel": self._kernel, "network": self._config.network},
        )
        self._warn_of_kernels(await asyncio.to_thread(kernel.faulty))
        # What is wrong with the configuration is told before anything is waited for.
        tape = played_tape(self._config, self._clock()) if self._config.controller.enabled else None
        async with AsyncExitStack() as stack:
            stack.enter_context(sole_writer(self._config.ledger.file))
            store = await asyncio.to_thread(Store.open, self._config.ledger.url)
            stack.callback(store.close)
            recorder = await stack.enter_async_context(
                Recorder(store, block_wait_s=BLOCK_WAIT_S, on_ticks_dropped=self._metrics.ticks_dropped)
            )
            stack.push_async_callback(self._nodes.close)
            if self._config.http.address is not None:
                app = make_app(
                    metrics=self._metrics,
                    status=self.status,
                    ready=lambda: readiness(self._mining, self._nodes),
                    ledger=recorder,
                )
                bound = await stack.enter_async_context(serve(app, *self._config.http.address))
                log.info("http_listening", extra={"host": bound.host, "port": bound.port})
            payout = await self._first_node()
            if payout is not None:
                await self._work(recorder, payout, tape)
        if self._fatal is not None:
            raise self._fatal
        log.info("stopped")

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
        address = self._config.solo.payout_address
        told = False
        while True:
            for node in self._nodes:
                try:
                    await check_chain(node, self._config.network)
                    script = await validate_payout(node, address)
                except CONFIGURATION_ERRORS as error:
                    self._fail(error)
                    return None
                except RpcError as error:
                    node.error = str(error)
                    if not told:
                        log.warning("node_awaited", extra={"node": node.name, "error": str(error)})
                else:
                    return Payout(address, script, self._config.solo.coinbase_tag.encode())
            told = True
            await asyncio.sleep(NODE_RETRY_S)

    async def _work(self, recorder: Recorder, payout: Payout, tape: PlayedTape | None) -> None:
        """Mine and control until stopped, then stop the hashing first and the delivery of blocks last."""
        unsettled = {row.hash: row.status for row in await recorder.unsettled_blocks()}
        self._books = BlockBooks(recorder, self._metrics, unsettled, await recorder.block_counts())
        station = self._station = await self._make_station()
        control = self._control = self._make_control(station, recorder, tape)
        mining = self._mining = Mining(
            self._config.solo,
            self._nodes,
            payout,
            station=station,
            recorder=recorder,
            books=self._books,
            metrics=self._metrics,
            keep_s=self._config.ledger.keep_days * 86_400,
            on_alert=self._alert,
            on_fatal=self._fail,
            clock=self._clock,
        )
        hashing_ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(mining.run(hashing_ended), name="mining")
            side = [group.create_task(self._sample(), name="sample")]
            if control is not None:
                side.append(group.create_task(control.run(), name="controller"))
            try:
                if station is not None:
                    # Until the controller has looked, nothing is hashed that may not pay.
                    station.start(station.full if control is None or control.dry_run else OFF)
                await self._closing.wait()
            finally:
                for task in side:
                    task.cancel()
                if station is not None:
                    # What the threads found is handed to the loop before this returns, so no block is cut off.
                    await asyncio.to_thread(station.stop)
                hashing_ended.set()

    async def _make_station(self) -> CpuStation | None:
        """The CPU unit, its threads not started yet; None where the configuration gives it no threads."""
        modes = await _modes(self._config)
        if not modes:
            log.warning("nothing_hashes", extra={"why": "[cpu] threads = 0"})
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
            # By chance, so that two hosts of one payout address never hash the same headers.
            extranonce1=secrets.token_bytes(EXTRANONCE1_SIZE),
            on_submission=hand_in,
            on_failure=fail,
            clock=self._clock,
        )

    def _submit(self, submission: Submission, share_target: int) -> None:
        if self._mining is not None:
            self._mining.desk.take(submission, share_target)

    def _make_control(
        self, station: CpuStation | None, recorder: Recorder, tape: PlayedTape | None
    ) -> Control | None:
        """The controller over the unit, if there is one and it is to be controlled."""
        if station is None or not self._config.controller.enabled:
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
        )

    def _alert(self, name: str, message: str) -> None:
        """Show an operator what to look at; an empty message says that it is over."""
        if not message:
            self._alerts.pop(name, None)
            return
        known = self._alerts.get(name)
        since = self._clock() if known is None else known.since
        self._alerts[name] = Alert(name=name, message=message, since=since, severity="critical")
        while len(self._alerts) > MOST_ALERTS:
            del self._alerts[next(iter(self._alerts))]

    async def _sample(self) -> None:
        """Put what the unit does into the metrics, now and again."""
        while True:
            show_unit(self._metrics, self._station, self._worth())
            await asyncio.sleep(SAMPLE_S)

    def status(self) -> StatusDocument:
        """Everything at a glance, for the API."""
        now, control = self._clock(), self._control
        return StatusDocument(
            version=self._version,
            kernel=self._kernel,
            network=self._config.network,
            now=now,
            uptime_s=now - self._started_at,
            nodes=node_statuses(self._nodes),
            work=work_status(self._mining, now),
            units=unit_statuses(self._station, self._mining, self._worth()),
            blocks=block_counts(self._books),
            market=control.market() if control is not None else MarketStatus(),
            controller=control.status() if control is not None else self._idle_controller(),
            alerts=tuple(self._alerts.values()),
        )

    def _idle_controller(self) -> ControllerStatus:
        """The controller as configured, while it has nothing to control."""
        settings = self._config.controller
        return ControllerStatus(enabled=settings.enabled, dry_run=settings.dry_run)

    def _worth(self) -> UnitWorth:
        return self._control.worth() if self._control is not None else UnitWorth()
