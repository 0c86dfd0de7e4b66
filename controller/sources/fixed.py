"""Numbers the operator wrote down: a fixed power price, a fixed bitcoin price."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from controller.ticks import UNITS, Tick

if TYPE_CHECKING:
    from collections.abc import Mapping


class FixedSource:
    """Gives the same values for ever; they are observed anew on every read, so they never grow old.

    Raises ValueError for a series nobody knows or a value that is not finite.
    """

    def __init__(self, values: Mapping[str, float], name: str = "fixed") -> None:
        for series, value in values.items():
            if series not in UNITS:
                raise ValueError(f"series {series!r} is not known")
            if not math.isfinite(value):
                raise ValueError(f"{series} must be a finite number, not {value}")
        self.name = name
        self._values = dict(values)
        self._since: float | None = None

    async def read(self, now: float) -> list[Tick]:
        """One tick per series, valid from the first read on."""
        self._since = now if self._since is None else min(self._since, now)
        return [
            Tick(series, value, UNITS[series], self._since, math.inf, now, self.name)
            for series, value in self._values.items()
        ]
