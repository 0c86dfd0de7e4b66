"""How the extranonce is shared out: a prefix for each session, and the rest for the device to count up."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

EXTRANONCE1_SIZE: Final = 4
"""Bytes of a session's prefix where there is room for it."""

MOST_EXTRANONCE2: Final = 4
"""Bytes that a device gets of a pool's extranonce2: enough for any, and what is wider stays the same for all."""

_NARROW: Final = MappingProxyType({7: (3, 4), 6: (3, 3), 5: (2, 3), 4: (2, 2), 3: (1, 2), 2: (1, 1)})
_LEAST: Final = min(_NARROW)


class TooNarrowError(ValueError):
    """A pool's extranonce2 has no room for a slice for each unit."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Bytes of extranonce1, which tells sessions apart, and of extranonce2, which is the device's."""

    extranonce1_size: int
    extranonce2_size: int

    def __post_init__(self) -> None:
        if self.extranonce1_size < 1 or self.extranonce2_size < 1:
            raise ValueError("an extranonce has at least one byte")

    @property
    def size(self) -> int:
        """Bytes of both together."""
        return self.extranonce1_size + self.extranonce2_size


def layout_of(upstream_size: int, most_extranonce2: int = 8) -> Layout:
    """How a pool's extranonce2 of `upstream_size` bytes is cut for the units; what is left over is padding.

    No device gets more than `most_extranonce2` bytes. Raises TooNarrowError for less than two bytes: every unit would
    hash the same.
    """
    if upstream_size < _LEAST:
        raise TooNarrowError(
            f"the pool's extranonce2 has {max(upstream_size, 0)} byte(s), and {_LEAST} are the least that can be shared "
            "out among units: ask the pool for a wider one, or mine elsewhere"
        )
    extranonce1, extranonce2 = _NARROW.get(upstream_size, (EXTRANONCE1_SIZE, MOST_EXTRANONCE2))
    return Layout(extranonce1, min(extranonce2, most_extranonce2))
