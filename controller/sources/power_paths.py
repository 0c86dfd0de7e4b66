"""Any other feed of power prices: where in its JSON answer the prices and their times stand; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.sources import jsonpath
from controller.sources.power_intervals import Interval, from_starts, tidy
from controller.sources.power_shapes import Said, ShapeError, document, local_time
from controller.sources.power_table import TableError, read_table

if TYPE_CHECKING:
    from datetime import tzinfo

    from controller.sources.power_terms import PriceUnit


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths to the price or prices, to their starts and ends, or to the `time` that a price of the moment was made at.

    Without `start` it is a price of the moment. `zone` is the clock of times without an offset; `step_s` how long each price holds
    where there is no `end`, None: up to the next.
    """

    price: str
    unit: PriceUnit
    zone: tzinfo
    start: str = ""
    end: str = ""
    time: str = ""
    step_s: float | None = None

    def __call__(self, text: str, _area: str) -> Said:
        """What an answer says. Raises ShapeError."""
        answer = document(text)
        try:
            return self._intervals(answer) if self.start else self._moment(answer)
        except ShapeError:
            raise
        except ValueError as error:
            raise ShapeError(str(error)) from error

    def _moment(self, answer: Any) -> Said:
        price = jsonpath.number_at(answer, self.price) * self.unit.per_kwh
        seen_at = self._time(jsonpath.one(answer, self.time)) if self.time else None
        return Said(self.unit.currency, latest=price, seen_at=seen_at)

    def _intervals(self, answer: Any) -> Said:
        prices, starts = jsonpath.find(answer, self.price), jsonpath.find(answer, self.start)
        ends = jsonpath.find(answer, self.end) if self.end else None
        if len(prices) != len(starts) or (ends is not None and len(ends) != len(starts)):
            counts = f"{len(prices)} prices, {len(starts)} starts"
            raise ShapeError(
                f"the paths lead to {counts}" + (f", {len(ends)} ends" if ends is not None else "")
            )
        values = [None if price is None else jsonpath.number(price) * self.unit.per_kwh for price in prices]
        begins = [self._time(start) for start in starts]
        if ends is None:
            return Said(self.unit.currency, from_starts(zip(begins, values, strict=True), self.step_s))
        found = [
            Interval(start, self._time(end), value)
            for start, end, value in zip(begins, ends, values, strict=True)
            if value is not None
        ]
        return Said(self.unit.currency, tidy(found))

    def _time(self, value: Any) -> float:
        is_text = isinstance(value, str) and not value.strip().lstrip("-").replace(".", "", 1).isdecimal()
        return local_time(value, self.zone) if is_text else jsonpath.time_of(value)


@dataclass(frozen=True, slots=True)
class Table:
    """An answer that is a table as [power.file] reads it; `unit` is that of a column `price`."""

    unit: PriceUnit | None = None

    def __call__(self, text: str, _area: str) -> Said:
        """What an answer says. Raises ShapeError."""
        try:
            table = read_table(text, self.unit)
        except TableError as error:
            raise ShapeError(str(error)) from error
        return Said(table.currency, table.intervals)
