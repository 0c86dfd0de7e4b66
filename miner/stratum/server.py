"""The Stratum server: ports, connections, their sessions, and what goes to all of them."""

import asyncio
import logging
import math
import secrets
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from miner.stratum.awaited import Awaited
from miner.stratum.commits import STALL_S, STALLED, ShareCommitter, Shares
from miner.stratum.connection import Connection, release_all
from miner.stratum.dispatch import MAIN, Dispatch
from miner.stratum.house import Granted, LoginWanted, MakeTaker, Refused, Subscription, Waiting
from miner.stratum.limits import ConnectionLimits, limit_key, raise_open_files
from miner.stratum.listener import Listener, Port, open_listener
from miner.stratum.logins import Logins, Payouts
from miner.stratum.places import RESUME_S, Parked, Places
from miner.stratum.traffic import Traffic
from miner.stratum.v1 import Notice
from miner.work.extranonce import ExtranonceAllocator
from miner.work.layout import Layout
from miner.work.roster import HashingUnit, Roster
from miner.work.share import Pending, Submission, Verdict

log = logging.getLogger(__name__)

TOKEN_BYTES: Final = 8
SWEEP_STEP_S: Final = 0.1
SWEEP_STEPS: Final = 50
"""Every connection is looked at once in so many steps: every five seconds."""
SECOND_S: Final = 1.0
CERTIFICATES_S: Final = 30.0
"""How often certificates are looked at for new files."""
HANDSHAKE_S: Final = 10.0
DRAIN_S: Final = 5.0
"""How long a stop waits for the last shares to be durable."""
GOODBYE_S: Final = 2.0
"""How long a stop waits for connections to take their last words."""
CLOSE_STEP: Final = 500
STOPPING: Final = "Hashmill restarts: please come back"


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much there may be; `per_address` 0 is no limit of its own; times in seconds."""

    connections: int = 20_000
    per_address: int = 1000
    resume_s: float = RESUME_S
    stall_s: float = STALL_S
    drain_s: float = DRAIN_S


@dataclass(frozen=True, slots=True)
class Counter:
    """Where shares are handed in.

    `take` judges, counts and records one share; `taker` makes what does that for the plain submit lines of one session
    (None: it all goes by `take`). Both put a record into `buffer` for each share they credit. `write` queues
    records for the ledger, and gives a future that is done when they are durable, and so are the rows of blocks and of shares
    for a pool that were found before; without records it is for these alone. It may raise LedgerError.
    """

    take: Callable[[Submission, int], Verdict | Pending]
    taker: MakeTaker
    buffer: Shares
    write: Callable[[bytes], asyncio.Future[None]]


class Server:
    """Every port and every connection; `open` listens, `run` serves.

    `layout` are the sizes of extranonces in all work; `reserved` are extranonce1 values that hash without a connection, of
    which as many bytes count as one has. `lane_of` says which work a unit is given: that which `serve` was told for this
    lane. `payouts` None: every block pays the operator. `clock` are unix seconds, `uptime` those of a clock nobody sets, by
    default the event loop's.
    `on_alert(name, message)` is told what an operator should look at, with an empty message when it is over;
    `on_tip_served(seconds)` how long a new block's first job took from its first sight to the last session.
    """

    def __init__(  # noqa: PLR0913 - each by name, from who builds the daemon
        self,
        counter: Counter,
        roster: Roster,
        limits: ServerLimits,
        *,
        layout: Layout,
        lane_of: Callable[[HashingUnit], str] = lambda _unit: MAIN,
        payouts: Payouts | None = None,
        reserved: Iterable[bytes] = (),
        on_alert: Callable[[str, str], None],
        on_tip_served: Callable[[float], None],
        clock: Callable[[], float],
        uptime: Callable[[], float] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.clock = clock
        self.uptime = self._loop.time if uptime is None else uptime
        self._limits = limits
        self._reserved = tuple(reserved)
        self._on_alert = on_alert
        self._group: asyncio.TaskGroup | None = None
        self._listeners: list[Listener] = []
        self._connections: dict[Connection, None] = {}
        self._errands: set[asyncio.Task[None]] = set()  # handshakes and logins under way
        self._gone = asyncio.Event()  # set whenever the last connection has ended
        self._gone.set()
        self._to_sweep: list[Connection] = []
        self._certificates_at = 0.0
        self.traffic = Traffic()
        self._admission = ConnectionLimits(limits.connections, limits.per_address)
        self._places = Places(
            layout,
            self._extranonces,
            lambda: secrets.token_hex(TOKEN_BYTES),
            resume_s=limits.resume_s,
            most_parked=2 * limits.connections,
        )
        self._dispatch = Dispatch(layout, lane_of, clock=clock, on_tip_served=on_tip_served)
        self._awaited = Awaited()
        self.committer = ShareCommitter(
            counter.buffer,
            counter.write,
            on_alert=on_alert,
            give_way=lambda: self._dispatch.is_busy,
            release=release_all,
            stall_s=limits.stall_s,
        )
        self._logins = Logins(
            roster, self._admission, payouts=payouts, refusal=lambda: self.committer.refusal
        )
        self.take = counter.take
        self.taker = counter.taker
        self.work_mask = self._dispatch.work_mask
        self.notice = self._dispatch.notice
        self.wait = self._awaited.wait

    # ---- What the daemon calls -------------------------------------------------------------------------------

    def open(self, ports: Sequence[Port], inherited: dict[str, socket.socket] | None = None) -> None:
        """Listen on every port; nothing is accepted before `run`.

        Sockets of `inherited` that listen already are used for the ports of their names, and taken out. Raises ListenError.
        """
        raise_open_files(self._limits.connections)
        try:
            for port in ports:
                self._listeners.append(open_listener(port, {} if inherited is None else inherited))
        except BaseException:
            self.close()
            raise

    async def run(self, closing: asyncio.Event) -> None:
        """Serve until `closing` is set; then answer what is owed, say goodbye and close every connection.

        The listening sockets stay open, for whoever they are handed to, until `close`.
        """
        async with asyncio.TaskGroup() as self._group:
            services = [
                self._group.create_task(self._sweep(), name="stratum sweep"),
                self._group.create_task(self._watch(), name="stratum watch"),
            ]
            for listener in self._listeners:
                listener.resume(self._accept)
                host, port = listener.address
                tls = listener.port.certificate is not None
                log.info("stratum_listening", extra={"host": host, "port": port, "tls": tls})
            try:
                await closing.wait()
                await self._stop()
            finally:
                for listener in self._listeners:
                    listener.pause()
                for connection in list(self._connections):
                    connection.abort()
                for task in (*services, *self._errands):
                    task.cancel()
        await self._emptied(GOODBYE_S)
        self.traffic.flush()

    def close(self) -> None:
        """Close the listening sockets; those that were handed to another process go on listening there."""
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def serve(self, notice: Notice | None, seen_at: float | None = None, lane: str = MAIN) -> None:
        """Give everybody on this lane this job; see `Broadcast.serve`. Raises ValueError for a job of another layout."""
        self._dispatch.serve(notice, seen_at, lane)

    async def reached_all(self, limit_s: float) -> None:
        """Wait until the current jobs have been written to everybody, but no longer than `limit_s` seconds."""
        await self._dispatch.reached_all(limit_s)

    def set_layout(self, layout: Layout) -> None:
        """Extranonces have these sizes in all work from now on: `serve` every lane a new job next, none is given out before.

        Miners that take another extranonce1 get it with that job; the others are told to connect again.
        """
        if layout != self._dispatch.layout:
            self._places.set_layout(layout)
            self._dispatch.set_layout(layout, self._connections.keys())
            log.info(
                "extranonce_layout",
                extra={
                    "extranonce1_size": layout.extranonce1_size,
                    "extranonce2_size": layout.extranonce2_size,
                    "connections": len(self._connections),
                },
            )

    def reassign(self, units: Iterable[HashingUnit]) -> None:
        """`lane_of` says something else of these units: their sessions get the other lane's job at once."""
        self._dispatch.reassign(units)

    def answered(self, token: int, error: tuple[int, str] | None) -> None:
        """The pool's word on a share that was Pending: good, or refused with this code and these words; each token once."""
        self._awaited.answered(token, error)

    def close_gate(self, unit: HashingUnit, reason: str) -> None:
        """Send away every session of a unit that shall get no work; `unit.gate_reason` keeps it from coming back."""
        for connection in list(self._connections):
            if unit in connection.session.units:
                connection.farewell(reason, "gate")

    def export(self) -> list[Parked]:
        """Every session that the next process can go on with."""
        return self._places.export(self.uptime(), self.clock())

    def restore(self, exported: Iterable[Parked]) -> None:
        """Take over the sessions that the process before has exported; before `run`."""
        count = self._places.restore(exported, self.uptime(), self.clock())
        log.info("sessions_inherited", extra={"count": count})

    @property
    def sockets(self) -> Mapping[str, socket.socket]:
        """The listening sockets by the names of their ports, to be handed over."""
        return {listener.port.name: listener.socket for listener in self._listeners}

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, in the order of the ports."""
        return [listener.address for listener in self._listeners]

    @property
    def connections(self) -> int:
        """Connections now."""
        return self._admission.connections

    # ---- What connections call (see miner.stratum.connection.Hub) --------------------------------------------

    @property
    def layout(self) -> Layout:
        """The sizes of extranonces in all work."""
        return self._dispatch.layout

    def subscribe(self, guest: Connection, resume: str | None) -> Subscription:
        """A place for a session, an earlier one's if it can be had."""
        return self._places.subscribe(guest, resume, self.uptime())

    def move(self, guest: Connection) -> Subscription:
        """Another place for a session, of the present layout."""
        return self._places.move(guest.place, guest)

    def login(self, guest: Connection, name: str, now: float) -> Granted | Refused | Waiting:
        """Whether a worker may mine here."""
        outcome = self._logins.login(name, guest.key, now)
        self._tell(guest, outcome)
        return outcome

    def look_up(self, guest: Connection, wanted: LoginWanted) -> None:
        """Have the node asked about a login, and tell its session."""
        self._run_errand(self._settle(guest, wanted), "stratum login")

    def entered(self, guest: Connection) -> None:
        """A connection stands."""
        self._connections[guest] = None
        self._gone.clear()

    def left(self, guest: Connection, reason: str) -> None:
        """A connection has ended."""
        del self._connections[guest]
        self._admission.leave(guest.key)
        self._places.leave(guest.place, guest, self.uptime())
        self._dispatch.leave(guest)
        self._awaited.forget(guest.session.awaited)
        unit = guest.session.unit
        self.traffic.went(guest.address, "" if unit is None else unit.name, reason)
        if not self._connections:
            self._gone.set()

    # ---- Its own ---------------------------------------------------------------------------------------------

    def _extranonces(self, size: int) -> ExtranonceAllocator:
        """Values of extranonce1 of this size, but for those that are reserved."""
        extranonces = ExtranonceAllocator(size, secrets.randbits(8 * size))
        for extranonce in {reserved[:size] for reserved in self._reserved}:
            extranonces.reserve(extranonce)
        return extranonces

    def _tell(self, guest: Connection, outcome: Granted | Refused | Waiting) -> None:
        match outcome:
            case Granted(unit=unit) if guest.session.unit is None:
                self._dispatch.join(guest, unit)
                self.traffic.came(guest.address, unit.name, guest.session.agent)
            case Refused(why=why):
                self.traffic.refused_login(guest.address, why)

    async def _settle(self, guest: Connection, wanted: LoginWanted) -> None:
        answer = await self._logins.ask(wanted.name)
        if not guest.ending:
            outcome = self._logins.decide(wanted.name, answer, guest.key, self.clock())
            self._tell(guest, outcome)
            guest.settle(outcome)

    def _accept(self, accepted: socket.socket, host: str, port: Port) -> None:
        key = limit_key(host)
        refusal = self._admission.enter(key)
        if refusal:
            self.traffic.refused(host, refusal)
            accepted.close()
            return
        connection = Connection(self, port.rules, host, key)
        self._run_errand(self._attach(connection, accepted, port), "stratum connection")

    def _run_errand(self, errand: Coroutine[None, None, None], name: str) -> None:
        """Do something in the background that a stop need not wait for; only while `run` runs."""
        if self._group is None:
            errand.close()
            raise RuntimeError("the server does not run")
        task = self._group.create_task(errand, name=name)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _attach(self, connection: Connection, accepted: socket.socket, port: Port) -> None:
        """Make the connection stand, with its TLS handshake if it has one."""
        tls = None if port.certificate is None else port.certificate.context
        # The kernel acknowledges what we read with our answer, not by a packet of its own, which costs as much as the answer.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        connection.socket = accepted if tls is None else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else HANDSHAKE_S,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            log.debug("handshake_failed", extra={"address": connection.address, "error": str(error)})
        finally:
            if not connection.stood:
                self._admission.leave(connection.key)
                self.traffic.refused(connection.address, "handshake")

    async def _sweep(self) -> None:
        """Let every session know that time passes, some at each step."""
        while True:
            await asyncio.sleep(SWEEP_STEP_S)
            if not self._to_sweep:
                self._to_sweep = list(self._connections)
            self._dispatch.tick()
            now, uptime = self.clock(), self.uptime()
            for _ in range(math.ceil(len(self._connections) / SWEEP_STEPS)):
                if self._to_sweep:
                    self._to_sweep.pop().tick(now, uptime)

    async def _watch(self) -> None:
        """What is to be seen to every second or less often."""
        while True:
            await asyncio.sleep(SECOND_S)
            self.committer.check()
            self.traffic.flush()
            self._places.expire(self.uptime())
            if self._loop.time() - self._certificates_at >= CERTIFICATES_S:
                self._certificates_at = self._loop.time()
                self._refresh_certificates()

    def _refresh_certificates(self) -> None:
        certificates = {
            id(c): c for listener in self._listeners if (c := listener.port.certificate) is not None
        }
        for certificate in certificates.values():
            certificate.refresh()
        errors = [certificate.error for certificate in certificates.values() if certificate.error]
        self._on_alert("tls_certificate", "; ".join(errors))

    async def _stop(self) -> None:
        """Hear no more shares, answer those that were heard, and send everybody off."""
        for listener in self._listeners:
            listener.pause()
        for connection in self._connections:
            connection.pause_reading()
        await self._awaited.all_answered(self._limits.drain_s)
        await self.committer.drain(self._limits.drain_s)
        for number, connection in enumerate(list(self._connections), start=1):
            if connection.pending:
                connection.drop(STALLED)
            else:
                connection.farewell(STOPPING, "stopping")
            if number % CLOSE_STEP == 0:
                await asyncio.sleep(0)
        await self._emptied(GOODBYE_S)

    async def _emptied(self, limit_s: float) -> None:
        """Wait until every connection has ended, or that long."""
        try:
            await asyncio.wait_for(self._gone.wait(), limit_s)
        except TimeoutError:
            log.info("connections_cut", extra={"count": len(self._connections)})
