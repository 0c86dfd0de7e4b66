from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.bitcoind
def test_what_the_daemon_costs_beside_its_hashing_is_measured(
    measured: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    parts, whole, hashing, memory, peak = measured("overhead", "--quick", "--seconds", "1").values()
    assert (parts["n"], parts["goal"], parts["unit"]) == (6, 2.0, "% of a core")
    assert parts["min"] <= whole["median"] <= parts["max"]
    assert hashing["max"] > 0
    assert memory["goal"] == peak["goal"] == 150.0
    assert 10 < memory["max"] <= peak["max"]
