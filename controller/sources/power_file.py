"""A file of power prices by interval, read again whenever it changes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from controller.sources.base import SourceError
from controller.sources.own_thread import OwnThread
from controller.sources.power_intervals import given_at, holes, holes_text
from controller.sources.power_table import PriceTable, TableError, read_table
from controller.sources.power_timeline import Quotes
from controller.sources.regular_file import Stamp, opened

if TYPE_CHECKING:
    from pathlib import Path

    from controller.sources.power_terms import PriceUnit
    from controller.sources.regular_file import RegularFile

LARGEST: Final = 16 * 1024 * 1024
QUIET_S: Final = 2.0
"""A file that changed within this time may be half written."""


class FileFeed:
    """Prices from a CSV or JSON file (see `power_table`); what was last read well stays while the file is not.

    A file is read once it was not written to for `QUIET_S`: one that grows line by line is whole at no moment that it shows.
    Where they are told `late`, when they are over, prices that ended are given for as long as they may be the last ones known.
    """

    def __init__(
        self,
        path: Path,
        *,
        unit: PriceUnit | None = None,
        complete: bool = False,
        late: bool = False,
        name: str = "file",
    ) -> None:
        self.name = name
        self._late = late
        self._path = path
        self._unit = unit
        self._complete = complete
        self._table: PriceTable | None = None
        self._read: Stamp | None = None
        self._fault = ""
        self._thread = OwnThread(f"file {path.name}")

    async def quotes(self, now: float) -> Quotes:
        """The prices in the file; SourceError where none were ever read."""
        try:
            fault = await self._thread.call(partial(self._look, now))
        except SourceError as error:
            fault = str(error)
        if self._table is None:
            raise SourceError(f"{self._path}: {fault}")
        problem = fault and f"{self._path}: {fault}; what it said before still counts"
        coming = given_at(self._table.intervals, now, late=self._late)
        if not problem and not coming:
            problem = f"{self._path}: all of its prices are of the past"
        if not problem:
            problem = holes_text(holes(coming, now))
        return Quotes(self._table.currency, coming, complete=self._complete, problem=problem)

    def _look(self, now: float) -> str:
        """Read the file if it changed; what is wrong with it, empty if nothing is.

        In a thread, one at a time; what a slow one finds out counts from the next tick on.
        """
        try:
            with opened(self._path) as file:
                if file.stamp == self._read:
                    return self._fault
                # Times of the future are another machine's clock: there is nothing to wait for.
                if self._table is not None and 0 <= now - file.stamp.changed_ns / 1e9 < QUIET_S:
                    return ""
                self._fault = self._taken(file)
                self._read = file.stamp
        except (OSError, ValueError) as error:
            return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
        return self._fault

    def _taken(self, file: RegularFile) -> str:
        """Take the file's prices; what is wrong with them, empty if nothing is. Raises OSError."""
        try:
            self._table = read_table(file.read(LARGEST).decode("utf-8-sig"), self._unit)
        except TableError as error:
            return str(error)
        except UnicodeDecodeError:
            return "it is no text in UTF-8"
        except ValueError as error:
            return f"it is {error}"
        return ""
