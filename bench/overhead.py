"""What the daemon costs beside its hashing threads on a quiet chain: share of one core, and memory.

Usage: python bench/overhead.py [--seconds S] [--quick] [--json]

A regtest node on which nothing happens; every core hashes, no share is met. The daemon has ZMQ, longpoll and poll at work, the
controller live with its default tick, and its metrics are scraped every 15 s. Hashing threads are known by their niceness
(proc_pid_stat(5), field 19); the time of all others counts, in nanoseconds (schedstat).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from report import Series, arguments, machine, progress, publish
from setting import NEVER_A_SHARE, cores, lone_node, running

from miner.hashing.cpu import NICENESS

if TYPE_CHECKING:
    from regtest.process import HashmillProcess

CPU_GOAL_PERCENT: Final = 2.0
MEMORY_GOAL_MB: Final = 150.0
SECONDS: Final = 60.0
QUICK_SECONDS: Final = 6.0
WINDOWS: Final = 6
"""Parts of the time that are measured by themselves, to show how much they differ."""
SETTLE_S: Final = 3.0
SCRAPE_S: Final = 15.0
QUICK_TICK_S: Final = 1.0
START_LIMIT_S: Final = 180.0
"""The controller starts a unit at its second tick, which by default is a minute after the first."""
KIB: Final = 1024
MB: Final = 1e6
NICE_FIELD: Final = 19
FIRST_FIELD: Final = 3
"""The first field of stat behind the name, which stands in parentheses and may hold anything."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of CPU that the threads of a process have used since they began: hashing ones, and all others."""

    at: float
    hashing_s: float
    else_s: float


def cpu_time(pid: int) -> CpuTime:
    """What Linux says of that process now. A thread that has ended is forgotten: the daemon's live as long as it does."""
    hashing_s, else_s = 0.0, 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            behind_name = (task / "stat").read_text().rpartition(")")[2].split()
            used_s = int((task / "schedstat").read_text().split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if int(behind_name[NICE_FIELD - FIRST_FIELD]) == NICENESS:
            hashing_s += used_s
        else:
            else_s += used_s
    return CpuTime(time.monotonic(), hashing_s, else_s)


def memory_mb(pid: int, name: str) -> float:
    """VmRSS (resident now) or VmHWM (resident at most) of a process, in million bytes."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith(f"{name}:"))
    return int(line.split()[1]) * KIB / MB


def measure(seconds: float, tick_s: float | None) -> list[Series]:
    """CPU and memory of a daemon that hashes for so many seconds. `tick_s`: the controller's, None for its default."""
    parts = Series(
        f"CPU beside hashing, {WINDOWS} parts of {seconds / WINDOWS:g} s", "% of a core", CPU_GOAL_PERCENT
    )
    whole = Series(f"CPU beside hashing, all {seconds:g} s", "% of a core", CPU_GOAL_PERCENT)
    hashing = Series("CPU of the hashing threads", "% of a core")
    resident, peak = (
        Series("memory", "MB", MEMORY_GOAL_MB),
        Series("memory at its peak", "MB", MEMORY_GOAL_MB),
    )
    sections: dict[str, dict[str, Any]] = {
        "cpu": {"threads": cores(), "share_difficulty": NEVER_A_SHARE},
        # Work is all but free, so that the controller, which is live, has every core hash.
        "market": {"btc_usd": 90_000.0},
        "power": {"usd_per_kwh": 0.001},
        "controller": {"enabled": True, "dry_run": False, **({} if tick_s is None else {"tick_s": tick_s})},
    }
    with lone_node() as (node, folder), running(node, folder, sections) as daemon:
        daemon.wait_until(lambda: _mode(daemon) == "full", "hash on every core", START_LIMIT_S)
        time.sleep(min(SETTLE_S, seconds))
        began = before = cpu_time(daemon.pid)
        for number in range(WINDOWS):
            _scrape_until(daemon, began.at, began.at + seconds * (number + 1) / WINDOWS)
            after = cpu_time(daemon.pid)
            parts.values.append(_percent(before, after))
            hashing.values.append(100 * (after.hashing_s - before.hashing_s) / (after.at - before.at))
            resident.values.append(memory_mb(daemon.pid, "VmRSS"))
            before = after
        whole.values.append(_percent(began, before))
        peak.values.append(memory_mb(daemon.pid, "VmHWM"))
        _assert_quiet(daemon)
    return [parts, whole, hashing, resident, peak]


def _scrape_until(daemon: HashmillProcess, began: float, until: float) -> None:
    """Wait, and scrape as Prometheus does: every 15 s from `began`, wherever one part ends and the next begins."""
    while (now := time.monotonic()) < until:
        due = began + SCRAPE_S * (1 + (now - began) // SCRAPE_S)
        time.sleep(max(min(due, until) - now, 0.0))
        if due <= until:
            status, _ = daemon.http("/metrics")
            assert status == 200, f"/metrics answered {status}"  # noqa: PLR2004 - HTTP's OK


def _assert_quiet(daemon: HashmillProcess) -> None:
    (unit,) = daemon.status()["units"]
    assert unit["mode"] == "full", "the unit did not hash all the time"
    assert unit["hashes"] > 0
    assert unit["shares_accepted"] == 0
    assert daemon.blocks() == []


def _mode(daemon: HashmillProcess) -> str | None:
    return next((unit["mode"] for unit in daemon.status()["units"]), None)


def _percent(before: CpuTime, after: CpuTime) -> float:
    return 100 * (after.else_s - before.else_s) / (after.at - before.at)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--seconds", type=float, help=f"how long (default: {SECONDS:g}, quickly {QUICK_SECONDS:g})"
    )
    options = parser.parse_args()
    about = machine()
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    progress(
        f"overhead: {seconds:g} s"
        + ("" if options.quick else ", and a minute until the controller starts the unit")
    )
    series = measure(seconds, QUICK_TICK_S if options.quick else None)
    publish("overhead", about, series, as_json=options.json)


if __name__ == "__main__":
    main()
