from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


def test_some_hours_of_shares_are_answered_recorded_and_summed_up_and_memory_is_read(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = command("soak", "--json", "--miners", "3", "--hours", "3")
    assert done.returncode == 0, done.stderr
    series = {each["what"]: each for each in json.loads(done.stdout)["series"]}
    assert series["shares"]["median"] == 3 * 12 * 60 * 3
    assert series["memory at the end of an hour"]["n"] == 3
    assert series["memory added by an hour"]["n"] == 1
