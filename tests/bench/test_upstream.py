"""The bench of a pool's client, with few miners."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

pytestmark = pytest.mark.bitcoind


def test_miners_client_and_pool_agree_on_every_share_and_the_pool_sees_only_what_it_wants(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = command("upstream", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    series = {each["what"]: each for each in json.loads(done.stdout)["series"]}
    assert series["shares that miners and pool do not agree on"]["max"] == 0
    assert series["shares that the pool refuses as too easy"]["max"] == 0
    (part,) = (each for what, each in series.items() if what.startswith("part of the miners' shares"))
    assert 0 < part["min"] < 0.9
