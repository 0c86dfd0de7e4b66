"""The command `hashmill backtest`."""

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from miner import control_backtest
from miner.cli_backtest import backtest
from miner.control_backtest import BacktestFailedError, Options

APP = typer.Typer()
APP.command()(backtest)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(APP, arguments)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command hands on; nothing is run."""
    found: list[Any] = []

    def run(options: Options, report: object, processes: int, progress: Any) -> dict[str, Any]:
        progress(0.5, "hashmill")
        found.append((options, report, processes))
        return {"fleets": {}}

    monkeypatch.setattr(control_backtest, "backtest_files", run)
    return found


def test_options_are_handed_on_and_json_goes_to_standard_output(asked: list[Any]) -> None:
    result = invoke(
        "--power",
        "p.csv",
        "--hashprice",
        "h.csv",
        "--sees",
        "B",
        "--fee",
        "0.02",
        "--from",
        "2025-01-01",
        "--json",
    )
    assert json.loads(result.stdout) == {"fleets": {}}
    assert result.stderr == "backtest: hashmill\n"
    ((options, report, processes),) = asked
    assert (str(options.power), options.sees, options.fee, options.since, report) == (
        "p.csv",
        "B",
        0.02,
        "2025-01-01",
        None,
    )
    assert processes >= 1


def test_efficiencies_may_follow_one_another_or_be_given_one_by_one(asked: list[Any]) -> None:
    invoke("--synthetic", "--j-per-th", "17.5", "21.5", "29.5", "--json")
    invoke("--synthetic", "--j-per-th", "17.5", "--j-per-th", "21.5", "--json")
    assert [each[0].j_per_th for each in asked] == [(17.5, 21.5, 29.5), (17.5, 21.5)]


def test_a_number_on_its_own_is_wrong_use(asked: list[Any]) -> None:
    result = invoke("--synthetic", "21.5")
    assert result.exit_code == 2
    assert "--j-per-th" in result.stderr
    assert not asked


def test_what_is_not_asked_for_has_the_defaults_of_the_backtest(asked: list[Any]) -> None:
    invoke("--synthetic", "--json")
    assert asked[0][0] == Options(None, None, None, synthetic=True)


def test_a_refused_file_is_wrong_use_and_says_why() -> None:
    result = invoke("--power", "p.csv")
    assert result.exit_code == 2
    assert "--synthetic" in result.stderr


def test_a_backtest_that_fails_exits_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise BacktestFailedError("out of luck")

    monkeypatch.setattr(control_backtest, "backtest_files", run)
    result = invoke("--synthetic")
    assert (result.exit_code, result.stderr) == (1, "out of luck\n")


def test_without_json_there_are_tables() -> None:
    result = invoke("--synthetic", "--to", "2024-01-01T01:00:00Z", "--j-per-th", "21.5", "--processes", "1")
    assert result.exit_code == 0, result.output
    assert "best_single_mode" in result.stdout
    assert "21.5 J/TH" in result.stdout
