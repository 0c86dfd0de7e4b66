"""A table of power prices as CSV or JSON, from a file or the web, read into intervals; pure.

Columns, or keys of each object: `start_utc` or `start` (ISO 8601 with an offset), `end_utc` or `end` (absent: up to the next row, as long
as rows usually last), and one price, named by its unit (`usd_per_mwh`, `eur_per_kwh`, `pence_per_kwh`, ...) or just `price`
where the unit is told beside. A row without a price says that none is known.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from controller.sources.power_intervals import Interval, from_starts, tidy
from controller.sources.power_terms import PriceUnit, price_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STARTS: Final = ("start_utc", "start")
ENDS: Final = ("end_utc", "end")
PRICE: Final = "price"
MOST_FAULTS: Final = 5


class TableError(ValueError):
    """A table that cannot be used; the message names its first faults with their rows and columns."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices per kWh in `currency`, by time and without overlaps."""

    currency: str
    intervals: tuple[Interval, ...]


def read_table(text: str, unit: PriceUnit | None = None) -> PriceTable:
    """The prices in `text`; `unit` is that of a column `price`. Of rows for the same time the last counts. Raises TableError."""
    stripped = text.lstrip("\ufeff \t\r\n")
    if not stripped:
        raise TableError("it is empty")
    if stripped[0] == "<":
        raise TableError("it is a page of HTML or XML, not a table of prices")
    return _Reader(unit).read(_json_rows(stripped) if stripped[0] in "[{" else _csv_rows(stripped))


def _csv_rows(text: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise TableError(f"it is no CSV: {error}") from error
    header = [cell.strip() for cell in lines[0]]
    if len(set(header)) < len(header):
        raise TableError("line 1: a column is given more than once")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise TableError(f"line {number}: {len(cells)} cells, but the header has {len(header)}")
        rows.append((f"line {number}", dict(zip(header, (cell.strip() for cell in cells), strict=True))))
    if not rows:
        raise TableError("it has no rows: the first line names the columns, like start_utc,usd_per_mwh")
    return rows


def _json_rows(text: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TableError("it is not JSON, or cut off") from error
    if isinstance(document, dict):  # wrapped as {"prices": [...]}
        lists = [value for value in document.values() if isinstance(value, list)]
        document = lists[0] if len(lists) == 1 else None
    if not isinstance(document, list) or not document or not all(isinstance(row, dict) for row in document):
        raise TableError("it must be a list of objects, each with start_utc and a price")
    return [(f"item {number}", row) for number, row in enumerate(document, start=1)]


class _Reader:
    """Turns rows into intervals, collecting what is wrong with them."""

    def __init__(self, unit: PriceUnit | None) -> None:
        self._unit = unit
        self._faults: list[str] = []

    def read(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> PriceTable:
        names = list(dict.fromkeys(name for _, row in rows for name in row))
        start_column, end_column = _one(names, STARTS), _one(names, ENDS)
        column, unit = self._price_column(names)
        if start_column is None:
            raise TableError(f"there is no column {' or '.join(STARTS)}, only {', '.join(names[:6])}")
        found: list[tuple[float, float | None, float | None]] = []
        for place, row in rows:
            try:
                start = _time(row.get(start_column), start_column)
                ends = row.get(end_column) if end_column else None
                end = None if ends in {None, ""} else _time(ends, end_column or "")
                price = _number(row.get(column), column)
                if end is not None and end <= start:
                    raise ValueError(f"{end_column} is not after {start_column}")
            except ValueError as error:
                self._faults.append(f"{place}: {error}")
            else:
                found.append((start, end, None if price is None else price * unit.per_kwh))
        if self._faults:
            more = len(self._faults) - MOST_FAULTS
            raise TableError(
                "; ".join(self._faults[:MOST_FAULTS]) + (f"; and {more} more" if more > 0 else "")
            )
        return PriceTable(unit.currency, _intervals(found))

    def _price_column(self, names: Sequence[str]) -> tuple[str, PriceUnit]:
        units: dict[str, PriceUnit] = {}
        for name in names:
            try:
                units[name] = price_unit(name)
            except ValueError:
                continue  # any other column, a comment for example
        if PRICE in names and self._unit is not None:
            units[PRICE] = self._unit
        if len(units) == 1:
            return next(iter(units.items()))
        if units:
            raise TableError(f"there are several prices, {', '.join(units)}: one is enough")
        if PRICE in names:
            raise TableError(
                'the unit of "price" is not known: set unit, or name the column like eur_per_mwh'
            )
        raise TableError(
            f"there is no price: name a column like usd_per_mwh; there are {', '.join(names[:6])}"
        )


def _intervals(found: Sequence[tuple[float, float | None, float | None]]) -> tuple[Interval, ...]:
    """Rows with an end as they are, those without up to the next; in the order given, so that the last wins."""
    open_ended = [(start, price) for start, end, price in found if end is None]
    try:
        lasting = {each.start: each for each in from_starts(open_ended)}
    except ValueError as error:
        raise TableError(str(error)) from error
    rows = []
    for start, end, price in found:
        if end is None and start in lasting:
            rows.append(lasting[start])
        elif end is not None and price is not None:
            rows.append(Interval(start, end, price))
    return tidy(rows)


def _one(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _time(value: object, column: str) -> float:
    try:
        at = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f'{column}: "{str(value)[:40]}" is no time in ISO 8601') from None
    if at.tzinfo is None:
        raise ValueError(f'{column}: "{str(value)[:40]}" names no offset: write it like 2026-01-12T00:15:00Z')
    return at.timestamp()


def _number(value: object, column: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError  # noqa: TRY004 - told below, like everything that is no number
        number = float(value)
    except ValueError:
        raise ValueError(f'{column}: "{str(value)[:40]}" is no number') from None
    if not math.isfinite(number):
        raise ValueError(f'{column}: "{str(value)[:40]}" is no finite number')
    return number
