"""One miner's socket: what is read goes to its session, what the session says is written, shares' answers once durable."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from miner.stratum.commits import ShareCommitter
from miner.stratum.house import (
    Closing,
    Granted,
    LoginOutcome,
    LoginWanted,
    MakeTaker,
    Output,
    Refused,
    Resumable,
    Subscription,
    Waiting,
)
from miner.stratum.rules import PortRules
from miner.stratum.sending import send
from miner.stratum.server_session import ServerSession
from miner.stratum.v1 import Notice
from miner.work.extranonce import ExtranonceExhaustedError
from miner.work.layout import Layout
from miner.work.roster import HashingUnit
from miner.work.share import Pending, Submission, Verdict

if TYPE_CHECKING:
    import socket

    from miner.stratum.broadcast import Broadcast

log = logging.getLogger(__name__)

WRITE_LIMIT: Final = 256 * 1024
"""Bytes that a peer may leave unread before its connection is closed; what the kernel holds for it comes on top."""
MOST_AWAITED: Final = 1024
"""Shares of one connection whose answer may wait for a pool's word before no more is read from it."""
_NEWS: Final = b'"method"'


class Hub(Protocol):
    """The server as its connections see it."""

    clock: Callable[[], float]
    uptime: Callable[[], float]
    committer: ShareCommitter
    take: Callable[[Submission, int], Verdict | Pending]
    taker: MakeTaker

    @property
    def layout(self) -> Layout:
        """The sizes of extranonces in every place given out now."""
        ...

    def subscribe(self, guest: "Connection", resume: str | None, /) -> Subscription:
        """A place for a session. Raises ExtranonceExhaustedError."""
        ...

    def move(self, guest: "Connection", /) -> Subscription:
        """Another place for a session, of the present layout. Raises ExtranonceExhaustedError."""
        ...

    def login(self, guest: "Connection", name: str, now: float, /) -> Granted | Refused | Waiting:
        """Whether a worker may mine here."""
        ...

    def look_up(self, guest: "Connection", wanted: LoginWanted, /) -> None:
        """Find out in the background whether it may, and have `settle` called."""
        ...

    def notice(self, guest: "Connection", /) -> Notice | None:
        """The current job of its lane."""
        ...

    def work_mask(self, guest: "Connection", /) -> int | None:
        """The version bits that its work leaves to miners."""
        ...

    def wait(self, token: int, guest: "Connection", /) -> None:
        """A share of this token waits for a pool's word: have `answered` called."""
        ...

    def entered(self, guest: "Connection", /) -> None:
        """The connection stands."""
        ...

    def left(self, guest: "Connection", reason: str, /) -> None:
        """The connection has ended."""
        ...


class Connection(asyncio.Protocol):
    """The protocol of one miner's transport, and the house of its session.

    `address` is where it comes from, `key` what that is counted as. `ending` says why it is closed, and is empty while
    nobody wants that; `place` is its session id, `layout` that of its extranonces. `lane` brings it its jobs. `socket` is the
    transport's, None where what is written is not what goes over it (TLS).
    """

    __slots__ = (
        "_behind", "_hub", "_rules", "_transport", "address", "ending", "key", "lane", "layout", "pending", "place",
        "session", "socket",
    )  # fmt: skip

    session: ServerSession

    def __init__(self, hub: Hub, rules: PortRules, address: str, key: str) -> None:
        self._hub = hub
        self._rules = rules
        self._transport: Any = None  # loops have classes of their own
        # After so many of the pending commits nothing waits that tells of a job or a difficulty: a newer job comes then.
        self._behind = 0
        self.address = address
        self.key = key
        self.lane: Broadcast | None = None
        self.layout: Layout | None = None
        self.pending = 0
        self.place = ""
        self.ending = ""
        self.socket: socket.socket | None = None

    # ---- What the loop calls ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands: a session begins."""
        self._transport = transport
        self._transport.set_write_buffer_limits(high=WRITE_LIMIT)
        self.session = ServerSession(self, self._rules, self._hub.uptime())
        self._hub.entered(self)

    def data_received(self, data: bytes) -> None:
        """The miner said something."""
        if self.ending:
            return
        session = self.session
        try:
            now = self._hub.clock()
            credited = session.take(data, now)
            if credited < 0:
                output = session.go_on(now)
        except Exception as error:  # noqa: BLE001 - whatever this one did to its session, the others go on
            self._broke(error)
            return
        if credited < 0:
            self._carry_out(output)
        elif credited or (self.pending and session.answers):
            # Answers alone, which tell of no job: nothing newer need wait for them.
            self._hub.committer.hold(self, session.answers, credited)
        elif session.answers:
            self._transport.write(session.answers)

    def pause_writing(self) -> None:
        """It does not read what it is told: it must not cost more memory than this."""
        self.drop("slow_reader")

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, whoever wanted it."""
        reason = self.ending or ("lost" if exc else "closed_by_miner")
        self.ending = reason
        self._transport = self.socket = None
        try:
            self._hub.left(self, reason)
        finally:
            self.session.end(self._hub.clock())
            del self.session  # it knows us: together they would wait for the garbage collector

    # ---- What the server calls -------------------------------------------------------------------------------

    def offer(self, notice: Notice, now: float) -> bool:
        """Write what the session is to hear of a new job, ahead of answers that wait; False while it must come after them."""
        if self.ending:
            return True
        if self._behind:
            return False
        try:
            data = self.session.offer(notice, now)
        except Exception as error:  # noqa: BLE001 - as in data_received
            self._broke(error)
            return True
        if data:
            self._transport.write(data)
        return True

    def change_over(self, notice: Notice, now: float) -> bool:
        """Bring a miner to the present layout with this job, or have it connect again; False while neither can be."""
        if self.ending:
            return True
        if self._behind or not self.session.is_mining:
            return False
        try:
            if not self.session.wants_extranonce:
                self._say(self.session.reconnect())
                self._end(Closing.LAYOUT)
                return True
            place = self._hub.move(self)
            self.layout = self._hub.layout
            self._transport.write(self.session.change_extranonce(place, now, notice))
        except ExtranonceExhaustedError:
            self.farewell("No room for another session", Closing.NO_EXTRANONCE)
        except Exception as error:  # noqa: BLE001 - as in data_received
            self._broke(error)
        return True

    def answered(self, token: int, error: tuple[int, str] | None) -> None:
        """The pool's word on a share that waits for it: told when the share is durable, too."""
        if self.ending:
            return
        session = self.session
        self._say(session.answered(token, error))
        if len(session.awaited) == MOST_AWAITED:
            self.resume_reading()

    def tick(self, now: float, uptime: float) -> None:
        """Time passed; to be called every few seconds."""
        if self.ending:
            return
        try:
            output = self.session.tick(now, uptime)
        except Exception as error:  # noqa: BLE001 - as in data_received
            self._broke(error)
            return
        self._carry_out(output)

    def settle(self, outcome: LoginOutcome) -> None:
        """The login that was looked up is decided."""
        if self.ending:
            return
        try:
            output = self.session.login_settled(outcome, self._hub.clock())
        except Exception as error:  # noqa: BLE001 - as in data_received
            self._broke(error)
            return
        self._carry_out(output)

    def farewell(self, message: str, reason: str) -> None:
        """Tell the miner's owner why, and close once all is written that waits."""
        if not self.ending:
            self._say(self.session.farewell(message))
            self._end(reason)

    def drop(self, reason: str) -> None:
        """Close at once, without an answer."""
        if self._transport is not None and not self._transport.is_closing():
            self.ending = reason
            self._transport.abort()

    def abort(self) -> None:
        """Close at once, also when it is being closed and its peer does not read the last words."""
        if self._transport is not None:
            self._transport.abort()

    def resumable(self) -> Resumable | None:
        """What another connection needs to go on with the session."""
        return self.session.resumable()

    @property
    def stood(self) -> bool:
        """Whether it ever stood: a failed handshake is no connection."""
        return self._transport is not None or bool(self.ending)

    @property
    def unit(self) -> HashingUnit | None:
        """The unit of its first login."""
        return self.session.unit

    # ---- What the committer calls ----------------------------------------------------------------------------

    def release(self, data: bytes) -> None:
        """Write answers to shares that are durable."""
        self.pending -= 1
        if self._transport is None:
            return
        if data:
            self._transport.write(data)
        if self.ending:
            if not self.pending:
                self._transport.close()
        elif self._behind:
            # Not when nothing is pending any more: one that hands in a share during every commit would wait for ever.
            self._behind -= 1
            if not self._behind and self.lane is not None:
                self.lane.late(self)

    def write_rest(self, data: bytes) -> None:
        """Have the loop write what the socket did not take."""
        self._transport.write(data)

    def pause_reading(self) -> None:
        """Read nothing more of what the peer sends."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._transport is not None and not self.ending:
            self._transport.resume_reading()

    # ---- What the session asks of its house ------------------------------------------------------------------

    def subscribe(self, resume: str | None, _now: float) -> Subscription:
        """A place: an id and an extranonce1 of its own."""
        subscription = self._hub.subscribe(self, resume)
        self.place, self.layout = subscription.session_id, self._hub.layout
        return subscription

    def login(self, name: str, _password: str, now: float) -> Granted | Refused | Waiting:
        """Whether a worker may mine here; nobody needs a password."""
        return self._hub.login(self, name, now)

    def take(self, submission: Submission, share_target: int) -> Verdict | Pending:
        """Judge, count and record one share."""
        verdict = self._hub.take(submission, share_target)
        if isinstance(verdict, Pending):
            self._hub.wait(verdict.token, self)
        return verdict

    @property
    def taker(self) -> MakeTaker:
        """Makes what judges this session's plain submit lines."""
        return self._hub.taker

    def notice(self) -> Notice | None:
        """The current job."""
        return self._hub.notice(self)

    def work_mask(self) -> int | None:
        """The version bits that the present work leaves to miners."""
        return self._hub.work_mask(self)

    # ---- Its own ---------------------------------------------------------------------------------------------

    def _carry_out(self, output: Output) -> None:
        if output.credited or self.pending or output.holds:
            self._hold(output)
        else:
            self._say(output.data)
        if output.close or output.login is not None:
            self._go_on(output)

    def _go_on(self, output: Output) -> None:
        """What a session wants done beside having its words written."""
        if output.close:
            self._end(output.close)
        elif output.login is not None:
            self._hub.look_up(self, output.login)

    def _hold(self, output: Output) -> None:
        """Have what was said written after the commit that the session's shares wait for."""
        data = output.data
        if output.holds:
            # Without words, too: the pool's will follow, and must not come before the commit.
            self._hub.committer.hold(self, data, output.credited, holds=True)
            if len(self.session.awaited) > MOST_AWAITED and not self.ending:
                self.pause_reading()
        elif data:
            self._hub.committer.hold(self, data, output.credited)
        if _NEWS in data:
            self._behind = self.pending

    def _say(self, data: bytes) -> None:
        if not data:
            return
        if self.pending:
            self._hold(Output(data))
        else:
            self._transport.write(data)

    def _end(self, reason: str) -> None:
        if self.ending:
            return
        self.ending = reason
        if self.pending:
            self._transport.pause_reading()
        else:
            self._transport.close()

    def _broke(self, error: Exception) -> None:
        log.error("session_failed", extra={"address": self.address}, exc_info=error)
        self.drop("session_failed")


def release_all(answers: list[tuple[Connection, bytes]]) -> None:
    """Do what each connection's `release` does, at most `miner.stratum.sending.MOST`, with one call for all that can be."""
    numbers: list[int] = []
    pieces: list[bytes] = []
    ready: list[Connection] = []
    try:
        for connection, data in answers:
            own = connection.socket
            if (
                own is not None
                and not connection.ending
                and not connection._behind  # noqa: SLF001  its home
                and not connection._transport.get_write_buffer_size()  # noqa: SLF001
                # The loop lets go of the number when it closes the socket, before another one can have it.
                and (number := own.fileno()) >= 0
            ):
                connection.pending -= 1
                numbers.append(number)
                pieces.append(data)
                ready.append(connection)
            else:
                connection.release(data)
    finally:
        for place, rest in send(numbers, pieces).items():
            ready[place].write_rest(rest)
