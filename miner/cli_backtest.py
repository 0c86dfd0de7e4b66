"""The command `hashmill backtest`: its arguments, progress on standard error, and what it tells of the result."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from miner.cli_progress import progress_told

FAILED: Final = 1
WRONG_USE: Final = 2


class SeesName(StrEnum):
    """What a decision may see: the price of the quarter hour that begins (A), or only earlier ones (B)."""

    A = "A"
    B = "B"


class SettlesName(StrEnum):
    """Which price is paid."""

    REAL_TIME = "real-time"
    DAY_AHEAD = "day-ahead"


def _option(name: str, words: str, **more: Any) -> Any:
    return typer.Option(f"--{name}", help=words, **more)


PowerOption = Annotated[
    Path | None, _option("power", "Prices: start_utc or date, usd_per_mwh.", metavar="CSV")
]
AheadOption = Annotated[
    Path | None, _option("day-ahead", "What was expected a day ahead, same columns.", metavar="CSV")
]
HashpriceOption = Annotated[
    Path | None, _option("hashprice", "Columns date, hashprice_usd_per_ph_day.", metavar="CSV")
]
SyntheticOption = Annotated[bool, _option("synthetic", "A seeded market in place of files.")]
ModelOption = Annotated[
    Path | None, _option("model", "What `hashmill fit` wrote; without it, fallbacks decide.", metavar="FILE")
]
SeesOption = Annotated[
    SeesName, _option("sees", "A: the price of the quarter hour that begins is known. B: only those before.")
]
SettlesOption = Annotated[SettlesName, _option("settles", "Which price is paid.")]
FromOption = Annotated[str | None, _option("from", "Only from that UTC day.", metavar="DAY")]
ToOption = Annotated[str | None, _option("to", "Only before that UTC day.", metavar="DAY")]
EfficiencyOption = Annotated[
    list[float] | None,
    _option("j-per-th", "1 MW of machines so efficient; several may be given.", metavar="X"),
]
MoreEfficiencies = Annotated[list[float] | None, typer.Argument(hidden=True, metavar="X")]
ModesOption = Annotated[
    Path | None,
    _option("modes", "A machine with modes: watts, th_s; mode and model if named.", metavar="CSV"),
]
ModesModelOption = Annotated[str | None, _option("modes-model", "Which model of that file.", metavar="NAME")]
UnitsOption = Annotated[int, _option("units", "So many units make up each class.", min=1)]
RestartOption = Annotated[float, _option("restart-minutes", "Hashing lost by a start.", min=0)]
ChangeOption = Annotated[float, _option("change-minutes", "Hashing lost by a change of mode.", min=0)]
MinOnOption = Annotated[float, _option("min-on-minutes", "Runs for so long at least.", min=0)]
MinOffOption = Annotated[float, _option("min-off-minutes", "Stays off for so long at least.", min=0)]
AdderOption = Annotated[float, _option("adder-usd-per-mwh", "What comes on top of the market's price.")]
FeeOption = Annotated[float, _option("fee", "The pool's, a fraction: 0.02 is 2 %.", min=0, max=0.99)]
DeadBandOption = Annotated[
    float, _option("dead-band", "dead_band_ratio, for prices known ahead.", min=0, max=0.99)
]
CapOption = Annotated[float | None, _option("cap-kw", "What all classes together may draw.", min=0)]
HorizonOption = Annotated[
    float | None,
    _option(
        "horizon-hours", "How far ahead it plans; else 36, or 2 where that cannot matter.", min=1, max=168
    ),
]
PublishedOption = Annotated[
    str, _option("published", "When day-ahead prices come out the day before, local.", metavar="TIME")
]
ZoneOption = Annotated[str, _option("time-zone", "The market's and the site's.", metavar="ZONE")]
SeedOption = Annotated[int, _option("seed", "Of intervals, and of --synthetic.", min=0)]
ProcessesOption = Annotated[int, _option("processes", "Side by side; 0 for one a core.", min=0)]
ReportOption = Annotated[
    Path | None, _option("report", "Write an HTML page with plots there.", metavar="FILE")
]
JsonOption = Annotated[bool, _option("json", "Print JSON instead of tables.")]


def backtest(  # noqa: PLR0913 - one parameter for each option, read from the context
    context: typer.Context,
    *,
    power: PowerOption = None,  # noqa: ARG001
    day_ahead: AheadOption = None,  # noqa: ARG001
    hashprice: HashpriceOption = None,  # noqa: ARG001
    synthetic: SyntheticOption = False,  # noqa: ARG001
    model: ModelOption = None,  # noqa: ARG001
    sees: SeesOption = SeesName.A,
    settles: SettlesOption = SettlesName.REAL_TIME,
    since: FromOption = None,  # noqa: ARG001
    until: ToOption = None,  # noqa: ARG001
    j_per_th: EfficiencyOption = None,
    more: MoreEfficiencies = None,
    modes: ModesOption = None,  # noqa: ARG001
    modes_model: ModesModelOption = None,  # noqa: ARG001
    units: UnitsOption = 1,  # noqa: ARG001
    restart_minutes: RestartOption = 10.0,  # noqa: ARG001
    change_minutes: ChangeOption = 2.0,  # noqa: ARG001
    min_on_minutes: MinOnOption = 0.0,  # noqa: ARG001
    min_off_minutes: MinOffOption = 0.0,  # noqa: ARG001
    adder_usd_per_mwh: AdderOption = 0.0,  # noqa: ARG001
    fee: FeeOption = 0.0,  # noqa: ARG001
    dead_band: DeadBandOption = 0.0,  # noqa: ARG001
    cap_kw: CapOption = None,  # noqa: ARG001
    horizon_hours: HorizonOption = None,  # noqa: ARG001
    published: PublishedOption = "13:30",  # noqa: ARG001
    time_zone: ZoneOption = "America/Chicago",  # noqa: ARG001
    seed: SeedOption = 1,  # noqa: ARG001
    processes: ProcessesOption = 0,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay recorded prices through the controller; judge it."""
    from miner import control_backtest, render, render_backtest  # noqa: PLC0415 - slow to import
    from miner.control_fit import FileRefusedError  # noqa: PLC0415

    if more and not j_per_th:
        _fail(f"what is {more[0]:g}? Efficiencies come after --j-per-th", WRONG_USE)
    given = {name: value for name, value in context.params.items() if name not in _OF_THE_COMMAND}
    given.update(sees=sees.value, settles=settles.value, j_per_th=(*(j_per_th or ()), *(more or ())))
    try:
        options = control_backtest.Options(**given)
        with progress_told("backtest") as progress:
            found = control_backtest.backtest_files(options, report, processes or _cores(), progress)
    except FileRefusedError as error:
        _fail(str(error), WRONG_USE)
    except control_backtest.BacktestFailedError as error:
        _fail(str(error), FAILED)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        render.show(*render_backtest.backtest(found, control_backtest.POLICIES))
    if report is not None:
        typer.echo(f"wrote {report}", err=True)


_OF_THE_COMMAND: Final = frozenset({"more", "processes", "report", "as_json"})
"""Parameters that do not change what comes out."""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fail(message: str, code: int) -> Any:
    typer.echo(message, err=True)
    raise typer.Exit(code)
