"""Every bench, one after the other: all the numbers that are published, measured on this machine.

Usage: python bench/all.py [--quick] [--json] [bench ...]

In full it takes about half an hour. The machine should have nothing else to do; with `--quick` the numbers say only that
the benches run. `live_day` is no part of it: it needs faketime, takes half an hour, and measures nothing; nor is `fit_folds`, which
serves whoever changes how a market is learned.
"""

from __future__ import annotations

import json
import subprocess  # each bench is a program, so that none is measured in the leavings of another
import sys
from pathlib import Path
from typing import Any, Final

from report import arguments, progress

FOLDER: Final = Path(__file__).resolve().parent
BENCHES: Final[dict[str, list[str]]] = {
    "kernels": ["--rounds", "1"],
    "scan_efficiency": ["--seconds", "0.3"],
    "latency": ["--quick"],
    "overhead": ["--quick"],
    "mining": ["--quick"],
    "stratum": ["--quick"],
    "upstream": ["--quick"],
    "kill": ["--quick"],
    "vardiff": ["--quick"],
    "planner": ["--quick"],
    "backtest": ["--quick"],
    "real_time": ["--quick"],
    "soak": ["--quick"],
}
"""In their order, each with what makes it quick."""


def run(bench: str, options: list[str]) -> None:
    """Let one bench print. Raises subprocess.CalledProcessError when it fails."""
    subprocess.run([sys.executable, FOLDER / f"{bench}.py", *options], check=True)


def result(bench: str, options: list[str]) -> Any:
    """What one bench has to say as JSON. Raises subprocess.CalledProcessError when it fails."""
    command = [sys.executable, str(FOLDER / f"{bench}.py"), "--json", *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> int:
    """Run them; the exit code is 1 when one of them failed, after all others had their turn."""
    parser = arguments(__doc__)
    parser.add_argument("benches", nargs="*", metavar="bench", help=f"of {', '.join(BENCHES)} (default: all)")
    options = parser.parse_args()
    unknown = set(options.benches) - set(BENCHES)
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    results: dict[str, Any] = {}
    failed = False
    for bench, quick in BENCHES.items():
        if options.benches and bench not in options.benches:
            continue
        progress(f"== {bench}")
        try:
            if options.json:
                results[bench] = result(bench, quick if options.quick else [])
            else:
                run(bench, quick if options.quick else [])
        except subprocess.CalledProcessError as error:
            failed = True
            progress(f"{bench} failed with exit code {error.returncode}")
    if options.json:
        print(json.dumps(results, indent=2))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
