"""A file of power prices by interval, read again whenever it changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from controller.sources.base import SourceError
from controller.sources.power_intervals import holes, holes_text
from controller.sources.power_table import PriceTable, TableError, read_table
from controller.sources.power_timeline import Quotes

if TYPE_CHECKING:
    from pathlib import Path

    from controller.sources.power_terms import PriceUnit

LARGEST: Final = 16 * 1024 * 1024
QUIET_S: Final = 2.0
"""A file that changed within this time may be half written."""

_Stamp = tuple[int, int, int]


class FileFeed:
    """Prices from a CSV or JSON file (see `power_table`); what was last read well stays while the file is not.

    A file is read once it was not written to for `QUIET_S`: one that grows line by line is whole at no moment that it shows.
    """

    def __init__(
        self, path: Path, *, unit: PriceUnit | None = None, complete: bool = False, name: str = "file"
    ) -> None:
        self.name = name
        self._path = path
        self._unit = unit
        self._complete = complete
        self._table: PriceTable | None = None
        self._read: _Stamp | None = None
        self._fault = ""

    async def quotes(self, now: float) -> Quotes:
        """The prices in the file; SourceError where none were ever read."""
        fault = await asyncio.to_thread(self._look, now)
        if self._table is None:
            raise SourceError(f"{self._path}: {fault}")
        problem = fault and f"{self._path}: {fault}; what it said before still counts"
        coming = tuple(each for each in self._table.intervals if each.end > now)
        if not problem and not coming:
            problem = f"{self._path}: all of its prices are of the past"
        if not problem:
            problem = holes_text(holes(coming, now))
        return Quotes(self._table.currency, coming, complete=self._complete, problem=problem)

    def _look(self, now: float) -> str:
        """Read the file if it changed; what is wrong with it, empty if nothing is."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._read:
                return self._fault
            # Times of the future are another machine's clock: there is nothing to wait for.
            if self._table is not None and 0 <= now - stat.st_mtime < QUIET_S:
                return ""
            if stat.st_size > LARGEST:
                self._fault = f"it is larger than {LARGEST} bytes"
            else:
                self._table = read_table(self._path.read_text(encoding="utf-8-sig"), self._unit)
                self._fault = ""
        except TableError as error:
            self._fault = str(error)
        except UnicodeDecodeError:
            self._fault = "it is no text in UTF-8"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        self._read = stamp
        return self._fault
