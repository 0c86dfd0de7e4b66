from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Measured = Callable[..., dict[str, dict[str, Any]]]


@pytest.mark.bitcoind
def test_shares_answers_and_new_blocks_are_measured_by_number_of_miners(measured: Measured) -> None:
    series = measured(
        "stratum", "--quick", "--connections", "5", "30", "--", "throughput", "answers", "blocks"
    )
    assert {(series[f"CPU per accepted share, {n} miners"]["goal"]) for n in (5, 30)} == {18.0}
    assert series["shares accepted, 30 miners"]["unit"] == "1/s"
    assert series["slowest answer, 5 miners, 20 shares/s"]["unit"] == "ms"
    assert series["new block to the last of 30 miners"]["n"] == 2
    assert series["new block to the last of 30 miners, 20 shares/s beside"]["n"] == 2


@pytest.mark.bitcoind
def test_memory_and_storms_of_logins_are_measured(measured: Measured) -> None:
    series = measured("stratum", "--quick", "--connections", "30", "--", "memory", "storms")
    assert series["memory per connection, 30 miners"]["goal"] == 25.0
    assert series["30 miners log in at once, all have a job"]["max"] > 0
    restart = series["30 miners have a job again after a kill of the daemon and its restart"]
    assert restart["min"] >= 0


def test_an_unknown_part_is_refused(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = command("stratum", "speed")
    assert done.returncode == 2
    assert "there is no part speed; there are throughput, answers, blocks, memory, storms" in done.stderr
