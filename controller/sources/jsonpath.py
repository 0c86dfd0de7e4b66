"""Paths into JSON documents, as people write them: `data.0.price`, `$.data[*].price`, `result['XXBTZUSD'].c[0]`; pure.

A path is names and positions, each after a dot or in brackets; `*` is every item of a list, or every value of an object. A leading `$`
is the document itself. Names with dots or brackets in them are written in quotes: `['a.b']`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

ANY: Final = "*"
LONGEST_SHOWN: Final = 40
MOST_NAMED: Final = 6
MILLISECONDS_FROM: Final = 1e11
"""Times from here on count milliseconds: in seconds this is the year 5138."""

_STEP = re.compile(
    r"""
      \.?(?P<name>[^.\[\]\s'"*][^.\[\]]*)     # a name, or a position in a list
    | \.?(?P<any>\*)
    | \[\s*(?:
          (?P<index>-?\d+)
        | '(?P<single>[^']*)'
        | "(?P<double>[^"]*)"
        | (?P<every>\*)
      )\s*\]
    """,
    re.VERBOSE,
)
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}((,\d{3}){2,}(\.\d+)?|,\d{3}\.\d+)", re.ASCII)


class PathError(ValueError):
    """A path that leads nowhere in this document; the words say where it ended."""


class PathSyntaxError(PathError):
    """A path that is none, whatever the document."""


class _Every:
    """The step to every item."""

    def __str__(self) -> str:
        return f"[{ANY}]"


EVERY: Final = _Every()

Step: TypeAlias = str | int | _Every
"""A name (of digits only: also a position in a list), a position (from the end if negative), or every item."""


def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path, none for the document itself. Raises PathSyntaxError."""
    rest = path.strip().removeprefix("$")
    if not path.strip():
        raise PathSyntaxError('the path is empty: write it like data.0.price, or "$" for the whole document')
    steps: list[Step] = []
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        # A name needs its dot, but for the first one: `data[0]price` is a slip, not a path.
        if match is None or (at and match.group()[0] not in ".["):
            raise PathSyntaxError(
                f'"{_short(path)}" cannot be read from "{_short(rest[at:])}" on: write it like data.0.price or data[*].price'
            )
        at = match.end()
        steps.append(_step(match))
    return tuple(steps)


def find(document: Any, path: str) -> list[Any]:
    """Everything the path leads to, in the document's order; an empty list only where `*` meets an empty list or object.

    Raises PathError where a step is not there, for one of several items too: what is missing is never passed over.
    """
    found = [(document, "$")]
    for step in parse(path):
        found = [inner for value, where in found for inner in _inner(value, step, where)]
    return [value for value, _ in found]


def one(document: Any, path: str) -> Any:
    """The one value the path leads to. Raises PathError where there is none, or several."""
    found = find(document, path)
    if len(found) != 1:
        raise PathError(f'"{_short(path)}" leads to {len(found) or "no"} values, not to one')
    return found[0]


def number_at(document: Any, path: str) -> float:
    """The one number the path leads to. Raises PathError where there is none, ValueError for what is no number."""
    value = one(document, path)
    try:
        return number(value)
    except ValueError as error:
        raise ValueError(f'"{_short(path)}": {error}') from None


def number(value: Any) -> float:
    """A finite number from JSON, also one in quotes, as exchanges write prices ("92000.10", "92,000.10").

    Raises ValueError for all else, and for "92,000", which is 92 to half the world.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        read = float(value) if abs(value) < float("1e300") else math.inf
    elif isinstance(value, str) and _PLAIN.fullmatch(value.strip()):
        read = float(value)
    elif isinstance(value, str) and _GROUPED.fullmatch(value.strip()):
        read = float(value.replace(",", ""))
    else:
        raise ValueError(f"{_described(value)} is no number")
    if not math.isfinite(read):
        raise ValueError(f"{_described(value)} is no finite number")
    return read


def time_at(document: Any, path: str) -> float:
    """The one time the path leads to, as `time_of` reads it. Raises PathError or ValueError."""
    value = one(document, path)
    try:
        return time_of(value)
    except ValueError as error:
        raise ValueError(f'"{_short(path)}": {error}') from None


def time_of(value: Any) -> float:
    """A time from JSON in UTC unix seconds: seconds or milliseconds since 1970, or ISO 8601 (UTC where it names no offset).

    Raises ValueError for what is no time.
    """
    if isinstance(value, str) and not _PLAIN.fullmatch(value.strip()):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"{_described(value)} is no time") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    try:
        seconds = number(value)
    except ValueError:
        raise ValueError(f"{_described(value)} is no time") from None
    return seconds / 1000 if abs(seconds) >= MILLISECONDS_FROM else seconds


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return int(match["index"])
    if match["any"] or match["every"]:
        return EVERY
    return next(text for text in (match["name"], match["single"], match["double"]) if text is not None)


def _inner(value: Any, step: Step, where: str) -> list[tuple[Any, str]]:
    """What `step` leads to from `value`, which stands at `where`."""
    if isinstance(step, _Every):
        if isinstance(value, dict):
            return [(inner, f"{where}.{_short(str(key))}") for key, inner in value.items()]
        if isinstance(value, list):
            return [(inner, f"{where}[{position}]") for position, inner in enumerate(value)]
        raise PathError(f"{where} is {_described(value)}: there is nothing to take every item of")
    if isinstance(value, list):
        position = int(step) if isinstance(step, int) or step.removeprefix("-").isdecimal() else None
        if position is None:
            raise PathError(
                f'{where} is {_described(value)} without names: there is no "{_short(str(step))}"'
            )
        if not -len(value) <= position < len(value):
            raise PathError(f"{where} is {_described(value)}: there is no [{position}]")
        return [(value[position], f"{where}[{position}]")]
    if isinstance(value, dict):
        if str(step) in value:
            return [(value[str(step)], f"{where}.{_short(str(step))}")]
        raise PathError(f'{where} has no "{_short(str(step))}": {_names(value)}')
    raise PathError(f'{where} is {_described(value)}: there is no "{_short(str(step))}" in it')


def _names(value: dict[str, Any]) -> str:
    if not value:
        return "it is empty"
    names = ", ".join(_short(str(key)) for key in list(value)[:MOST_NAMED])
    more = len(value) - MOST_NAMED
    return f"there are {names}" + (f" and {more} more" if more > 0 else "")


def _described(value: Any) -> str:
    """A value in few words for an error; never long, never with control characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, dict):
        return "an object"
    return f'"{_short(value)}"' if isinstance(value, str) else _short(str(value))


def _short(text: str) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in text[:LONGEST_SHOWN])
    return shown if len(text) <= LONGEST_SHOWN else f"{shown}..."
