from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def test_time_gap_memory_and_the_ratio_to_a_reference_pass_are_measured(
    measured: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    series = measured("planner", "--quick")
    fleet = "1,000,000 units in 50 classes"
    assert (series[fleet]["unit"], series[fleet]["goal"]) == ("s", 0.5)
    assert series[f"{fleet}: gap"]["max"] <= series[f"{fleet}: gap"]["goal"] == 0.01
    assert series[f"{fleet}: peak memory"]["max"] <= 500
    assert series[f"{fleet}: time / reference pass"]["min"] > 0
    assert series["reference pass / pass in C"]["min"] > 1
