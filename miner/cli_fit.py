"""The command `hashmill fit`: its arguments, progress on standard error, and what it tells of the model."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from miner.cli_progress import progress_told

FAILED: Final = 1
WRONG_USE: Final = 2
POLICIES: Final = ("fitted", "band", "threshold", "always_on")


def fit(
    *,
    power: Annotated[
        Path, typer.Option("--power", metavar="CSV", help="Prices: start_utc or date, usd_per_mwh.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the model goes.")],
    day_ahead: Annotated[
        Path | None,
        typer.Option("--day-ahead", metavar="CSV", help="What was expected a day ahead, same columns."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The market's; else the file's.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another gives another draw.")] = 1,
    since: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="Only from that UTC day.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Only before that UTC day.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Learn how a market's price moves, from its history."""
    from miner import control_fit, render  # noqa: PLC0415 - slow to import

    try:
        with progress_told("fit") as progress:
            report = control_fit.fit_files(
                power, day_ahead, out, name=name, seed=seed, since=since, until=until, progress=progress
            )
    except control_fit.FileRefusedError as error:
        _fail(error, WRONG_USE)
    except control_fit.NothingLearnedError as error:
        _fail(error, FAILED)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        render.show(*_told(report))
        for line in _next(report, power, day_ahead):
            typer.echo(line)  # as it is, however long: it is for copying


def _told(report: Mapping[str, Any]) -> Iterator[Any]:
    """What was learned, and how well it does."""
    from miner.render import usd_text  # noqa: PLC0415 - slow to import

    low, high = report["breakevens_usd_per_mwh"]
    least, most = report["costs_usd_per_mw"]
    yield (
        f"Learned {report['market']} from {report['quarters']:,} quarter hours, {report['from'][:10]} to {report['until'][:10]}, "
        f"{'with' if report['day_ahead'] else 'without'} day-ahead prices."
    )
    yield (
        f"It knows breakevens from {usd_text(low)} to {usd_text(high)}/MWh of the market's price, and restarts that cost {usd_text(least)} to {usd_text(most)}/MW."
    )
    yield from (f"Note: {note}." for note in report["notes"])
    checks = report["checks"]
    if any(checks.values()):
        yield ""
        yield (
            f"Checked on prices it had not seen, from {report['held_out_from'][:10]} on: what each rule loses of what hindsight could earn,"
        )
        yield "with a restart that costs ten minutes. A: the price of the quarter hour that begins is known. B: only earlier ones are."
        yield _table(checks)
        yield from _verdict(checks)


def _next(report: Mapping[str, Any], power: Path, day_ahead: Path | None) -> Iterator[str]:
    """What to do with it."""
    more = f" --day-ahead {day_ahead}" if day_ahead else ""
    yield f"Wrote {report['file']} ({report['bytes']:,} bytes). Next, with months it has not seen:"
    yield (
        f"  hashmill backtest --power {power}{more} --hashprice CSV --model {report['file']} --from {report['until'][:10]}"
    )
    yield f'and in the configuration, under [controller.real_time]: model = "{report["file"]}"'


def _table(checks: Mapping[str, Any]) -> Any:
    from miner.render import new_table, usd_text  # noqa: PLC0415 - slow to import

    table = new_table(
        "sees", "breakeven", "model", "band", "threshold", "always on", "starts", right=range(1, 7)
    )
    for sees, rows in checks.items():
        for row in rows:
            table.add_row(
                sees,
                f"{usd_text(row['breakeven_usd_per_mwh'])}/MWh",
                *(f"{100 * row['regret'][policy]:.2f} %" for policy in POLICIES),
                str(row["starts"]["fitted"]),
            )
    return table


def _verdict(checks: Mapping[str, Any]) -> Iterator[str]:
    """Where a simpler rule does better than the model, at most breakevens."""
    from miner.render import usd_text  # noqa: PLC0415 - slow to import

    for sees, rows in checks.items():
        for rule in ("band", "threshold"):
            lost = [row for row in rows if row["regret"]["fitted"] > row["regret"][rule]]
            if 2 * len(lost) > len(rows):
                at = ", ".join(f"{usd_text(row['breakeven_usd_per_mwh'])}/MWh" for row in lost)
                yield f"Warning: seeing {sees} the model lost to the {rule} at {at}: a longer history may help; until then run without it."


def _fail(error: Exception, code: int) -> Any:
    typer.echo(str(error), err=True)
    raise typer.Exit(code)
