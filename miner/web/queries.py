"""Query parameters of the API's lists, checked all at once."""

import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from miner.web.problems import BadQueryError, FieldProblem

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_NAME_LENGTH: Final = 200

_Reader = Callable[[str], int | float | str]


class ListQuery(msgspec.Struct, frozen=True):
    """Which rows are wanted: the newest `limit` at `since` (unix seconds) or later, of `unit` or `pool` or (None) of all."""

    limit: int = DEFAULT_LIMIT
    since: float = 0.0
    unit: str | None = None
    pool: str | None = None


class PageQuery(msgspec.Struct, frozen=True):
    """Which page is wanted: `limit` units whose ids come after `after` (empty: from the first on)."""

    limit: int = DEFAULT_LIMIT
    after: str = ""


def page_query(parameters: Mapping[str, str]) -> PageQuery:
    """The page asked for; BadQueryError names every parameter that is unknown or out of bounds."""
    return msgspec.convert(_values(parameters, {"limit": _limit, "after": _unit}), PageQuery)


def list_query(parameters: Mapping[str, str], *, by_unit: bool = False, by_pool: bool = False) -> ListQuery:
    """The list asked for; BadQueryError names every parameter that is unknown or out of bounds."""
    readers: dict[str, _Reader] = {"limit": _limit, "since": _since}
    if by_unit:
        readers["unit"] = _unit
    if by_pool:
        readers["pool"] = _pool
    return msgspec.convert(_values(parameters, readers), ListQuery)


def _values(parameters: Mapping[str, str], readers: Mapping[str, _Reader]) -> dict[str, int | float | str]:
    wrong: list[FieldProblem] = []
    values: dict[str, int | float | str] = {}
    for name, text in parameters.items():
        try:
            if name in values:
                raise ValueError("given more than once")
            if name not in readers:
                raise ValueError("unknown parameter")
            values[name] = readers[name](text)
        except ValueError as error:
            wrong.append(FieldProblem(name, str(error)))
    if wrong:
        raise BadQueryError(wrong)
    return values


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_LIMIT):
        raise ValueError(f"a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _since(text: str) -> float:
    expected = "a time in UTC unix seconds"
    try:
        since = float(text)
    except ValueError:
        raise ValueError(expected) from None
    if not (math.isfinite(since) and since >= 0):
        raise ValueError(expected)
    return since


def _unit(text: str) -> str:
    return _name(text, "a unit's id")


def _pool(text: str) -> str:
    return _name(text, "a pool's name")


def _name(text: str, expected: str) -> str:
    if not (text and text.isprintable() and len(text) <= MAX_NAME_LENGTH):
        raise ValueError(expected)
    return text
