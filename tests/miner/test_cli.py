import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from miner import cli, daemon, inquiries, kernel
from miner.checks import CheckRow
from miner.cli import app
from miner.config import Config
from miner.config_file import ConfigError, Problem
from miner.kernel import KernelFaultError
from miner.ledger.engine import engine_at
from miner.ledger.rollup import RECORD
from miner.ledger.rows import (
    BlockRow,
    DecisionRow,
    LedgerError,
    OutcomeRow,
    PoolShareRow,
    PoolShareVerdict,
    TipRow,
    UnitRow,
)
from miner.ledger.store import Store
from miner.node.rpc import NodeUnreachableError
from regtest.postgres import Postgres
from tests.miner.test_control_verify import lived

NOON = 1768219200.0  # 2026-01-12 12:00:00 UTC


def hashmill(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands set up logging for a process of their own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def good(config_file: Callable[[str], Path], good_text: str) -> Path:
    return config_file(good_text)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces what the commands call: what it answers, by name; and, under "config", what it was given."""
    answers: dict[str, Any] = {}

    def stands_in(name: str) -> Callable[[Config], Any]:
        def answer(config: Config) -> Any:
            answers["config"] = config
            if isinstance(answers[name], Exception):
                raise answers[name]
            return answers[name]

        return answer

    monkeypatch.setattr(daemon, "run", stands_in("run"))
    for name in ("check", "hashprice", "plan"):
        monkeypatch.setattr(inquiries, name, stands_in(name))
    return answers


def test_help_lists_every_command_without_loading_what_is_slow() -> None:
    loaded = (
        "import sys; from typer.testing import CliRunner; from miner.cli import app; "
        "print(CliRunner().invoke(app, ['--help']).output); "
        "print(sorted({'pydantic', 'aiohttp', 'sqlalchemy', 'miner._native', 'zmq'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    for command in ("run", "init", "check", "hashprice", "plan", "bench", "log", "demo"):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)
    assert done.stdout.rstrip().endswith("[]")


def test_the_version_is_the_packages() -> None:
    result = hashmill("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"hashmill \d+\.\d+\.\d+\S*\n", result.output)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dig",),
        ("run", "--config"),
        ("init", "--network", "mainnet"),
        ("log",),
        ("log", "blocks", "-n", "0"),
        ("demo", "--seconds", "soon"),
    ],
)
def test_wrong_use_ends_with_two(arguments: tuple[str, ...]) -> None:
    assert hashmill(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "command", [("run",), ("check",), ("hashprice",), ("plan",), ("log", "blocks"), ("log", "decisions")]
)
def test_a_bad_configuration_ends_with_two_and_all_its_errors(
    config_file: Callable[[str], Path], good_text: str, command: tuple[str, ...]
) -> None:
    file = config_file(good_text.replace("threads = 2", "threads = -2\nspeed = 3"))
    result = hashmill(*command, "--config", file)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [f"{file}:12", f"{file}:13"]


def test_a_missing_configuration_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = hashmill("run")
    assert result.exit_code == 2
    assert result.stderr.startswith("hashmill.toml: there is no such file")


def test_init_prints_or_writes_and_never_overwrites(tmp_path: Path) -> None:
    printed = hashmill("init", "--network", "signet")
    assert 'network = "signet"' in printed.output
    file = tmp_path / "new.toml"
    written = hashmill("init", "--network", "signet", "--out", file)
    assert written.exit_code == 0
    assert f"hashmill check --config {file}" in written.output
    assert file.read_text() == printed.output
    again = hashmill("init", "--out", file)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert file.read_text() == printed.output


def test_init_says_where_it_cannot_write(tmp_path: Path) -> None:
    result = hashmill("init", "--out", tmp_path / "no" / "where.toml")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize("code", [0, 1, 2])
def test_run_hands_over_the_configuration_and_ends_as_the_daemon_did(
    good: Path, called: dict[str, Any], code: int
) -> None:
    called["run"] = code
    assert hashmill("run", "--config", good).exit_code == code
    assert called["config"].cpu.threads == 2


def test_check_prints_rows_and_ends_with_the_gravest(good: Path, called: dict[str, Any]) -> None:
    called["check"] = [
        CheckRow("network", ok=True, detail="regtest"),
        CheckRow("payout", ok=False, detail="refused", exit_code=2),
    ]
    result = hashmill("check", "--config", good)
    assert result.exit_code == 2
    assert "refused" in result.output
    as_json = hashmill("check", "--config", good, "--json")
    assert as_json.exit_code == 2
    assert json.loads(as_json.output)[1] == {"subject": "payout", "ok": False, "detail": "refused"}


def test_hashprice_prints_its_report(good: Path, called: dict[str, Any]) -> None:
    report = {
        "known": True,
        "hashprice_usd_per_ph_day": 38.0,
        "power_usd_per_kwh": 0.06,
        "retarget": None,
        "inputs": [],
        "problems": [],
    }
    called["hashprice"] = report
    assert "$38.00/PH/day" in hashmill("hashprice", "--config", good).output
    assert json.loads(hashmill("hashprice", "--config", good, "--json").output) == report


def test_a_hashprice_nobody_knows_has_failed(good: Path, called: dict[str, Any]) -> None:
    called["hashprice"] = {
        "known": False,
        "retarget": None,
        "inputs": [],
        "problems": [{"series": "btc_usd", "why": "no value was ever seen", "since": None}],
    }
    result = hashmill("hashprice", "--config", good)
    assert result.exit_code == 1
    assert "btc_usd: no value was ever seen" in result.output


def test_plan_prints_its_report(good: Path, called: dict[str, Any]) -> None:
    report = {
        "dry_run": True,
        "known": True,
        "hashprice_usd_per_ph_day": 38.0,
        "power_usd_per_kwh": 0.06,
        "problems": [],
        "value_usd": None,
        "units": [],
    }
    called["plan"] = report
    result = hashmill("plan", "-c", good)
    assert result.exit_code == 0
    assert "Dry run" in result.output
    assert json.loads(hashmill("plan", "-c", good, "--json").output) == {"enabled": True, **report}


def test_plan_says_when_the_controller_is_off(good: Path, called: dict[str, Any]) -> None:
    good.write_text(good.read_text() + "[controller]\nenabled = false\n")
    called["plan"] = {
        "dry_run": True,
        "known": False,
        "problems": [],
        "value_usd": None,
        "units": [],
    }
    assert "The controller is off" in hashmill("plan", "-c", good).output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NodeUnreachableError("no node"), 1),
        (LedgerError("no ledger"), 1),
        (KernelFaultError("no kernel"), 1),
        (ConfigError([Problem(Path("tape.csv"), 3, "", "no number")]), 2),
        (inquiries.CONFIGURATION_ERRORS[0]("another chain"), 2),
    ],
)
def test_what_goes_wrong_outside_is_a_message_and_a_code(
    good: Path, called: dict[str, Any], error: Exception, code: int
) -> None:
    called["plan"] = error
    result = hashmill("plan", "--config", good)
    assert result.exit_code == code
    assert result.stderr == f"{error}\n"


def test_bench_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {
        "kernel": "portable",
        "versions": 8,
        "threads": 1,
        "mh_s_best": 5.5,
        "mh_s_median": 5.25,
        "mh_s_worst": 5.0,
        "cycles_per_hash": 500.0,
    }
    monkeypatch.setattr("miner.hashing.bench.measure", lambda: [row])
    output = hashmill("bench").output
    assert "5.25" in output
    assert re.search(rf"hashmill uses ({'|'.join(info.name for info in kernel.kernels())}) ", output)
    assert json.loads(hashmill("bench", "--json").output) == [row]


@pytest.mark.parametrize(("arguments", "seconds"), [((), None), (("--seconds", "60"), 60.0)])
def test_demo_runs_for_as_long_as_asked(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], seconds: float | None
) -> None:
    asked = []

    def main(given: float | None) -> int:
        asked.append(given)
        return 1

    monkeypatch.setattr("regtest.demo.main", main)
    assert hashmill("demo", *arguments).exit_code == 1
    assert asked == [seconds]


def filled_ledger(file: Path) -> None:
    def block(height: int) -> BlockRow:
        return BlockRow(
            hash=f"{height:064x}",
            height=height,
            prev_hash="11" * 32,
            found_at=NOON + height,
            unit_id="cpu",
            job_id="a",
            origin="solo",
            reward_sat=5_000_000_000,
            difficulty=1.0,
            payout_script="0014",
            raw=b"raw",
        )

    def decision(number: int, unit: str) -> DecisionRow:
        numbers = {"hashprice_usd_per_ph_day": 38.0}
        return DecisionRow(
            str(number),
            NOON + number,
            unit,
            "full",
            "off",
            "pause_unprofitable",
            numbers,
            "flips",
            dry_run=False,
        )

    with Store.open(f"sqlite:///{file}") as store:
        for height in (1, 2, 3):
            store.add_block(block(height))
        store.add_decisions([decision(1, "cpu"), decision(2, "other"), decision(3, "cpu")])
        store.add_outcomes([OutcomeRow("3", NOON + 4, "confirmed", "", "off")])


def test_blocks_are_read_from_the_ledger(good: Path, tmp_path: Path) -> None:
    filled_ledger(tmp_path / "hashmill.db")
    table = hashmill("log", "blocks", "--config", good, "--limit", "2").output
    assert f"{3:064x}" in table
    assert f"{1:064x}" not in table
    rows = json.loads(hashmill("log", "blocks", "--config", good, "--json").output)
    assert [row["height"] for row in rows] == [3, 2, 1]
    assert "raw" not in rows[0]


def test_decisions_are_read_from_the_ledger_with_what_came_of_them(good: Path, tmp_path: Path) -> None:
    filled_ledger(tmp_path / "hashmill.db")
    assert "confirmed" in hashmill("log", "decisions", "--config", good).output
    rows = json.loads(hashmill("log", "decisions", "--config", good, "--unit", "cpu", "--json").output)
    assert [row["id"] for row in rows] == ["3", "1"]
    assert [outcome["outcome"] for outcome in rows[0]["outcomes"]] == ["confirmed"]
    assert rows[1]["outcomes"] == []


def test_decisions_that_held_a_mode_can_be_left_out(good: Path, tmp_path: Path) -> None:
    filled_ledger(tmp_path / "hashmill.db")
    with Store.open(f"sqlite:///{tmp_path / 'hashmill.db'}") as store:
        held = [
            ("4", "off", "off", "hold_unprofitable"),
            ("5", None, "off", "hold_confirming"),
            ("6", None, "off", "pause_safe_mode"),
            ("7", "off", "off", "run_profitable"),
        ]
        store.add_decisions(
            [
                DecisionRow(number, NOON + int(number), "cpu", before, after, reason, {}, "", dry_run=False)
                for number, before, after, reason in held
            ]
        )
    rows = json.loads(hashmill("log", "decisions", "--config", good, "--changes", "--json").output)
    assert [row["id"] for row in rows] == ["6", "3", "2", "1"]


def test_decisions_are_made_again_from_what_was_kept_and_compared(good: Path, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'hashmill.db'}") as store:
        asyncio.run(lived(store))
    command = ("log", "decisions", "--verify", "--since", "2023-11-14T00:00Z", "--config", good)
    found = hashmill(*command)
    assert (found.exit_code, found.output.count("\n")) == (0, 1)
    assert "12 decisions made again, the same to the bit; 0 different" in found.output
    engine = engine_at(f"sqlite:///{tmp_path / 'hashmill.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE decisions SET flip = 'never [sic]' WHERE unit_id = 'a'")
    engine.dispose()
    found = hashmill(*command, "--limit", "2")
    assert found.exit_code == 1
    for told in ("6 decisions made again", "6 different", "never [sic]", "and 4 more: --limit shows them"):
        assert told in found.output
    told = json.loads(hashmill(*command, "--unit", "a", "--json").output)
    assert (told["ok"], told["same"], told["different"], len(told["differences"])) == (False, 0, 6, 6)


def test_decisions_are_verified_of_the_last_day_where_nothing_else_is_said(
    good: Path, tmp_path: Path
) -> None:
    filled_ledger(tmp_path / "hashmill.db")
    told = json.loads(hashmill("log", "decisions", "--verify", "--config", good, "--json").output)
    assert told["until_s"] - told["since_s"] == pytest.approx(86_400, abs=60)
    found = hashmill("log", "decisions", "--verify", "--since", "2026-01-01", "--config", good)
    assert found.exit_code == 0
    assert "not compared: 3 decisions: what they were made from is not kept" in found.output


def test_decisions_may_be_shown_from_a_time_on(good: Path, tmp_path: Path) -> None:
    filled_ledger(tmp_path / "hashmill.db")
    told = hashmill("log", "decisions", "--since", "2026-01-12T12:00:02Z", "--config", good, "--json").output
    assert [row["id"] for row in json.loads(told)] == ["3", "2"]


def share_ledger(file: Path) -> None:
    """Shares of two units, one every minute since noon."""
    with Store.open(f"sqlite:///{file}") as store:
        store.add_units([UnitRow(1, "rack.1", NOON), UnitRow(2, "rack.2", NOON)])
        store.add_tips([TipRow(1, "ab" * 32, 100, NOON)])
        for minute in range(5):
            records = RECORD.pack(
                1 + minute % 2, 1, NOON + 60 * minute, 2.0, 31, bytes([minute]) + bytes(27) + b"\x01\0\0\0"
            )
            store.add_shares(records)


def test_shares_are_read_from_the_ledger(good: Path, tmp_path: Path) -> None:
    share_ledger(tmp_path / "hashmill.db")
    table = hashmill("log", "shares", "--config", good, "--limit", "2").output
    assert "rack.1" in table
    assert "ab" * 32 in table
    assert table.count("12:0") == 2
    rows = json.loads(hashmill("log", "shares", "--config", good, "--unit", "rack.2", "--json").output)
    assert [row["at"] - NOON for row in rows] == [180, 60]
    assert rows[0]["hash"] == "00000001" + "00" * 27 + "03"
    assert set(rows[0]) == {"unit", "at", "difficulty", "share_difficulty", "hash", "job_id", "prev_hash"}


@pytest.mark.parametrize(
    ("since", "found"),
    [
        ("2026-01-12T12:03", [240, 180]),
        ("2026-01-12T12:04:00Z", [240]),
        ("2026-01-12T13:02+01:00", [240, 180, 120]),
        ("2m", [240, 180]),
        ("0.05h", [240, 180, 120]),
        ("1d", [240, 180, 120, 60, 0]),
    ],
)
def test_shares_are_read_from_a_time_on(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: str, found: list[int]
) -> None:
    share_ledger(tmp_path / "hashmill.db")
    monkeypatch.setattr(cli.time, "time", lambda: NOON + 300)
    rows = json.loads(hashmill("log", "shares", "--config", good, "--since", since, "--json").output)
    assert [row["at"] - NOON for row in rows] == found


def pool_ledger(file: Path) -> None:
    """Four shares for two pools, one a minute since noon: accepted, rejected, in doubt, waiting."""
    rows = [
        PoolShareRow(
            *(number, NOON + 60 * number, "main" if number < 4 else "spare", 1, "account", "5f"),
            *(f"{number:064x}", 9000.5, 4096.0),
        )
        for number in range(1, 5)
    ]
    with Store.open(f"sqlite:///{file}") as store:
        store.add_units([UnitRow(1, "rack.1", NOON)])
        store.add_pool_shares(rows)
        store.settle_pool_shares(
            [
                PoolShareVerdict(1, NOON + 60.25, "accepted"),
                PoolShareVerdict(2, NOON + 121, "rejected", 21, "stale"),
                PoolShareVerdict(3, NOON + 190, "in_doubt", detail="the connection ended"),
            ]
        )


def test_shares_handed_to_pools_are_read_with_their_sums(good: Path, tmp_path: Path) -> None:
    pool_ledger(tmp_path / "hashmill.db")
    table = hashmill("log", "pools", "--config", good).output
    for told in (
        "rejected 21 stale",
        "in doubt the connection ended",
        "0.250 s",
        "50.00%",
        "rack.1",
        "waiting",
    ):
        assert told in table
    told = json.loads(hashmill("log", "pools", "--config", good, "--limit", "2", "--json").output)
    assert [row["id"] for row in told["shares"]] == [4, 3]
    assert [(sums["pool"], sums["found"], sums["in_doubt"]) for sums in told["pools"]] == [
        ("main", 3, 1),
        ("spare", 1, 0),
    ]
    one = json.loads(hashmill("log", "pools", "--config", good, "--pool", "spare", "--json").output)
    assert [row["result"] for row in one["shares"]] == ["waiting"]
    assert [sums["pool"] for sums in one["pools"]] == ["spare"]
    late = hashmill("log", "pools", "--config", good, "--since", "2026-01-12T12:03", "--json").output
    assert [row["id"] for row in json.loads(late)["shares"]] == [4, 3]
    assert json.loads(late)["pools"][0]["found"] == 1


@pytest.mark.parametrize("since", ["yesterday", "5", "3x", "-2h"])
def test_a_time_nobody_understands_is_wrong_use(good: Path, since: str) -> None:
    result = hashmill("log", "shares", "--config", good, f"--since={since}")
    assert result.exit_code == 2
    assert f"--since {since}: no time like" in result.stderr


def test_a_postgresql_ledger_is_read_with_the_password_of_the_environment(
    good: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database()
    with Store.open(url, site="north") as store:
        store.add_units([UnitRow(1, "rack.1", NOON)])
        store.add_shares(RECORD.pack(1, 1, NOON, 2.0, 31, bytes(32)))
    bare = postgres.url(url.rpartition("/")[2], password=False)
    good.write_text(good.read_text() + f'[ledger]\nurl = "{bare}"\nsite = "north"\n')
    monkeypatch.setenv("HASHMILL_LEDGER_PASSWORD", postgres.password)
    (row,) = json.loads(hashmill("log", "shares", "--config", good, "--json").output)
    assert row["unit"] == "rack.1"
    monkeypatch.setenv("HASHMILL_LEDGER_PASSWORD", "hunter2")
    result = hashmill("log", "shares", "--config", good)
    postgres.give_back(url)
    assert result.exit_code == 1
    assert "password authentication failed" in result.stderr
    assert "hunter2" not in result.stderr


def test_a_ledger_that_is_not_there_yet_has_failed(good: Path) -> None:
    result = hashmill("log", "blocks", "--config", good)
    assert result.exit_code == 1
    assert "no ledger at" in result.stderr
