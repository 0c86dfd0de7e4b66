"""`hashmill fit` behind its command line: histories from files, the model into its file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from controller.fit import fit
from controller.fit_value import FitError
from controller.model import LARGEST, ModelError, read_model
from controller.recorded import USD_PER_MWH, RecordedError, Series, parse_moment, prices_of


class FileRefusedError(Exception):
    """A file or an argument cannot be used; the message says which, why and what to do."""


class NothingLearnedError(Exception):
    """The histories are well, but nothing can be learned from them, or here; the message says why and what to do."""


def fit_files(
    power: Path,
    day_ahead: Path | None,
    out: Path,
    *,
    name: str | None,
    seed: int,
    since: str | None,
    until: str | None,
    progress: Callable[[float, str], None],
) -> dict[str, Any]:
    """Fit the market of these CSV files and write its model to `out`: the report of it, as plain values.

    Raises FileRefusedError and NothingLearnedError; `out` is whole or as it was before.
    """
    _check_out(out)
    start, stop = moment("--from", since), moment("--to", until)
    prices = _cut(_prices(power), start, stop, power)
    # Threads that wait sleep: beside a busy miner those that spin take ten times as long. Read when scikit-learn is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    ahead = None if day_ahead is None else _cut(_prices(day_ahead), start, stop, day_ahead)
    try:
        data, report = fit(prices, ahead, name=name or power.stem, seed=seed, progress=progress)
    except FitError as error:
        raise NothingLearnedError(str(error)) from error
    _write(out, data)
    return {
        **report.facts,
        "file": str(out),
        "bytes": len(data),
        "digest": read_model(data).digest,
        "notes": list(report.notes),
        "gaps_told": [*prices.gaps, *(() if ahead is None else ahead.gaps)],
    }


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, with or without its mark; raises FileRefusedError."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileRefusedError(f"{file}: not a text file in UTF-8") from error
    except OSError as error:
        raise FileRefusedError(f"{file} cannot be read: {error.strerror}") from error


def _prices(file: Path) -> Series:
    try:
        return prices_of(read_text(file), USD_PER_MWH, str(file))
    except RecordedError as error:
        raise FileRefusedError(str(error)) from error


def moment(option: str, written: str | None) -> float | None:
    """The UTC day that an option says, UTC unix seconds, None for none; raises FileRefusedError."""
    if written is None:
        return None
    try:
        return parse_moment(written)
    except ValueError as error:
        raise FileRefusedError(f"{option}: {error}; write a UTC day as 2024-01-31") from error


def _cut(series: Series, start: float | None, stop: float | None, file: Path) -> Series:
    """The rows from `start` and before `stop`."""
    if start is None and stop is None:
        return series
    cut = series.between(float("-inf") if start is None else start, float("inf") if stop is None else stop)
    if not len(cut.starts):
        raise FileRefusedError(f"{file}: no rows between --from and --to")
    return cut


_HEAD: Final = 4
_ZIP: Final = b"PK\x03\x04"


def _check_out(out: Path) -> None:
    """Refuse a name that cannot be written, or is another file's, before anything takes minutes."""
    if out.is_dir() or not out.parent.is_dir():
        raise FileRefusedError(f"{out}: is no file's name in a directory that exists")
    try:
        if out.exists() and not _is_model(out):
            raise FileRefusedError(
                f"{out} exists and is no model: give --out another name, nothing is overwritten"
            )
    except OSError as error:
        raise FileRefusedError(f"{out} cannot be read: {error.strerror}") from error
    if not os.access(out.parent, os.W_OK):
        raise FileRefusedError(f"{out} cannot be written: {out.parent} is not ours to write to")


def _is_model(file: Path) -> bool:
    """Whether that is a model, of any version."""
    if file.stat().st_size > LARGEST:
        return False
    data = file.read_bytes()
    try:
        read_model(data)
    except ModelError:
        return data[:_HEAD] == _ZIP and b"facts.json" in data
    return True


def _write(out: Path, data: bytes) -> None:
    beside = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise NothingLearnedError(f"{out} cannot be written: {error.strerror}") from error
