"""How vardiff converges: distributions over simulated sessions of devices of 0.1 MH/s to 300 TH/s.

Usage: python bench/vardiff.py [--quick] [--json] [--runs N] [--aim SHARES_PER_MINUTE ...]

Rates are true ones (hashrate / (difficulty * 2**32)), as parts of the aim. Columns:

mean, 5 %, 95 %   of the rate ten minutes after login, or after the device came back or changed (steady: after 30 min)
in 35 %           part of the runs whose rate is then within 35 % of the aim
highest           rate at any moment after the first change that rests on more than ten shares; > 5x: part of the runs above five
search > 5x       the same after any change, those included that were made in silence or on fewer shares
above 5x          longest time at more than five times the aim, from login on
minute            most shares counted in any minute after that first change, as part of the aim
starved           longest time below a fifth of the aim while the device hashes; > 60 s: part of the runs with more
msg/h             changes of difficulty sent an hour, after the moment of judgement

Work takes 0 to 2 s to reach a device, changes that are not urgent wait for the next job (every 30 s), ticks come every 5 s.

What cannot be had: before its first share a device tells nothing, so the difficulty is the same function of the time for all.
To spare one that started 1000 times too hard it has to be 200 times easier after a minute, and whoever begins to hash
then at the right start is above five times the aim (search > 5x). A device that hashes all along meets five times the aim
without a share with a chance of up to exp(-5 * aim * 9.5 s) under the best such function: 0.9 % at 6 shares a minute,
0.007 % at 12.
"""

import json
from dataclasses import asdict
from typing import Final

from report import arguments, progress
from vardiff_simulation import SCENARIOS, Result, simulate

AIMS: Final = (6.0, 12.0, 30.0)
RUNS: Final = 1000
QUICK_RUNS: Final = 50
HEADING: Final = (
    f"{'':<24}{'aim':>4}{'mean':>7}{'5 %':>6}{'95 %':>6}{'in 35 %':>9}{'highest':>9}{'> 5x':>8}{'search > 5x':>13}"
    f"{'above 5x':>10}{'minute':>8}{'starved':>9}{'> 60 s':>8}{'msg/h':>7}"
)


def row(result: Result) -> str:
    """One line of the table."""
    return (
        f"{result.scenario:<24}{result.aim:>4g}{result.mean:>7.3f}{result.low:>6.2f}{result.high:>6.2f}"
        f"{result.part_within_35:>9.1%}{result.highest:>9.1f}{result.part_flooded:>8.2%}{result.part_above_before:>13.1%}"
        f"{result.flooded_s:>8.0f} s{result.busiest_minute:>8.1f}{result.starved_s:>7.0f} s{result.part_starved:>8.2%}"
        f"{result.messages_an_hour:>7.1f}"
    )


def main() -> None:
    """Simulate and print."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, help=f"sessions of each scenario (default: {RUNS})")
    parser.add_argument(
        "--aim", type=float, nargs="+", default=AIMS, help="shares a minute (default: 6 12 30)"
    )
    options = parser.parse_args()
    count = options.runs or (QUICK_RUNS if options.quick else RUNS)
    results = []
    for aim in options.aim:
        for scenario in SCENARIOS:
            progress(f"{scenario}, {aim:g} shares a minute")
            results.append(simulate(scenario, aim, count))
    if options.json:
        print(json.dumps({"bench": "vardiff", "results": [asdict(result) for result in results]}, indent=2))
        return
    print(f"{count} sessions each", HEADING, *map(row, results), sep="\n")


if __name__ == "__main__":
    main()
