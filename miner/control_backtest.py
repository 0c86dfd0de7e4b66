"""`hashmill backtest` behind its command line: histories, model and modes from files, the controller over them, the report into its file."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.backtest import POLICY_TEXT, Asked, BacktestResult, Fleet, Recorded, Settles
from controller.backtest_document import TAKEN, document
from controller.backtest_html import report_html
from controller.backtest_live import BacktestError
from controller.backtest_parallel import WorkerError, backtest_in_parallel
from controller.backtest_tape import PeriodError, recorded
from controller.loop import LoopConfig
from controller.model import Model, ModelError, read_model
from controller.plots import PlotError
from controller.recorded import (
    HASHPRICE_USD_PER_PH_DAY,
    QUARTER_S,
    SEVERAL,
    USD_PER_MWH,
    RecordedError,
    Series,
    modes_of,
    parse_moment,
    prices_of,
    utc,
)
from controller.synthetic import synthetic_market
from controller.ticks import POWER
from controller.units import Mode, PowerCurve, Unit
from controller.validate import MAINNET_RULES
from controller.worth import Sees
from miner.control_fit import FileRefusedError, moment, read_text

EFFICIENCIES: Final = (17.5, 21.5, 29.5)
"""J/TH where nothing else is asked for."""
CLASS_W: Final = 1e6
"""What all machines of one efficiency draw together, W."""
LIVE_HOURS: Final = LoopConfig().horizon_hours
SHORT_HOURS: Final = 2.0
MOST: Final = 1e6
"""No number that is asked for is greater: USD/MWh, minutes, kW (a GW), J/TH."""
POLICIES: Final = {policy.value: text for policy, text in POLICY_TEXT.items()}


class BacktestFailedError(Exception):
    """The backtest, or its report, could not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked on the command line, by the option's name; files are None where they are not given."""

    power: Path | None
    day_ahead: Path | None
    hashprice: Path | None
    model: Path | None = None
    synthetic: bool = False
    sees: str = "A"
    settles: str = "real-time"
    since: str | None = None
    until: str | None = None
    j_per_th: tuple[float, ...] = ()
    modes: Path | None = None
    modes_model: str | None = None
    units: int = 1
    restart_minutes: float = 10.0
    change_minutes: float = 2.0
    min_on_minutes: float = 0.0
    min_off_minutes: float = 0.0
    adder_usd_per_mwh: float = 0.0
    fee: float = 0.0
    dead_band: float = 0.0
    cap_kw: float | None = None
    horizon_hours: float | None = None
    published: str = "13:30"
    time_zone: str = "America/Chicago"
    seed: int = 1

    @property
    def plans_ahead_hours(self) -> float:
        """How far ahead is planned: as live, unless only the next decision is asked for and nothing later has a say in it.

        Where prices are not known ahead, and neither a cap nor minimum times bind, what is worth standing in a mode decides alone.
        """
        if self.horizon_hours is not None:
            return self.horizon_hours
        is_bound = self.cap_kw is not None or self.min_on_minutes > 0 or self.min_off_minutes > 0
        return LIVE_HOURS if is_bound or self.settles == Settles.DAY_AHEAD.value else SHORT_HOURS

    def settings(self) -> dict[str, Any]:
        """What was asked, as plain data by the option's name."""
        named = {"since": "--from", "until": "--to"}
        asked = {
            named.get(each.name, "--" + each.name.replace("_", "-")): _plain(getattr(self, each.name))
            for each in fields(self)
        }
        return {**asked, "--horizon-hours": self.plans_ahead_hours}


def backtest_files(
    options: Options, report: Path | None, processes: int, progress: Callable[[float, str], None]
) -> dict[str, Any]:
    """Run the backtest and write its page to `report`, if one is wanted: the result, as plain values.

    Raises FileRefusedError for what cannot be used, and BacktestFailedError.
    """
    _check_report(report, options)
    _check_numbers(options)
    fleets = _fleets(options)
    asked, histories = _asked(options), _histories(options)
    tape = _recorded(options, *histories)
    settings = options.settings()
    if asked.model is not None:
        settings["model_digest"] = asked.model.digest
    try:
        result = backtest_in_parallel(tape, fleets, asked, settings, progress, processes)
        if report is not None:
            _write(report, report_html(result))
    except (BacktestError, WorkerError, PlotError) as error:
        raise BacktestFailedError(str(error)) from error
    return {
        **document(result),
        "notes": [
            *_notes_on_prices(options, histories[0]),
            *_notes_on_model(asked.model, tape),
            *_notes(result),
        ],
    }


def _asked(options: Options) -> Asked:
    model = None
    if options.model is not None:
        try:
            model = read_model(options.model.read_bytes())
        except ModelError as error:
            raise FileRefusedError(f"{options.model}: {error}") from error
        except OSError as error:
            raise FileRefusedError(f"{options.model} cannot be read: {error.strerror}") from error
    if options.settles == Settles.DAY_AHEAD.value and options.sees == Sees.B.value:
        raise FileRefusedError(
            "--sees B: where day-ahead prices settle, all are known before their time; leave it out"
        )
    return Asked(
        sees=Sees(options.sees),
        model=model,
        fee=options.fee,
        dead_band=options.dead_band,
        cap_kw=options.cap_kw,
        horizon_hours=options.plans_ahead_hours,
        zone=_zone(options.time_zone),
        seed=options.seed,
    )


def _recorded(options: Options, power: Series, day_ahead: Series | None, hashprice: Series) -> Recorded:
    start, stop = moment("--from", options.since), moment("--to", options.until)
    try:
        return recorded(
            power,
            day_ahead,
            hashprice,
            adder_usd_per_mwh=options.adder_usd_per_mwh,
            start=start,
            stop=stop,
            settles=Settles(options.settles),
            published=_time_of_day("--published", options.published),
            zone=_zone(options.time_zone),
        )
    except PeriodError as error:
        raise FileRefusedError(f"--from and --to: {error}") from error


def _histories(options: Options) -> tuple[Series, Series | None, Series]:
    """Power, day ahead and hashprice; of the synthetic market those that no file gives."""
    if options.synthetic:
        if options.power is not None or options.day_ahead is not None:
            raise FileRefusedError(
                "--synthetic: makes its own prices of power, leave out --power and --day-ahead"
            )
        market = synthetic_market(seed=options.seed)
        hashprice = market.hashprice if options.hashprice is None else _hashprice(options.hashprice)
        return market.real_time, market.day_ahead, hashprice
    if options.power is None or options.hashprice is None:
        raise FileRefusedError(
            "give --power and --hashprice, or --synthetic for a market that needs no files"
        )
    ahead = None if options.day_ahead is None else _series(options.day_ahead, USD_PER_MWH)
    return _series(options.power, USD_PER_MWH), ahead, _hashprice(options.hashprice)


def _hashprice(file: Path) -> Series:
    return _series(file, HASHPRICE_USD_PER_PH_DAY)


def _series(file: Path, column: str) -> Series:
    try:
        return prices_of(read_text(file), column, str(file))
    except RecordedError as error:
        raise FileRefusedError(str(error)) from error


def _fleets(options: Options) -> tuple[Fleet, ...]:
    """A fleet of 1 MW for each efficiency, or machines with the modes of a file."""
    if options.modes is not None:
        if options.j_per_th:
            raise FileRefusedError("give --j-per-th or --modes, not both")
        return (_ladder(options, options.modes),)
    if options.modes_model is not None:
        raise FileRefusedError("--modes-model chooses a model of the file that --modes names: give that too")
    efficiencies = options.j_per_th or EFFICIENCIES
    twice = [f"{one:.15g}" for one, count in Counter(efficiencies).items() if count > 1]
    if twice:
        raise FileRefusedError(f"--j-per-th {twice[0]} is given more than once")
    watts = CLASS_W / options.units
    return tuple(
        Fleet(
            key=f"{one:.15g}",
            title=f"{one:.15g} J/TH",
            unit=_unit(options, f"{one:.15g}", PowerCurve([Mode("full", watts / one, watts)])),
            count=options.units,
        )
        for one in efficiencies
    )


def _ladder(options: Options, file: Path) -> Fleet:
    try:
        curve = modes_of(read_text(file), str(file), options.modes_model)
    except RecordedError as error:
        raise FileRefusedError(f"{error}{_HOW_TO_CHOOSE if SEVERAL in str(error) else ''}") from error
    name = options.modes_model or file.stem
    if name in TAKEN:
        raise FileRefusedError(
            f"--modes: {name!r} is the name of something else in the results; give the file another"
        )
    return Fleet(name, name, _unit(options, name, curve), options.units)


_HOW_TO_CHOOSE: Final = "\n--modes-model chooses one of several models"


def _unit(options: Options, name: str, curve: PowerCurve) -> Unit:
    return Unit(
        name,
        curve,
        min_on_s=options.min_on_minutes * 60,
        min_off_s=options.min_off_minutes * 60,
        restart_s=options.restart_minutes * 60,
        change_s=options.change_minutes * 60,
    )


def _notes_on_prices(options: Options, power: Series) -> list[str]:
    """What a person should know of what the prices of power were taken for."""
    if options.settles == Settles.DAY_AHEAD.value:
        if options.synthetic or options.day_ahead is not None:
            return []
        return ["without --day-ahead the prices of --power are taken for those published the day before"]
    minutes = power.step_s / 60
    seen = f"soon as the first of them {'begins' if options.sees == Sees.A.value else 'is over'}"
    if power.step_s > QUARTER_S:
        found = (
            f"each price holds for {minutes:g} minutes and is taken for that of each quarter hour of them; decisions know it as "
            f"{seen}: too good where it is told only at the end of all of them"
        )
    elif power.step_s < QUARTER_S and options.sees == Sees.A.value:
        found = (
            f"prices of {minutes:g} minutes were averaged over each quarter hour, and decisions know the mean when it begins: too "
            "good where it is not told by then; see --sees B"
        )
    else:
        return []
    return [found]


def _notes_on_model(model: Model | None, tape: Recorded) -> list[str]:
    """Whether the model was fitted on days that it is judged on."""
    if model is None:
        return []
    told = [str(model.facts.get(name)) for name in ("from", "until")]
    try:
        first, after = map(parse_moment, told)
    except ValueError:  # another writer's
        return []
    judged = tape.starts[tape.warm_up :]
    if first > judged[-1] or after <= judged[0]:
        return []
    seen = (
        f"the model was fitted on {model.facts.get('market')}, {told[0]:.10} to {told[1]:.10}: if that is this market it has "
        "seen days that it is judged on; judge by others"
    )
    return [seen]


def _notes(result: BacktestResult) -> list[str]:
    """What a person should know of the result."""
    notes = []
    since, until = (
        moment(name, cast("str | None", result.settings.get(name))) for name in ("--from", "--to")
    )
    first, last = float(result.starts[0]), float(result.starts[-1]) + QUARTER_S
    if since is not None and since < first:
        notes.append(f"prices are known from {utc(first)} on only, not from --from on")
    if until is not None and until > last:
        notes.append(f"prices are known until {utc(last)} only, not until --to")
    left_out = int((~result.counts).sum())
    if left_out:
        notes.append(f"{left_out} quarter hours do not count: a price is missing; see the gaps")
    believed = MAINNET_RULES[POWER]
    beyond = int(
        ((result.power_usd_per_kwh < believed.low) | (result.power_usd_per_kwh > believed.high)).sum()
    )
    if beyond:
        notes.append(
            f"{beyond} quarter hours cost less than {believed.low:g} or more than {believed.high:g} USD/kWh: a daemon believes such "
            "prices only where `market` or [controller.bounds] says that they can be"
        )
    fallback = Counter(
        {
            method: sum(each.methods.get(method, 0) for each in result.fleets)
            for method in ("fitted", "markov", "band")
        }
    )
    if result.settings.get("--model") is not None and fallback["fitted"] < fallback.total():
        share = 1 - fallback["fitted"] / fallback.total()
        notes.append(
            f"{100 * share:.1f} % of decisions fell back from the model: prices outside what it was fitted on, or too few"
        )
    return notes


def _time_of_day(option: str, written: str) -> time:
    try:
        found = time.fromisoformat(written)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise FileRefusedError(f"{option} {written}: write a time of the day as 13:30, in --time-zone")
    return found


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a part of a name is a directory
        raise FileRefusedError(f"--time-zone {name}: no such zone, write it as America/Chicago") from error
    return name


def _check_numbers(options: Options) -> None:
    """Refuse numbers that mean nothing."""
    asked = options.settings()
    for name, value in asked.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, float) and not abs(one) <= MOST:
                raise FileRefusedError(f"{name} {one:g}: is out of all bounds")
    for name, values in (("--j-per-th", options.j_per_th), ("--cap-kw", (options.cap_kw,))):
        for one in values:
            if one is not None and not one > 0:
                raise FileRefusedError(f"{name} {one:g}: must be above zero")


def _check_report(report: Path | None, options: Options) -> None:
    """Refuse a page that cannot be written or drawn, or would take the place of what is read, before anything takes minutes."""
    if report is None:
        return
    read = (options.power, options.day_ahead, options.hashprice, options.model, options.modes)
    if any(file is not None and file.exists() and report.exists() and report.samefile(file) for file in read):
        raise FileRefusedError(f"{report} is read by this backtest: give --report another name")
    if report.is_dir() or not report.parent.is_dir():
        raise FileRefusedError(f"{report}: is no file's name in a directory that exists")
    if not os.access(report if report.exists() else report.parent, os.W_OK):
        raise FileRefusedError(f"{report} cannot be written: it is not ours to write to")
    if find_spec("matplotlib") is None:
        raise BacktestFailedError("--report needs matplotlib: install hashmill with the extra `report`")


def _write(report: Path, page: str) -> None:
    try:
        report.write_text(page, encoding="utf-8")
    except OSError as error:
        raise BacktestFailedError(f"{report} cannot be written: {error.strerror}") from error


def _plain(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
