"""What happens, as it happens: one stream of server-sent events for every listener (`/api/v1/events`).

Source of the format: the WHATWG HTML standard, "Server-sent events".
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from miner.web.problems import problem

KEPT: Final = 512
"""Events a listener may lag behind, and those a listener that comes back is told again."""

MOST_LISTENERS: Final = 64
KEEPALIVE_S: Final = 15.0
RETRY_MS: Final = 2_000


class Event(NamedTuple):
    """One thing that happened: its number since the start, its kind, and its data as JSON."""

    number: int
    kind: str
    data: bytes


class _Listener:
    """What one listener has not been told yet; when it lags too far the oldest is left out, and it is told so."""

    def __init__(self) -> None:
        self.waiting: deque[Event] = deque()
        self.lost = False
        self.news = asyncio.Event()

    def put(self, event: Event) -> None:
        if len(self.waiting) >= KEPT:
            self.waiting.popleft()
            self.lost = True
        self.waiting.append(event)
        self.news.set()

    def take(self) -> tuple[list[Event], bool]:
        events, lost = list(self.waiting), self.lost
        self.waiting.clear()
        self.lost = False
        self.news.clear()
        return events, lost


class Events:
    """Takes what happens from anywhere on the loop, and tells every listener.

    Ids are `boot-number`: a listener that comes back with the last one it saw (`Last-Event-ID`) misses nothing of the last `KEPT`;
    where something is missing it gets an event `lost` and asks the other resources for how things stand.
    """

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[_Listener] = set()
        self._closed = asyncio.Event()

    def publish(self, kind: str, data: Any) -> None:
        """Something happened; `kind` is one word, `data` anything msgspec can write. Returns at once."""
        self._number += 1
        event = Event(self._number, kind, msgspec.json.encode(data))
        self._kept.append(event)
        for listener in self._listeners:
            listener.put(event)

    def close(self) -> None:
        """End every stream: the daemon stops."""
        self._closed.set()
        for listener in self._listeners:
            listener.news.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Tell this listener everything until it goes or the daemon stops."""
        if len(self._listeners) >= MOST_LISTENERS:
            said = f"{MOST_LISTENERS} listeners are here already: close one"
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, said, instance=request.path)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        with self._listening(request.headers.get("Last-Event-ID", "")) as listener:
            await response.prepare(request)
            await response.write(b"retry: %d\n\n" % RETRY_MS)
            while not self._closed.is_set():
                events, lost = listener.take()
                if lost:
                    await response.write(b"event: lost\ndata: {}\n\n")
                if events:
                    await response.write(b"".join(map(self._written, events)))
                if not (events or lost) and not await _in_time(listener.news):
                    await response.write(b": still here\n\n")
        return response

    def _written(self, event: Event) -> bytes:
        return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
            self._boot.encode(),
            event.number,
            event.kind.encode(),
            event.data,
        )

    @contextmanager
    def _listening(self, last_id: str) -> Iterator[_Listener]:
        """A listener that is told all that comes, and first what it missed since `last_id`."""
        listener = _Listener()
        boot, _, number = last_id.rpartition("-")
        if boot == self._boot and number.isdecimal():
            seen = int(number)
            missed = [event for event in self._kept if event.number > seen]
            listener.waiting.extend(missed)
            listener.lost = len(missed) < self._number - seen
        elif last_id:
            listener.lost = True
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


async def _in_time(news: asyncio.Event) -> bool:
    """Whether something came before the listener has to be told that it is not forgotten."""
    try:
        async with asyncio.timeout(KEEPALIVE_S):
            await news.wait()
    except TimeoutError:
        return False
    return True
