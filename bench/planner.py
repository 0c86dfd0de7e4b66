"""How long a plan takes and how far it may be from the best: 192 quarter hours, 6 modes, dwell, costs, a cap that binds in half of them.

Usage: python bench/planner.py [--quick] [--json]

Cases take turns, so that the machine's noise meets all of them. Memory is that of a process of its own; the ratio is
to one pass of the same dynamic program in Python and numpy (bench/plan_reference.py) over 50 classes, timed in between.
"""

from __future__ import annotations

import json
import subprocess  # peak memory is a process's
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import plan_instances
import plan_reference
from report import Series, arguments, machine, progress, publish

from controller.planner_classes import solve
from controller.program import Program

if TYPE_CHECKING:
    from collections.abc import Sequence

REPEATS: Final = 7
SEEDS: Final = (1, 2, 3)
REFERENCE_CLASSES: Final = 50
MIB: Final = 1024
"""Kilobytes, as Linux counts a process's memory, in a MiB."""


@dataclass(frozen=True)
class Case:
    """A fleet to plan, and what was promised of it: seconds and gap."""

    name: str
    classes: int
    units: int
    warm: bool = False
    goal_s: float | None = None
    goal_gap_percent: float | None = None


CASES: Final = (
    Case("100,000 units in 50 classes", 50, 100_000, goal_gap_percent=0.01),
    Case("1,000,000 units in 50 classes", 50, 1_000_000, goal_s=0.5, goal_gap_percent=0.01),
    Case(
        "1,000,000 units in 50 classes, prices revised by 2 %",
        50,
        1_000_000,
        warm=True,
        goal_gap_percent=0.01,
    ),
    Case("1,000,000 units in 200 classes", 200, 1_000_000, goal_gap_percent=0.01),
    Case("10,000 units, all different", 10_000, 10_000, goal_s=2.0, goal_gap_percent=0.1),
    Case(
        "10,000 units, all different, prices revised by 2 %", 10_000, 10_000, warm=True, goal_gap_percent=0.1
    ),
)
QUICK_CASES: Final = 3
GOAL_MIB: Final = 500.0


class Prepared:
    """A case's fleet and slots, ready to be planned again and again."""

    def __init__(self, case: Case, seed: int) -> None:
        self.classes = plan_instances.fleet(seed, case.classes, case.units)
        self.slots = plan_instances.capped(self.classes, plan_instances.horizon(seed))
        self.prices: list[tuple[float, float]] = []
        if case.warm:
            known = solve(self.classes, self.slots).prices_usd_per_kwh
            self.prices = [(slot.start, price) for slot, price in zip(self.slots, known, strict=True)]
            self.slots = plan_instances.revised(self.slots, seed)

    def run(self) -> tuple[float, float]:
        """Seconds that planning takes, and its gap in percent."""
        began = time.perf_counter()
        made = solve(self.classes, self.slots, prices=self.prices)
        seconds = time.perf_counter() - began
        assert made.value_usd <= made.bound_usd
        assert not any(made.over_kw)
        return seconds, 100 * (made.bound_usd - made.value_usd) / made.bound_usd


def reference_pass(prepared: Prepared) -> float:
    """Seconds of one pass over 50 classes in Python and numpy."""
    program = Program(prepared.classes[:REFERENCE_CLASSES], prepared.slots)
    prices = np.zeros(len(prepared.slots))
    began = time.perf_counter()
    plan_reference.best(program, prices)
    return time.perf_counter() - began


def kernel_pass(prepared: Prepared) -> float:
    """Milliseconds of one pass over 50 classes in C."""
    program = Program(prepared.classes[:REFERENCE_CLASSES], prepared.slots)
    prices = np.zeros(len(prepared.slots))
    began = time.perf_counter()
    program.best(prices)
    return 1000 * (time.perf_counter() - began)


def peak_mib(index: int) -> float:
    """What a process that does nothing but plan the case once has in memory at most."""
    command = [sys.executable, str(Path(__file__)), "--memory-of", str(index)]
    return float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def measure(cases: Sequence[Case], repeats: int, seeds: tuple[int, ...]) -> list[Series]:
    """These cases in turn."""
    one_pass = Series("one pass over 50 classes in C", "ms")
    reference = Series("one pass over 50 classes, reference", "ms")
    kernel_ratio = Series("reference pass / pass in C", "")
    seconds = [Series(case.name, "s", case.goal_s) for case in cases]
    ratios = [Series(f"{case.name}: time / reference pass", "") for case in cases]
    gaps = [Series(f"{case.name}: gap", "%", case.goal_gap_percent) for case in cases]
    memory = [Series(f"{case.name}: peak memory", "MiB", GOAL_MIB) for case in cases]
    for seed in seeds:
        progress(f"planner: seed {seed}")
        prepared = [Prepared(case, seed) for case in cases]
        for _ in range(repeats):
            for index, each in enumerate(prepared):
                passed = reference_pass(prepared[0])
                quick = kernel_pass(prepared[0])
                took, gap = each.run()
                reference.values.append(1000 * passed)
                one_pass.values.append(quick)
                kernel_ratio.values.append(1000 * passed / quick)
                seconds[index].values.append(took)
                ratios[index].values.append(took / passed)
                gaps[index].values.append(gap)
    for index, series in enumerate(memory):
        progress(f"planner: memory of {cases[index].name}")
        series.values.append(peak_mib(index))
    return [one_pass, reference, kernel_ratio, *seconds, *gaps, *ratios, *memory]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--memory-of", type=int, metavar="CASE", help="plan that case once and print peak MiB"
    )
    options: Any = parser.parse_args()
    if options.memory_of is not None:
        Prepared(CASES[options.memory_of], SEEDS[0]).run()
        status = Path("/proc/self/status").read_text(encoding="ascii")
        print(next(int(line.split()[1]) / MIB for line in status.splitlines() if line.startswith("VmHWM:")))
        return
    about = machine()
    quick: bool = options.quick
    series = measure(CASES[:QUICK_CASES], 1, SEEDS[:1]) if quick else measure(CASES, REPEATS, SEEDS)
    publish("planner", about, series, as_json=options.json)


if __name__ == "__main__":
    main()
