"""The stream of events, read by a real client over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from miner.web import events as module
from miner.web.events import KEPT, MOST_LISTENERS, Events


@asynccontextmanager
async def served(events: Events) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/events", events.stream)
    async with TestServer(app) as server:
        yield str(server.make_url("/events"))


@asynccontextmanager
async def listening(url: str, last_id: str | None = None) -> AsyncIterator[aiohttp.StreamReader]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert await read(answer.content) == "retry: 2000"
        yield answer.content


async def read(content: aiohttp.StreamReader) -> str:
    async with asyncio.timeout(5):
        return (await content.readuntil(b"\n\n")).decode().strip()


async def test_every_listener_hears_what_happens_in_order() -> None:
    events = Events("b")
    async with served(events) as url, listening(url) as one, listening(url) as two:
        events.publish("decision", {"unit": "a", "why": "line\nbreak"})
        events.publish("block", {"height": 7})
        for content in (one, two):
            assert await read(content) == 'id: b-1\nevent: decision\ndata: {"unit":"a","why":"line\\nbreak"}'
            assert await read(content) == 'id: b-2\nevent: block\ndata: {"height":7}'


async def test_who_comes_back_is_told_what_was_missed() -> None:
    events = Events("b")
    for number in range(3):
        events.publish("n", number)
    async with served(events) as url, listening(url, "b-1") as content:
        assert "id: b-2" in await read(content)
        assert "id: b-3" in await read(content)


@pytest.mark.parametrize("last_id", ["other-1", "b-x", "b-0"])
async def test_who_missed_more_than_is_kept_or_comes_from_before_a_restart_is_told_so(last_id: str) -> None:
    events = Events("b")
    for number in range(KEPT + 1):
        events.publish("n", number)
    async with served(events) as url, listening(url, last_id) as content:
        assert (await read(content)).startswith("event: lost")


async def test_a_listener_that_lags_loses_the_oldest_and_is_told_so() -> None:
    events = Events("b")
    async with served(events) as url, listening(url) as content:
        for number in range(KEPT + 5):
            events.publish("n", number)
        assert (await read(content)).startswith("event: lost")
        assert (await read(content)).startswith("id: b-6\n")


async def test_a_quiet_stream_says_that_it_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEPALIVE_S", 0.01)
    async with served(Events("b")) as url, listening(url) as content:
        assert await read(content) == ": still here"


async def test_streams_end_when_the_daemon_stops_and_leave_nothing_behind() -> None:
    events = Events("b")
    async with served(events) as url, listening(url) as content:
        events.close()
        async with asyncio.timeout(5):
            assert await content.read() == b""
    assert not events._listeners


async def test_no_more_listeners_than_allowed() -> None:
    events = Events("b")
    events._listeners.update(module._Listener() for _ in range(MOST_LISTENERS))
    async with served(events) as url, aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 503
        assert "close one" in (await answer.json(content_type=None))["detail"]
