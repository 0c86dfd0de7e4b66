"""Shares whose answer waits for a pool's word, and the connections that wait."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Protocol


class Waiter(Protocol):
    """A connection whose share waits."""

    def answered(self, token: int, error: tuple[int, str] | None, /) -> None:
        """The pool's word on it: no error, or a code and words."""
        ...


class Awaited:
    """Knows by token who waits for a pool's word; each is told once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[int, Waiter] = {}
        self._nobody = asyncio.Event()
        self._nobody.set()

    def __len__(self) -> int:
        return len(self._waiters)

    def wait(self, token: int, waiter: Waiter) -> None:
        """The share of this token waits; `waiter.answered` will be called, unless it is forgotten before."""
        self._waiters[token] = waiter
        self._nobody.clear()

    def answered(self, token: int, error: tuple[int, str] | None) -> None:
        """The pool's word on a share; nobody hears of one that nobody waits for.

        It may come while the share is still being handed in, before anybody can wait: so it is told in the loop's next round.
        """
        self._loop.call_soon(self._tell, token, error)

    def forget(self, tokens: Collection[int]) -> None:
        """Whoever waited for these has gone."""
        for token in tokens:
            self._waiters.pop(token, None)
        self._look()

    async def all_answered(self, limit_s: float) -> None:
        """Wait until nobody waits any more, but no longer than `limit_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._nobody.wait()

    def _tell(self, token: int, error: tuple[int, str] | None) -> None:
        waiter = self._waiters.pop(token, None)
        if waiter is not None:
            waiter.answered(token, error)
        self._look()

    def _look(self) -> None:
        if not self._waiters:
            self._nobody.set()
