from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from miner.web.app import serve
from miner.web.hosts import host_of, is_allowed, only_hosts


@pytest.mark.parametrize(
    "header",
    [
        *("127.0.0.1:8340", "localhost", "LOCALHOST:8340", "localhost.:8340", "hashmill.localhost:1"),
        *(
            "[::1]:8340",
            "[fe80::1%25eth0]",
            "192.168.1.7",
            "10.0.0.1:80",
            "miner1.lan",
            "Miner1.LAN:8340",
            None,
        ),
    ],
)
def test_addresses_localhost_and_allowed_names_are_ours(header: str | None) -> None:
    assert is_allowed(header, frozenset({"miner1.lan"}))


@pytest.mark.parametrize(
    "header",
    [
        "evil.example",
        "evil.example:8340",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "[",
        "1.2.3.4.5",
        "[::1].evil.example",
        "[::1]:80.evil.example",
        "[127.0.0.1]@evil.example",
        "127.0.0.1%evil.example",
        "::1%evil.example",
        "[::1%eth0]",
        "[fe80::1%evil.example]",
        "[miner1.lan].evil.example",
    ],
)
def test_other_names_are_not(header: str) -> None:
    assert not is_allowed(header, frozenset({"miner1.lan"}))


def test_a_host_has_no_port_no_brackets_and_no_dot_at_its_end() -> None:
    assert [host_of(text) for text in ("A.b:1", "[::1]:2", "[::1]", "a.", " a ", "::1")] == [
        "a.b",
        "::1",
        "::1",
        "a",
        "a",
        "::1",
    ]


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(middlewares=[only_hosts(["Miner1.lan:8340"])])
    app.router.add_get("/", page)
    async with (
        serve(app, "127.0.0.1", 0) as address,
        aiohttp.ClientSession(f"http://{address.host}:{address.port}") as session,
    ):
        yield session


async def test_a_request_under_a_foreign_name_is_refused_with_the_key_that_allows_it(
    client: aiohttp.ClientSession,
) -> None:
    async with client.get("/", headers={"Host": "evil.example"}) as response:
        assert (response.status, response.content_type) == (421, "application/problem+json")
        assert "[http] allowed_hosts" in await response.text()
    for name in ("miner1.lan", "localhost:8340"):
        async with client.get("/", headers={"Host": name}) as response:
            assert response.status == 200
