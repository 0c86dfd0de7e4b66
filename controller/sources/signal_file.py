"""Signals in files that others write: read again when they change, the last good content kept while one cannot be read."""

from __future__ import annotations

import logging
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from controller.sources.base import SourceError
from controller.sources.own_thread import OwnThread
from controller.sources.regular_file import Stamp, opened
from controller.sources.signal_windows import Timeline
from controller.validate import CLOCK_SKEW_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.sources.signal_text import Reading
    from controller.ticks import Tick

log = logging.getLogger(__name__)

MAX_BYTES: Final = 1024 * 1024


class SignalFile:
    """The source of one signal: what the file says, as `reading` understands it.

    A file that is missing, hangs, is half written or wrong changes nothing: what it last said holds on, and what is wrong is logged once. It
    ends a signal by saying `off`.
    """

    def __init__(self, name: str, file: Path, reading: Reading) -> None:
        self.name = f"file {name}"
        self._file = Path(file)
        self._reading = reading
        self._timeline = Timeline(name, self.name)
        self._seen: Stamp | None = None
        self._thread = OwnThread(self.name)
        self._trouble = ""
        self._read_at = -math.inf

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from ticks of an earlier run, so that what was taken out of the file meanwhile ends."""
        self._timeline.restore(ticks)

    async def read(self, now: float) -> list[Tick]:
        """The windows in force or to come, and the last one before. Raises SourceError where nothing good was ever read."""
        if (
            now < self._read_at - CLOCK_SKEW_S
        ):  # the clock was set back: times in the file may be to come again
            self._seen = None
        self._read_at = now
        try:
            stamp, text = await self._thread.call(partial(_changed, self._file, self._seen))
            if text is not None:
                # A plain "on" holds from when it was written, not from when it was read first.
                said_at = min(stamp.changed_ns / 1e9, now)
                self._timeline.say(self._reading.windows(text, said_at), now)
                self._seen = stamp
            self._trouble = ""
        except (OSError, ValueError, SourceError) as error:
            why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
            known = self._timeline.ticks(now)
            if not known:
                raise SourceError(f"{self._file}: {why}") from error
            if why != self._trouble:
                log.warning("signal_file_not_read", extra={"file": str(self._file), "error": why})
            self._trouble = why
            return known
        return self._timeline.ticks(now, seen_at=now)


def _changed(file: Path, seen: Stamp | None) -> tuple[Stamp, str | None]:
    """The file's stamp, and its text where the stamp is another than the one seen."""
    with opened(file) as found:
        return found.stamp, None if found.stamp == seen else found.read(MAX_BYTES).decode()
