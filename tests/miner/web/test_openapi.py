import json
import re
from typing import Any

import aiohttp
import pytest

from miner.metrics import Metrics
from miner.web.app import LedgerReader, make_app, serve
from miner.web.events import Events
from miner.web.openapi import OPERATIONS, openapi
from miner.web.status import Ready, StatusDocument


@pytest.fixture
def app(status: StatusDocument, ledger: LedgerReader) -> Any:
    return make_app(
        metrics=Metrics("0.1.0", "sha-ni"),
        status=lambda: status,
        ready=Ready,
        ledger=ledger,
        events=Events("boot"),
    )


def test_every_route_is_described_and_everything_described_is_served(app: Any) -> None:
    served = {
        (route.method.lower(), re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.resource.canonical))
        for route in app.router.routes()
        if route.method != "HEAD"
    }
    described = {(method, path) for path, operations in openapi()["paths"].items() for method in operations}
    assert described == served
    assert len(OPERATIONS) == len(described)


def references(document: Any) -> set[str]:
    if isinstance(document, dict):
        own = {document["$ref"]} if "$ref" in document else set()
        return own.union(*(references(value) for value in document.values()))
    if isinstance(document, list):
        return set().union(*(references(value) for value in document))
    return set()


def test_what_it_refers_to_is_in_it() -> None:
    schemas = openapi()["components"]["schemas"]
    missing = {
        ref for ref in references(openapi()) if ref.removeprefix("#/components/schemas/") not in schemas
    }
    assert missing == set()


def test_a_path_names_its_parameters() -> None:
    for operation in OPERATIONS:
        named = {each["name"] for each in operation.parameters if each["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", operation.path)), operation.path


def test_what_changes_something_needs_the_token_and_nothing_else_does() -> None:
    for path, operations in openapi()["paths"].items():
        for method, described in operations.items():
            assert ("security" in described) == (method != "get"), path
            assert ("401" in described["responses"]) == (method != "get"), path


def test_rows_are_described_as_they_are_told() -> None:
    schemas = openapi()["components"]["schemas"]
    assert "raw" not in schemas["BlockRow"]["properties"]
    assert "raw" not in schemas["BlockRow"]["required"]
    assert {"unit", "pool"} <= schemas["PoolShareRow"]["properties"].keys()


async def test_it_is_served(app: Any) -> None:
    async with (
        serve(app, "127.0.0.1", 0) as address,
        aiohttp.ClientSession(f"http://{address.host}:{address.port}") as client,
        client.get("/api/v1/openapi.json") as response,
    ):
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.json() == json.loads(json.dumps(openapi()))
