"""The command `hashmill`: reads its arguments, loads the configuration, hands over, prints.

Exit codes: 0 fine, 1 it failed, 2 wrong use or configuration. What is slow to import is imported where it is used,
so that `hashmill --help` answers at once.
"""

import json
import re
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from miner.cli_backtest import backtest
from miner.cli_fit import fit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from miner.config import Config
    from miner.ledger.reader import Reader

FAILED = 1
WRONG_CONFIGURATION = 2

app = typer.Typer(
    help="A SHA-256 mining node that hashes only when it pays.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # its display of local variables could show secrets
)
log = typer.Typer(help="Print what the ledger holds, newest first.", no_args_is_help=True)
app.add_typer(log, name="log")


class NetworkName(StrEnum):
    """Networks there are."""

    MAIN = "main"
    TEST = "test"
    TESTNET4 = "testnet4"
    SIGNET = "signet"
    REGTEST = "regtest"


ConfigOption = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]

UnitOption = Annotated[str | None, typer.Option("--unit", help="Only those of this unit.")]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only from then on: 2026-01-31T06:00Z, or as long ago as 90s, 15m, 6h, 2d.",
    ),
]

DEFAULT_CONFIG = Path("hashmill.toml")


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    app(prog_name="hashmill")
    sys.exit(0)


def _version(*, wanted: bool) -> None:
    if not wanted:
        return
    try:
        number = metadata.version("hashmill")
    except metadata.PackageNotFoundError:
        _fail("this checkout is not installed: `make install` does it", FAILED)
    typer.echo(f"hashmill {number}")
    raise typer.Exit


@app.callback()
def hashmill(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _version(wanted=value),
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    """A SHA-256 mining node that hashes only when it pays."""


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Mine, until SIGINT or SIGTERM."""
    loaded = _load(config)
    from miner import daemon  # noqa: PLC0415 - slow to import

    raise typer.Exit(daemon.run(loaded))


@app.command()
def init(
    *,
    network: Annotated[NetworkName, typer.Option(help="The chain it is for.")] = NetworkName.MAIN,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it there.")] = None,
) -> None:
    """Print a commented configuration to start from; --out writes it."""
    from miner.config_template import template  # noqa: PLC0415 - pydantic is slow to import

    text = template(network.value)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _fail(f"{out} exists already and is left as it is: give --out another name", WRONG_CONFIGURATION)
    except OSError as error:
        _fail(f"{out} cannot be written: {error.strerror}", FAILED)
    typer.echo(f"wrote {out}: fill in payout_address, then run: hashmill check --config {out}")


@app.command()
def check(*, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Try out configuration, nodes, payout, a block, pools, units, prices."""
    loaded = _load(config)
    _log_warnings(loaded)
    from miner import inquiries, render  # noqa: PLC0415 - slow to import
    from miner.checks import exit_code  # noqa: PLC0415

    with _failures_told(inquiries.CONFIGURATION_ERRORS):
        rows = inquiries.check(loaded)
    if as_json:
        _print_json([{"subject": row.subject, "ok": row.ok, "detail": row.detail} for row in rows])
    else:
        render.show(render.checks(rows))
    raise typer.Exit(exit_code(rows))


@app.command()
def hashprice(*, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Print what hashing earns now and after the next retarget."""
    loaded = _load(config)
    _log_warnings(loaded)
    from miner import inquiries, render, render_plan  # noqa: PLC0415 - slow to import

    with _failures_told(inquiries.CONFIGURATION_ERRORS):
        report = inquiries.hashprice(loaded)
    if as_json:
        _print_json(report)
    else:
        render.show(*render_plan.hashprice(report))
    if not report["known"]:
        raise typer.Exit(FAILED)


@app.command()
def plan(*, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Print what the controller would do, and why; touches nothing."""
    loaded = _load(config)
    _log_warnings(loaded)
    from miner import inquiries, render, render_plan  # noqa: PLC0415 - slow to import

    with _failures_told(inquiries.CONFIGURATION_ERRORS):
        report = {"enabled": loaded.controller.enabled, **inquiries.plan(loaded)}
    if as_json:
        _print_json(report)
    else:
        render.show(*render_plan.plan(report))


@app.command()
def fleet(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw it there: a name ending in .svg or .png."),
    ] = None,
) -> None:
    """Print merit order, breakevens, survival table, cash; touches nothing."""
    loaded = _load(config)
    _log_warnings(loaded)
    from miner import inquiries, render, render_fleet  # noqa: PLC0415 - slow to import
    from miner.control_fleet import PlotRefusedError, draw_fleet  # noqa: PLC0415

    with _failures_told(inquiries.CONFIGURATION_ERRORS):
        report = inquiries.fleet(loaded)
    if as_json:
        _print_json(report)
    else:
        render.show(*render_fleet.fleet(report))
    if plot is not None:
        try:
            draw_fleet(report, plot)
        except PlotRefusedError as error:
            _fail(str(error), FAILED)
        typer.echo(f"drawn: {plot}", err=True)
    if not report["known"]:
        raise typer.Exit(FAILED)


@app.command()
def bench(*, as_json: JsonOption = False) -> None:
    """Measure every kernel on this CPU: MH/s, cycles per hash."""
    from miner import render  # noqa: PLC0415 - slow to import
    from miner.config import CpuConfig  # noqa: PLC0415
    from miner.hashing.bench import cpu_name, measure  # noqa: PLC0415
    from miner.hashing.calibration import choose  # noqa: PLC0415

    with _failures_told():
        choice = choose(CpuConfig().versions)
        results = measure()
    if as_json:
        _print_json(results)
    else:
        render.show(f"{cpu_name()}: hashmill uses {choice.kernel} ({choice.source})", render.bench(results))


app.command()(fit)
app.command()(backtest)


@app.command()
def demo(
    *,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Stop after this time; without it, at Ctrl-C.")
    ] = None,
) -> None:
    """Mine on a private bitcoind, power prices changing."""
    from regtest import demo as show  # noqa: PLC0415 - slow to import, and only needed here

    raise typer.Exit(show.main(seconds))


@log.command("decisions")
def log_decisions(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    limit: LimitOption = 20,
    unit: UnitOption = None,
    since: SinceOption = None,
    changes: Annotated[bool, typer.Option("--changes", help="Leave out those that held a mode.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Decide again from what was kept, the last day unless --since; compare every bit.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """What units were told, why, and what came of it."""
    from dataclasses import asdict  # noqa: PLC0415

    from miner import render  # noqa: PLC0415 - slow to import

    if verify:
        _verify_decisions(_load(config), _time(since or "1d"), limit, unit, as_json=as_json)
        return
    begin = _time(since)
    with _failures_told(), _ledger(_load(config)) as ledger:
        rows = ledger.decisions(limit, unit=unit, since=begin, changes=changes)
        outcomes = ledger.outcomes([row.id for row in rows])
    if as_json:
        _print_json(
            [{**asdict(row), "outcomes": [asdict(o) for o in outcomes.get(row.id, [])]} for row in rows]
        )
    else:
        render.show(render.decisions(rows, outcomes))


def _verify_decisions(config: "Config", since: float, limit: int, unit: str | None, *, as_json: bool) -> None:
    from miner import render  # noqa: PLC0415 - slow to import
    from miner.control_verify import Verification  # noqa: PLC0415

    with _failures_told(), _ledger(config) as ledger:
        report = Verification(ledger, unit=unit).run(since, time.time())
    if as_json:
        _print_json(report)
    else:
        render.show(*render.verification(report, limit))
    if not report["ok"]:
        raise typer.Exit(FAILED)


@log.command("blocks")
def log_blocks(
    *, config: ConfigOption = DEFAULT_CONFIG, limit: LimitOption = 20, as_json: JsonOption = False
) -> None:
    """Blocks found, and what became of them."""
    from dataclasses import asdict  # noqa: PLC0415

    from miner import render  # noqa: PLC0415 - slow to import

    with _failures_told(), _ledger(_load(config)) as ledger:
        rows = ledger.blocks(limit)
    if as_json:
        _print_json([{key: value for key, value in asdict(row).items() if key != "raw"} for row in rows])
    else:
        render.show(render.blocks(rows))


@log.command("shares")
def log_shares(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    limit: LimitOption = 20,
    unit: UnitOption = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shares accepted from miners, as long as they are kept."""
    from dataclasses import asdict  # noqa: PLC0415

    from miner import render  # noqa: PLC0415 - slow to import

    begin = _time(since)
    with _failures_told(), _ledger(_load(config)) as ledger:
        rows = ledger.shares(limit, unit=unit, since=begin)
    if as_json:
        _print_json([asdict(row) for row in rows])
    else:
        render.show(render.shares(rows))


@log.command("pools")
def log_pools(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    limit: LimitOption = 20,
    pool: Annotated[str | None, typer.Option("--pool", help="Only this pool.")] = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shares handed to pools: sums, and what came of each."""
    from dataclasses import asdict  # noqa: PLC0415

    from miner import render  # noqa: PLC0415 - slow to import

    begin = _time(since)
    with _failures_told(), _ledger(_load(config)) as ledger:
        rows = ledger.pool_shares(limit, pool=pool, since=begin)
        sums = ledger.pool_share_sums(begin)
    if pool is not None:
        sums = {name: known for name, known in sums.items() if name == pool}
    if as_json:
        told = [{"pool": name, "found": known.found, **asdict(known)} for name, known in sums.items()]
        _print_json({"pools": told, "shares": [asdict(row) for row in rows]})
    else:
        render.show(render.pool_sums(sums), render.pool_shares(rows))


def _time(written: str | None) -> float:
    """A time as people write it, in unix seconds: ISO 8601 (UTC if it does not say), or how long ago; None is 0."""
    if written is None:
        return 0.0
    span = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", written)
    if span:
        return time.time() - float(span[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[span[2]]
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        _fail(
            f"--since {written}: no time like 2026-01-31T06:00Z, and no span like 15m, 6h, 2d",
            WRONG_CONFIGURATION,
        )
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _load(file: Path) -> "Config":
    from miner.config_file import ConfigError, load  # noqa: PLC0415 - pydantic is slow to import

    try:
        return load(file)
    except ConfigError as error:
        _fail(str(error), WRONG_CONFIGURATION)


def _log_warnings(config: "Config") -> None:
    """Say on standard error what fails on the way; the answer itself goes to standard output."""
    from miner import log as logs  # noqa: PLC0415 - only needed here

    logs.configure("warning", config.log.format)


def _ledger(config: "Config") -> "Reader":
    from miner.ledger.reader import Reader  # noqa: PLC0415 - SQLAlchemy is slow to import

    return Reader.open(config.ledger.full_url, site=config.ledger.site)


@contextmanager
def _failures_told(wrong: tuple[type[Exception], ...] = ()) -> "Iterator[None]":
    """Turn what may go wrong in the outer world into a message and an exit code; a fault of ours keeps its traceback.

    `wrong`: errors that are the configuration's beside ConfigError.
    """
    from miner.config_file import ConfigError  # noqa: PLC0415 - slow to import, all of them
    from miner.kernel import KernelError  # noqa: PLC0415
    from miner.ledger.rows import LedgerError  # noqa: PLC0415
    from miner.node.rpc import RpcError  # noqa: PLC0415

    configuration: tuple[type[Exception], ...] = (ConfigError, *wrong)
    try:
        yield
    except configuration as error:
        _fail(str(error), WRONG_CONFIGURATION)
    except (KernelError, LedgerError, RpcError) as error:
        _fail(str(error), FAILED)


def _print_json(value: "dict[str, Any] | Sequence[Any]") -> None:
    typer.echo(json.dumps(value, indent=2))


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
