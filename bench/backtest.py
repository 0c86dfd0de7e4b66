"""How long a backtest takes: a year of the synthetic market's quarter hours for 50 classes, and a shorter stretch under a site's cap.

Usage: python bench/backtest.py [--quick] [--json] [--model FILE]

Without a cap the classes are dealt out to as many processes as there are cores. It is measured as the command plans by itself, and with
the horizon of the live controller, which decides the same there. Under a cap all is one site in one process: two days
are measured, and what a year of them would take is extrapolated and says so. `--quick` measures three days and a quarter of one.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from report import Series, arguments, machine, progress, publish

from controller.backtest import Asked, Fleet
from controller.backtest_parallel import backtest_in_parallel
from controller.backtest_tape import recorded
from controller.model import Model, read_model
from controller.synthetic import synthetic_market
from controller.units import Mode, PowerCurve, Unit
from controller.worth_seen import Sees

CLASSES: Final = 50
YEAR_DAYS: Final = 365
CAPPED_DAYS: Final = 2.0
WARM_DAYS: Final = 14
GOAL_S: Final = 60.0
SHORT_HOURS: Final = 2.0
"""As far ahead as `hashmill backtest` plans where no more can matter."""
LIVE_HOURS: Final = 36.0
CAP: Final = 0.6
"""The cap, as a part of what all classes draw."""
DAY_S: Final = 86_400


def seconds(days: float, asked: Asked) -> float:
    """How long a backtest of so many days takes, two weeks before them to warm up."""
    market = synthetic_market(WARM_DAYS + int(np.ceil(days)))
    start = market.real_time.starts[0] + WARM_DAYS * DAY_S
    told = recorded(
        market.real_time,
        market.day_ahead,
        market.hashprice,
        adder_usd_per_mwh=25.0,
        start=start,
        stop=start + days * DAY_S,
    )
    began = time.perf_counter()
    backtest_in_parallel(told, fleets(), asked, {}, lambda *_: None, len(os.sched_getaffinity(0)))
    return time.perf_counter() - began


def fleets() -> list[Fleet]:
    """Classes of 1 MW each from 15 to 34 J/TH, of which no two are alike."""
    return [
        Fleet(
            f"{one:g}",
            f"{one:g} J/TH",
            Unit(f"{one:g}", PowerCurve([Mode("full", 1e6 / one, 1e6)]), restart_s=600),
        )
        for one in np.linspace(15, 34, CLASSES).tolist()
    ]


def measure(*, quick: bool, model: Model | None) -> list[Series]:
    """The year, or three days of it, and the stretch under a cap."""
    days = 3 if quick else YEAR_DAYS
    capped_days = 0.25 if quick else CAPPED_DAYS
    asked = Asked(Sees.A, model=model, fee=0.02, horizon_hours=SHORT_HOURS, zone="America/Chicago")
    length = "a year" if days == YEAR_DAYS else f"{days} days"
    found = [
        Series(f"{length} x {CLASSES} classes", "s", GOAL_S),
        Series(f"{length} x {CLASSES} classes, planned {LIVE_HOURS:g} h ahead", "s", GOAL_S),
        Series(f"{capped_days:g} days x {CLASSES} classes under a cap", "s"),
        Series(f"a year x {CLASSES} classes under a cap, extrapolated", "h"),
    ]
    progress("backtest: no cap")
    found[0].values.append(seconds(days, asked))
    progress("backtest: no cap, the live horizon")
    found[1].values.append(seconds(days, replace(asked, horizon_hours=LIVE_HOURS)))
    progress("backtest: a cap")
    capped = seconds(capped_days, replace(asked, horizon_hours=LIVE_HOURS, cap_kw=CAP * CLASSES * 1000))
    found[2].values.append(capped)
    found[3].values.append(capped * YEAR_DAYS / capped_days / 3600)
    return found


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--model", type=Path, metavar="FILE", help="decide by this fitted model")
    options: Any = parser.parse_args()
    about = machine()
    model = None if options.model is None else read_model(options.model.read_bytes())
    publish("backtest", about, measure(quick=options.quick, model=model), as_json=options.json)


if __name__ == "__main__":
    main()
