from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def told(command: Command) -> dict[str, Any]:
    done = command("real_time", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_policy_is_judged_by_what_its_decisions_may_see(told: dict[str, Any]) -> None:
    judged = {each["what"] for each in told["series"]}
    assert {f"{sees}, {j} J/TH: hashmill" for sees in "AB" for j in ("17.5", "21.5", "29.5")} <= judged
    assert {"A, 29.5 J/TH: band", "ladder: best_single_mode", "day ahead, 17.5 J/TH: hashmill"} <= judged


def test_nobody_does_better_than_who_knew_all_prices(told: dict[str, Any]) -> None:
    regrets = [each["median"] for each in told["series"] if each["unit"] == "% regret"]
    assert regrets
    assert min(regrets) >= -1e-9


def test_of_an_invented_market_nothing_is_promised(told: dict[str, Any]) -> None:
    assert {each["goal"] for each in told["series"]} == {None}
