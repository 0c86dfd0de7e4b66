from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.fit import FitReport, fit
from controller.fit_value import SETTINGS
from controller.model import read_model
from controller.recorded import Series
from controller.synthetic import csv_of, synthetic_market
from miner import control_fit
from miner.control_fit import FileRefusedError, NothingLearnedError, fit_files, read_text

SMALL = replace(SETTINGS, rows=800, rounds=1, trees=3, early_trees=2, leaves=7, fits=1)
MARKET = synthetic_market(40)
made: dict[tuple[str, int, bool], tuple[bytes, FitReport]] = {}
"""Models by the history they are of: each is fitted once."""


def quick_fit(rt: Series, day_ahead: Series | None, *, name: str, **more: Any) -> tuple[bytes, FitReport]:
    key = (name, len(rt.values), day_ahead is None)
    if key not in made:
        made[key] = fit(rt, day_ahead, name=name, settings=SMALL, **more)
    return made[key]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_fit, "fit", quick_fit)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    power, ahead = tmp_path / "hub.csv", tmp_path / "ahead.csv"
    power.write_text(csv_of(MARKET.real_time))
    ahead.write_text(csv_of(MARKET.day_ahead))
    return power, ahead


def fitted(
    power: Path, ahead: Path | None, out: Path, since: str | None = None, until: str | None = None
) -> dict[str, object]:
    return fit_files(
        power, ahead, out, name=None, seed=1, since=since, until=until, progress=lambda _, __: None
    )


def test_a_model_is_written_and_told(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "hub.model"
    report = fitted(*files, out)
    data = out.read_bytes()
    assert (report["market"], report["file"], report["bytes"]) == ("hub", str(out), len(data))
    assert report["digest"] == read_model(data).digest
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ahead.csv", "hub.csv", "hub.model"]


def test_from_and_to_cut_both_files(files: tuple[Path, Path], tmp_path: Path) -> None:
    report = fitted(*files, tmp_path / "m", since="2024-01-03", until="2024-02-05")
    assert (report["from"], report["until"]) == ("2024-01-03T00:00:00Z", "2024-02-05T00:00:00Z")


def test_a_model_is_replaced_and_nothing_else_is(files: tuple[Path, Path], tmp_path: Path) -> None:
    power, _ = files
    before = power.read_bytes()
    with pytest.raises(FileRefusedError, match="exists and is no model"):
        fitted(power, None, power)
    assert power.read_bytes() == before
    out = tmp_path / "m"
    fitted(power, None, out, until="2024-02-05")
    first = out.read_bytes()
    fitted(power, None, out)
    assert out.read_bytes() != first


def test_a_model_of_another_version_may_be_replaced_too(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "m"
    fitted(files[0], None, out)
    out.write_bytes(out.read_bytes().replace(b'"format": 1', b'"format": 9'))
    fitted(files[0], None, out)
    assert read_model(out.read_bytes()).facts["market"] == "hub"


def test_where_nothing_can_be_written_it_says_so_before_it_begins(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    for out in (tmp_path, tmp_path / "nowhere" / "m"):
        with pytest.raises(FileRefusedError, match="no file's name in a directory that exists"):
            fitted(files[0], None, out)


def test_what_is_wrong_with_a_file_is_told(files: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("start_utc,usd_per_mwh\n2024-01-01T00:00:00Z,dear\n")
    with pytest.raises(FileRefusedError, match=r"bad\.csv:2: column 'usd_per_mwh': 'dear' is not a number"):
        fitted(files[0], bad, tmp_path / "m")
    with pytest.raises(FileRefusedError, match=r"gone\.csv cannot be read: No such file"):
        fitted(tmp_path / "gone.csv", None, tmp_path / "m")
    with pytest.raises(FileRefusedError, match="no rows between --from and --to"):
        fitted(*files, tmp_path / "m", since="2030-01-01")
    with pytest.raises(FileRefusedError, match="--to: 'soon' is not in ISO 8601; write a UTC day"):
        fitted(*files, tmp_path / "m", until="soon")
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileRefusedError, match="not a text file in UTF-8"):
        read_text(bad)


def test_too_short_a_history_teaches_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(NothingLearnedError, match=r"has 9\.0 days: 30 are needed"):
        fitted(*files, tmp_path / "m", until="2024-01-10")
    assert not (tmp_path / "m").exists()


def test_a_disk_that_fails_leaves_the_old_model(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m"
    fitted(files[0], None, out)
    before = out.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(control_fit.os, "fsync", full)
    with pytest.raises(NothingLearnedError, match="No space left on device"):
        fitted(files[0], None, out, until="2024-02-05")
    assert out.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ahead.csv", "hub.csv", "m"]
