"""Nonce search: every kernel that this machine can run, one thread and all. `--json` for machines.

Usage: python bench/kernels.py [--json] [--rounds N]
"""

import argparse
import json

from miner.hashing.bench import Measurement, cpu_name, measure


def table(measured: list[Measurement]) -> str:
    """One line a measurement."""
    lines = ["kernel      K  threads   MH/s min   median      max   cycles/hash"]
    lines += [
        f"{m['kernel']:<9}{m['versions']:>4}{m['threads']:>9}{m['mh_s_worst']:>11.2f}{m['mh_s_median']:>9.2f}"
        f"{m['mh_s_best']:>9.2f}{m['cycles_per_hash']:>14.1f}"
        for m in measured
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_argument("--rounds", type=int, default=15, help="turns of measuring (default: 15)")
    options = arguments.parse_args()
    measured = measure(rounds=options.rounds)
    if options.json:
        print(json.dumps({"cpu": cpu_name(), "kernels": measured}, indent=2))
    else:
        print(f"{cpu_name()}\n{table(measured)}")


if __name__ == "__main__":
    main()
