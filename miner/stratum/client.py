"""Connections to one pool: a session of ours on a socket, one at a time, and a probe of what is wrong."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, cast

from miner.stratum.client_session import ClientSession
from miner.stratum.pool_address import PoolAddress, parse_pool_url
from miner.stratum.pool_connect import CONNECT_S, ConnectError, connect
from miner.stratum.pool_events import (
    Answered,
    ClientOutput,
    Event,
    Failed,
    Failure,
    LoggedIn,
    PoolLogin,
    PoolSubmission,
    Redirected,
    Work,
)

log = logging.getLogger(__name__)

WRITE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes that a pool may leave unread before its connection is closed: seconds of the shares of any fleet."""
TICK_S: Final = 0.25
"""How often a session learns what time it is."""
MOST_REDIRECTS: Final = 3
"""A pool that sends us on more often, without a good minute between, sends us round in circles."""
GOOD_S: Final = 60.0
MOST_REDIRECT_WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """A pool as the operator configured it; `ca_file` None: the certificates this machine trusts. Limits in seconds."""

    name: str
    address: PoolAddress
    login: PoolLogin
    ca_file: Path | None = None
    answer_s: float = 10.0
    no_work_s: float = 120.0
    connect_s: float = CONNECT_S


class Stage(StrEnum):
    """How far a connection has come."""

    DOWN = "down"
    CONNECTING = "connecting"
    LOGIN = "login"
    WAITING_FOR_WORK = "waiting_for_work"
    WORKING = "working"


_LOST_AT: Final = {
    Stage.LOGIN: "ended during the login: are user and password right?",
    Stage.WAITING_FOR_WORK: "ended before there was work",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a connection: `kind` None if it was to end, to connect again after `wait_s` where the pool wants it."""

    kind: Failure | None
    why: str
    wait_s: float = 0.0


class _Wire(asyncio.Protocol):
    """A session on its connection; `ended` is done when it has ended, and nothing is heard of it from then on."""

    def __init__(self, session: ClientSession, hears: Callable[[Event], None], place: str) -> None:
        self.stage = Stage.LOGIN
        self.unanswered: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ended] = self._loop.create_future()
        self.redirected: Redirected | None = None
        self.fault: Exception | None = None
        self._session = session
        self._hears = hears
        self._place = place
        self._transport: asyncio.WriteTransport | None = None
        self._failed: Failed | None = None

    # ---- What the loop calls ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Log in."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_LIMIT)
        self._transport.write(self._session.start(self._loop.time()))

    def data_received(self, data: bytes) -> None:
        """Hear the pool."""
        if not self.ended.done():
            self._act(self._session.receive, data)

    def pause_writing(self) -> None:
        """The pool does not read what it is told: it must not cost more memory than this."""
        # In the loop's next round: whoever writes goes on until the session has its answers.
        self._loop.call_soon(
            self.end, Ended(Failure.UNANSWERED, f"{self._place}: it does not read what it is sent")
        )

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended, by the pool or by us."""
        why = _LOST_AT.get(self.stage, "ended")
        because = "" if error is None else f" ({getattr(error, 'strerror', None) or error})"
        self.end(Ended(Failure.LOST, f"{self._place}: the connection {why}{because}"))

    # ---- What its link calls ---------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let the session know that time passes."""
        if not self.ended.done():
            self._act(lambda _, now: self._session.tick(now), b"")

    def submit(self, submission: PoolSubmission, token: int) -> bool:
        """Send a share; False if it is too late."""
        if self.ended.done() or self._transport is None or not self._session.is_logged_in:
            return False
        self.unanswered.add(token)
        self._transport.write(self._session.submit(submission, token, self._loop.time()))
        return True

    def end(self, ended: Ended) -> None:
        """Close the connection, if it has not ended; every share without an answer is answered by silence."""
        if self.ended.done():
            return
        self.ended.set_result(ended)
        if self._transport is not None:
            self._transport.abort()
        for event in self._session.end(ended.why, self._loop.time()):
            try:
                self._hear(event)
            except Exception as error:  # noqa: BLE001 - as in `_act`; each of the others is told all the same
                self.fault = error

    # ---- Its own ---------------------------------------------------------------------------------------------

    def _act(self, step: Callable[[bytes, float], ClientOutput], data: bytes) -> None:
        try:
            output = step(data, self._loop.time())
            if output.data and self._transport is not None:
                self._transport.write(output.data)
            for event in output.events:
                self._hear(event)
        except Exception as error:  # noqa: BLE001 - a fault of ours: the loop would swallow it, `run` raises it
            self.fault = error
            self.end(Ended(None, f"{self._place}: a fault of Hashmill's own"))
            return
        if self.redirected is not None:
            self.end(Ended(None, f"{self._place}: sends us elsewhere"))
        elif output.close:
            failed = self._failed or Failed(Failure.GARBAGE, "what it says is not understood")
            self.end(Ended(failed.kind, f"{self._place}: {failed.why}"))

    def _hear(self, event: Event) -> None:
        match event:
            case Answered(token=token):
                self.unanswered.discard(token)
            case _ if self.ended.done():
                return  # dropped while the events before this one were heard
            case LoggedIn() if self.stage is Stage.LOGIN:
                self.stage = Stage.WAITING_FOR_WORK
            case Work():
                self.stage = Stage.WORKING
            case Failed():
                self._failed = event
            case Redirected():
                self.redirected = event
            case _:
                pass
        self._hears(event)


class PoolLink:
    """One pool, by one connection at a time; `epoch` tells one from the next.

    `hears(event)` is called in the loop for each event of a session, and must not block; that of a share without an answer comes
    before `run` returns.
    """

    def __init__(self, settings: PoolSettings, hears: Callable[[Event], None]) -> None:
        self.settings = settings
        self.epoch = 0
        self._hears = hears
        self._wire: _Wire | None = None
        self._connecting = False
        self._address = settings.address  # or where the pool sent us
        self._redirects = 0
        self.reached = Stage.DOWN
        """How far the last connection came."""

    @property
    def stage(self) -> Stage:
        """How far the present connection has come."""
        if self._wire is None or self._wire.ended.done():
            return Stage.CONNECTING if self._connecting else Stage.DOWN
        return self._wire.stage

    @property
    def address(self) -> PoolAddress:
        """Where it connects to now: the configured address, or where the pool sent us."""
        return self._address

    @property
    def unanswered(self) -> int:
        """Shares that the pool has not answered."""
        return 0 if self._wire is None else len(self._wire.unanswered)

    async def run(self) -> Ended:
        """Connect, log in and be a client until the connection ends; how it ended."""
        self.epoch += 1
        self._connecting, self.reached = True, Stage.CONNECTING
        settings, loop = self.settings, asyncio.get_running_loop()
        try:
            wire = await connect(self._address, settings.ca_file, self._new_wire, limit_s=settings.connect_s)
        except ConnectError as error:
            self._address = settings.address
            return Ended(error.kind, str(error))
        finally:
            self._connecting = False
        self._wire, began = wire, loop.time()
        try:
            while not wire.ended.done():
                await asyncio.wait([wire.ended], timeout=TICK_S)
                wire.tick()
            ended = wire.ended.result()
        finally:
            wire.end(Ended(None, "Hashmill closes the connection"))
            self._wire, self.reached = None, wire.stage
            if wire.fault is not None:
                raise wire.fault
        if loop.time() - began >= GOOD_S:
            self._redirects = 0
        if wire.redirected is not None and ended.kind is None:
            return self._follow(wire.redirected)
        self._address = settings.address
        return ended

    def submit(self, epoch: int, submission: PoolSubmission, token: int) -> bool:
        """Send a share to the connection of that epoch; False if it is over, and the share was not sent."""
        return self._wire is not None and epoch == self.epoch and self._wire.submit(submission, token)

    def drop(self, kind: Failure | None, why: str) -> None:
        """End the present connection, if there is one."""
        if self._wire is not None:
            self._wire.end(Ended(kind, why))

    def _new_wire(self) -> _Wire:
        settings = self.settings
        session = ClientSession(
            settings.login,
            asyncio.get_running_loop().time(),
            host=settings.address.host,
            answer_s=settings.answer_s,
            no_work_s=settings.no_work_s,
        )
        return _Wire(session, self._hears, self._address.place)

    def _follow(self, wanted: Redirected) -> Ended:
        """Go where the pool wants us, within the rules that the session has kept already."""
        present, self._address = self._address, self.settings.address
        self._redirects += 1
        if self._redirects > MOST_REDIRECTS:
            self._redirects = 0
            return Ended(
                Failure.REDIRECT_REFUSED,
                f"{present.place}: sends us round in circles: it is left alone for a while",
            )
        try:
            moved = replace(present, host=wanted.host or present.host, port=wanted.port or present.port)
            self._address = parse_pool_url(moved.url)
        except ValueError as error:
            return Ended(
                Failure.REDIRECT_REFUSED, f"{present.place}: sends us to what is no address: {error}"
            )
        log.info(
            "pool_redirected",
            extra={"pool": self.settings.name, "from": present.place, "to": self._address.place},
        )
        return Ended(None, "", min(max(wanted.wait_s, 0.0), MOST_REDIRECT_WAIT_S))


# ---- Asking whether a pool is well ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How far a try of a pool came, and what stopped it; without a failure, what the pool gives.

    `job_age_s` is how old the time in its job was (less than zero: ahead of this machine's clock); `version_mask` None: no version
    rolling.
    """

    stage: Stage
    failure: Failure | None = None
    text: str = ""
    difficulty: float | None = None
    extranonce2_size: int | None = None
    version_mask: int | None = None
    job_age_s: float | None = None


_LATE: Final = {
    Stage.CONNECTING: (Failure.TIMEOUT, "no connection"),
    Stage.LOGIN: (Failure.UNANSWERED, "no answer to the login"),
    Stage.WAITING_FOR_WORK: (Failure.NO_WORK, "logged in, but no work"),
}


async def probe(
    settings: PoolSettings, limit_s: float, *, clock: Callable[[], float] = time.time
) -> ProbeResult:
    """Connect, log in, wait for the first job, and go; at most `limit_s`."""
    work: Work | None = None

    def hear(event: Event) -> None:
        nonlocal work
        if isinstance(event, Work) and work is None:
            work = event
            link.drop(None, "that is all we wanted to know")

    link = PoolLink(settings, hear)
    ended, is_late = Ended(None, ""), False
    try:
        async with asyncio.timeout(limit_s):
            while work is None and ended.kind is None:
                ended = await link.run()
                await asyncio.sleep(ended.wait_s)
    except TimeoutError:
        is_late = True
    if work is None and is_late:
        kind, what = _LATE[link.reached]
        return ProbeResult(link.reached, kind, f"{link.address.place}: {what} within {limit_s:g} s")
    if work is None:
        return ProbeResult(link.reached, ended.kind, ended.why)
    return ProbeResult(
        Stage.WORKING,
        difficulty=work.difficulty,
        extranonce2_size=work.extranonce2_size,
        version_mask=work.version_mask,
        job_age_s=clock() - work.notify.ntime_s,
    )
