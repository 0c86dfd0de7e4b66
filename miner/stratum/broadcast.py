"""One job for everyone: a prepared notify goes to every session, a few hundred at a time, the newest always first."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final, Protocol

from miner.stratum.v1 import Notice

log = logging.getLogger(__name__)

CHUNK: Final = 500
"""Sessions written to before the loop may do something else."""


class Listener(Protocol):
    """A session's connection as a notify sees it."""

    def offer(self, notice: Notice, now: float, /) -> bool:
        """Write what this session is to hear of the job; False: it must wait for what it hears first, and asks itself."""
        ...


class Broadcast:
    """Brings the current job to all of `listeners()`.

    A newer job takes the place of one that has not reached everybody: those who have not heard of that one hear of it
    first. `on_tip_served(seconds)` is told how long it took from a new block's first sight until every session
    had been written work on it.
    """

    def __init__(
        self,
        listeners: Callable[[], Collection[Listener]],
        *,
        clock: Callable[[], float],
        on_tip_served: Callable[[float], None],
        chunk: int = CHUNK,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._clock = clock
        self._on_tip_served = on_tip_served
        self._chunk = chunk
        self._queue: list[Listener] = []
        self._reached = 0  # of the queue, from its beginning
        self._next: asyncio.Handle | None = None
        self._late: set[Listener] = set()
        self._tip_seen_at: float | None = None  # while not everybody has work on the newest tip
        self._tip_left = 0  # so many at the front of what is left of the queue have none
        self._reached_all = asyncio.Event()
        self._reached_all.set()
        self.notice: Notice | None = None
        """The current job; None while there is no work."""

    @property
    def is_busy(self) -> bool:
        """Whether the current job has not reached everybody."""
        return self._next is not None

    async def reached_all(self, limit_s: float) -> None:
        """Wait until the current job has been written to everybody, but no longer than `limit_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._reached_all.wait()

    def serve(self, notice: Notice | None, seen_at: float | None = None) -> None:
        """Everybody is to have this job; `seen_at`: it is the first on a block that was first seen then (unix seconds).

        With None nothing is sent: whoever has a job may keep it, and who comes now waits for the next.
        """
        self.notice = notice
        if notice is None:
            self._queue, self._reached, self._tip_seen_at = [], 0, None
            self._late.clear()
            self._reached_all.set()
            return
        everybody = self._listeners()
        left = self._queue[self._reached :]
        if left:
            first = set(left)
            self._queue = left + [listener for listener in everybody if listener not in first]
        else:
            self._queue = list(everybody)
        self._reached = 0
        if seen_at is not None:
            self._tip_seen_at = seen_at
            self._tip_left = len(self._queue)
            self._late.clear()
        if self._next is None:
            self._write()

    def tell(self, listeners: Iterable[Listener]) -> None:
        """These have come from elsewhere: the current job is theirs too."""
        if self.notice is not None:
            self._queue += listeners
            if self._next is None:
                self._write()

    def leave(self, listeners: AbstractSet[Listener]) -> None:
        """These have gone elsewhere: whatever they were to hear of, they are not to hear of it any more."""
        left = self._queue[self._reached :]
        if left:
            waited_for = left[: max(self._tip_left, 0)]
            self._tip_left -= sum(listener in listeners for listener in waited_for)
            self._queue = [listener for listener in left if listener not in listeners]
            self._reached = 0
        self._late.difference_update(listeners)
        self._look_if_served()

    def late(self, listener: Listener) -> None:
        """One that had to wait can be told now."""
        if listener in self._late and self.notice is not None and listener.offer(self.notice, self._clock()):
            self.forget(listener)

    def forget(self, listener: Listener) -> None:
        """A session is gone, or knows the job; whoever is gone is not waited for."""
        if self._late:
            self._late.discard(listener)
            self._look_if_served()

    def _write(self) -> None:
        self._next = None
        notice = self.notice
        if notice is None:
            return
        now = self._clock()
        chunk = self._queue[self._reached : self._reached + self._chunk]
        for listener in chunk:
            if not listener.offer(notice, now):
                self._late.add(listener)
            elif self._late:
                self._late.discard(listener)
        self._reached += len(chunk)
        self._tip_left -= len(chunk)
        if self._reached < len(self._queue):
            self._reached_all.clear()
            self._next = self._loop.call_soon(self._write)
        else:
            self._queue, self._reached = [], 0
            self._reached_all.set()
        self._look_if_served()

    def _look_if_served(self) -> None:
        if self._tip_seen_at is not None and self._tip_left <= 0 and not self._late:
            # In the loop's next round, since uvloop sends what was written at the end of each.
            self._loop.call_soon(self._served, self._tip_seen_at)
            self._tip_seen_at = None

    def _served(self, seen_at: float) -> None:
        self._on_tip_served(self._clock() - seen_at)
