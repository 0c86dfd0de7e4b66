"""Signals as text: what a message or a file says, in plain words, JSON or CSV, as windows; does no input or output.

Plain: `on`, `off`, or a number, which is kW for a cap and else on unless it is 0. JSON: an object with `active`, `start`, `until` or
`minutes` and `cap_kw`, each of them optional, or a list of such objects; with a path, the value there is taken as plain. CSV: columns
`start_utc`, `end_utc` and, for a cap, `cap_kw`. The whole text is the whole truth: what it does not say is over.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from controller.signals import SHORTEST_S
from controller.sources import jsonpath
from controller.sources.signal_windows import MOST_WINDOWS, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

ON: Final = frozenset({"on", "true", "active", "yes", "start"})
OFF: Final = frozenset({"off", "false", "inactive", "no", "stop", "end"})
KEYS: Final = ("active", "start", "until", "minutes", "cap_kw")
COLUMNS: Final = ("start_utc", "end_utc", "cap_kw")
LONGEST_SHOWN: Final = 40
BYTE_ORDER_MARK: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a signal's text is read.

    `limits`: it is a cap and its text may name the kW, `cap_kw` where it names none. `path` leads to the value in JSON of another's
    making. `longest_s`: what names no end is over after this time.
    """

    limits: bool = False
    cap_kw: float | None = None
    path: str | None = None
    longest_s: float = math.inf

    def windows(self, text: str, now: float) -> list[Window]:
        """What the text says, windows that are over left out; `now` is when it is read, or was said.

        Raises ValueError that says what is wrong and where.
        """
        bare = text.removeprefix(BYTE_ORDER_MARK).strip()
        if not bare:
            raise ValueError('it is empty: "off" is how nothing is said')
        if self.path is not None:
            return self._plain(_json(bare, self.path), now)
        if bare[0] in "{[":
            return self._document(_parsed(bare), now)
        header = [cell.strip() for cell in bare.splitlines()[0].split(",")]
        if "start_utc" in header:
            return self._table(bare, now)
        return self._plain(bare, now)

    def _plain(self, value: Any, now: float) -> list[Window]:
        if isinstance(value, bool):
            return [self._window(now, None, None, now)] if value else []
        word = value.strip().lower() if isinstance(value, str) else ""
        if word in OFF:
            return []
        if word in ON:
            return [self._window(now, None, None, now)]
        try:
            number = jsonpath.number(value)
        except ValueError:
            raise ValueError(f'{_short(value)} is not "on", "off" or a number') from None
        if self.limits:
            return [self._window(now, None, number, now)]
        return [self._window(now, None, None, now)] if number else []

    def _document(self, document: Any, now: float) -> list[Window]:
        items = document if isinstance(document, list) else [document]
        if len(items) > MOST_WINDOWS:
            raise ValueError(f"{len(items)} windows are more than {MOST_WINDOWS}")
        found = []
        for position, item in enumerate(items):
            where = f"[{position}]: " if isinstance(document, list) else ""
            try:
                found.append(self._object(item, now))
            except ValueError as error:
                raise ValueError(f"{where}{error}") from None
        return [window for window in found if window is not None]

    def _object(self, item: Any, now: float) -> Window | None:
        if not isinstance(item, dict):
            raise ValueError(f"{_short(item)} is no object with {', '.join(KEYS)}")  # noqa: TRY004 - the text is wrong, not the code
        for key in item:
            if key not in KEYS:
                raise ValueError(f"{_short(key)} is unknown: known are {', '.join(KEYS)}")
        given = {key: value for key, value in item.items() if value is not None}
        if not isinstance(given.get("active", True), bool):
            raise ValueError("active must be true or false")  # noqa: TRY004 - the text is wrong, not the code
        if not given.get("active", True):
            return None
        if "until" in given and "minutes" in given:
            raise ValueError("until and minutes are both given: keep one")
        start = _named("start", jsonpath.time_of, given, now)
        stop: float | None = None
        if "until" in given:
            stop = _named("until", jsonpath.time_of, given, now)
        elif "minutes" in given:
            stop = start + 60 * _named("minutes", jsonpath.number, given, 0.0)
        cap_kw = _named("cap_kw", jsonpath.number, given, 0.0) if "cap_kw" in given else None
        return self._checked(start, stop, cap_kw, now)

    def _table(self, text: str, now: float) -> list[Window]:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
        header = rows[0]
        for column in header:
            if column not in COLUMNS or header.count(column) > 1:
                raise ValueError(
                    f"line 1: column {_short(column)}: known, once each, are {', '.join(COLUMNS)}"
                )
        if "end_utc" not in header:
            raise ValueError("line 1: the column end_utc is missing")
        if len(rows) > MOST_WINDOWS + 1:
            raise ValueError(f"{len(rows) - 1} windows are more than {MOST_WINDOWS}")
        found = []
        for line, cells in enumerate(rows[1:], start=2):
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise ValueError(f"line {line}: {len(cells)} cells, but the header has {len(header)}")
            row = {column: cell for column, cell in zip(header, cells, strict=True) if cell}
            try:
                if not {"start_utc", "end_utc"} <= row.keys():
                    raise ValueError("needs a start_utc and an end_utc")
                start = _named("start_utc", jsonpath.time_of, row, now)
                stop = _named("end_utc", jsonpath.time_of, row, now)
                cap_kw = _named("cap_kw", jsonpath.number, row, 0.0) if "cap_kw" in row else None
                found.append(self._checked(start, stop, cap_kw, now))
            except ValueError as error:
                raise ValueError(f"line {line}: {error}") from None
        return [window for window in found if window is not None]

    def _checked(self, start: float, stop: float | None, cap_kw: float | None, now: float) -> Window | None:
        """The window; None where it is over."""
        if stop is not None and stop - start < SHORTEST_S:
            raise ValueError("it ends before it begins")
        return None if stop is not None and stop <= now else self._window(start, stop, cap_kw, now)

    def _window(self, start: float, stop: float | None, cap_kw: float | None, now: float) -> Window:
        if cap_kw is not None and not self.limits:
            raise ValueError("it names a cap_kw, which only a signal with the action cap has")
        if self.limits and cap_kw is None:
            cap_kw = self.cap_kw
            if cap_kw is None:
                raise ValueError("it names no limit in kW, and none is configured (cap_kw)")
        return Window(start, max(start, now) + self.longest_s if stop is None else stop, cap_kw)


def _json(text: str, path: str) -> Any:
    return jsonpath.one(_parsed(text), path)


def _parsed(text: str) -> Any:
    """The JSON document. Raises ValueError in plain words."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None


def _named(key: str, read: Any, given: Mapping[str, Any], otherwise: float) -> float:
    """The value of a key by its reader, `otherwise` where it is not given; its error names the key."""
    if key not in given:
        return otherwise
    try:
        return float(read(given[key]))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    shown = "".join(char if char.isprintable() else "?" for char in text[:LONGEST_SHOWN])
    return f'"{shown}"' if len(text) <= LONGEST_SHOWN else f'"{shown}..."'
