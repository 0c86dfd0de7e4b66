"""The Stratum server as the configuration wants it, joined to what mines: the miners' side of the daemon."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from miner.config import Config
from miner.config_stratum import StratumConfig, StratumPort
from miner.desk import Desk
from miner.hashing.station import UNIT_ID
from miner.ledger.recorder import Recorder
from miner.ledger.rows import UnitRow
from miner.metrics import Metrics
from miner.metrics_units import ServerCounts
from miner.payouts import PayoutBook
from miner.share_books import ShareBooks
from miner.solo import EXTRANONCE1_SIZE, STANDARD_LAYOUT
from miner.stratum.commits import ShareCommitter
from miner.stratum.listener import Port
from miner.stratum.places import Parked
from miner.stratum.rules import PortRules
from miner.stratum.server import Counter, Server, ServerLimits
from miner.stratum.tls import Certificate
from miner.stratum.v1 import Notice
from miner.work.job import Job
from miner.work.layout import Layout
from miner.work.roster import HashingUnit, Roster
from miner.work.shelf import Shelf

log = logging.getLogger(__name__)

CHECK_S: Final = 1.0
"""How often shares are written down that nobody waits for, where there is no server that sees to it."""
DRAIN_S: Final = 10.0
"""How long a stop waits for the last shares to be durable."""
SERVED_LIMIT_S: Final = 0.25
"""How long a first job may keep the node's own template waiting."""
_PARKED: Final = msgspec.json.Decoder(list[Parked] | None)


def ports(config: Config) -> list[Port]:
    """Every port of [stratum]; miners roll no version bit that the work has not got. Raises TlsError."""
    stratum = config.stratum
    if stratum is None:
        return []
    return [_port(stratum, port, version_bits(config)) for port in stratum.ports]


def version_bits(config: Config) -> int:
    """The version bits that some work may let miners roll; what a job lets them is less."""
    bits = 0 if config.solo is None else config.solo.version_bits
    for pool in config.pool:
        bits |= pool.version_bits
    return bits


def standard_layout(config: Config) -> Layout:
    """Sizes of the extranonces where no pool has a say."""
    return (
        STANDARD_LAYOUT
        if config.stratum is None
        else Layout(EXTRANONCE1_SIZE, config.stratum.extranonce2_size)
    )


def make_roster(config: Config, known: Iterable[UnitRow], now: float) -> Roster:
    """Who hashes: this machine, the configured workers, and those of the ledger."""
    limit = 1 if config.stratum is None else config.stratum.max_workers
    return Roster(
        limit,
        now=now,
        configured={unit.worker: unit.id for unit in config.unit if unit.worker is not None},
        own=[UNIT_ID],
        known=[(row.number, row.name, row.first_seen) for row in known],
    )


def _port(stratum: StratumConfig, port: StratumPort, version_mask: int) -> Port:
    host, number = port.address
    certificate = None
    if port.tls_certificate is not None and port.tls_key is not None:
        certificate = Certificate(port.tls_certificate, port.tls_key)
    rules = PortRules(
        start_difficulty=port.start_difficulty,
        min_difficulty=port.min_difficulty,
        max_difficulty=port.max_difficulty,
        target_shares_per_minute=port.target_shares_per_minute,
        vardiff=port.vardiff,
        version_mask=port.version_bits & version_mask,
        login_timeout_s=stratum.login_timeout_s,
        idle_timeout_s=stratum.idle_timeout_s,
    )
    return Port(host, number, rules, certificate)


class Front:
    """The side of the daemon that faces the units: what they hand in, and the Stratum server they attach to.

    Shares of every unit, this machine's too, go to the ledger from here. `ports` empty: there is no server. `reserved` are
    extranonces that hash without it; `lane_of(unit)` says whose work a unit is given.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        config: Config,
        desk: Desk,
        shelf: Shelf,
        roster: Roster,
        recorder: Recorder,
        metrics: Metrics,
        *,
        ports: Sequence[Port],
        reserved: Iterable[bytes],
        layout: Layout,
        lane_of: Callable[[HashingUnit], str],
        payouts: PayoutBook | None = None,
        on_alert: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._shelf = shelf
        self._recorder = recorder
        self._metrics = metrics
        self._ports = ports
        self._books = ShareBooks(recorder, roster, desk.buffer, lambda: desk.unwritten, clock)
        self._clock = clock
        self.server: Server | None = None
        if ports:
            stratum = config.stratum or StratumConfig()
            self.server = Server(
                Counter(desk.take, desk.taker, desk.buffer, self._write),
                roster,
                ServerLimits(
                    connections=stratum.max_connections,
                    per_address=stratum.max_connections_per_address,
                    resume_s=stratum.resume_s,
                ),
                layout=layout,
                lane_of=lane_of,
                payouts=payouts,
                reserved=reserved,
                on_alert=on_alert,
                on_tip_served=metrics.work_switched,
                clock=clock,
            )
            self._committer = self.server.committer
        else:
            self._committer = ShareCommitter(desk.buffer, self._write, on_alert=on_alert)
        metrics.follow_ledger(lambda: recorder.shares_waiting)
        if self.server is not None:
            metrics.follow_server(self._counts)

    def open(self, inherited: dict[str, socket.socket], state: bytes) -> None:
        """Listen, with the sockets and the sessions of the process before, where there are any. Raises ListenError.

        `state` is what its `legacy` was, or null.
        """
        if self.server is None:
            return
        self.server.open(self._ports, inherited)
        try:
            parked = _PARKED.decode(state) or []
        except msgspec.DecodeError as error:
            log.warning("sessions_not_inherited", extra={"error": str(error)})
            parked = []
        if parked:
            self.server.restore(parked)

    def serve(self, lane: str, job: Job | None, seen_at: float | None, *, switched: bool = False) -> None:
        """Everybody on this lane is to have this job; `seen_at`: it is the first on a tip that was first seen then.

        `switched`: it is of another origin than the lane's last one, and nothing of that one counts any more.
        """
        if job is None:
            if self.server is not None:
                self.server.serve(None, lane=lane)
            return
        self._books.note_tip(self._shelf.book(job.origin).tip_number(job.prev_hash), job)
        if self.server is not None:
            self.server.serve(Notice(job, clean=job.clean or switched), seen_at, lane=lane)
        elif seen_at is not None:
            self._metrics.work_switched(self._clock() - seen_at)

    async def served(self) -> None:
        """Wait until every miner has the current job, or that takes too long."""
        if self.server is not None:
            await self.server.reached_all(SERVED_LIMIT_S)

    async def run(self, closing: asyncio.Event) -> None:
        """Serve miners and write down shares until `closing` is set, then let no more in."""
        async with asyncio.TaskGroup() as group:
            books = group.create_task(self._books.run(), name="share books")
            if self.server is not None:
                await self.server.run(closing)
            else:
                while not closing.is_set():
                    self._committer.check()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(closing.wait(), CHECK_S)
            books.cancel()

    def reassign(self, units: Sequence[HashingUnit]) -> None:
        """These units are on another lane now."""
        if self.server is not None:
            self.server.reassign(units)

    def set_layout(self, layout: Layout) -> None:
        """Extranonces of the jobs that follow are of these sizes."""
        if self.server is not None:
            self.server.set_layout(layout)

    def answered(self, token: int, error: tuple[int, str] | None) -> None:
        """The pool's word on a share whose miner waits for it."""
        if self.server is not None:
            self.server.answered(token, error)

    async def settle(self) -> None:
        """Have everything that was handed in written down; no unit hands in more."""
        await self._committer.drain(DRAIN_S)
        self._books.end_minute()

    def close(self) -> None:
        """Close the listening sockets; those that were handed over go on listening there."""
        if self.server is not None:
            self.server.close()

    def legacy(self) -> bytes:
        """The sessions that may go on in the next process, as JSON."""
        return msgspec.json.encode([] if self.server is None else self.server.export())

    @property
    def sockets(self) -> dict[str, socket.socket]:
        """The sockets that miners come in by, by the names of their ports."""
        return {} if self.server is None else dict(self.server.sockets)

    def _write(self, records: bytes) -> asyncio.Future[None]:
        began = time.perf_counter()
        written = self._books.write(records)
        written.add_done_callback(lambda _: self._metrics.shares_committed(time.perf_counter() - began))
        return written

    def _counts(self) -> ServerCounts:
        server = self.server
        if server is None:
            return ServerCounts(0, {})
        return ServerCounts(server.connections, server.traffic.in_all)
