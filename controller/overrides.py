"""Overrides: a person puts a unit into a mode until a time; pure.

An override outranks profit and the plan, never a signal or the limits that keep machines safe. Times are UTC unix seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Override:
    """`mode` for one unit in [since, until), `until` infinite for until it is taken back; who wanted it, and why, in their words."""

    unit_id: str
    mode: str
    since: float
    until: float
    who: str
    why: str = ""

    def __post_init__(self) -> None:
        """Refuse what names nothing, and times that are none."""
        if not (self.unit_id and self.mode):
            raise ValueError("an override needs a unit and a mode")
        if not (math.isfinite(self.since) and self.until >= self.since):
            raise ValueError(f"an override must not end before it begins: {self.since} .. {self.until}")

    def holds_at(self, at: float) -> bool:
        """Whether it is in force at `at`."""
        return self.since <= at < self.until

    def ended(self, at: float) -> Override:
        """The same, taken back at `at`; one that is over already stays as it was."""
        return replace(self, until=min(self.until, max(at, self.since)))


def in_force(overrides: Iterable[Override], at: float) -> Mapping[str, Override]:
    """By unit, the override in force at `at`: of several the one that was made last, of equals the later in the list."""
    found: dict[str, Override] = {}
    for override in overrides:
        before = found.get(override.unit_id)
        if before is None or override.since >= before.since:
            found[override.unit_id] = override
    return {unit_id: each for unit_id, each in sorted(found.items()) if each.holds_at(at)}
