"""What may be changed over HTTP: signals and overrides, by whoever holds the token."""

import hmac
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Literal, Protocol, TypeAlias

import msgspec
from aiohttp import web

from miner.web.bodies import LONGEST_TEXT, BadBodyError, Fields, read_body
from miner.web.problems import FieldProblem, Handler, problem

log = logging.getLogger(__name__)

SHORTEST_TOKEN: Final = 16

ReadToken: TypeAlias = Callable[[], Awaitable[str]]

UNCONFIGURED: Final = (
    "nothing can be changed over HTTP: [http] token_file names no file. Write a long random token into a file that only its "
    "owner reads (openssl rand -hex 32), name it there and start again"
)


class SignalWanted(msgspec.Struct, frozen=True):
    """A signal to announce: in force in [start, until), UTC unix seconds; `until` is infinite for until it is ended."""

    name: str
    start: float
    until: float
    cap_kw: float | None = None
    who: str = ""


class OverrideWanted(msgspec.Struct, frozen=True):
    """A mode for a unit from now until `until` (UTC unix seconds, infinite: until it is taken back), who wants it and why."""

    unit: str
    mode: str
    until: float
    who: str
    why: str = ""


class SignalWindow(msgspec.Struct, frozen=True):
    """When a signal holds; `until` is None where no end is known."""

    start: float
    until: float | None
    cap_kw: float | None = None
    source: str = ""


class SignalState(msgspec.Struct, frozen=True):
    """A signal, what it does, whether it is in force, and its windows from now on."""

    name: str
    action: str
    active: bool
    windows: tuple[SignalWindow, ...] = ()
    units: tuple[str, ...] | None = None


class OverrideState(msgspec.Struct, frozen=True):
    """An override in force; `until` is None where it holds until it is taken back."""

    unit: str
    mode: str
    since: float
    until: float | None
    who: str
    why: str


class Refusal(msgspec.Struct, frozen=True):
    """Why a command was not carried out: something is not there, a value cannot be, or it could not be recorded."""

    kind: Literal["unknown", "wrong", "unavailable"]
    detail: str
    parameter: str = ""


SignalAnswer: TypeAlias = SignalState | Refusal
OverrideAnswer: TypeAlias = OverrideState | Refusal


class Commands(Protocol):
    """What carries out commands. Whatever it answers but a `Refusal` is in the ledger before it answers."""

    def now(self) -> float:
        """The daemon's clock, UTC unix seconds."""
        ...

    def signals(self) -> tuple[SignalState, ...]:
        """Every configured signal."""
        ...

    def overrides(self) -> tuple[OverrideState, ...]:
        """The overrides in force, by unit."""
        ...

    async def post_signal(self, wanted: SignalWanted) -> SignalAnswer:
        """Announce a signal; what it overlaps of what was posted of it before gives way."""
        ...

    async def end_signal(self, name: str, who: str) -> SignalAnswer:
        """End what was posted of a signal, and take back what was announced; what its other sources say stays."""
        ...

    async def override(self, wanted: OverrideWanted) -> OverrideAnswer:
        """Put a unit into a mode; it takes the place of an override there is."""
        ...

    async def end_override(self, unit: str, who: str) -> Refusal | None:
        """Take an override back."""
        ...


class NoCommands:
    """The controller does not run: there is nobody to obey."""

    _WHY = Refusal(
        "unavailable", "the controller does not run: it is still starting, or [controller] enabled is false"
    )

    def now(self) -> float:
        """No time at all; nobody asks."""
        return 0.0

    def signals(self) -> tuple[SignalState, ...]:
        """None."""
        return ()

    def overrides(self) -> tuple[OverrideState, ...]:
        """None."""
        return ()

    async def post_signal(self, _wanted: SignalWanted) -> SignalAnswer:
        """Refused."""
        return self._WHY

    async def end_signal(self, _name: str, _who: str) -> SignalAnswer:
        """Refused."""
        return self._WHY

    async def override(self, _wanted: OverrideWanted) -> OverrideAnswer:
        """Refused."""
        return self._WHY

    async def end_override(self, _unit: str, _who: str) -> Refusal | None:
        """Refused."""
        return self._WHY


class Token:
    """The bearer token, read at each use, so that it can be changed while the daemon runs.

    `read()` gives it or raises OSError or ValueError; it must come back even where the file does not. None: there is no file.
    """

    def __init__(self, read: ReadToken | None) -> None:
        self._read = read

    async def refusal(self, request: web.Request) -> web.Response | None:
        """Why this request may change nothing; None if it may."""
        if self._read is None:
            return problem(HTTPStatus.FORBIDDEN, UNCONFIGURED, instance=request.path)
        try:
            token = (await self._read()).encode()
        except (OSError, ValueError) as error:
            log.error("token_unreadable", extra={"error": str(error)})  # noqa: TRY400 - a trace says no more
            token = b""
        if len(token) < SHORTEST_TOKEN:
            return problem(
                HTTPStatus.FORBIDDEN,
                f"nothing can be changed over HTTP: the file of [http] token_file holds no token of {SHORTEST_TOKEN} characters or "
                "more in its first line, or cannot be read",
                instance=request.path,
            )
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        given_bytes = given.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() == "bearer" and hmac.compare_digest(given_bytes, token):
            return None
        log.warning("token_refused", extra={"path": request.path, "peer": request.remote or "unknown"})
        return problem(
            HTTPStatus.UNAUTHORIZED,
            "the header Authorization: Bearer TOKEN is missing or holds another token than [http] token_file",
            instance=request.path,
            headers={"WWW-Authenticate": 'Bearer realm="hashmill"'},
        )


class CommandPages:
    """The handlers of all that changes something, and of what was changed."""

    def __init__(self, commands: Callable[[], Commands], token: Token) -> None:
        self._commands = commands
        self._token = token

    def routes(self) -> list[web.RouteDef]:
        """Their paths."""
        return [
            web.get("/api/v1/signals", self._signals),
            web.post("/api/v1/signals/{name}", self._guarded(self._post_signal)),
            web.delete("/api/v1/signals/{name}", self._guarded(self._end_signal)),
            web.get("/api/v1/overrides", self._overrides),
            web.post("/api/v1/units/{id:.+}/override", self._guarded(self._override)),
            web.delete("/api/v1/units/{id:.+}/override", self._guarded(self._end_override)),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        """The handler for those who show the token, faults of bodies told as problems."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            refused = await self._token.refusal(request)
            if refused is not None:
                return refused
            try:
                return await handler(request)
            except BadBodyError as error:
                return error.response(request)

        return guarded

    async def _signals(self, _request: web.Request) -> web.Response:
        return _json({"signals": self._commands().signals()})

    async def _overrides(self, _request: web.Request) -> web.Response:
        return _json({"overrides": self._commands().overrides()})

    async def _post_signal(self, request: web.Request) -> web.Response:
        commands = self._commands()
        known = ("start", "until", "minutes", "cap_kw", "who")
        fields = Fields(await read_body(request), known, commands.now())
        start = fields.start()
        wanted = SignalWanted(
            name=request.match_info["name"],
            start=start,
            until=fields.until(start),
            cap_kw=fields.number("cap_kw"),
            who=fields.text("who"),
        )
        fields.check()
        return _answer(await commands.post_signal(wanted), request)

    async def _end_signal(self, request: web.Request) -> web.Response:
        return _answer(await self._commands().end_signal(request.match_info["name"], _who(request)), request)

    async def _override(self, request: web.Request) -> web.Response:
        commands = self._commands()
        now = commands.now()
        fields = Fields(await read_body(request), ("mode", "until", "minutes", "who", "why"), now)
        wanted = OverrideWanted(
            unit=request.match_info["id"],
            mode=fields.text("mode", needed=True),
            until=fields.until(now),
            who=fields.text("who", needed=True),
            why=fields.text("why"),
        )
        fields.check()
        return _answer(await commands.override(wanted), request)

    async def _end_override(self, request: web.Request) -> web.Response:
        ended = await self._commands().end_override(request.match_info["id"], _who(request))
        return web.Response(status=HTTPStatus.NO_CONTENT) if ended is None else _answer(ended, request)


def _who(request: web.Request) -> str:
    """Who says that they ended something: the query's `who`, in part if it is long."""
    return "".join(char for char in request.query.get("who", "") if char.isprintable())[:LONGEST_TEXT]


_STATUS: Final = {
    "unknown": HTTPStatus.NOT_FOUND,
    "wrong": HTTPStatus.BAD_REQUEST,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}


def _answer(answer: SignalState | OverrideState | Refusal, request: web.Request) -> web.Response:
    match answer:
        case Refusal(kind=kind, detail=detail, parameter=parameter):
            errors = [FieldProblem(parameter, detail)] if parameter else []
            return problem(_STATUS[kind], detail, instance=request.path, errors=errors)
    return _json(answer)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
