"""Values of the controller as plain data that MessagePack can hold, and back, exactly; pure.

Numbers, strings, booleans, None and bytes stand for themselves; everything else is a list whose first entry is its tag. Nothing is
rounded: floats keep every bit, infinities and the sign of zero included, integers stay integers, mappings keep their order, sets
are put in order. A dataclass carries the names of its fields, so a class that has changed since is known as such.

Sequences are columns: one value again and again, even steps, runs and rows of one class are told shortly.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import groupby, repeat
from operator import attrgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

from controller.units import PowerCurve

LATER: Final = "later"
"""In a field's metadata: it came when values without it were kept already. At its default it is not told, and untold it is at it."""

PACKAGE: Final = "controller."
"""Only classes defined below it are written or made again."""

Plain = Any
"""None, bool, int, float, str, bytes, and lists and dicts (with string keys) of these."""


_NOT_UNDERSTOOD: Final = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What plain data that was never packed may make happen."""


class CodecError(ValueError):
    """A value cannot be told in plain data, or plain data tells no value of this program; the message says which."""


def pack(value: Any) -> Plain:
    """The value as plain data. Raises CodecError for a kind of value nobody taught it."""
    kind = type(value)
    if value is None or kind in _PLAIN:
        return value
    packer = _PACKERS.get(kind)
    if packer is not None:
        return packer(value)
    if isinstance(value, Enum):
        return ["e", _name_of(kind), value.value]
    if is_dataclass(value):
        later = _later(kind)
        told = [
            name for name in field_names(kind) if name not in later or getattr(value, name) != later[name]
        ]
        return ["o", _name_of(kind), told, [pack(getattr(value, name)) for name in told]]
    if isinstance(value, Mapping):
        return ["m", pack_column(list(value)), pack_column(list(value.values()))]
    for base in (float, int):  # numpy's float64 is one; it has the same bits
        if isinstance(value, base):
            return base(value)
    raise CodecError(f"a {kind.__module__}.{kind.__qualname__} cannot be kept as plain data")


def unpack(plain: Plain) -> Any:
    """The value that `pack` told. Raises CodecError where this program has no such value, or no longer."""
    if not isinstance(plain, list):
        return plain
    try:
        tag, *rest = plain
        return _UNPACKERS[tag](*rest)
    except CodecError:
        raise
    except _NOT_UNDERSTOOD as error:
        raise CodecError(f"not understood: {_shown(plain)} ({str(error) or type(error).__name__})") from error


def pack_column(values: Sequence[Any]) -> Plain:
    """A sequence of values that are much alike, told shortly."""
    kinds = set(map(type, values))
    if len(kinds) > 1 and type(None) in kinds:
        known = [value for value in values if value is not None]
        return ["n", bytes(value is not None for value in values), pack_column(known)]
    if len(values) > 1 and len(kinds) == 1:
        shortly = _alike(kinds.pop(), values)
        if shortly is not None:
            return shortly
    return ["v", [pack(value) for value in values]]


def unpack_column(plain: Plain) -> list[Any]:
    """The values that `pack_column` told. Raises CodecError."""
    try:
        tag, *rest = plain
        values: list[Any] = _COLUMNS[tag](*rest)
    except CodecError:
        raise
    except _NOT_UNDERSTOOD as error:
        raise CodecError(f"not understood: {_shown(plain)} ({str(error) or type(error).__name__})") from error
    return values


def field_names(kind: type) -> list[str]:
    """The fields an instance of a dataclass is made from."""
    return [field.name for field in fields(kind) if field.init]


def make(name: str, names: Sequence[str]) -> Callable[..., Any]:
    """What makes instances of the class of that name from positional values of these fields. Raises CodecError."""
    kind = _class(name)
    if not is_dataclass(kind):
        raise CodecError(f"{PACKAGE}{name} has no fields")
    later = _later(kind)
    known = [name for name in field_names(kind) if name not in later or name in names]
    if known != list(names):
        differing = ", ".join(sorted(set(known) ^ set(names))) or "their order"
        raise CodecError(f"{PACKAGE}{name} has other fields in this version: {differing}")
    return lambda *values: kind(**dict(zip(names, values, strict=True)))


def _later(kind: type) -> dict[str, Any]:
    """Fields that what was kept once need not have, with their defaults."""
    return {field.name: field.default for field in fields(kind) if LATER in field.metadata}


# --- telling ------------------------------------------------------------------------------------------


def _name_of(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if not name.startswith(PACKAGE):
        raise CodecError(f"a {name} cannot be kept: it is no class of {PACKAGE[:-1]}")
    return name.removeprefix(PACKAGE)


def _same(one: Any, other: Any) -> bool:
    """Whether two values of one type are the same to the bit; what it does not know at once is not."""
    return one is other or (type(one) in _PLAIN and one == other and repr(one) == repr(other))


def _alike(kind: type, values: Sequence[Any]) -> Plain | None:
    """Several values of one kind in the way that is made for it; None where each has to be told by itself."""
    if all(map(_same, values, repeat(values[0]))):
        return ["=", len(values), pack(values[0])]
    if kind is float:
        return _floats(values)
    if is_dataclass(kind):
        names = field_names(kind)
        return [
            "t",
            _name_of(kind),
            names,
            [pack_column(list(map(attrgetter(name), values))) for name in names],
        ]
    if kind is tuple and values[0] and len(set(map(len, values))) == 1:
        return ["x", [pack_column(column) for column in zip(*values, strict=True)]]
    return _distinct(values) if kind in _REPEATED else None


def _floats(values: Sequence[float]) -> Plain:
    """Even steps and runs where they tell it exactly, else the bytes, those of equal weight together, as they pack better."""
    first, step, last = values[0], values[1] - values[0], values[-1]
    even = first + (len(values) - 1) * step == last
    if even and list(map(repr, _steps(len(values), first, step))) == list(map(repr, values)):
        return ["+", len(values), first, step]
    runs = [(value, sum(1 for _ in same)) for value, same in groupby(values)]
    if len(runs) * 4 <= len(values) and 0.0 not in values:
        return ["r", _bytes(value for value, _ in runs), [length for _, length in runs]]
    return ["f", _bytes(values)]


def _steps(count: int, first: float, step: float) -> list[float]:
    return [first + index * step for index in range(count)]


def _bytes(values: Any) -> bytes:
    """Little-endian doubles, all first bytes, then all second ones and so on."""
    numbers = array("d", values)
    if sys.byteorder != "little":
        numbers.byteswap()
    raw = numbers.tobytes()
    return b"".join(raw[index::8] for index in range(8))


def _from_bytes(shuffled: bytes) -> list[float]:
    count = len(shuffled) // 8
    raw = bytearray(len(shuffled))
    for index in range(8):
        raw[index::8] = shuffled[index * count : (index + 1) * count]
    numbers = array("d", bytes(raw))
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers.tolist()


def _distinct(values: Sequence[Any]) -> Plain | None:
    """Each different value once, and which of them stands where, if that is shorter."""
    places: dict[Any, int] = {}
    order = [places.setdefault(value, len(places)) for value in values]
    if len(places) > min(256, len(values) // 2):
        return None
    return ["d", [pack(value) for value in places], bytes(order)]


def _shown(plain: Plain) -> str:
    text = repr(plain)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line's worth


# --- making again -------------------------------------------------------------------------------------


def _class(name: str) -> type:
    module, _, qualname = (PACKAGE + name).rpartition(".")
    # Only what is loaded is looked at: a document loads no code.
    found = getattr(sys.modules.get(module), qualname, None)
    if not isinstance(found, type) or found.__module__ != module:
        raise CodecError(f"this version has no {PACKAGE}{name}")
    return found


def _enum(name: str, value: Plain) -> Enum:
    kind = _class(name)
    if not issubclass(kind, Enum):
        raise CodecError(f"{PACKAGE}{name} has no values to choose from")
    return kind(value)


def _mapping(keys: Plain, values: Plain) -> dict[Any, Any]:
    return dict(zip(unpack_column(keys), unpack_column(values), strict=True))


def _rows(name: str, names: Sequence[str], columns: Sequence[Plain]) -> list[Any]:
    return list(map(make(name, names), *map(unpack_column, columns)))


def _runs(values: bytes, lengths: Sequence[int]) -> list[float]:
    pairs = zip(_from_bytes(values), lengths, strict=True)
    return [value for value, length in pairs for _ in range(length)]


def _with_gaps(there: bytes, known: Plain) -> list[Any]:
    values = iter(unpack_column(known))
    return [next(values) if is_there else None for is_there in there]


def _chosen(values: Sequence[Plain], order: bytes) -> list[Any]:
    known = [unpack(value) for value in values]
    return [known[place] for place in order]


def _ordered(values: Collection[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (str(type(value)), value))


_PLAIN: Final = frozenset({bool, int, float, str, bytes})
_REPEATED: Final = frozenset({str, int, bool, PowerCurve})

_PACKERS: Final[Mapping[type, Callable[[Any], Plain]]] = {
    tuple: lambda value: ["u", pack_column(value)],
    list: lambda value: ["l", pack_column(value)],
    frozenset: lambda value: ["s", pack_column(_ordered(value))],
    set: lambda value: ["s", pack_column(_ordered(value))],
    PowerCurve: lambda curve: ["c", pack_column(curve.modes)],
    ZoneInfo: lambda zone: ["z", zone.key],
}

_UNPACKERS: Final[Mapping[str, Callable[..., Any]]] = {
    "u": lambda column: tuple(unpack_column(column)),
    "l": unpack_column,
    "s": lambda column: frozenset(unpack_column(column)),
    "c": lambda column: PowerCurve(unpack_column(column)),
    "z": ZoneInfo,
    "e": _enum,
    "m": _mapping,
    "o": lambda name, names, values: make(name, names)(*map(unpack, values)),
}

_COLUMNS: Final[Mapping[str, Callable[..., list[Any]]]] = {
    "v": lambda values: [unpack(value) for value in values],
    "=": lambda count, value: [unpack(value)] * count,
    "+": _steps,
    "r": _runs,
    "f": _from_bytes,
    "d": _chosen,
    "n": _with_gaps,
    "t": _rows,
    "x": lambda columns: list(zip(*map(unpack_column, columns), strict=True)),
}
