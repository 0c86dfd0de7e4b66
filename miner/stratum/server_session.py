"""One miner's connection to the server, without sockets: bytes and the time go in, what is to be done comes out.

A session is subscribed and logged in, in either order; with both it mines (miner.stratum.channel). Every line is answered
once, in order; `_METHODS` at the end and `miner.stratum.wishes.WISHES` list every call there is. A login that must wait for the node's word holds all that
follows it; a share that waits for a pool's word does not, and is answered when that comes.
"""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from miner.stratum import fields, v1
from miner.stratum.channel import Channel
from miner.stratum.fields import CallError
from miner.stratum.house import (
    NOTHING,
    Closing,
    Granted,
    House,
    LoginOutcome,
    LoginWanted,
    Output,
    Resumable,
    Subscription,
    Taker,
    Waiting,
)
from miner.stratum.patience import Patience
from miner.stratum.rules import PortRules
from miner.stratum.v1 import Notice
from miner.stratum.wishes import WISHES, Wishes
from miner.work.extranonce import ExtranonceExhaustedError
from miner.work.roster import HashingUnit
from miner.work.share import Accepted, Block, Pending, PoolShare, Reason, Rejected

VERSION_REQUEST: Final = 1
"""Id of our own client.get_version, whose answer becomes the session's `agent`."""


class ServerSession:
    """One connection. Methods return what is to be written; `now` is unix seconds, and may step back or ahead.

    `uptime` is seconds of a clock that is never set. After an Output with `close` set, the session takes and says nothing
    more. Whoever drops it calls `end`.
    """

    __slots__ = (
        "_asking", "_asking_id", "_awaited", "_channel", "_closing", "_credited", "_heard_at", "_holds", "_house",
        "_lines", "_out", "_patience", "_rest", "_rules", "_taker", "_wishes", "agent", "answers",
    )  # fmt: skip

    def __init__(self, house: House, rules: PortRules, uptime: float) -> None:
        self._house = house
        self._rules = rules
        self._patience = Patience(rules, uptime)
        self._heard_at = 0.0
        self._channel = Channel(house, rules)
        self._wishes = Wishes(self._channel)
        self._taker: Taker | None = None  # the channel's, while lines may be taken
        self._rest = (
            b""  # read, and not dealt with: a line that is not whole, or all that follows a waiting login
        )
        self._out: list[bytes] = []
        self._credited = 0
        self._holds = False
        self._awaited: dict[int, bytes] = {}  # ids of the shares whose answers wait, by token
        self._closing = Closing.STAY
        self._lines = 0
        self._asking: LoginWanted | None = None
        self._asking_id = b""
        self.agent = ""
        """What the device says it is."""
        self.answers = b""
        """What to write after a `take` that took everything."""

    # ---- What the server asks --------------------------------------------------------------------------------

    @property
    def is_mining(self) -> bool:
        """Whether it is subscribed and logged in, and so is offered jobs."""
        return self._channel.is_mining

    @property
    def unit(self) -> HashingUnit | None:
        """The unit of its first login; None before."""
        return self._channel.unit

    @property
    def units(self) -> tuple[HashingUnit, ...]:
        """The unit of every name it logged in, the first one first."""
        return tuple({id(unit): unit for unit in self._channel.workers.values()}.values())

    @property
    def difficulty(self) -> float:
        """What shares of the next job must have, as sent to the miner."""
        return self._channel.pace.newest.difficulty

    @property
    def hardware(self) -> str:
        """What the device says of its hardware; empty if nothing."""
        return self._wishes.hardware

    @property
    def wants_extranonce(self) -> bool:
        """Whether it takes another extranonce1 without connecting again."""
        return self._wishes.wants_extranonce

    @property
    def awaited(self) -> Collection[int]:
        """Tokens of the shares whose answer waits for a pool's word."""
        return self._awaited.keys()

    def resumable(self) -> Resumable | None:
        """What it takes to go on, on another connection or in another process; None for a session that never mined."""
        return self._channel.resumable(self.agent)

    # ---- What the server tells -------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> Output:
        """Bytes came, cut anywhere."""
        credited = self.take(data, now)
        return self.go_on(now) if credited < 0 else Output(self.answers, credited)

    def take(self, data: bytes, now: float) -> int:
        """Bytes came, cut anywhere: returns how many good shares there are, or less than zero where `go_on` must follow.

        Plain shares and nothing else, as nearly always, are answered by `answers`, which is all there is to say.
        """
        self._heard_at = now
        if self._rest:
            data = self._rest + data
            self._rest = b""
        taker = self._taker
        if taker is None:
            self._rest = data
            return -1
        end = taker.take(data, 0, now)
        accepted = taker.accepted
        news = self._channel.credit(accepted, taker.work, now) if accepted else b""
        if end == len(data) and not news:
            self.answers = taker.answers
            return accepted
        self._out.append(taker.answers + news)
        self._credited = accepted
        self._rest = data[end:]
        return -1

    def go_on(self, now: float) -> Output:
        """What a `take` that returned less than zero left to be done."""
        data, self._rest = self._rest, b""
        return self._read(data, 0, now)

    def login_settled(self, outcome: LoginOutcome, now: float) -> Output:
        """The login that `Output.login` wanted is decided; what was held since then follows."""
        asked, self._asking = self._asking, None
        if asked is None or self._closing:
            return NOTHING
        self._settle(self._asking_id, asked, outcome, now)
        data, self._rest = self._rest, b""
        return self._read(data, 0, now)

    def offer(self, notice: Notice, now: float) -> bytes:
        """What to write for a new job: its notify, and before it the difficulty if that changes."""
        return b"" if self._closing else self._channel.offer(notice, now)

    def answered(self, token: int, error: tuple[int, str] | None) -> bytes:
        """The pool's word on a share that was Pending: it is good, or refused with this code and these words."""
        request_id = self._awaited.pop(token, None)
        if request_id is None or self._closing:
            return b""
        if error is None:
            return v1.result(request_id, value=True)
        code, why = error
        return v1.error(request_id, code, fields.printable(why))

    def tick(self, now: float, uptime: float | None = None) -> Output:
        """Time passed; to be called about every five seconds. `uptime` None: nobody sets the clock of `now` either."""
        if self._closing:
            return NOTHING
        is_mining = self._channel.is_mining
        closing = self._patience.tick(
            self._heard_at, now, now if uptime is None else uptime, is_mining=is_mining
        )
        if closing:
            return self._close(closing, _TOO_LATE[closing])
        told = self._channel.tick(now) if is_mining else b""
        return Output(told) if told else NOTHING

    def farewell(self, message: str) -> bytes:
        """Words to the miner's owner, before the server closes the connection or at any other time."""
        return b"" if self._closing else v1.show_message(message)

    def reconnect(self) -> bytes:
        """Have it connect again, before the server closes the connection."""
        return b"" if self._closing else v1.reconnect("", 0, 0)

    def ask_version(self) -> bytes:
        """Ask a miner that did not say what it is."""
        return b"" if self._closing else v1.get_version(VERSION_REQUEST)

    def change_version_mask(self, mask: int) -> bytes:
        """The port lets miners roll these bits: told to a session that mines and had asked, if it makes a difference."""
        return b"" if self._closing else self._channel.change_version_mask(mask)

    def change_extranonce(self, place: Subscription, now: float, notice: Notice | None = None) -> bytes:
        """Give it another extranonce1, and this job or else the current one again.

        Nothing, and no change, if it does not want that: have it `reconnect`.
        """
        if self._closing or not self._wishes.wants_extranonce:
            return b""
        told = self._channel.change_extranonce(place, now, notice)
        if self._asking is None:
            self._taker = self._channel.taker
        return told

    def end(self, now: float) -> None:
        """The connection is gone: its units have one session less."""
        for unit in self.units:
            unit.left(now)
        self._channel.workers.clear()
        self._stop(self._closing or Closing.GONE)

    # ---- Lines -----------------------------------------------------------------------------------------------

    def _read(self, data: bytes, start: int, now: float) -> Output:
        """Deal with every whole line from `start` on; what remains waits."""
        asked = self._asking
        while not self._closing and self._asking is None:
            newline = data.find(b"\n", start)
            if newline < 0:
                break
            self._line(data[start:newline], now)
            start = newline + 1
            if self._taker is not None:
                start = self._take(self._taker, data, start, now)
        rest = 0 if self._closing else len(data) - start
        if self._asking is not None and rest > self._rules.held_limit:
            return self._close(Closing.TOO_MUCH_HELD, "Too much while the login is looked into")
        if self._asking is None and rest > self._rules.line_limit:
            self._refuse_line(Closing.LINE_TOO_LONG, "Line too long")
        self._rest = b"" if self._closing else data[start:]
        return self._output(None if self._asking is asked else self._asking)

    def _take(self, taker: Taker, data: bytes, start: int, now: float) -> int:
        """Have the taker answer what it can from `start` on; returns where it stopped."""
        end = taker.take(data, start, now)
        self._out.append(taker.answers)
        if taker.accepted:
            self._credited += taker.accepted
            self._out.append(self._channel.credit(taker.accepted, taker.work, now))
        return end

    def _output(self, login: LoginWanted | None = None) -> Output:
        output = Output(b"".join(self._out), self._credited, self._closing, login, self._holds)
        self._out = []
        self._credited = 0
        self._holds = False
        return output

    def _line(self, line: bytes, now: float) -> None:
        """Answer one line."""
        if not self._channel.workers:
            self._lines += 1
            if self._lines > self._rules.lines_before_login:
                self._refuse_line(Closing.TOO_MANY_LINES, "Too many lines and no login")
                return
        if len(line) > self._rules.line_limit:
            self._refuse_line(Closing.LINE_TOO_LONG, "Line too long")
        elif line.strip():  # some keep a connection alive with empty lines
            self._message(line, now)

    def _message(self, line: bytes, now: float) -> None:
        try:
            message = v1.parse_line(line)
        except v1.NotAnObjectError as error:
            self._refuse_line(Closing.NOT_STRATUM, str(error))
            return
        except v1.ProtocolError as error:
            self._out.append(v1.error(error.id, v1.OTHER, str(error)))
            return
        match message:
            case v1.Request(id=request_id, method=method, params=params):
                self._call(request_id, method, params, now)
            case v1.Notification(method=method, params=params):
                self._call(b"null", method, params, now)
            case v1.Response(result=str(version)) if not self.agent:
                self.agent = fields.printable(version)
            case v1.Response():
                pass  # to a ping of ours

    def _call(self, request_id: bytes, method: str, params: list[Any], now: float) -> None:
        try:
            if (handle := _METHODS.get(method)) is not None:
                handle(self, request_id, params, now)
            elif (grant := WISHES.get(method)) is not None:
                self._out.append(grant(self._wishes, request_id, params, now))
            else:
                raise CallError(v1.OTHER, f"Unknown method {fields.printable(method)}")
        except CallError as error:
            self._out.append(v1.error(request_id, error.code, str(error)))

    def _refuse_line(self, closing: Closing, why: str) -> None:
        """Say what is wrong, then close."""
        self._out.append(v1.error(b"null", v1.OTHER, why))
        self._stop(closing)

    def _close(self, closing: Closing, why: str) -> Output:
        self._out.append(v1.show_message(why))
        self._stop(closing)
        return self._output()

    def _stop(self, closing: Closing) -> None:
        self._closing = closing
        self._rest = b""
        self._taker = self._asking = None

    # ---- Login -----------------------------------------------------------------------------------------------

    def _subscribe(self, request_id: bytes, params: list[Any], now: float) -> None:
        """Give the session its place; asked again, it has the same one."""
        agent, resume = fields.parse_subscribe(params)
        self.agent = agent or self.agent
        place = self._channel.place
        if place is None:
            try:
                place = self._house.subscribe(resume, now)
            except ExtranonceExhaustedError:
                self._out.append(v1.error(request_id, v1.OTHER, "No room for another session"))
                self._stop(Closing.NO_EXTRANONCE)
                return
            self._channel.take_place(place)
        session = place.session_id
        self._out.append(
            v1.result(
                request_id,
                [
                    [["mining.notify", session], ["mining.set_difficulty", session]],
                    place.extranonce1.hex(),
                    place.extranonce2_size,
                ],
            )
        )
        self._begin(now)

    def _authorize(self, request_id: bytes, params: list[Any], now: float) -> None:
        name, password = fields.parse_authorize(params)
        workers = self._channel.workers
        if name in workers:
            self._out.append(v1.result(request_id, value=True))
            return
        if len(workers) >= self._rules.workers_limit:
            raise CallError(v1.UNAUTHORIZED, "Too many workers on one connection")
        asked = LoginWanted(name, password)
        outcome = self._house.login(name, password, now)
        if isinstance(outcome, Waiting):
            self._asking, self._asking_id = asked, request_id
            self._taker = None
        else:
            self._settle(request_id, asked, outcome, now)

    def _settle(self, request_id: bytes, asked: LoginWanted, outcome: LoginOutcome, now: float) -> None:
        """Answer a login; with the first good one the session may begin to mine."""
        channel = self._channel
        self._taker = channel.taker
        if not isinstance(outcome, Granted):
            self._out.append(v1.error(request_id, outcome.code, outcome.why))
            if outcome.close and not channel.workers:  # a proxy's other workers mine on
                self._stop(Closing.REFUSED)
            return
        unit = outcome.unit
        if channel.unit is None:
            channel.unit = unit
            channel.script = outcome.payout_script
            demand = fields.password_difficulty(asked.password)
            if demand is not None:
                channel.pace.demand(demand)
        elif outcome.payout_script != channel.script:
            why = "Another payout address needs a connection of its own"
            self._out.append(v1.error(request_id, v1.UNAUTHORIZED, why))
            return
        if all(unit is not known for known in channel.workers.values()):
            unit.joined(now, self.agent)
            unit.difficulty = self.difficulty
        channel.workers[asked.name] = unit
        self._out.append(v1.result(request_id, value=True))
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._out.append(self._channel.begin(now))
        self._taker = self._channel.taker

    # ---- Shares ----------------------------------------------------------------------------------------------

    def _submit(self, request_id: bytes, params: list[Any], now: float) -> None:
        channel = self._channel
        if channel.place is None:
            raise CallError(v1.NOT_SUBSCRIBED, "Not subscribed")
        if not channel.workers:
            raise CallError(v1.UNAUTHORIZED, "Unauthorized worker")
        match channel.judge(fields.parse_submit(params)):
            case Rejected(reason=reason):
                self._out.append(v1.rejection(request_id, reason))
            case Block(stale=True):
                self._out.append(v1.rejection(request_id, Reason.STALE))
            case Accepted(difficulty=credited):
                self._out.append(v1.result(request_id, value=True))
                self._credit(credited, now)
            case Block(credited=credited) | PoolShare(credited=credited):
                self._out.append(v1.result(request_id, value=True))
                self._holds = True  # whatever it is worth as a share
                self._credit(credited, now)
            case Pending(token=token, credited=credited):
                self._awaited[token] = request_id
                self._holds = True
                self._credit(credited, now)

    def _credit(self, credited: float, now: float) -> None:
        """A share that is worth so much was recorded, if it is worth anything."""
        if credited:
            self._credited += 1
            self._out.append(self._channel.credit(1, credited, now))


_TOO_LATE: Final[Mapping[Closing, str]] = MappingProxyType(
    {Closing.LOGIN_TIMEOUT: "No login in time", Closing.IDLE: "Nothing heard for too long"}
)
_METHODS: Final[Mapping[str, Callable[[ServerSession, bytes, list[Any], float], None]]] = MappingProxyType(
    {
        "mining.submit": ServerSession._submit,  # noqa: SLF001  the table of the class above
        "mining.subscribe": ServerSession._subscribe,  # noqa: SLF001  likewise, and so on
        "mining.authorize": ServerSession._authorize,  # noqa: SLF001
    }
)
