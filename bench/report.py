"""What every bench prints: the machine, then minimum, median and maximum of each series beside its goal.

One bench is one command; `--json` prints the same for machines, `--quick` measures less.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from dataclasses import dataclass, field
from typing import Any, Final

from miner import kernel
from miner.hashing.bench import cpu_name

FIGURES: Final = 3
"""Significant figures of what is printed: the machine's noise hides the rest."""
HEADINGS: Final = ("", "unit", "n", "min", "median", "max", "goal", "within")


@dataclass(slots=True)
class Series:
    """Measurements of one thing. `goal`: none of them should exceed it; None where nothing was promised."""

    what: str
    unit: str
    goal: float | None = None
    values: list[float] = field(default_factory=list)

    @property
    def within(self) -> int:
        """How many of the measurements keep the goal; all where there is none."""
        return sum(self.goal is None or value <= self.goal for value in self.values)

    def figures(self) -> dict[str, Any]:
        """The series as JSON has it. Raises ValueError where nothing was measured."""
        if not self.values:
            raise ValueError(f"nothing was measured: {self.what}")
        return {
            "what": self.what,
            "unit": self.unit,
            "n": len(self.values),
            "min": min(self.values),
            "median": statistics.median(self.values),
            "max": max(self.values),
            "goal": self.goal,
            "within_goal": None if self.goal is None else self.within,
        }


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every bench has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--quick", action="store_true", help="measure less: to see that it runs, not to publish"
    )
    return parser


def machine() -> dict[str, Any]:
    """What the numbers are of: CPU, cores this process may use, kernel, and how busy the machine already is."""
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": kernel.selected(),
        "load": round(os.getloadavg()[0], 2),
    }


def publish(bench: str, about: dict[str, Any], series: list[Series], *, as_json: bool) -> None:
    """Print what was measured on the machine that `about` tells of (as `machine` gave it before the bench)."""
    if as_json:
        document = {"bench": bench, **about, "series": [each.figures() for each in series]}
        print(json.dumps(document, indent=2))
        return
    cores = "1 core" if about["cores"] == 1 else f"{about['cores']} cores"
    print(f"{bench}: {about['cpu']}, {cores}, kernel {about['kernel']}, load before {about['load']:.2f}")
    print(table(series))


def table(series: list[Series]) -> str:
    """One line a series, under headings."""
    rows = [HEADINGS, *(_row(each.figures()) for each in series)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(figures: dict[str, Any]) -> tuple[str, ...]:
    goal, within, count = figures["goal"], figures["within_goal"], figures["n"]
    return (
        figures["what"],
        figures["unit"],
        str(count),
        *(_number(figures[name]) for name in ("min", "median", "max")),
        "-" if goal is None else f"{goal:g}",
        "-" if within is None else f"{within}/{count}",
    )


def _number(value: float) -> str:
    """The value with so many significant figures, and never in powers of ten."""
    if value == 0:
        return "0"
    places = FIGURES - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):.{max(places, 0)}f}"


def progress(text: str) -> None:
    """Tell whoever waits what is measured now; what is published goes to standard output alone."""
    print(text, file=sys.stderr, flush=True)
