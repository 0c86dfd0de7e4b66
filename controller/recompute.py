"""Decides again from what was kept, and compares with what was decided then, to the bit; pure.

The inputs hold the snapshot and the configuration, the decisions of the tick before are the memory. The sign of a zero is not
compared: not every database keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from controller.decisions import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.inputs import Recorded

NOTHING: Final = "nothing"
"""Stands for a decision, or a number of one, that is not there."""


class MemoryLostError(ValueError):
    """Decisions that were remembered then are not kept any more; the message says whose."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing about a unit's decision that is not what was kept: a field's name, or "decision" where one of the two is missing."""

    unit_id: str
    at: float
    what: str
    kept: str
    recomputed: str


def memory(recorded: Recorded, decision_of: Callable[[str, float], Decision | None]) -> dict[str, Decision]:
    """The last decisions as they were known then; `decision_of(unit, at)` finds one that is kept.

    Raises MemoryLostError where one is not.
    """
    found: dict[str, Decision] = {}
    lost: list[str] = []
    for unit_id, at in recorded.last_at.items():
        decision = decision_of(unit_id, at)
        if decision is None:
            lost.append(unit_id)
        else:
            found[unit_id] = decision
    if lost:
        several = f"{lost[0]} and {len(lost) - 1} more" if len(lost) > 1 else lost[0]
        raise MemoryLostError(f"the decision before is not kept, of {several}")
    return found


def differences(
    at: float, kept: Mapping[str, Decision], made: Mapping[str, Decision]
) -> tuple[Difference, ...]:
    """All that differs between the decisions kept of the tick at `at` and those made again, by unit."""
    found: list[Difference] = []
    for unit_id in sorted(kept.keys() | made.keys()):
        one, other = kept.get(unit_id), made.get(unit_id)
        if one is None or other is None:
            told = [NOTHING if each is None else f"{each.to_mode} ({each.reason})" for each in (one, other)]
            found.append(Difference(unit_id, at, "decision", *told))
        else:
            found.extend(_of_one(one, other))
    return tuple(found)


def _of_one(kept: Decision, made: Decision) -> list[Difference]:
    found = []
    for field in fields(Decision):
        one, other = getattr(kept, field.name), getattr(made, field.name)
        if field.name == "numbers":
            found.extend(_of_numbers(kept, made))
        elif one != other:
            found.append(Difference(kept.unit_id, kept.at, field.name, str(one), str(other)))
    return found


def _of_numbers(kept: Decision, made: Decision) -> list[Difference]:
    """Numbers that differ, told so that every bit shows."""
    names = sorted(kept.numbers.keys() | made.numbers.keys())
    return [
        Difference(
            kept.unit_id,
            kept.at,
            name,
            repr(kept.numbers.get(name, NOTHING)),
            repr(made.numbers.get(name, NOTHING)),
        )
        for name in names
        if kept.numbers.get(name) != made.numbers.get(name)
    ]
