import os
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.sources.tape import COLUMNS
from controller.ticks import BTC_USD, HASHPRICE, POWER
from miner.config_rules import password_variable

Said = Callable[..., list[str]]

COOKIE = 'cookie_file = "cookie"'


def keys(found: list[str]) -> list[str]:
    return [line.split(": ")[1] for line in found]


@pytest.mark.parametrize(
    ("login", "wrong"),
    [
        ("", "bitcoind[1]"),
        ('cookie_file = ""', "bitcoind[1]"),
        ('rpc_user = "me"', "bitcoind[1].rpc_user"),
        ('rpc_password_file = "secret"', "bitcoind[1].rpc_password_file"),
        ('rpc_user = "a:b"\nrpc_password_file = "secret"', "bitcoind[1].rpc_user"),
        ('rpc_user = ""\nrpc_password_file = "secret"', "bitcoind[1].rpc_user"),
        (COOKIE + '\nrpc_user = "me"', "bitcoind[1].rpc_user"),
        (COOKIE + '\nrpc_password_file = "secret"', "bitcoind[1].rpc_password_file"),
        ('rpc_user = "me"\nrpc_password_file = "secret"\nrpc_password = "x"', "bitcoind[1].rpc_password"),
    ],
)
def test_there_is_one_way_to_log_in(
    problems: Said, good_text: str, tmp_path: Path, login: str, wrong: str
) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "hashmill.toml").touch(0o600)
    assert keys(problems(good_text.replace(COOKIE, login))) == [wrong]


def test_the_variable_for_a_password_is_named(problems: Said, good_text: str) -> None:
    second = '[[bitcoind]]\nrpc_url = "http://127.0.0.1:18444"\nrpc_user = "me"\n'
    (found,) = problems(good_text + second)
    assert "HASHMILL_RPC_PASSWORD_2" in found
    assert password_variable(0) == "HASHMILL_RPC_PASSWORD"


def test_no_two_nodes_are_the_same(problems: Said, good_text: str) -> None:
    again = f'[[bitcoind]]\nname = "a"\nrpc_url = "http://127.0.0.1:18443/"\n{COOKIE}\n'
    other = f'[[bitcoind]]\nname = "a"\nrpc_url = "http://127.0.0.1:18444"\n{COOKIE}\n'
    assert [line.split(": ")[:2] for line in problems(good_text + again + other)] == [
        ["15", "bitcoind[2].rpc_url"],
        ["18", "bitcoind[3].name"],
    ]


def test_blocks_are_held_back_on_regtest_only(problems: Said, good_text: str) -> None:
    paced = good_text.replace("[market]", "min_block_interval_s = 1\n[market]")
    assert problems(paced) == []
    (found,) = problems(paced.replace("regtest", "signet"))
    assert found.startswith("7: solo.min_block_interval_s: holds back found blocks")


def test_blocks_may_pay_the_worker_and_the_operators_address_is_still_needed(
    problems: Said, good_text: str
) -> None:
    paying = good_text.replace("[market]", 'payout = "worker"\n[market]')
    assert problems(paying) == []
    without = "".join(line for line in paying.splitlines(keepends=True) if "payout_address" not in line)
    assert keys(problems(without)) == ["solo.payout_address"]


def test_work_must_not_run_out_between_two_templates(problems: Said, good_text: str) -> None:
    assert keys(problems(good_text.replace("[market]", "job_max_age_s = 10\n[market]"))) == [
        "solo.job_max_age_s"
    ]
    assert keys(problems(good_text.replace("[market]", "refresh_s = 200\n[market]"))) == ["solo.refresh_s"]
    assert problems(good_text.replace("[market]", "refresh_s = 200\njob_max_age_s = 200\n[market]")) == []


@pytest.mark.parametrize(
    ("modes", "wrong"),
    [
        ('{ name = "full", threads = 2 }, { name = "eco", threads = 1 }', []),
        ('{ name = "full", threads = 2 }, { name = "full", threads = 1 }', ["cpu.modes[2].name"]),
        ('{ name = "full", threads = 2 }, { name = "eco", threads = 2 }', ["cpu.modes[2].threads"]),
        ('{ name = "full", threads = 3 }', ["cpu.modes[1].threads"]),
        ('{ name = "full", threads = 0 }', ["cpu.modes[1].threads"]),
        ('{ name = "full", threads = 2, th_s = 0 }', ["cpu.modes[1].th_s"]),
        (
            '{ name = "full", threads = 2, watts = 1 }, { name = "off", threads = 0, watts = 2 }',
            ["cpu.modes[1].watts"],
        ),
        (
            '{ name = "full", threads = 2 }, { name = "off", threads = 0, watts = 50 }',
            ["cpu.modes[1].watts"],
        ),
        ('{ name = "off", threads = 0 }', ["cpu.modes"]),
        ('{ name = "off", threads = 1 }, { name = "full", threads = 2 }', ["cpu.modes[1].threads"]),
        ('{ name = "run", threads = 2 }', ["cpu.modes[1].name"]),
        ('{ name = "unknown", threads = 2 }', ["cpu.modes[1].name"]),
    ],
)
def test_modes_of_the_cpu_are_such_that_they_can_be_run_and_read_back(
    problems: Said, good_text: str, modes: str, wrong: list[str]
) -> None:
    assert keys(problems(f"{good_text}modes = [{modes}]")) == wrong


def test_auto_threads_end_at_the_cores_of_this_machine(problems: Said, good_text: str) -> None:
    cores = len(os.sched_getaffinity(0))
    text = good_text.replace("threads = 2", 'threads = "auto"')
    assert problems(f'{text}modes = [{{ name = "full", threads = {cores} }}]') == []
    (found,) = problems(f'{text}modes = [{{ name = "full", threads = {cores + 1} }}]')
    assert f"this machine has {cores} cores" in found


def test_modes_without_threads_are_refused(problems: Said, good_text: str) -> None:
    text = good_text.replace("threads = 2", "threads = 0")
    assert keys(problems(text + 'modes = [{ name = "full", threads = 1 }]')) == ["cpu.modes"]


def test_a_bad_number_of_threads_is_one_error_not_one_for_each_mode(problems: Said, good_text: str) -> None:
    text = good_text.replace("threads = 2", 'threads = "x"')
    assert keys(problems(text + 'modes = [{ name = "full", threads = 1 }]')) == ["cpu.threads"]


def test_a_controller_needs_prices(problems: Said, good_text: str) -> None:
    bare = good_text.replace("btc_usd = 90000\n", "").replace("[power]\nusd_per_kwh = 0.06\n", "")
    found = problems(bare)
    assert keys(found) == ["power", "market"]
    assert "set [market] btc_usd" in found[1]
    assert found[1].startswith("7: ")
    assert problems(bare + "[controller]\nenabled = false\n") == []


def test_a_bitcoin_price_may_come_from_sources_over_http(problems: Said, good_text: str) -> None:
    sources = '[[market.btc_source]]\npreset = "kraken"\n'
    assert problems(good_text.replace("btc_usd = 90000\n", sources)) == []
    wrong = problems(good_text.replace("btc_usd = 90000\n", sources.replace("kraken", "mtgox")))
    assert keys(wrong) == ["market.btc_source[1].preset"]


@pytest.mark.parametrize(
    ("header", "wrong"),
    [
        ("start_utc,btc_usd,usd_per_mwh", []),
        ("offset_s,hashprice_usd_per_ph_day,usd_per_kwh", []),
        ("start_utc,btc_usd", ["power"]),
        ("start_utc,usd_per_kwh", ["market"]),
    ],
)
def test_a_tape_may_bring_prices(
    problems: Said, good_text: str, tmp_path: Path, header: str, wrong: list[str]
) -> None:
    (tmp_path / "prices.csv").write_text(header + "\n")
    bare = good_text.replace("[market]\nbtc_usd = 90000\n[power]\nusd_per_kwh = 0.06\n", "")
    assert keys(problems(bare + '[tape]\nfile = "prices.csv"\n')) == wrong


def test_columns_looked_for_are_those_a_tape_has() -> None:
    assert {name for name, (series, _) in COLUMNS.items() if series == POWER} == {
        "usd_per_kwh",
        "usd_per_mwh",
    }
    assert {name for name, (series, _) in COLUMNS.items() if series in {BTC_USD, HASHPRICE}} == {
        "btc_usd",
        "hashprice_usd_per_ph_day",
    }


@pytest.mark.parametrize("tape", ['file = "none.csv"', 'file = ""', "file = 3", "speed = 2"])
def test_a_tape_that_cannot_be_read_is_one_error_not_three(problems: Said, good_text: str, tape: str) -> None:
    bare = good_text.replace("[market]\nbtc_usd = 90000\n[power]\nusd_per_kwh = 0.06\n", "")
    assert keys(problems(f"{bare}[tape]\n{tape}\n")) == ["tape.file"]


@pytest.mark.parametrize(("mode", "fine"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)])
@pytest.mark.parametrize("key", ["rpc_password_file", "token_file"])
def test_files_with_secrets_are_their_owners_only(
    problems: Said, good_text: str, tmp_path: Path, key: str, mode: int, *, fine: bool
) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "secret").chmod(mode)
    if key == "token_file":
        text = good_text + '[http]\ntoken_file = "secret"\n'
    else:
        text = good_text.replace(COOKIE, 'rpc_user = "me"\nrpc_password_file = "secret"')
    found = problems(text)
    assert (found == []) is fine
    assert all(f"chmod 600 {tmp_path}/secret" in line and key in line for line in found)


@pytest.mark.parametrize(("mode", "fine"), [(0o600, True), (0o640, True), (0o644, False)])
def test_a_group_may_read_the_nodes_cookie_but_not_everyone(
    problems: Said, good_text: str, tmp_path: Path, mode: int, *, fine: bool
) -> None:
    (tmp_path / "cookie").write_text("__cookie__:x")
    (tmp_path / "cookie").chmod(mode)
    assert (problems(good_text) == []) is fine


def test_the_cookie_need_not_exist_yet(problems: Said, good_text: str, tmp_path: Path) -> None:
    assert not (tmp_path / "cookie").exists()
    assert problems(good_text) == []


def test_a_password_in_the_configuration_makes_it_a_secret(
    problems: Said, good_text: str, tmp_path: Path
) -> None:
    text = good_text.replace(COOKIE, 'rpc_user = "me"\nrpc_password = "hunter2"')
    (tmp_path / "hashmill.toml").touch()
    (tmp_path / "hashmill.toml").chmod(0o644)
    (found,) = problems(text)
    assert found.startswith("5: bitcoind[1].rpc_password: others can read")
    assert "hunter2" not in found
    (tmp_path / "hashmill.toml").chmod(0o600)
    assert problems(text) == []


def test_credentials_that_systemd_hands_over_are_taken_as_they_are(
    problems: Said, good_text: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "token").chmod(0o440)
    text = good_text + '[http]\ntoken_file = "token"\n'
    assert problems(text, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == []
    assert problems(text, {"CREDENTIALS_DIRECTORY": "/elsewhere"})


@pytest.mark.parametrize(
    ("content", "word"),
    [(None, "does not exist"), (b"", "is empty"), (b"\n x", "is empty"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_must_be_there_is_there_and_says_something(
    problems: Said, good_text: str, tmp_path: Path, content: bytes | None, word: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
        (tmp_path / "token").chmod(0o600)
    (found,) = problems(good_text + '[http]\ntoken_file = "token"\n')
    assert found.startswith("14: http.token_file: ")
    assert word in found


def test_a_folder_is_no_file(problems: Said, good_text: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    found = problems(good_text + '[tape]\nfile = "folder"\n[ledger]\nurl = "sqlite:///folder"\n')
    assert keys(found) == ["tape.file", "ledger.url"]
