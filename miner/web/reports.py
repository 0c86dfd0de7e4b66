"""The controller's reports over HTTP: hashprice, plan and fleet, as the commands of the same names print them with --json."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from aiohttp import web

from miner.web.problems import problem

Report = dict[str, Any]


class Reports(Protocol):
    """What the controller tells of itself; each call may take a while and is made beside the loop. None: it has not looked yet."""

    def hashprice(self) -> Report | None:
        """Hashprice now and after the projected retarget, with its inputs."""
        ...

    def plan(self) -> Report | None:
        """What every unit does now and over the horizon, why, and what would change it."""
        ...

    def fleet(self) -> Report | None:
        """Merit order, breakevens, survival and cash of every unit with modes."""
        ...


class ReportPages:
    """The handlers; `reports()` is None while there is no controller."""

    def __init__(self, reports: Callable[[], Reports | None]) -> None:
        self._reports = reports

    def routes(self) -> list[web.RouteDef]:
        """Every path here."""
        return [
            web.get("/api/v1/hashprice", self._page(lambda reports: reports.hashprice())),
            web.get("/api/v1/plan", self._page(lambda reports: reports.plan())),
            web.get("/api/v1/fleet", self._page(lambda reports: reports.fleet())),
        ]

    def _page(self, ask: Callable[[Reports], Report | None]) -> Callable[[web.Request], Any]:
        async def page(request: web.Request) -> web.Response:
            reports = self._reports()
            if reports is None:
                return problem(
                    HTTPStatus.NOT_FOUND,
                    "there is no controller: [controller] enabled = false, or it is not up yet",
                    instance=request.path,
                )
            # Of thousands of units a report takes long to put together: miners are served meanwhile.
            body = await asyncio.to_thread(_told, ask, reports)
            if body is None:
                return problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "the controller has not looked at anything yet: ask again in a moment",
                    instance=request.path,
                    headers={"Retry-After": "5"},
                )
            return web.Response(body=body, content_type="application/json")

        return page


def _told(ask: Callable[[Reports], Report | None], reports: Reports) -> bytes | None:
    report = ask(reports)
    return None if report is None else msgspec.json.encode(report)
