"""TOML read with places: on which line of the file each key, table and array item stands."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import toml_rs

# Keys and, inside of arrays, positions counted from 0: ("bitcoind", 0, "rpc_url").
KeyPath: TypeAlias = tuple[str | int, ...]

FIRST_LINE = 1
_PLACE = re.compile(r"^TOML parse error at line (\d+), column (\d+)")
_TABLE_HEADER = re.compile(r"^[ \t]*\[(?!\[)[^\n]*$", re.MULTILINE)


class TomlError(ValueError):
    """The text is no TOML; `line` and `column` count from 1, in characters."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML file's values, and the line of each."""

    value: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def line_of(self, path: KeyPath) -> int:
        """The line of `path`; of the table it is missing from, if it is not in the file; 1 for the file itself."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return line
        return FIRST_LINE


def parse(text: str) -> Document:
    """Read TOML 1.1; raises TomlError with the place and the reason."""
    try:
        document = toml_rs.load_with_metadata(text)
    except toml_rs.TOMLDecodeError as error:
        raise _told(error) from None
    places = list(_places(document.meta["nodes"], ()))
    lines: dict[KeyPath, int] = {}
    for path, first, _ in places:
        lines.setdefault(path, first)
    lines.update(_table_headers(text, [(first, last) for _, first, last in places if last > first]))
    for path, first, _ in places:  # tables that only dotted keys name stand where their first key does
        for length in range(len(path) - 1, 0, -1):
            lines.setdefault(path[:length], first)
    return Document(document.value, lines)


def _told(error: toml_rs.TOMLDecodeError) -> TomlError:
    """The parser's error with its own place: the exception's attributes count bytes where they should characters."""
    place = _PLACE.match(error.msg)
    line, column = (int(place[1]), int(place[2])) if place else (error.lineno, error.colno)
    return TomlError(error.msg.splitlines()[-1], line, column)


def _places(node: Any, path: KeyPath) -> Iterator[tuple[KeyPath, int, int]]:
    """Path, first and last line of everything below `node` that has a place of its own."""
    if isinstance(node, dict):
        if isinstance(node.get("key_line"), int) or isinstance(node.get("value_raw"), str):
            first, last = _span(node.get("value_line", node.get("key_line")))
            yield path, node.get("key_line", first), last
            node = node.get("value")
        if isinstance(node, dict):
            for key, child in node.items():
                yield from _places(child, (*path, key))
    if isinstance(node, list):
        for position, item in enumerate(node):
            yield from _places(item, (*path, position))


def _span(line: Any) -> tuple[int, int]:
    return (line[0], line[-1]) if isinstance(line, tuple) else (line, line)


def _table_headers(text: str, covered: list[tuple[int, int]]) -> Iterator[tuple[KeyPath, int]]:
    """Path and line of every [table] header, which the parser does not report; `covered`: lines inside of values.

    A table inside of an array of tables is left out: its keys have lines of their own, and so has the array's item.
    """
    for match in _TABLE_HEADER.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if any(first < line <= last for first, last in covered):
            continue
        table: Any = toml_rs.loads(match.group())
        path: KeyPath = ()
        while table:
            ((key, table),) = table.items()
            path = (*path, key)
        yield path, line
