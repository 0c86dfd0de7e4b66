import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from miner.web.problems import BadQueryError, FieldProblem, problem, problems

Client = TestClient[web.Request, web.Application]


async def broken(_request: web.Request) -> web.Response:
    raise ZeroDivisionError("the payout password is hunter2")


async def picky(_request: web.Request) -> web.Response:
    raise BadQueryError([FieldProblem("limit", "a whole number")])


async def teapot(_request: web.Request) -> web.Response:
    raise web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2)


async def moved(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application(middlewares=[problems])
    app.add_routes(
        [
            web.get("/broken", broken),
            web.get("/picky", picky),
            web.get("/large", teapot),
            web.get("/moved", moved),
        ]
    )
    async with TestClient(TestServer(app)) as opened:
        yield opened


async def test_a_path_that_is_not_there_is_a_problem_document(client: Client) -> None:
    async with client.get("/nowhere") as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"
        assert await response.json(content_type=None) == {
            "title": "Not Found",
            "status": 404,
            "detail": "nothing is here",
            "instance": "/nowhere",
        }


async def test_a_method_that_is_not_allowed_says_which_are(client: Client) -> None:
    async with client.post("/picky") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert (await response.json(content_type=None))["detail"] == "allowed here: GET, HEAD"


async def test_a_bad_query_names_its_parameters(client: Client) -> None:
    async with client.get("/picky") as response:
        assert response.status == 400
        document = await response.json(content_type=None)
    assert document["errors"] == [{"parameter": "limit", "detail": "a whole number"}]


async def test_what_broke_inside_is_logged_and_not_told(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with client.get("/broken") as response:
        assert response.status == 500
        assert "hunter2" not in await response.text()
        assert response.content_type == "application/problem+json"
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (record.message, record.__dict__["path"]) == ("request_failed", "/broken")
    assert record.exc_info is not None


async def test_other_refusals_keep_their_status(client: Client) -> None:
    async with client.get("/large") as response:
        assert response.status == 413
        assert (await response.json(content_type=None))["title"] == "Request Entity Too Large"


async def test_a_redirect_is_no_error(client: Client) -> None:
    async with client.get("/moved", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/elsewhere")


def test_a_problem_says_no_more_than_it_has_to() -> None:
    assert problem(503).body == b'{"title":"Service Unavailable","status":503}'
