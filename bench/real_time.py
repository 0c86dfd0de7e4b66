"""What acting on unknown prices earns on a recorded market: the regret of every policy, and what a ladder of modes adds.

Usage: python bench/real_time.py [--quick] [--json] [--data FOLDER]

A model is fitted on 2024 and judged on January to July 2025, by the commands that users run. FOLDER holds CSV files of the Texas market, by
default ../shared/data beside the checkout. Without them, and with --quick, a short synthetic market takes their place, of which nothing
is promised; with --quick nothing is fitted either.
"""

from __future__ import annotations

import csv
import json
import subprocess  # the commands that users run are what is measured
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from report import Series, arguments, machine, progress, publish

from controller.hashprice import hashprice_btc_per_ph_day
from controller.synthetic import csv_of, synthetic_market

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).resolve().parents[1]
DATA: Final = ROOT.parent / "shared" / "data"

GOALS: Final = {
    "A": {"17.5": 0.12, "21.5": 0.17, "29.5": 0.55},
    "B": {"17.5": 0.65, "21.5": 0.80, "29.5": 1.95},
}
"""Regret promised, in per cent, by what decisions see and by J/TH."""
KNOWN_GOAL, LADDER_GOAL = 0.01, 0.7
FIT_GOAL_S: Final = 300.0
LADDER: Final = ((76, 1850), (80, 2000), (87, 2300), (92, 2500), (96, 2700), (100, 2970))
"""TH/s and W of modes measured on an S19j Pro."""
TERMS: Final = ("--adder-usd-per-mwh", "25", "--fee", "0.02")


@dataclass(frozen=True)
class Market:
    """Files of one market, the days up to which it is fitted on and judged, and the same days with the hashprice of half a year later."""

    real_time: Path
    day_ahead: Path
    hashprice: Path
    later_hashprice: Path | None
    fitted_until: date
    judged_until: date
    is_promised: bool

    @property
    def prices(self) -> tuple[str, ...]:
        """The options that name the prices of power."""
        return ("--power", str(self.real_time), "--day-ahead", str(self.day_ahead))

    @property
    def judged(self) -> tuple[str, ...]:
        """The options that name the days judged."""
        return ("--from", f"{self.fitted_until}", "--to", f"{self.judged_until}")


def recorded(data: Path, folder: Path) -> Market:
    """The Texas market. The hashprice of August 2025 on, a level at which units throttle, is laid over the days judged."""
    start = date(2025, 1, 1)
    later = folder / "later_hashprice.csv"
    write(later, ("date", "hashprice_usd_per_ph_day"), later_hashprice(data, start))
    return Market(
        data / "ercot_hubavg_rt_2024-01_2025-07.csv",
        data / "ercot_hubavg_da_2024-01_2025-07.csv",
        data / "hashprice_daily_2024-01_2025-07.csv",
        later,
        start,
        date(2025, 8, 1),
        is_promised=True,
    )


def synthetic(folder: Path, *, quick: bool) -> Market:
    """Ten weeks to fit on and one to judge; a day of it for the quick."""
    first = date(2024, 1, 1)
    market = synthetic_market(days=77, seed=1, first_day=first)
    files = [folder / f"{name}.csv" for name in ("real_time", "day_ahead", "hashprice")]
    columns = ("usd_per_mwh", "usd_per_mwh", "hashprice_usd_per_ph_day")
    every = (market.real_time, market.day_ahead, market.hashprice)
    for file, column, series in zip(files, columns, every, strict=True):
        file.write_text(csv_of(series, column), encoding="utf-8")
    until = first + timedelta(days=70)
    return Market(*files, None, until, until + timedelta(days=1 if quick else 7), is_promised=False)


def later_hashprice(data: Path, start: date) -> list[tuple[str, float]]:
    """Hashprice by day from the blocks and the bitcoin price of August 2025 on, as if they had been found from `start` on."""
    blocks: dict[date, list[tuple[float, float]]] = {}
    subsidy_sat: dict[date, int] = {}
    for row in rows(data / "btc_blocks_2025-08_2026-02.csv"):
        day = datetime.fromtimestamp(int(row["time"]), tz=UTC).date()
        blocks.setdefault(day, []).append((float(row["difficulty"]), float(row["total_fee_sat"])))
        subsidy_sat[day] = int(row["subsidy_sat"])
    prices = {
        date.fromisoformat(row["date"]): (float(row["open"]) + float(row["close"])) / 2
        for row in rows(data / "btcusd_daily_2025-08_2026-02.csv")
    }
    whole_days = sorted(prices.keys() & blocks.keys())[1:-1]
    found = []
    for number, day in enumerate(whole_days):
        difficulty, fees_sat = (mean(column) for column in zip(*blocks[day], strict=True))
        btc = hashprice_btc_per_ph_day(difficulty, subsidy_sat[day], fees_sat)
        found.append((f"{start + timedelta(days=number)}", btc * prices[day]))
    return found


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by the names of its columns."""
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def write(file: Path, columns: tuple[str, ...], table: Iterable[tuple[Any, ...]]) -> None:
    """Make a CSV file."""
    with file.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text).writerows([columns, *table])


def hashmill(*options: str) -> Any:
    """What a command says with --json. Raises subprocess.CalledProcessError when it fails."""
    command = [sys.executable, "-m", "miner", *options, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)


def fitted(market: Market, folder: Path) -> tuple[tuple[str, ...], Series]:
    """The options that name a model fitted on the first part, and how long fitting takes on all there is."""
    model = folder / "market.model"
    progress("fit on the first part")
    hashmill("fit", *market.prices, "--to", f"{market.fitted_until}", "--out", str(model))
    seconds = Series("fit, on all days", "s", FIT_GOAL_S if market.is_promised else None)
    progress("fit on everything")
    began = time.perf_counter()
    hashmill("fit", *market.prices, "--out", str(folder / "all.model"))
    seconds.values.append(time.perf_counter() - began)
    return ("--model", str(model)), seconds


def regrets(what: str, policies: dict[str, Any], goal: float | None) -> list[Series]:
    """The regret of each policy, in per cent; only that of the controller has a goal."""
    return [
        Series(f"{what}: {name}", "% regret", goal if name == "hashmill" else None, [100 * each["regret"]])
        for name, each in policies.items()
        if name != "oracle" and each["regret"] is not None
    ]


def single_modes(market: Market, model: tuple[str, ...]) -> list[Series]:
    """Machines that are on or off, restarts of ten minutes: decisions see the quarter hour that begins (A) or do not (B)."""
    found: list[Series] = []
    efficiencies = [option for j_per_th in GOALS["A"] for option in ("--j-per-th", j_per_th)]
    for sees, goals in GOALS.items():
        progress(f"backtest, sees {sees}")
        told = backtest(market, "--sees", sees, *model, *efficiencies)
        unfitted = backtest(market, "--sees", sees, *efficiencies) if model else told
        for j_per_th, goal in goals.items():
            what = f"{sees}, {j_per_th} J/TH"
            found += regrets(what, told[j_per_th], goal if market.is_promised else None)
            found.append(regrets(f"{what}, no model", unfitted[j_per_th], None)[0])
    progress("backtest, day-ahead prices settle")
    told = backtest(market, "--settles", "day-ahead", *efficiencies)
    for j_per_th in GOALS["A"]:
        goal = KNOWN_GOAL if market.is_promised else None
        found += regrets(f"day ahead, {j_per_th} J/TH", told[j_per_th], goal)[:1]
    return found


def ladder(market: Market, model: tuple[str, ...], folder: Path) -> list[Series]:
    """A machine with six modes, two minutes lost per change: regret, and what it earns over on/off at full power and at its best mode."""
    modes = folder / "modes.csv"
    write(modes, ("th_s", "watts"), LADDER)
    options = (
        *model,
        "--modes",
        str(modes),
        "--restart-minutes",
        "2",
        "--change-minutes",
        "2",
    )
    found: list[Series] = []
    for name, hashprice in (("", market.hashprice), (", later hashprice", market.later_hashprice)):
        if hashprice is None:
            continue
        progress(f"backtest of a ladder{name}")
        told = backtest(market, *options, hashprice=hashprice)
        (key,) = told["fleets"]
        policies = told[key]
        found += regrets(f"ladder{name}", policies, LADDER_GOAL if market.is_promised else None)
        single = list(told["fleets"][key]["single_modes_usd"].values())  # by watts: the last is full power
        for what, usd in (("on/off at full power", single[-1]), ("its best single mode", max(single))):
            for who in ("hashmill", "oracle"):
                more = 100 * (policies[who]["usd"] / usd - 1)
                found.append(Series(f"ladder{name}: {who} over {what}", "% earned", None, [more]))
    return found


def backtest(market: Market, *options: str, hashprice: Path | None = None) -> dict[str, Any]:
    """What the backtest of the days judged says; starts take ten minutes unless the options say otherwise."""
    of = ("--hashprice", str(hashprice or market.hashprice))
    told: dict[str, Any] = hashmill("backtest", *market.prices, *of, *market.judged, *TERMS, *options)
    return told


def main() -> int:
    """Fit, judge, print."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--data", type=Path, default=DATA, metavar="FOLDER", help="CSV files of the Texas market"
    )
    options = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory(prefix="hashmill-bench-") as name:
        folder = Path(name)
        is_there = options.data.is_dir() and not options.quick
        if not is_there:
            progress(f"a synthetic market: {'--quick' if options.quick else f'there is no {options.data}'}")
        market = recorded(options.data, folder) if is_there else synthetic(folder, quick=options.quick)
        model, *seconds = ((),) if options.quick else fitted(market, folder)
        series = [*single_modes(market, model), *ladder(market, model, folder), *seconds]
    publish("real_time", about, series, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
