"""A price tape: recorded numbers from a CSV file, replayed at a chosen speed from a chosen start.

The file names its columns. One of them is the time of each row: `start_utc` (ISO 8601 with its offset, which must be zero),
`date` (a UTC day) or `offset_s` (seconds on the tape). The others are any of `COLUMNS`. An empty cell says that the value is
not known then: the series gives no tick and grows old, as a feed that fell silent would.

Day-ahead prices are the one thing a tape tells of the time to come, as far as they would have been published: ten hours of tape.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from controller.recorded import parse_number, parse_time, utc
from controller.ticks import (
    BTC_USD,
    DIFFICULTY,
    FEES,
    HASHPRICE,
    POWER,
    POWER_DAY_AHEAD,
    SUBSIDY,
    UNITS,
    Tick,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLUMNS: Final[Mapping[str, tuple[str, float]]] = {
    "usd_per_mwh": (POWER, 0.001),
    "usd_per_kwh": (POWER, 1.0),
    "day_ahead_usd_per_mwh": (POWER_DAY_AHEAD, 0.001),
    "btc_usd": (BTC_USD, 1.0),
    "difficulty": (DIFFICULTY, 1.0),
    "subsidy_sat": (SUBSIDY, 1.0),
    "fees_sat": (FEES, 1.0),
    "hashprice_usd_per_ph_day": (HASHPRICE, 1.0),
}
"""Columns of a tape: the series each gives, and the factor to its unit."""

TIME_COLUMNS: Final = ("start_utc", "date", "offset_s")

PUBLISHED_S: Final = 10 * 3600.0
"""Day-ahead prices are known so far ahead at any time: auctions publish before 14:00 the day before."""
MOST_AHEAD: Final = 600
"""Rows told ahead at most: ten hours of minutes."""


class TapeError(ValueError):
    """A tape that cannot be used; `problems` names each fault with its file, line and column."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Row:
    """What the tape says from `start_s` (tape seconds) until `end_s`: series to value."""

    start_s: float
    end_s: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Tape:
    """Rows by time, the first at 0 s.

    `begins_at` is the first row's time in UTC unix seconds, None for a tape of offsets. `gaps` name the holes between rows that
    are further apart than the others: nothing is known there, and nothing is guessed.
    """

    rows: tuple[Row, ...]
    gaps: tuple[str, ...]
    begins_at: float | None

    @property
    def length_s(self) -> float:
        """Tape seconds from the first row's start to the last one's end."""
        return self.rows[-1].end_s

    @property
    def series(self) -> frozenset[str]:
        """All series that have a value somewhere on the tape."""
        return frozenset(series for row in self.rows for series in row.values)

    def row_at(self, tape_s: float) -> Row | None:
        """The row in force at that tape time; None before the first row and in a gap."""
        index = bisect_right(self.rows, tape_s, key=lambda row: row.start_s) - 1
        if index < 0 or tape_s >= self.rows[index].end_s:
            return None
        return self.rows[index]


class TapeSource:
    """Plays a tape: tape time is `start_at_s` at `started` (unix seconds), and passes `speed` times as fast as the clock.

    At the end it holds the last row for ever, or begins again if `loop`. It never shows what is yet to come but for day-ahead prices
    that are published, which come as intervals.
    """

    def __init__(
        self,
        tape: Tape,
        started: float,
        *,
        speed: float = 1.0,
        start_at_s: float = 0.0,
        loop: bool = False,
        name: str = "tape",
    ) -> None:
        if not (speed > 0 and math.isfinite(speed)):
            raise ValueError(f"speed must be above zero, not {speed}")
        if not 0 <= start_at_s <= tape.length_s:
            raise ValueError(f"the tape has {tape.length_s:g} s; it cannot start at {start_at_s:g}")
        self.name = name
        self._tape = tape
        self._started = started
        self._speed = speed
        self._start_at_s = start_at_s
        self._loop = loop and math.isfinite(tape.length_s)
        self._tells_ahead = POWER_DAY_AHEAD in tape.series

    @property
    def series(self) -> frozenset[str]:
        """All series it gives at some time."""
        return self._tape.series

    def tape_time(self, now: float) -> float:
        """Seconds on the tape at `now`, counted on over loops."""
        return self._start_at_s + (now - self._started) * self._speed

    async def read(self, now: float) -> list[Tick]:
        """The values of the row in force, observed now, and the day-ahead prices of the rows to come."""
        played = self.tape_time(now)
        length_s = self._tape.length_s
        turn = math.floor(played / length_s) if self._loop else 0
        over = not self._loop and played >= length_s
        found: list[Tick] = []
        row = self._tape.rows[-1] if over else self._tape.row_at(played - self._origin(turn))
        if row is not None:
            begun = min(self._at(turn, row.start_s), now)
            end = math.inf if over else self._at(turn, row.end_s)
            found = [
                self._tick(series, value, begun, end if series == POWER_DAY_AHEAD else math.inf, now)
                for series, value in row.values.items()
            ]
        if self._tells_ahead and not over:
            found += self._ahead(turn, played, now)
        return found

    def _ahead(self, turn: int, played: float, now: float) -> Iterator[Tick]:
        """The day-ahead prices of the rows that begin within `PUBLISHED_S` of tape, each as known since it was published."""
        rows = self._tape.rows
        first = bisect_right(rows, played - self._origin(turn), key=lambda row: row.start_s)
        for number in range(first, first + MOST_AHEAD):
            laps, index = divmod(number, len(rows))
            if laps and not self._loop:
                return
            row, start = rows[index], self._at(turn + laps, rows[index].start_s)
            known_at = start - PUBLISHED_S / self._speed
            if known_at > now:
                return
            if POWER_DAY_AHEAD in row.values:
                value, end = row.values[POWER_DAY_AHEAD], self._at(turn + laps, row.end_s)
                yield self._tick(POWER_DAY_AHEAD, value, start, end, max(known_at, self._started))

    def _origin(self, turn: int) -> float:
        """The tape time at which that turn of a loop begins."""
        return turn * self._tape.length_s if turn else 0.0

    def _at(self, turn: int, tape_s: float) -> float:
        """When that second of the tape is played in that turn."""
        return self._started + (self._origin(turn) + tape_s - self._start_at_s) / self._speed

    def _tick(self, series: str, value: float, start: float, end: float, seen_at: float) -> Tick:
        return Tick(series, value, UNITS[series], start, end, seen_at, self.name)


def load_tape(path: Path | str) -> Tape:
    """Read a tape; TapeError with every fault at once, OSError if the file cannot be read."""
    file = Path(path)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return _Reader(str(file)).read(list(csv.reader(lines)))
    except UnicodeDecodeError as error:
        raise TapeError([f"{file}: not a text file in UTF-8"]) from error
    except csv.Error as error:
        raise TapeError([f"{file}: {error}"]) from error


class _Reader:
    """Turns the lines of one file into a tape, collecting what is wrong with them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: list[str] = []

    def read(self, lines: Sequence[Sequence[str]]) -> Tape:
        header = [cell.strip() for cell in lines[0]] if lines else []
        time_column = self._check_header(header)
        rows: list[tuple[int, float, dict[str, float]]] = []
        for number, cells in enumerate(lines[1:], start=2):
            if any(cell.strip() for cell in cells):
                row = self._row(number, header, time_column, cells)
                if row is not None:
                    rows.append((number, *row))
        for (_, before, _), (number, at, _) in pairwise(rows):
            if at <= before:
                self._fault(number, time_column, "times must rise from row to row")
        if not rows and not self._problems:
            self._problems.append(f"{self._file}: the tape has no rows")
        if self._problems:
            raise TapeError(self._problems)
        return self._tape(time_column, rows)

    def _check_header(self, header: Sequence[str]) -> str:
        times = [column for column in header if column in TIME_COLUMNS]
        known = [column for column in header if column in COLUMNS]
        for column in header:
            if column not in COLUMNS and column not in TIME_COLUMNS:
                self._fault(1, column, f"unknown; known are {', '.join((*TIME_COLUMNS, *COLUMNS))}")
        for column, count in Counter(header).items():
            if count > 1:
                self._fault(1, column, "given more than once")
        if "usd_per_mwh" in known and "usd_per_kwh" in known:
            self._fault(1, "usd_per_kwh", "given beside usd_per_mwh; one of them is enough")
        if len(times) != 1:
            self._problems.append(f"{self._file}:1: the header needs one of {', '.join(TIME_COLUMNS)}")
        if not known:
            self._problems.append(f"{self._file}:1: the header needs one of {', '.join(COLUMNS)}")
        if self._problems:
            raise TapeError(self._problems)
        return times[0]

    def _row(
        self, number: int, header: Sequence[str], time_column: str, cells: Sequence[str]
    ) -> tuple[float, dict[str, float]] | None:
        if len(cells) != len(header):
            self._problems.append(
                f"{self._file}:{number}: {len(cells)} cells, but the header has {len(header)}"
            )
            return None
        at: float | None = None
        values: dict[str, float] = {}
        for column, raw in zip(header, cells, strict=True):
            cell = raw.strip()
            try:
                if column == time_column:
                    at = _parse_time(column, cell)
                elif cell:
                    series, factor = COLUMNS[column]
                    values[series] = parse_number(cell) * factor
            except ValueError as error:
                self._fault(number, column, str(error))
        return None if at is None else (at, values)

    def _tape(self, time_column: str, rows: Sequence[tuple[int, float, dict[str, float]]]) -> Tape:
        origin = 0.0 if time_column == "offset_s" else rows[0][1]
        steps = [later - earlier for (_, earlier, _), (_, later, _) in pairwise(rows)]
        usual = Counter(steps).most_common(1)[0][0] if steps else math.inf
        regular = time_column != "offset_s"
        gaps: list[str] = []
        ends: list[float] = []
        for (_, at, _), (number, later, _) in pairwise(rows):
            hole = regular and later - at > usual
            ends.append(at + usual if hole else later)
            if hole:
                gaps.append(
                    f"{self._file}:{number}: nothing from {utc(at + usual)} to {utc(later)} ({later - at - usual:g} s)"
                )
        last = rows[-1][1]
        ends.append(last + (usual if regular else (steps[-1] if steps else math.inf)))
        return Tape(
            rows=tuple(
                Row(at - origin, end - origin, values)
                for (_, at, values), end in zip(rows, ends, strict=True)
            ),
            gaps=tuple(gaps),
            begins_at=None if time_column == "offset_s" else origin,
        )

    def _fault(self, number: int, column: str, what: str) -> None:
        self._problems.append(f"{self._file}:{number}: column {column!r}: {what}")


def _parse_time(column: str, cell: str) -> float:
    if column != "offset_s":
        return parse_time(column, cell)
    offset = parse_number(cell)
    if offset < 0:
        raise ValueError(f"{cell!r} is below zero")
    return offset
