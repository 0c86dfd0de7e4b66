"""The HTTP application and the server that runs it."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from miner.ledger.rows import BlockRow, DecisionRow, OutcomeRow, PoolShareRow, ShareRow
from miner.metrics import Metrics, render_as
from miner.web.bodies import MAX_BODY_BYTES
from miner.web.commands import CommandPages, Commands, NoCommands, ReadToken, Token
from miner.web.events import Events
from miner.web.hosts import only_hosts
from miner.web.openapi import openapi
from miner.web.page import render_page
from miner.web.problems import problem, problems
from miner.web.queries import list_query, page_query
from miner.web.reports import ReportPages, Reports
from miner.web.status import NotReady, Readiness, StatusDocument, UnitPage, UnitStatus

log = logging.getLogger(__name__)

#: Nothing here is for other sites' pages, and nothing is loaded from anywhere.
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

#: How long open requests may take when the server stops.
SHUTDOWN_TIMEOUT_S: Final = 2.0


class WebError(Exception):
    """The server could not be started; the message says where and why."""


class LedgerReader(Protocol):
    """What the API reads of the ledger, as `miner.ledger.recorder.Recorder` gives it."""

    async def blocks(self, limit: int, *, since: float) -> list[BlockRow]:
        """The newest blocks first, without their bytes."""
        ...

    async def decisions(self, limit: int, *, unit: str | None, since: float) -> list[DecisionRow]:
        """The newest decisions first."""
        ...

    async def outcomes(self, decision_ids: Sequence[str]) -> dict[str, list[OutcomeRow]]:
        """What became of decisions, by id."""
        ...

    async def shares(self, limit: int, *, unit: str | None, since: float) -> list[ShareRow]:
        """The newest accepted shares first, of the worker of that name or of all."""
        ...

    async def pool_shares(self, limit: int, *, pool: str | None, since: float) -> list[PoolShareRow]:
        """The newest shares handed to pools first, to the pool of that name or to all."""
        ...


class UnitReader(Protocol):
    """What the API reads of the units; every call answers at once."""

    def page(self, limit: int, after: str) -> UnitPage:
        """The first `limit` units whose ids come after `after`."""
        ...

    def one(self, unit_id: str) -> UnitStatus | None:
        """The unit of that id; None if there is none."""
        ...

    def name_of(self, unit_id: str) -> str:
        """The name a unit has in the ledger; its id where it is not known here."""
        ...

    def id_of(self, name: str) -> str:
        """The id of the unit of that name in the ledger."""
        ...


class NoUnits:
    """There are no units, or not yet."""

    def page(self, _limit: int, _after: str) -> UnitPage:
        """Nothing."""
        return UnitPage(units=(), total=0)

    def one(self, _unit_id: str) -> None:
        """Nothing."""

    def name_of(self, unit_id: str) -> str:
        """The id itself."""
        return unit_id

    def id_of(self, name: str) -> str:
        """The name itself."""
        return name


class Address(NamedTuple):
    """Where a server listens, and with what socket; the port is the real one."""

    host: str
    port: int
    socket: socket.socket


def make_app(  # noqa: PLR0913 - the composition root hands over each part by name
    *,
    metrics: Metrics,
    status: Callable[[], StatusDocument],
    ready: Callable[[], Readiness],
    ledger: LedgerReader,
    units: Callable[[], UnitReader] = NoUnits,
    commands: Callable[[], Commands] = NoCommands,
    reports: Callable[[], Reports | None] = lambda: None,
    events: Events | None = None,
    read_token: ReadToken | None = None,
    allowed_hosts: Iterable[str] | None = None,
) -> web.Application:
    """The application; `status`, `ready`, `units` and `commands` are asked at every request, on the loop, and must be quick.

    `reports` is None while there is no controller; `events` is the stream that listeners hear. Commands need the token that `read_token()` gives. It answers under addresses, localhost and `allowed_hosts`, under any name where that is
    None.
    """
    checks = [problems] if allowed_hosts is None else [problems, only_hosts(allowed_hosts)]
    app = web.Application(middlewares=checks, client_max_size=MAX_BODY_BYTES)
    app.on_response_prepare.append(_secure)
    pages = _Pages(metrics, status, ready, ledger, units)
    app.add_routes(CommandPages(commands, Token(read_token)).routes())
    app.add_routes(ReportPages(reports).routes())
    if events is not None:
        app.add_routes([web.get("/api/v1/events", events.stream)])
    app.add_routes(
        [
            web.get("/", pages.index),
            web.get("/metrics", pages.metrics),
            web.get("/healthz", pages.healthz),
            web.get("/readyz", pages.readyz),
            web.get("/api/v1/openapi.json", pages.openapi),
            web.get("/api/v1/status", pages.status),
            web.get("/api/v1/decisions", pages.decisions),
            web.get("/api/v1/blocks", pages.blocks),
            web.get("/api/v1/shares", pages.shares),
            web.get("/api/v1/pools", pages.pools),
            web.get("/api/v1/pools/shares", pages.pool_shares),
            web.get("/api/v1/units", pages.units),
            web.get("/api/v1/units/{id:.+}", pages.unit),
        ]
    )
    return app


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, listening: socket.socket | None = None
) -> AsyncIterator[Address]:
    """Serve `app` at host and port (0: any free one), or on a socket that listens there already, while the context lasts.

    Raises WebError where it cannot listen there.
    """
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    one_line = _OneLine()
    server_logger.addFilter(one_line)
    try:
        try:
            listening = listening or socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )
            await web.SockSite(runner, listening).start()
        except OSError as error:
            raise WebError(f"http: cannot listen on {host}:{port}: {_why(error)}") from error
        bound: tuple[Any, ...] = runner.addresses[0]
        yield Address(bound[0], bound[1], listening)
    finally:
        await runner.cleanup()
        server_logger.removeFilter(one_line)


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "already in use: does another Hashmill run here? [http] listen names another port"
    return os.strerror(error.errno) if error.errno else str(error)


class _OneLine(logging.Filter):
    """Tells of a request that is no HTTP in one line, where the server would show a traceback of its own insides."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the server's own line stays."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        log.info("request_malformed", extra={"error": error.message.split("\n", 1)[0].rstrip(":")})
        return False


class _Pages:
    """The handlers, one for each path."""

    def __init__(
        self,
        metrics: Metrics,
        status: Callable[[], StatusDocument],
        ready: Callable[[], Readiness],
        ledger: LedgerReader,
        units: Callable[[], UnitReader],
    ) -> None:
        self._metrics = metrics
        self._status = status
        self._ready = ready
        self._ledger = ledger
        self._units = units

    async def index(self, _request: web.Request) -> web.Response:
        return web.Response(text=render_page(self._status()), content_type="text/html")

    async def metrics(self, request: web.Request) -> web.Response:
        # Thousands of units take some 0.1 s to put into words: miners are served meanwhile.
        taken, accept = self._metrics.snapshot(), request.headers.get("Accept", "")
        body, content_type = await asyncio.to_thread(render_as, taken, accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        match self._ready():
            case NotReady(reason=reason):
                return problem(HTTPStatus.SERVICE_UNAVAILABLE, reason, instance=request.path)
        return web.Response(text="ok\n")

    async def openapi(self, _request: web.Request) -> web.Response:
        return _json(openapi())

    async def status(self, _request: web.Request) -> web.Response:
        return _json(self._status())

    async def decisions(self, request: web.Request) -> web.Response:
        query = list_query(request.query, by_unit=True)
        rows = await self._ledger.decisions(query.limit, unit=query.unit, since=query.since)
        outcomes = await self._ledger.outcomes([row.id for row in rows])
        return _json({"decisions": [{**asdict(row), "outcomes": outcomes.get(row.id, [])} for row in rows]})

    async def blocks(self, request: web.Request) -> web.Response:
        query = list_query(request.query)
        rows = await self._ledger.blocks(query.limit, since=query.since)
        return _json({"blocks": [_without_bytes(row) for row in rows]})

    async def shares(self, request: web.Request) -> web.Response:
        query, units = list_query(request.query, by_unit=True), self._units()
        name = None if query.unit is None else units.name_of(query.unit)
        rows = await self._ledger.shares(query.limit, unit=name, since=query.since)
        return _json({"shares": [{**asdict(row), "unit": units.id_of(row.unit)} for row in rows]})

    async def pools(self, _request: web.Request) -> web.Response:
        return _json({"pools": self._status().pools})

    async def pool_shares(self, request: web.Request) -> web.Response:
        query, units = list_query(request.query, by_pool=True), self._units()
        rows = await self._ledger.pool_shares(query.limit, pool=query.pool, since=query.since)
        return _json({"shares": [_with_name(asdict(row), units.id_of(row.unit_name)) for row in rows]})

    async def units(self, request: web.Request) -> web.Response:
        query = page_query(request.query)
        return _json(self._units().page(query.limit, query.after))

    async def unit(self, request: web.Request) -> web.Response:
        unit = self._units().one(request.match_info["id"])
        if unit is None:
            return problem(HTTPStatus.NOT_FOUND, "there is no unit of this id", instance=request.path)
        return _json(unit)


def _without_bytes(row: BlockRow) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(row).items() if name != "raw"}


def _with_name(share: dict[str, Any], unit: str) -> Mapping[str, Any]:
    """A share handed to a pool, its unit called as it is everywhere else."""
    del share["unit_name"]
    return {**share, "unit": unit}


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


async def _secure(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
