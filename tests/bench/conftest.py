"""Benches run as their users run them: as commands, from the root of the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a bench with options; what it printed and its exit code."""

    def run(bench: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, f"bench/{bench}.py", *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def measured(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> Callable[..., dict[str, dict[str, Any]]]:
    """Runs a bench and gives its series by name, having looked at what they all must have."""

    def run(bench: str, *options: str) -> dict[str, dict[str, Any]]:
        done = command(bench, "--json", *options)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["bench"] == bench
        assert document["cpu"]
        assert document["kernel"]
        for series in document["series"]:
            assert series["n"] >= 1
            assert 0 <= series["min"] <= series["median"] <= series["max"]
        return {series["what"]: series for series in document["series"]}

    return run
