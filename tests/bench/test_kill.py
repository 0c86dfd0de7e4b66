from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.bitcoind
def test_no_share_and_no_block_is_lost_or_counted_twice_by_two_kills_under_load(
    measured: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    series = measured("kill", "--quick", "--times", "2", "--miners", "20")
    assert series["shares acknowledged until a kill, sqlite"]["min"] > 0
    assert series["acknowledged shares that the ledger lacks, sqlite"]["n"] == 2
    assert {each["max"] for each in series.values() if each["goal"] == 0.0} == {0}
