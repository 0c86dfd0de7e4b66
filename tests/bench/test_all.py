from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Command = Callable[..., subprocess.CompletedProcess[str]]

BENCHES = [
    "kernels",
    "scan_efficiency",
    "latency",
    "overhead",
    "mining",
    "stratum",
    "upstream",
    "kill",
    "vardiff",
    "planner",
    "backtest",
    "real_time",
    "soak",
]


def test_every_bench_is_run_by_the_one_command(command: Command) -> None:
    done = command("all", "--help")
    assert done.returncode == 0
    assert f"of {', '.join(BENCHES)}" in " ".join(done.stdout.split())
    folder = Path(__file__).resolve().parents[2] / "bench"
    commands = {path.stem for path in folder.glob("*.py") if "__main__" in path.read_text()}
    assert commands == {"all", "fit_folds", "live_day", *BENCHES}


def test_a_bench_can_be_chosen_and_speaks_json(command: Command) -> None:
    done = command("all", "--quick", "--json", "kernels")
    assert done.returncode == 0, done.stderr
    (kernels,) = json.loads(done.stdout).values()
    assert kernels["cpu"]
    assert kernels["kernels"]


def test_the_scan_is_compared_with_the_bare_kernel_on_one_thread_and_on_all(command: Command) -> None:
    done = command("all", "--quick", "--json", "scan_efficiency")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout).values()
    assert {row["threads"] for row in found["efficiency"]} == {1, os.cpu_count()}
    assert all(row["efficiency_of_minima"] > 0 for row in found["efficiency"])


def test_what_a_bench_prints_is_passed_on(command: Command) -> None:
    done = command("all", "--quick", "kernels")
    assert done.returncode == 0, done.stderr
    assert "cycles/hash" in done.stdout


def test_an_unknown_bench_is_refused(command: Command) -> None:
    done = command("all", "speed")
    assert done.returncode == 2
    assert "there is no bench speed" in done.stderr
