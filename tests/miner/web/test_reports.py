"""The controller's reports over a real socket."""

from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from miner.web.problems import problems
from miner.web.reports import ReportPages, Reports

REPORT = {"at_s": 1.5, "known": True, "units": []}


class Told:
    """A controller that tells the same of everything; None before its first tick."""

    def __init__(self, report: dict[str, Any] | None) -> None:
        self._report = report

    def hashprice(self) -> dict[str, Any] | None:
        return self._report

    plan = fleet = hashprice


async def ask(path: str, reports: Reports | None) -> tuple[int, dict[str, Any]]:
    app = web.Application(middlewares=[problems])
    app.add_routes(ReportPages(lambda: reports).routes())
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url(path)) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


PATHS = ["/api/v1/hashprice", "/api/v1/plan", "/api/v1/fleet"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_report_is_what_the_controller_tells(path: str) -> None:
    assert await ask(path, Told(REPORT)) == (200, REPORT)


@pytest.mark.parametrize("path", PATHS)
async def test_before_the_first_tick_it_says_to_come_back(path: str) -> None:
    status, document = await ask(path, Told(None))
    assert status == 503
    assert "ask again" in document["detail"]


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_controller_it_says_why(path: str) -> None:
    status, document = await ask(path, None)
    assert status == 404
    assert "enabled = false" in document["detail"]
