"""Recorded histories: prices and power modes from the text of CSV files; pure.

The header names the columns: `start_utc` (ISO 8601 with its offset, which must be zero) or `date` (a UTC day) for the time a row begins,
and one for the value. Other columns are left alone. A row holds until the next one begins, at most for the usual step of its file. Where
nothing is known nothing is guessed: holes and empty cells are named as gaps.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from controller.units import OFF, Mode, PowerCurve

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

USD_PER_MWH: Final = "usd_per_mwh"
HASHPRICE_USD_PER_PH_DAY: Final = "hashprice_usd_per_ph_day"
TIME_COLUMNS: Final = ("start_utc", "date")
"""The first of them that a file has is its time."""
SEVERAL: Final = "the file has several models"
LARGEST_USD_PER_MWH: Final = 100_000.0
DAY_S: Final = 86_400.0
QUARTER_S: Final = 900.0
LONGEST_GAP_S: Final = 3653 * DAY_S
MOST_TOLD: Final = 10
"""Faults told one by one; of more only the number is."""
USUAL_SHARE: Final = 0.02
"""A step that this part of the rows has is one of the file's, beside the usual one: markets went from hours to quarter hours."""


class RecordedError(ValueError):
    """A history that cannot be used; `problems` names each fault with its file, line and column."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        more = len(problems) - MOST_TOLD
        super().__init__("\n".join((*problems[:MOST_TOLD], *([f"and {more} more"] if more > 0 else []))))


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Values by time: `values[i]` holds from `starts[i]` (UTC unix seconds, rising) until the next row, for `step_s` at most.

    `name` says where they come from, for a person.
    """

    starts: NDArray[np.float64]
    values: NDArray[np.float64]
    step_s: float
    name: str = ""

    @property
    def gaps(self) -> tuple[str, ...]:
        """The holes between rows, each as a sentence."""
        return self.gaps_within(-math.inf, math.inf)

    def gaps_within(self, start: float, stop: float) -> tuple[str, ...]:
        """Those holes between rows that reach into [start, stop)."""
        begins, ends = self.starts[:-1] + self.step_s, self.starts[1:]
        holes = np.flatnonzero((ends > begins) & (begins < stop) & (ends > start))
        return tuple(
            f"{self.name}: nothing from {utc(begin)} to {utc(end)} ({end - begin:g} s)"
            for begin, end in zip(begins[holes].tolist(), ends[holes].tolist(), strict=True)
        )

    @property
    def end(self) -> float:
        """When the last row ends, UTC unix seconds."""
        return float(self.starts[-1]) + self.step_s

    def ends(self) -> NDArray[np.float64]:
        """When each row ends, UTC unix seconds."""
        ends: NDArray[np.float64] = np.minimum(self.starts + self.step_s, np.append(self.starts[1:], np.inf))
        return ends

    def between(self, start: float, stop: float) -> Series:
        """The rows that begin at `start` or later and before `stop`."""
        kept = (self.starts >= start) & (self.starts < stop)
        return Series(self.starts[kept], self.values[kept], self.step_s, self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Quarters:
    """Values by quarter hour: `values[i]` is that of the quarter hour `first + i` (numbered since 1970), NaN where it is not known."""

    first: int
    values: NDArray[np.float64]

    def over(self, first: int, count: int) -> NDArray[np.float64]:
        """The values of the `count` quarter hours from `first` on, NaN outside what is known."""
        found = np.full(count, np.nan)
        low, high = max(first, self.first), min(first + count, self.first + len(self.values))
        if low < high:
            found[low - first : high - first] = self.values[low - self.first : high - self.first]
        return found


def prices_of(text: str, column: str, name: str) -> Series:
    """The history of `column` in a CSV file's text; RecordedError with every fault, which says `name` for the file.

    An empty cell says that the value is not known then.
    """
    table = _Table(text, name)
    time_column = next((each for each in TIME_COLUMNS if each in table.header), None)
    if time_column is None:
        table.refuse(1, f"the header needs a column {' or '.join(TIME_COLUMNS)}")
    table.need(column)
    rows: list[tuple[float, float]] = []
    before: float | None = None
    for number, cells in table.rows():
        at = table.time(number, time_column, cells[time_column])
        value = table.number(number, column, cells[column]) if cells[column] else math.nan
        if at is None or value is None:
            continue
        if column == HASHPRICE_USD_PER_PH_DAY and value <= 0:
            table.fault(number, column, f"{cells[column]!r} is no hashprice: it must be above zero")
        if column == USD_PER_MWH and abs(value) > LARGEST_USD_PER_MWH:
            table.fault(number, column, f"{cells[column]!r} is no market's price of a MWh")
        if before is not None and at <= before:
            table.fault(number, time_column, "times must rise from row to row")
        if before is not None and at - before > LONGEST_GAP_S:
            table.fault(number, time_column, "more than ten years after the row before: a slip of the pen?")
        before = at
        rows.append((at, value))
    table.check(rows)
    steps = Counter(later - at for (at, _), (later, _) in pairwise(rows))
    if not steps and time_column != "date":
        table.refuse(2, "one row does not say how long it holds: give two at least")
    step_s = steps.most_common(1)[0][0] if steps else DAY_S
    usual = {step for step, count in steps.items() if count >= USUAL_SHARE * len(rows)}
    known = [row for row in _split(rows, step_s, usual) if not math.isnan(row[1])]
    if not known:
        table.refuse(1, f"column {column!r} has no values")
    starts, values = np.array(known, dtype=np.float64).T.copy()
    return Series(starts, values, step_s, name)


def modes_of(text: str, name: str, model: str | None = None) -> PowerCurve:
    """The power curve in a CSV file's text: one mode per row by `watts` and `th_s`; RecordedError with every fault.

    A file may hold several models, named by a column `model`: then one must be chosen. Modes are named by a column `mode`, else by their
    hashrate; `off` is added where it is missing.
    """
    table = _Table(text, name)
    table.need("watts")
    table.need("th_s")
    modes: list[Mode] = []
    models: dict[str, None] = {}
    for number, cells in table.rows():
        its = cells.get("model", "")
        models[its] = None
        watts, th_s = (table.number(number, column, cells[column]) for column in ("watts", "th_s"))
        if watts is None or th_s is None or (model is not None and its != model):
            continue
        try:
            modes.append(Mode(cells.get("mode") or (f"{th_s:g} TH/s" if th_s else OFF), th_s, watts))
        except ValueError as error:
            table.problems.append(f"{name}:{number}: {error}")
    told = ", ".join(repr(each) for each in models)
    if model is not None and model not in models and models:
        table.refuse(1, f"there is no model {model!r}: the file has {told}")
    if model is None and len(models) > 1:
        table.refuse(1, f"{SEVERAL}, choose one of them: {told}")
    table.check(modes)
    try:
        curve = PowerCurve(modes)
    except ValueError as error:
        raise RecordedError([f"{name}: {error}"]) from error
    idle = [mode.name for mode in curve.modes[1:] if not mode.watts > curve.off.watts]
    if idle:
        raise RecordedError([f"{name}: mode {idle[0]!r} must draw more than off, {curve.off.watts:g} W"])
    return curve


def on_quarters(series: Series) -> Quarters:
    """The history on the quarter hours: longer rows are repeated, shorter ones averaged over time; NaN where a part is not known."""
    first = math.floor(series.starts[0] / QUARTER_S)
    count = math.ceil(series.end / QUARTER_S) - first
    edges = (first + np.arange(count + 1)) * QUARTER_S
    ends = series.ends()
    if not np.any(series.starts % QUARTER_S) and not np.any(ends % QUARTER_S):
        index = np.searchsorted(series.starts, edges[:-1], side="right") - 1
        return Quarters(first, np.where(edges[:-1] < ends[index], series.values[index], np.nan))
    spans = ends - series.starts
    times = np.stack([series.starts, ends], 1).ravel()
    covered = np.stack([np.zeros_like(spans), spans], 1)
    covered[1:] += np.cumsum(spans)[:-1, None]
    summed = np.stack([np.zeros_like(spans), spans * series.values], 1)
    summed[1:] += np.cumsum(spans * series.values)[:-1, None]
    seconds = np.diff(np.interp(edges, times, covered.ravel()))
    # A millisecond is less than any feed's clock, and more than what adding up a decade of seconds loses.
    whole = seconds > QUARTER_S - 1e-3
    return Quarters(
        first, np.where(whole, np.diff(np.interp(edges, times, summed.ravel())) / QUARTER_S, np.nan)
    )


def parse_time(column: str, cell: str) -> float:
    """The time that a cell of the column `start_utc` or `date` says, UTC unix seconds; ValueError says what is wrong."""
    try:
        if column == "date":
            day = date.fromisoformat(cell)
            return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        at = datetime.fromisoformat(cell)
    except ValueError as error:
        raise ValueError(f"{cell!r} is not in ISO 8601") from error
    if at.utcoffset() != timedelta(0):
        raise ValueError(f"{cell!r} is not in UTC: write it as 2026-01-12T00:15:00Z")
    return at.timestamp()


def parse_moment(written: str) -> float:
    """A UTC day, or a time in ISO 8601 with its offset, which must be zero, in UTC unix seconds; ValueError says what is wrong."""
    return parse_time("start_utc" if ":" in written else "date", written)


def parse_number(cell: str) -> float:
    """The finite number that a cell says; ValueError says what is wrong."""
    try:
        value = float(cell)
    except ValueError as error:
        raise ValueError(f"{cell!r} is not a number") from error
    if not math.isfinite(value):
        raise ValueError(f"{cell!r} is not a finite number")
    return value


def utc(at: float) -> str:
    """A time in UTC unix seconds as people and files write it."""
    return f"{datetime.fromtimestamp(at, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


class _Table:
    """The lines of one file by the names of its columns, and what is wrong with them."""

    def __init__(self, text: str, name: str) -> None:
        self.problems: list[str] = []
        self._name = name
        try:
            self._lines = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
        except csv.Error as error:
            raise RecordedError([f"{name}: {error}"]) from error
        self.header = [cell.strip() for cell in self._lines[0]] if self._lines else []
        for column, count in Counter(self.header).items():
            if column and count > 1:
                self.refuse(1, f"column {column!r} is given more than once")

    def need(self, column: str) -> None:
        """Refuse a file without that column."""
        if column not in self.header:
            has = ", ".join(repr(each) for each in self.header) or "nothing"
            self.refuse(1, f"the header needs a column {column!r}, and has {has}")

    def rows(self) -> list[tuple[int, dict[str, str]]]:
        """Line number and cells of every row that is not empty and as wide as the header."""
        found: list[tuple[int, dict[str, str]]] = []
        for number, line in enumerate(self._lines[1:], start=2):
            cells = [cell.strip() for cell in line]
            if not any(cells):
                continue
            if len(cells) == len(self.header):
                found.append((number, dict(zip(self.header, cells, strict=True))))
            else:
                self.problems.append(
                    f"{self._name}:{number}: {len(cells)} cells, but the header has {len(self.header)}"
                )
        return found

    def time(self, number: int, column: str, cell: str) -> float | None:
        """The time in a cell; None where that is a fault."""
        try:
            return parse_time(column, cell)
        except ValueError as error:
            self.fault(number, column, str(error))
            return None

    def number(self, number: int, column: str, cell: str) -> float | None:
        """The number in a cell; None where that is a fault."""
        try:
            return parse_number(cell)
        except ValueError as error:
            self.fault(number, column, str(error))
            return None

    def fault(self, number: int, column: str, what: str) -> None:
        """Note what is wrong with a cell."""
        self.problems.append(f"{self._name}:{number}: column {column!r}: {what}")

    def refuse(self, number: int, what: str) -> NoReturn:
        """Give up at what makes the rest useless."""
        raise RecordedError([f"{self._name}:{number}: {what}"])

    def check(self, rows: Sequence[object]) -> None:
        """Refuse a file with faults, or without rows."""
        if not rows and not self.problems:
            self.problems.append(f"{self._name}: the file has no rows")
        if self.problems:
            raise RecordedError(self.problems)


def _split(
    rows: Sequence[tuple[float, float]], step_s: float, usual: Collection[float]
) -> list[tuple[float, float]]:
    """The rows, those of a stretch with another, longer step as several of the usual one; a single longer step is a hole."""
    steps = [later - at for (at, _), (later, _) in pairwise(rows)]
    found: list[tuple[float, float]] = []
    for index, (at, value) in enumerate(rows):
        # Of the last row nothing tells how long it holds but the one before.
        step = steps[min(index, len(steps) - 1)] if steps else step_s
        neighbours = (*steps[max(index - 1, 0) : index], *steps[index + 1 : index + 2])
        parts = int(step / step_s) if step in usual and step in neighbours and step % step_s == 0 else 1
        found.extend((at + part * step_s, value) for part in range(max(parts, 1)))
    return found
