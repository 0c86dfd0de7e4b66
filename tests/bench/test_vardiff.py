from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


def test_every_scenario_is_simulated_and_told_as_json(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = command("vardiff", "--json", "--runs", "3", "--aim", "12")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bench"] == "vardiff"
    assert len({each["scenario"] for each in found["results"]}) == 10
    assert {(each["aim"], each["runs"]) for each in found["results"]} == {(12.0, 3)}


def test_the_table_has_a_line_for_each(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = command("vardiff", "--runs", "2", "--aim", "30")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 12
