"""Histories, model and modes from files, the controller over them, the report into its file."""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.model import Model
from controller.recorded import HASHPRICE_USD_PER_PH_DAY, Series
from controller.synthetic import csv_of, synthetic_market
from miner import control_backtest
from miner.control_backtest import BacktestFailedError, Options, backtest_files
from miner.control_fit import FileRefusedError
from tests.controller.worth_rig import model

MARKET = synthetic_market(3, seed=4)


def run(options: Options, report: Path | None = None) -> dict[str, Any]:
    return backtest_files(options, report, 1, lambda *_: None)


def cut(series: Series, first: int, rows: int) -> Series:
    return Series(series.starts[first : first + rows], series.values[first : first + rows], series.step_s)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Four hours of the second day, after a day to warm up."""
    for name, text in (
        ("power.csv", csv_of(MARKET.real_time)),
        ("ahead.csv", csv_of(MARKET.day_ahead)),
        ("hashprice.csv", csv_of(MARKET.hashprice, HASHPRICE_USD_PER_PH_DAY)),
    ):
        (tmp_path / name).write_text(text)
    return Options(
        tmp_path / "power.csv",
        tmp_path / "ahead.csv",
        tmp_path / "hashprice.csv",
        since="2024-01-02",
        until="2024-01-02T04:00:00Z",
        j_per_th=(21.5,),
    )


def test_files_become_results_by_efficiency_with_what_was_asked(options: Options) -> None:
    found = run(replace(options, sees="B", fee=0.02, adder_usd_per_mwh=25.0))
    assert list(found["fleets"]) == ["21.5"]
    assert {"usd", "regret", "starts", "uptime"} <= set(found["21.5"]["hashmill"])
    assert found["sees"] == "B"
    assert found["period"] == {
        "from": "2024-01-02T00:00:00Z",
        "to": "2024-01-02T04:00:00Z",
        "hours": 4.0,
        "counted_hours": 4.0,
    }
    assert found["settings"]["--fee"] == 0.02
    assert found["settings"]["--power"] == str(options.power)


def test_the_synthetic_market_needs_no_files(options: Options) -> None:
    found = run(Options(None, None, None, synthetic=True, until="2024-01-01T02:00:00Z", seed=4))
    assert list(found["fleets"]) == ["17.5", "21.5", "29.5"]
    with pytest.raises(FileRefusedError, match="leave out --power"):
        run(replace(options, synthetic=True))


def test_modes_of_a_file_become_a_ladder(options: Options, tmp_path: Path) -> None:
    modes = tmp_path / "s19.csv"
    modes.write_text("watts,th_s,mode\n1850,76,eco\n2970,100,full\n")
    found = run(replace(options, j_per_th=(), modes=modes, until="2024-01-02T01:00:00Z"))
    assert list(found["fleets"]) == ["s19"]
    assert set(found["fleets"]["s19"]["single_modes_usd"]) == {"eco", "full"}


def test_a_ladder_cannot_have_the_name_of_what_else_is_told(options: Options, tmp_path: Path) -> None:
    modes = tmp_path / "notes.csv"
    modes.write_text("watts,th_s,mode\n1850,76,eco\n2970,100,full\n")
    with pytest.raises(FileRefusedError, match="'notes' is the name of something else"):
        run(replace(options, j_per_th=(), modes=modes))


def test_gaps_are_named_and_noted(options: Options, tmp_path: Path) -> None:
    lines = csv_of(MARKET.real_time).splitlines()
    (tmp_path / "power.csv").write_text("\n".join(lines[:100] + lines[103:]))
    found = run(options)
    assert any("power.csv: nothing from 2024-01-02T00:45:00Z" in gap for gap in found["gaps"])
    assert any(note.startswith("3 quarter hours do not count") for note in found["notes"])


@pytest.mark.parametrize(
    ("every_minutes", "sees", "words"),
    [
        (60, "A", "holds for 60 minutes .* as soon as the first of them begins"),
        (60, "B", "holds for 60 minutes .* as soon as the first of them is over"),
        (5, "A", "prices of 5 minutes were averaged .* --sees B"),
        (5, "B", None),
        (15, "A", None),
    ],
)
def test_what_is_known_too_early_of_other_intervals_is_noted(
    options: Options, tmp_path: Path, every_minutes: int, sees: str, words: str | None
) -> None:
    starts = MARKET.real_time.starts[0] + 60.0 * every_minutes * np.arange(2880 // every_minutes)
    (tmp_path / "power.csv").write_text(csv_of(Series(starts, np.full(len(starts), 30.0), 0.0)))
    notes = run(replace(options, sees=sees, until="2024-01-02T01:00:00Z"))["notes"]
    assert [bool(re.search(words, note)) for note in notes] == [True] if words else notes == []


def test_prices_that_no_daemon_believes_by_itself_are_believed_and_noted(
    options: Options, tmp_path: Path
) -> None:
    values = MARKET.real_time.values.copy()
    values[100:102] = 15_000.0
    (tmp_path / "power.csv").write_text(csv_of(replace(MARKET.real_time, values=values)))
    found = run(options)
    assert found["notes"][0].startswith("2 quarter hours cost less than -1 or more than 10 USD/kWh")
    assert found["21.5"]["hashmill"]["usd"] > 0


def test_a_file_that_settles_as_if_day_ahead_is_noted(options: Options) -> None:
    found = run(replace(options, settles="day-ahead", day_ahead=None, until="2024-01-02T01:00:00Z"))
    assert found["notes"] == [
        "without --day-ahead the prices of --power are taken for those published the day before"
    ]


def test_the_page_is_written_where_it_is_wanted(options: Options, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.html"
    run(replace(options, until="2024-01-02T01:00:00Z"), page)
    assert "<html" in page.read_text()


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_run(
    options: Options, tmp_path: Path
) -> None:
    with pytest.raises(FileRefusedError, match="no file's name"):
        run(options, tmp_path / "nowhere" / "page.html")


def test_a_page_never_takes_the_place_of_what_is_read(options: Options) -> None:
    assert options.power is not None
    before = options.power.read_text()
    with pytest.raises(FileRefusedError, match="another name"):
        run(options, options.power)
    assert options.power.read_text() == before


def test_without_matplotlib_a_page_is_refused_with_what_to_install(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_backtest, "find_spec", lambda _: None)
    with pytest.raises(BacktestFailedError, match="extra `report`"):
        run(options, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"power": None}, "--power and --hashprice"),
        ({"since": "yesterday"}, "--from: .*2024-01-31"),
        ({"since": "2024-01-02T00:00"}, "--from: .* is not in UTC"),
        ({"since": "2031-01-01", "until": None}, "--from and --to: nothing to judge"),
        ({"published": "noon"}, "--published noon"),
        ({"published": "13:30+05:00"}, "in --time-zone"),
        ({"time_zone": "America"}, "--time-zone America: no such zone"),
        ({"adder_usd_per_mwh": math.nan}, "--adder-usd-per-mwh nan"),
        ({"adder_usd_per_mwh": math.inf}, "--adder-usd-per-mwh inf"),
        ({"restart_minutes": math.inf}, "--restart-minutes inf"),
        ({"j_per_th": (21.5, math.nan)}, "--j-per-th nan"),
        ({"j_per_th": (0.0,)}, "--j-per-th 0: must be above zero"),
        ({"j_per_th": (-5.0,)}, "--j-per-th -5: must be above zero"),
        ({"cap_kw": 0.0}, "--cap-kw 0: must be above zero"),
        ({"time_zone": "Mars/Base"}, "--time-zone Mars/Base"),
        ({"j_per_th": (21.5, 21.5)}, "21.5 is given more than once"),
        ({"modes_model": "S19"}, "--modes names"),
        ({"modes": Path("x.csv")}, "not both"),
        ({"modes": Path("nothing.csv"), "j_per_th": ()}, "nothing.csv cannot be read"),
        ({"model": Path("nothing.model")}, "nothing.model cannot be read"),
        ({"settles": "day-ahead", "sees": "B"}, "leave it out"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_do(
    options: Options, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(FileRefusedError, match=words):
        run(replace(options, **changes))


def test_a_file_that_is_no_model_is_refused_by_its_name(options: Options, tmp_path: Path) -> None:
    (tmp_path / "x.model").write_bytes(b"nothing")
    with pytest.raises(FileRefusedError, match=r"x\.model: "):
        run(replace(options, model=tmp_path / "x.model"))


@pytest.mark.parametrize(
    ("fitted_from", "fitted_until", "noted"),
    [
        ("2023-01-01", "2024-01-02", 0),
        ("2023-01-01", "2024-01-03", 1),
        ("2024-01-02", "2024-02-01", 1),
        ("2024-01-03", "2024-02-01", 0),
    ],
)
def test_a_model_that_has_seen_what_it_is_judged_on_is_noted(
    options: Options, monkeypatch: pytest.MonkeyPatch, fitted_from: str, fitted_until: str, noted: int
) -> None:
    facts = {"market": "hub", "from": f"{fitted_from}T00:00:00Z", "until": f"{fitted_until}T00:00:00Z"}
    known = model()
    monkeypatch.setattr(control_backtest, "read_model", lambda _: known)
    monkeypatch.setattr(Model, "facts", property(lambda _: facts))
    notes = run(replace(options, model=options.power, until="2024-01-02T01:00:00Z"))["notes"]
    assert sum("it has seen days that it is judged on" in note for note in notes) == noted


def test_a_file_with_several_models_says_how_to_choose_one(options: Options, tmp_path: Path) -> None:
    modes = tmp_path / "two.csv"
    modes.write_text("model,watts,th_s\na,1850,76\nb,2970,100\n")
    with pytest.raises(FileRefusedError, match="--modes-model"):
        run(replace(options, modes=modes, j_per_th=()))
    modes.write_text("watts,th_s\n")
    with pytest.raises(FileRefusedError) as caught:
        run(replace(options, modes=modes, j_per_th=()))
    assert "--modes-model" not in str(caught.value)


def test_a_period_that_goes_beyond_the_prices_is_noted(options: Options) -> None:
    found = run(replace(options, since="2023-01-01", until="2024-01-01T01:00:00Z"))
    assert found["notes"] == ["prices are known from 2024-01-01T00:00:00Z on only, not from --from on"]
    found = run(replace(options, since="2024-01-03T23:00:00Z", until="2030-01-01"))
    assert found["notes"] == ["prices are known until 2024-01-04T00:00:00Z only, not until --to"]


def test_it_plans_as_far_as_live_where_that_can_matter(options: Options) -> None:
    assert options.plans_ahead_hours == 2
    assert replace(options, horizon_hours=5).plans_ahead_hours == 5
    for change in (
        {"cap_kw": 5.0},
        {"min_on_minutes": 30},
        {"min_off_minutes": 30},
        {"settles": "day-ahead"},
    ):
        assert replace(options, **change).plans_ahead_hours == 36
    assert options.settings()["--horizon-hours"] == 2


def test_where_day_ahead_settles_the_oracle_is_all_but_reached(options: Options) -> None:
    found = run(replace(options, settles="day-ahead", adder_usd_per_mwh=65.0, until="2024-01-03"))
    policies = found["21.5"]
    assert policies["oracle"]["uptime"] < 1
    assert policies["hashmill"]["regret"] < 0.0001
    assert found["sees_text"] == "all prices from their publication the day before"


def test_days_are_utc(options: Options) -> None:
    start = datetime(2024, 1, 2, tzinfo=UTC)
    assert run(options)["period"]["from"] == start.strftime("%Y-%m-%dT%H:%M:%SZ")
