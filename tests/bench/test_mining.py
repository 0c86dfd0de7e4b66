from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.bitcoind
def test_blocks_of_both_chains_are_mined_and_timed(
    measured: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    series = measured("mining", "--regtest", "3", "--signet", "2")
    assert {(name, each["unit"]) for name, each in series.items()} >= {
        ("3 regtest blocks, from the daemon's start", "s"),
        ("regtest blocks accepted", "1/s"),
        ("2 signet blocks, from the daemon's start", "s"),
        ("signet blocks accepted", "1/s"),
    }
    assert series["regtest: from one block found to the next"]["n"] >= 2
    assert series["regtest: blocks accepted of those found and settled"]["max"] <= 100
