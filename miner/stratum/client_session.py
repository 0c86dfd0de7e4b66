"""Our side of one connection to a pool, without sockets: bytes, shares and the time go in, what is to be done comes out.

What the pool says of work goes to miner.stratum.pool_work; `_ANSWERS` at the end lists what becomes of its answers to us.
First mining.configure and mining.subscribe are sent, then, with a place in the coinbase, mining.authorize, and when that
is granted mining.extranonce.subscribe: the manners of cgminer, for there are pools that mix up a login sent all at once.
A job that comes before the login is through waits for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from miner.stratum import pool_fields, v1
from miner.stratum.fields import printable
from miner.stratum.pool_events import (
    Answered,
    ClientOutput,
    Event,
    Failed,
    Failure,
    LoggedIn,
    Message,
    PoolLogin,
    PoolRejected,
    PoolSilent,
    PoolSubmission,
)
from miner.stratum.pool_fields import LONGEST_TEXT
from miner.stratum.pool_work import CALLS, PoolWork
from miner.stratum.v1 import ProtocolError

LONGEST_LINE: Final = 1 << 20
"""Bytes of one line; a notify with a full block's branch has 3,000."""

BAD_LIMIT: Final = 3
"""So many messages about work without a good job between them that are of no use end the connection."""

MOST_HELD: Final = 1000
"""Shares that may wait until their workers are let in; what comes beyond goes up as the pool's user."""

REFUSED_LIMIT: Final = 3
"""So many shares in a row refused as of nobody who is logged in: the pool has forgotten us."""

MOST_LINES: Final = 250
"""So many lines in ten seconds, beside answers to what was asked: each may cost a write to every miner, and no pool has
so much to say."""

MOST_WORDS: Final = 10
"""Of the pool's words to the operator so many are passed on a minute."""

_LINES_S: Final = 10.0
_MINUTE_S: Final = 60.0
_SHOWN: Final = 60


class SessionEndedError(Exception):
    """A share for a session that has ended, or had no work yet: the mistake is on our side."""


@dataclass(slots=True)
class _Share:
    """A share on its way up; `since` is when it was given to us, then when it was written."""

    token: int
    submission: PoolSubmission
    since: float


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that has no answer yet; `worker` is whom it is to let in, `may_be_ignored` what not every pool knows."""

    method: str
    since: float
    share: _Share | None
    worker: str
    may_be_ignored: bool


class _Worker:
    """A worker with a name of its own upstream: the pool lets it in, or not, or has not said (None)."""

    __slots__ = ("held", "is_granted")

    def __init__(self) -> None:
        self.is_granted: bool | None = None
        self.held: list[_Share] = []


class ClientSession:
    """One connection to a pool; the next connection is another session.

    `host` is the pool's as it was configured: client.reconnect may not lead out of its domain. `now` is in seconds of a clock
    that nobody sets. After an output with `close` set the session takes and says nothing more. Whoever drops it calls `end`;
    then every share has been answered.
    """

    def __init__(
        self, login: PoolLogin, now: float, *, host: str, answer_s: float = 10.0, no_work_s: float = 120.0
    ) -> None:
        self._login = login
        self._host = host
        self._answer_s = answer_s
        self._no_work_s = no_work_s
        self._heard_at = self._work_at = self._words_since = self._lines_since = now
        self._words = 0
        self._lines = 0
        self._rest = bytearray()
        self._searched = 0  # so many bytes of the rest hold no newline
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._asked: dict[int, _Asked] = {}  # in the order they were written
        self._requests = 0
        self._work = PoolWork(login.version_mask)
        self._bad_in_a_row = 0
        self._refused_in_a_row = 0
        self._workers: dict[str, _Worker] = {}
        self._held = 0
        self._unsent: list[_Share] = []  # they came when the session was closing
        self._is_closing = False
        self._has_ended = False
        self.is_logged_in = False
        """Subscribed and authorized."""
        self.ignored = 0
        """Messages that meant nothing: answers to what was not asked, calls that nobody knows, words beyond the limit."""

    # ---- What the shell tells --------------------------------------------------------------------------------

    def start(self, now: float) -> bytes:
        """What to write first; `now` is when the connection was there."""
        self._heard_at = now
        if self._login.version_mask:
            values = {
                "version-rolling.mask": v1.hex_word(self._login.version_mask),
                "version-rolling.min-bit-count": 2,
            }
            self._ask("mining.configure", [["version-rolling"], values], now, may_be_ignored=True)
        self._ask("mining.subscribe", [self._login.agent], now)
        return self._written()

    def receive(self, data: bytes, now: float) -> ClientOutput:
        """Bytes came, cut anywhere."""
        if self._is_closing:
            return ClientOutput(close=True)
        self._heard_at = now
        rest = self._rest
        rest += data
        start = 0
        while not self._is_closing:
            newline = rest.find(b"\n", max(start, self._searched))
            if newline < 0:
                break
            self._line(bytes(rest[start:newline]), now)
            start = newline + 1
        del rest[:start]
        self._searched = len(rest)
        if len(rest) > LONGEST_LINE and not self._is_closing:
            self._refuse_line()
        return self._output()

    def submit(self, submission: PoolSubmission, token: int, now: float) -> bytes:
        """Send a share up; its Answered bears the token. Returns what to write, which may be nothing yet.

        A share that comes while the session closes is not sent, and answered by `end`. Raises SessionEndedError after
        `end` and before the login: no share can be of this session's work then.
        """
        if self._has_ended or not self.is_logged_in:
            raise SessionEndedError(f"{self._host} has no session that this share can go to")
        self._submit(_Share(token, submission, now), now)
        return self._written()

    def tick(self, now: float) -> ClientOutput:
        """Time passed; to be called about every second."""
        for number, asked in list(self._asked.items()):
            if self._is_closing or now - asked.since < self._answer_s:
                break
            if asked.may_be_ignored or (asked.worker and self._heard_at > asked.since):
                # Silence is a no: some pools leave what they do not know without any answer.
                del self._asked[number]
                _ANSWERS[asked.method](self, asked, None, None, now)
            else:
                why = f"{asked.method} was not answered within {self._answer_s:g} s"
                self._fail(Failure.UNANSWERED, why)
        if self.is_logged_in and not self._is_closing and now - self._work_at >= self._no_work_s:
            self._fail(Failure.NO_WORK, f"no job came for {self._no_work_s:g} s")
        return self._output()

    def end(self, why: str, now: float) -> list[Event]:
        """The connection is gone: PoolSilent, with this reason, for every share that was not answered."""
        waiting = [asked.share for asked in self._asked.values() if asked.share is not None]
        for worker in self._workers.values():
            waiting += worker.held
        waiting += self._unsent
        self._asked.clear()
        self._workers.clear()
        self._unsent.clear()
        self._rest.clear()
        self._is_closing = self._has_ended = True
        return [Answered(share.token, PoolSilent(why), max(now - share.since, 0.0)) for share in waiting]

    # ---- Lines -----------------------------------------------------------------------------------------------

    def _line(self, line: bytes, now: float) -> None:
        if len(line) > LONGEST_LINE:
            self._refuse_line()
            return
        if now - self._lines_since >= _LINES_S:
            self._lines_since = now
            self._lines = 0
        self._lines += 1
        if self._lines > MOST_LINES:
            self._fail(Failure.GARBAGE, f"the pool sent more than {MOST_LINES} lines within {_LINES_S:g} s")
            return
        if not line.strip():
            return
        try:
            message = v1.parse_line(line)
        except v1.NotAnObjectError:
            said = printable(line[: 4 * _SHOWN].decode(errors="replace"), _SHOWN)
            self._fail(Failure.GARBAGE, f"what answers there does not speak Stratum: it sent {said!r}")
            return
        except ProtocolError:
            self.ignored += 1
            return
        match message:
            case v1.Response(id=request_id, result=result, error=error):
                self._answer(request_id, result, error, now)
            case v1.Request(id=request_id, method=method, params=params):
                self._call(request_id, method, params, now)
            case v1.Notification(method=method, params=params):
                self._call(None, method, params, now)

    def _refuse_line(self) -> None:
        self._fail(Failure.GARBAGE, f"the pool sent a line of more than {LONGEST_LINE} bytes")

    def _answer(self, request_id: bytes, result: Any, error: Any, now: float) -> None:
        digits = request_id.strip(b'"')  # some give every id back as text
        number = int(digits) if digits.isdigit() and len(digits) < _SHOWN else 0
        asked = self._asked.pop(number, None)
        if asked is None:
            self.ignored += 1
        else:
            self._lines -= 1
            _ANSWERS[asked.method](self, asked, result, error, now)

    def _ask(
        self,
        method: str,
        params: list[Any],
        now: float,
        *,
        share: _Share | None = None,
        worker: str = "",
        may_be_ignored: bool = False,
    ) -> None:
        self._requests += 1
        self._asked[self._requests] = _Asked(method, now, share, worker, may_be_ignored)
        self._out.append(v1.request(self._requests, method, params))

    def _fail(self, kind: Failure, why: str) -> None:
        """The connection cannot go on."""
        self._events.append(Failed(kind, why))
        self._is_closing = True

    def _output(self) -> ClientOutput:
        events, self._events = self._events, []
        return ClientOutput(self._written(), events, self._is_closing)

    def _written(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    # ---- Login -----------------------------------------------------------------------------------------------

    def _configured(self, _asked: _Asked, result: Any, error: Any, _now: float) -> None:
        self._work.configured(result, error)

    def _subscribed(self, _asked: _Asked, result: Any, error: Any, now: float) -> None:
        if error or not result:
            self._fail(Failure.LOGIN, f"the pool refuses mining.subscribe: {pool_fields.reason(error).text}")
            return
        try:
            self._work.subscribed(result)
        except ProtocolError as wrong:
            self._fail(Failure.LOGIN, str(wrong))
            return
        self._ask("mining.authorize", [self._login.user, self._login.password], now)
        early = self._work.early_job()
        if early is not None:
            self._work_call("mining.notify", early, now)

    def _authorized(self, asked: _Asked, result: Any, error: Any, now: float) -> None:
        no = pool_fields.refusal(result, error)
        if asked.worker:
            self._worker_answered(asked.worker, no, now)
        elif no is not None:
            self._fail(Failure.LOGIN, f"the pool refuses the user {self._login.user!r}: {no.text}")
        elif self._work.extranonces is not None:
            self.is_logged_in = True
            self._work_at = now
            self._events.append(LoggedIn(*self._work.extranonces, self._work.mask))
            work = self._work.open()
            if work is not None:
                self._events.append(work)
            self._ask("mining.extranonce.subscribe", [], now, may_be_ignored=True)

    def _extranonce_subscribed(self, _asked: _Asked, _result: Any, _error: Any, _now: float) -> None:
        """A pool that does not know it keeps the extranonce, or sends us away."""

    # ---- Shares ----------------------------------------------------------------------------------------------

    def _submit(self, share: _Share, now: float) -> None:
        if self._is_closing:
            self._unsent.append(share)
            return
        name = share.submission.worker if self._login.worker_names else ""
        if name and name not in self._workers:
            self._workers[name] = _Worker()
            params = [f"{self._login.user}.{name}", self._login.password]
            self._ask("mining.authorize", params, now, worker=name)
        worker = self._workers.get(name)
        if worker is not None and worker.is_granted is None and self._held < MOST_HELD:
            worker.held.append(share)
            self._held += 1
        else:
            self._send(share, name if worker is not None and worker.is_granted else "", now)

    def _worker_answered(self, name: str, no: PoolRejected | None, now: float) -> None:
        """A worker is let in, or mines as the pool's user from now on; its shares waited for this."""
        worker = self._workers[name]
        worker.is_granted = no is None
        if no is not None:
            user = self._login.user
            self._say(Message(f"worker {user}.{name} is refused, {user} takes its shares: {no.text}"), now)
        held, worker.held = worker.held, []
        self._held -= len(held)
        for share in held:
            self._send(share, name if worker.is_granted else "", now)

    def _send(self, share: _Share, name: str, now: float) -> None:
        found = share.submission
        bits, mask = found.version_bits, self._work.mask
        params = [
            f"{self._login.user}.{name}" if name else self._login.user,
            found.job_id,
            found.extranonce2.hex(),
            v1.hex_word(found.ntime_s),
            v1.hex_word(found.nonce),
        ]
        if bits is not None and mask is not None:
            params.append(v1.hex_word(bits & mask))
        share.since = now
        self._ask("mining.submit", params, now, share=share)

    def _submitted(self, asked: _Asked, result: Any, error: Any, now: float) -> None:
        if asked.share is None:
            return
        verdict = pool_fields.verdict(result, error)
        self._events.append(Answered(asked.share.token, verdict, max(now - asked.since, 0.0)))
        match verdict:
            case PoolRejected(code=v1.UNAUTHORIZED | v1.NOT_SUBSCRIBED, text=text):
                self._refused_in_a_row += 1
                if self._refused_in_a_row >= REFUSED_LIMIT:
                    self._fail(Failure.LOGIN, f"the pool no longer knows us: {text}")
            case _:
                self._refused_in_a_row = 0

    # ---- The pool's calls ------------------------------------------------------------------------------------

    def _call(self, request_id: bytes | None, method: str, params: list[Any], now: float) -> None:
        """A call of the pool. What only tells something is not answered, though some give it an id."""
        if method in CALLS:
            self._work_call(method, params, now)
        elif method == "client.show_message":
            self._say(Message(printable(params[0] if params else "", LONGEST_TEXT).strip()), now)
        elif method == "client.reconnect":
            self._reconnect(params, now)
        elif request_id is not None and method == "client.get_version":
            self._out.append(v1.result(request_id, self._login.agent))
        elif request_id is not None and method == "mining.ping":
            self._out.append(v1.result(request_id, "pong"))
        else:
            self.ignored += 1
            if request_id is not None:
                self._out.append(v1.error(request_id, v1.OTHER, f"Unknown method {printable(method)}"))

    def _work_call(self, method: str, params: list[Any], now: float) -> None:
        """Something about work, perhaps of no use: then we go on with what we have, unless that happens again and again.

        Without knowing our place in the coinbase there is nothing to go on with.
        """
        try:
            work = CALLS[method](self._work, params)
        except ProtocolError as wrong:
            self._bad_in_a_row += 1
            self._events.append(Failed(Failure.BAD_WORK, str(wrong)))
            self._is_closing = method == "mining.set_extranonce" or self._bad_in_a_row >= BAD_LIMIT
            return
        if method == "mining.notify":
            self._bad_in_a_row = 0
            self._work_at = now
        if work is not None:
            self._events.append(work)

    def _reconnect(self, params: list[Any], now: float) -> None:
        """Obeyed at once, within the pool's own domain; anybody else's host is a sign of a connection that was hijacked."""
        try:
            self._events.append(pool_fields.parse_reconnect(params, self._host))
        except ProtocolError as wrong:
            self._say(Failed(Failure.REDIRECT_REFUSED, str(wrong)), now)
        else:
            self._is_closing = True

    def _say(self, event: Message | Failed, now: float) -> None:
        """Something for the operator, unless the pool never stops talking."""
        if now - self._words_since >= _MINUTE_S:
            self._words_since = now
            self._words = 0
        if self._words >= MOST_WORDS or event == Message(""):
            self.ignored += 1
            return
        self._words += 1
        self._events.append(event)


_ANSWERS: Final[Mapping[str, Callable[[ClientSession, _Asked, Any, Any, float], None]]] = MappingProxyType(
    {
        "mining.configure": ClientSession._configured,  # noqa: SLF001  the table of the class above
        "mining.subscribe": ClientSession._subscribed,  # noqa: SLF001  likewise, and so on
        "mining.authorize": ClientSession._authorized,  # noqa: SLF001
        "mining.extranonce.subscribe": ClientSession._extranonce_subscribed,  # noqa: SLF001
        "mining.submit": ClientSession._submitted,  # noqa: SLF001
    }
)
