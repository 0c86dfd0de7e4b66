from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.decisions import Decision, Reason
from controller.inputs import Recorded
from controller.recompute import Difference, MemoryLostError, differences, memory
from controller.snapshot import Snapshot

AT = 1_700_000_000.0
KEPT = Decision(
    "1700000000000000-a",
    AT,
    "a",
    "off",
    "full",
    Reason.RESUME,
    {"power_usd_per_kwh": 0.1},
    "pauses above 9 ct/kWh",
)


def different(made: Decision | None, kept: Decision | None = KEPT) -> tuple[Difference, ...]:
    return differences(AT, {} if kept is None else {"a": kept}, {} if made is None else {"a": made})


def test_a_decision_that_is_the_same_has_no_differences() -> None:
    assert different(replace(KEPT, numbers={"power_usd_per_kwh": 0.1})) == ()


def test_the_last_bit_of_a_number_is_a_difference_and_shows() -> None:
    other = math.nextafter(0.1, 1)
    assert different(replace(KEPT, numbers={"power_usd_per_kwh": other})) == (
        Difference("a", AT, "power_usd_per_kwh", "0.1", "0.10000000000000002"),
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reason": Reason.START}, ("reason", "resume_profitable", "start")),
        ({"flip": "never"}, ("flip", "pauses above 9 ct/kWh", "never")),
        ({"to_mode": "eco"}, ("to_mode", "full", "eco")),
        ({"dry_run": False}, ("dry_run", "True", "False")),
        ({"numbers": {}}, ("power_usd_per_kwh", "0.1", "'nothing'")),
        ({"numbers": {"power_usd_per_kwh": 0.1, "x": 0.0}}, ("x", "'nothing'", "0.0")),
    ],
)
def test_whatever_differs_is_named(changes: dict[str, object], told: tuple[str, str, str]) -> None:
    assert different(replace(KEPT, **changes)) == (Difference("a", AT, *told),)  # type: ignore[arg-type]


def test_a_decision_that_is_missing_on_either_side_is_a_difference() -> None:
    there = "full (resume_profitable)"
    assert different(None) == (Difference("a", AT, "decision", there, "nothing"),)
    assert different(KEPT, kept=None) == (Difference("a", AT, "decision", "nothing", there),)


def test_the_sign_of_a_zero_is_no_difference_since_not_every_database_keeps_it() -> None:
    kept = replace(KEPT, numbers={"margin": 0.0})
    assert different(replace(KEPT, numbers={"margin": -0.0}), kept) == ()


def recorded(last_at: dict[str, float]) -> Recorded:
    return Recorded(Snapshot(AT, {}, (), {}), None, last_at)


def test_the_memory_is_the_decisions_of_the_times_noted() -> None:
    kept = {("a", AT - 60): KEPT}
    found = memory(recorded({"a": AT - 60}), lambda unit, at: kept.get((unit, at)))
    assert found == {"a": KEPT}


def test_a_memory_that_is_not_kept_any_more_is_named_and_not_made_up() -> None:
    with pytest.raises(MemoryLostError, match="the decision before is not kept, of a and 1 more"):
        memory(recorded({"a": AT, "b": AT}), lambda _unit, _at: None)
