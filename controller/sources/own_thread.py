"""Calls that may never come back, as the reading of a file on a share that hangs: each caller loses one thread to them, nobody else any."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar

from controller.sources.base import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

WAIT_S: Final = 5.0
"""A file that is not read within this time is on a share that hangs, or as good as."""


class OwnThread:
    """Makes one call at a time, each in a thread that nobody else needs; `name` is the thread's.

    The event loop's pool is not for such calls: it has few threads, which others wait for, and a process does not end before each of
    them has. A thread of ours is a daemon: the process ends without it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._under_way: Future[Any] | None = None

    async def call(self, work: Callable[[], T], wait_s: float | None = WAIT_S) -> T:
        """What `work()` gives or raises; None waits for it as long as it takes.

        Raises SourceError where it is not done within `wait_s`, and at once while an earlier call still is not: that one goes on,
        and what it gives is lost.
        """
        if self._under_way is not None and not self._under_way.done():
            raise SourceError("still reading: the last try has not come back; does its file system hang?")
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # from here on whoever stops waiting does not stop it
        thread = Thread(target=_settle, args=(done, work), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise SourceError(f"no thread can be started: {error}") from error
        self._under_way = done
        try:
            return await asyncio.wait_for(asyncio.wrap_future(done), wait_s)
        except TimeoutError as error:
            if done.done():  # it came in the last moment, or the error is its own
                return done.result()
            raise SourceError(f"not read within {wait_s:g} s; does its file system hang?") from error


def _settle(done: Future[T], work: Callable[[], T]) -> None:
    try:
        given = work()
    except BaseException as error:  # noqa: BLE001 - whoever waits raises it
        done.set_exception(error)
    else:
        done.set_result(given)
