import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from miner import cli_fit, control_fit
from miner.control_fit import FileRefusedError, NothingLearnedError

app = typer.Typer()
app.command("fit")(cli_fit.fit)


def row(breakeven: float, fitted: float, threshold: float) -> dict[str, Any]:
    return {
        "percentile": 85.0,
        "breakeven_usd_per_mwh": breakeven,
        "cost_usd_per_mw": 8.0,
        "regret": {"fitted": fitted, "band": 0.01, "threshold": threshold, "always_on": 0.4},
        "starts": {"fitted": 31, "band": 30, "threshold": 80, "always_on": 0},
    }


REPORT: dict[str, Any] = {
    "market": "hub",
    "from": "2024-01-01T00:00:00Z",
    "until": "2025-01-01T00:00:00Z",
    "held_out_from": "2024-10-19T00:00:00Z",
    "quarters": 35136,
    "step_s": 900.0,
    "gaps": 0,
    "day_ahead": True,
    "seed": 1,
    "breakevens_usd_per_mwh": [2.5, 237.0],
    "costs_usd_per_mw": [0.6, 127.0],
    "versions": {},
    "checks": {"A": [row(40.0, 0.0021, 0.013)], "B": [row(40.0, 0.03, 0.02)]},
    "file": "hub.model",
    "bytes": 712345,
    "digest": "ab",
    "notes": ["1 gaps were left out, the first: p.csv: nothing [here]"],
    "gaps_told": [],
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def fit_files(
        power: Path, day_ahead: Path | None, out: Path, *, progress: Callable[[float, str], None], **more: Any
    ) -> dict[str, Any]:
        seen.update(power=power, day_ahead=day_ahead, out=out, **more)
        for part in (0.0, 0.25, 0.5):
            progress(part, "learning A")
        progress(1.0, "done")
        return REPORT

    monkeypatch.setattr(control_fit, "fit_files", fit_files)
    return seen


def hashmill_fit(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def test_it_tells_what_was_learned_how_well_and_what_is_next(given: dict[str, Any]) -> None:
    result = hashmill_fit("--power", "p.csv", "--day-ahead", "d.csv", "--out", "hub.model", "--seed", "4")
    assert result.exit_code == 0, result.output
    assert given["power"] == Path("p.csv")
    assert (given["day_ahead"], given["seed"], given["since"]) == (Path("d.csv"), 4, None)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "Learned hub from 35,136 quarter hours, 2024-01-01 to 2025-01-01, with day-ahead prices." in lines
    assert "Note: 1 gaps were left out, the first: p.csv: nothing [here]." in lines
    assert "A $40.00/MWh 0.21 % 1.00 % 1.30 % 40.00 % 31" in lines
    assert any(
        line.startswith("Warning: seeing B the model lost to the threshold at $40.00/MWh") for line in lines
    )
    assert (
        "hashmill backtest --power p.csv --day-ahead d.csv --hashprice CSV --model hub.model --from 2025-01-01"
        in lines
    )
    assert any('model = "hub.model"' in line for line in lines)


@pytest.mark.usefixtures("given")
def test_progress_goes_to_standard_error_and_json_to_standard_output() -> None:
    result = hashmill_fit("--power", "p.csv", "--out", "hub.model", "--json")
    assert json.loads(result.stdout) == REPORT
    assert result.stderr.splitlines() == ["fit: learning A", "fit: done"]


@pytest.mark.usefixtures("given")
def test_on_a_terminal_progress_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = hashmill_fit("--power", "p.csv", "--out", "hub.model", "--json")
    assert result.exit_code == 0
    assert "done" in result.stderr
    assert "100%" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(FileRefusedError("p.csv: bad"), 2), (NothingLearnedError("too short"), 1)]
)
def test_what_cannot_be_done_is_told_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def refuse(*_: Any, **__: Any) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(control_fit, "fit_files", refuse)
    result = hashmill_fit("--power", "p.csv", "--out", "hub.model")
    assert (result.exit_code, result.stderr.strip()) == (code, str(error))


def test_power_and_out_are_needed() -> None:
    assert hashmill_fit("--out", "m").exit_code == 2
    assert hashmill_fit("--power", "p.csv").exit_code == 2
