"""Time that is stepped while nothing is under way, so that a controller over real sources and a real ledger decides the same each time."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from typing import TYPE_CHECKING, Any, Final

from controller.sources.base import Restorable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.sources.base import Source
    from controller.ticks import Tick
    from miner.control_journal import LedgerJournal

SETTLED_S: Final = 20.0
"""Of real time: nothing that one step of the clock starts takes longer."""


class SteppedTime:
    """A clock that stands still until it is stepped, and sleep by it."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), wake))
        await wake

    def next_at(self) -> float:
        """When the next sleeper wakes; never, where nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else float("inf")

    def step_to(self, now: float) -> None:
        assert now >= self.now
        self.now = now
        while self.next_at() <= now:
            heapq.heappop(self._sleepers)[2].set_result(None)


class Busy:
    """Counts what is under way outside of the event loop: only when nothing is may the clock be stepped."""

    def __init__(self) -> None:
        self._count = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def settle(self) -> None:
        """Return when nothing is under way and nobody in this event loop has anything left to do at this time."""
        loop: Any = asyncio.get_running_loop()
        async with asyncio.timeout(SETTLED_S):
            quiet = 0
            while quiet < 3:
                await asyncio.sleep(0 if self._count == 0 else 0.0005)
                quiet = quiet + 1 if self._count == 0 and not loop._ready else 0


class BusySource:
    def __init__(self, source: Source, busy: Busy) -> None:
        self.name = source.name
        self._source = source
        self._busy = busy

    async def read(self, now: float) -> list[Tick]:
        with self._busy():
            return await self._source.read(now)

    def restore(self, ticks: Iterable[Tick]) -> None:
        if isinstance(self._source, Restorable):
            self._source.restore(ticks)

    async def close(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            await close()


class BusyJournal:
    """The ledger's journal, counted; any of its calls."""

    def __init__(self, journal: LedgerJournal, busy: Busy) -> None:
        self._journal = journal
        self._busy = busy

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._journal, name)

        async def counted(*args: Any) -> Any:
            with self._busy():
                return await call(*args)

        return counted
