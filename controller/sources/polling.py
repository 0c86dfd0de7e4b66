"""Something asked at its own pace: its last good value with the time it was seen, and what is wrong with it now."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from controller.sources.base import SourceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S: Final = 60.0
"""What failed is asked again after this, or after its own pace if that is faster."""
SLACK: Final = 0.05
"""Part of the pace that a question may come early: ticks are not exactly their distance apart."""


class Poll(Generic[T]):
    """Asks `fetch(now)` at most every `every_s` seconds, when it is read, and keeps what it gave.

    A failure leaves the last good value as it is. It is logged when it begins and when it is over, not every time. Of several
    that read at once one asks and the others wait for its answer.
    """

    def __init__(self, name: str, every_s: float, fetch: Callable[[float], Awaitable[T]]) -> None:
        if not every_s > 0:
            raise ValueError(f"every_s must be above zero, not {every_s}")
        self.name: Final = name
        self.value: T | None = None
        self.error: str = ""
        """What went wrong the last time it was asked; empty when all is well."""
        self._every_s = every_s
        self._fetch = fetch
        self._asked_at = -math.inf
        self._asking = asyncio.Lock()

    def restore(self, value: T) -> None:
        """Go on from the last good value of an earlier run; it is asked anew all the same, as the question may be another by now."""
        if self.value is None:
            self.value = value

    async def read(self, now: float) -> T | None:
        """The last good value, asked for anew where it is time; None where there never was one. Raises nothing of its own."""
        async with self._asking:
            if self._is_due(now):
                await self._ask(now)
            return self.value

    def _is_due(self, now: float) -> bool:
        pace_s = min(self._every_s, RETRY_S) if self.error else self._every_s
        # A clock that was put back makes everything due.
        return not self._asked_at <= now < self._asked_at + pace_s * (1 - SLACK)

    async def _ask(self, now: float) -> None:
        self._asked_at = now
        failed_before = bool(self.error)
        try:
            self.value = await self._fetch(now)
        except (SourceError, OSError, TimeoutError, ValueError) as error:
            self._failed(str(error) or type(error).__name__, before=failed_before)
        except asyncio.CancelledError:
            self._failed("no answer in time", before=failed_before)
            raise
        else:
            self.error = ""
            if failed_before:
                log.info("feed_back", extra={"feed": self.name})

    def _failed(self, why: str, *, before: bool) -> None:
        self.error = why
        if not before:
            log.warning("feed_failed", extra={"feed": self.name, "error": why})
