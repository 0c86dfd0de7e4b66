"""How the settings of a fit were chosen: cross validation on thirds of ERCOT's 2024, later months left alone.

    python bench/fit_folds.py [--sees A] [--seed 1] [--set rows=100000 fits=1 ...]

A model fitted on two thirds of the year decides in the other one, at seven efficiencies and three restart times, with the hashprice of the
day, $25/MWh on top and a fee of 2 %. What it loses against hindsight is printed for each, and the geometric mean of all: with that
two settings are compared. Differences of less than 5 % of it are noise, as other seeds show. Takes some three minutes.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.fit_check import _hindsight, _lived
from controller.fit_rows import Drawn, history, margin, reach, rows
from controller.fit_value import FIRST_LOOK, SETTINGS, Settings, learn
from controller.recorded import (
    HASHPRICE_USD_PER_PH_DAY,
    USD_PER_MWH,
    on_quarters,
    parse_moment,
    prices_of,
)
from controller.worth_seen import Sees

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from controller.fit_rows import History
    from controller.worth_trees import Trees

DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES: Final = {
    "ercot_hubavg_rt_2024-01_2025-07.csv": USD_PER_MWH,
    "ercot_hubavg_da_2024-01_2025-07.csv": USD_PER_MWH,
    "hashprice_daily_2024-01_2025-07.csv": HASHPRICE_USD_PER_PH_DAY,
}
FOLDS: Final = 3
AROUND: Final = 100
"""Quarter hours on either side of what is judged that are not learned from."""
J_PER_TH: Final = (15.0, 17.5, 19.5, 21.5, 25.0, 29.5, 34.0)
RESTARTS_MINUTES: Final = (4.0, 10.0, 20.0)
ADDER_USD_PER_KWH: Final = 0.025
PAID: Final = 0.98


def main() -> None:
    """Print what the settings lose in each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sees", choices=list(Sees), default=Sees.A, type=Sees)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="another setting")
    given = parser.parse_args()
    changes = {name: float(value) for name, value in (each.split("=") for each in given.set)}
    settings = replace(
        SETTINGS, **{name: type(getattr(SETTINGS, name))(value) for name, value in changes.items()}
    )
    market, hashprice = load()
    lost = cross_validated(market, hashprice, given.sees, given.seed, settings)
    print(f"sees {given.sees}, {settings}")
    for minutes in RESTARTS_MINUTES:
        told = "  ".join(f"{efficiency:g}: {100 * lost[efficiency, minutes]:.3f}" for efficiency in J_PER_TH)
        print(f"  restart {minutes:g} min, regret in % by J/TH: {told}")
    print(f"  geometric mean {100 * math.exp(np.mean(np.log(list(lost.values())))):.4f} %")


def load() -> tuple[History, NDArray[np.float64]]:
    """The market of 2024 in USD/kWh, and the hashprice of each of its quarter hours."""
    until = parse_moment("2025-01-01")
    series = [
        prices_of((DATA / name).read_text(), column, name).between(-math.inf, until)
        for name, column in FILES.items()
    ]
    real_time, *others = (on_quarters(each) for each in series)
    ahead, hashprice = (each.over(real_time.first, len(real_time.values)) for each in others)
    return history(real_time.first, real_time.values * 0.001, ahead * 0.001), hashprice


def cross_validated(
    market: History, hashprice: NDArray[np.float64], sees: Sees, seed: int, settings: Settings
) -> dict[tuple[float, float], float]:
    """What is lost, by J/TH and minutes of restart, as a share of what hindsight earns in all folds together."""
    sums = {(efficiency, minutes): np.zeros(2) for efficiency in J_PER_TH for minutes in RESTARTS_MINUTES}
    edges = np.linspace(0, len(market.prices), FOLDS + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(edges.tolist()), start=1):
        print(f"fold {number} of {FOLDS}", file=sys.stderr)
        moments = market.moments(FIRST_LOOK, day_ahead=True)
        moments = moments[(moments < start - AROUND) | (moments > stop + AROUND)]
        between = reach(market.prices[moments])
        if between is None:
            raise SystemExit("the prices do not move")
        trees, _ = learn(
            market,
            moments,
            between,
            sees,
            day_ahead=True,
            seed=seed,
            settings=settings,
            progress=lambda _: None,
        )
        for efficiency, minutes in sums:
            both = earned(market, hashprice, trees, sees, efficiency, minutes / 60, (start, stop))
            sums[efficiency, minutes] += both
    return {case: float((most - got) / most) for case, (got, most) in sums.items()}


def earned(
    market: History,
    hashprice: NDArray[np.float64],
    trees: Trees,
    sees: Sees,
    efficiency: float,
    restart_h: float,
    fold: tuple[int, int],
) -> tuple[float, float]:
    """What the trees earn in a fold and what hindsight does, USD per kW at the fold's mean cost."""
    places = np.arange(max(fold[0], AROUND), fold[1] - AROUND)
    all_in = hashprice[places] * PAID / 24 / efficiency
    cost = all_in * restart_h
    now = Drawn(places, all_in - ADDER_USD_PER_KWH, cost)
    margins = margin(market, now, 0)
    worth = trees.predict(rows(market, now if sees is Sees.A else replace(now, at=places - 1)))
    got, _ = _lived(margins, worth + (margins if sees is Sees.A else 0.0))
    return got * float(cost.mean()), _hindsight(margins) * float(cost.mean())


if __name__ == "__main__":
    main()
