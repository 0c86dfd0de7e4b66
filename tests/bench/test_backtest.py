from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_stretch_without_a_cap_and_one_under_a_cap_are_measured(
    measured: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    series = measured("backtest", "--quick")
    assert series["3 days x 50 classes"]["goal"] == 60
    assert series["3 days x 50 classes, planned 36 h ahead"]["min"] > 0
    assert series["a year x 50 classes under a cap, extrapolated"]["unit"] == "h"
