from collections.abc import Callable
from pathlib import Path

import pytest

from miner.config_file import ConfigError, Problem, load

Said = Callable[..., list[str]]


def test_a_good_file_loads(config_file: Callable[[str], Path], good_text: str) -> None:
    config = load(config_file(good_text), {})
    assert config.network == "regtest"
    assert config.cpu.threads == 2
    assert config.market.btc_usd == 90000.0


def test_paths_are_seen_from_the_files_folder(
    config_file: Callable[[str], Path], good_text: str, tmp_path: Path
) -> None:
    config = load(config_file(good_text), {})
    assert config.bitcoind[0].cookie_file == tmp_path / "cookie"
    assert config.ledger.file == tmp_path / "hashmill.db"


def test_every_error_is_told_at_once_with_line_and_key(problems: Said) -> None:
    found = problems(
        """\
network = "regtst"
colour = 1
[[bitcoind]]
rpc_url = "http://u:p@h"
cookie_file = "x"
rpc_user = "a"
[[bitcoind]]
rpc_url = "http://127.0.0.1"
rcp_user = "q"
[solo]
payout_adress = "bcrt1q"
min_block_interval_s = 3
[cpu]
threads = 2
modes = [
  { name = "off", threads = 0 },
  { name = "x y", threads = "3" },
  { name = "big", threads = 30, wats = 3 },
]
[stratum]
listen = ""
[[unit]]
id = "rack"
control = "asic"
[tape]
file = "nope.csv"
speed = 0
[controller]
dry_run = "yes"
tick_s = inf
[controller.bounds]
btc_usd = [2, 1]
[http]
listen = "localhost"
[log]
network = "main"
"""
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["1", "network"],
        ["2", "colour"],
        ["4", "bitcoind[1].rpc_url"],
        ["6", "bitcoind[1].rpc_user"],
        ["7", "bitcoind[2]"],
        ["8", "bitcoind[2].rpc_url"],
        ["9", "bitcoind[2].rcp_user"],
        ["10", "solo.payout_address"],
        ["11", "solo.payout_adress"],
        ["12", "solo.min_block_interval_s"],
        ["17", "cpu.modes[2].name"],
        ["17", "cpu.modes[2].threads"],
        ["18", "cpu.modes[3].wats"],
        ["21", "stratum.listen"],
        ["24", "unit[1].control"],
        ["26", "tape.file"],
        ["27", "tape.speed"],
        ["29", "controller.dry_run"],
        ["30", "controller.tick_s"],
        ["32", "controller.bounds.btc_usd"],
        ["34", "http.listen"],
        ["36", "log.network"],
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("versions = 17", "versions: must be at most 16, not 17"),
        ("versions = 0", "versions: must be at least 1, not 0"),
        ("versions = 2.0", "versions: must be a whole number, not 2.0"),
        ('watts_per_thread = "9"', 'watts_per_thread: must be a number, not "9"'),
        ("watts_per_thread = 0", "watts_per_thread: must be above 0, not 0"),
        ("watts_per_thread = nan", "watts_per_thread: must be a finite number"),
        ("watts_per_thread = 2020-01-01", "watts_per_thread: must be a number, not a time"),
        ("share_difficulty = true", 'share_difficulty: must be "auto" or a number above 0'),
        ("modes = 3", "modes: must be an array, written [...], not 3"),
        ("modes = [3]", "modes[1]: must be a table, not 3"),
        ('modes = [{ name = "full" }]', "modes[1].threads: is missing"),
        ("modess = 1", "modess: is unknown: did you mean modes?"),
        ("tick_s = 1", "tick_s: is unknown here: it belongs into [controller]"),
    ],
)
def test_a_wrong_value_is_told_in_words(problems: Said, good_text: str, line: str, message: str) -> None:
    assert problems(good_text + line) == [f"13: cpu.{message}"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('network = "regtest"\n', "", "1: network: is missing: say which chain"),
        (
            '"regtest"',
            '"mainnet"',
            '1: network: must be "main", "test", "testnet4", "signet" or "regtest", not "mainnet"',
        ),
        ('"regtest"', "3", '1: network: must be "main"'),
        (
            "[[bitcoind]]",
            "[bitcoind]",
            "2: bitcoind: there may be several: write [[bitcoind]] instead of [bitcoind]",
        ),
        ("[solo]", "[[solo]]", "5: solo: there is only one: write [solo] instead of [[solo]]"),
        (
            'payout_address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"',
            "",
            "5: solo.payout_address: is missing",
        ),
        ("threads = 2", 'threads = "many"', '12: cpu.threads: must be "auto"'),
        ("threads = 2", "threads = -1", '12: cpu.threads: must be "auto"'),
        ("[cpu]\nthreads = 2", "[cqu]\nthreads = 2", "11: cqu: is unknown: did you mean cpu?"),
        ("[market]\nbtc_usd = 90000", "[market]\nbtc_usd = -1", "8: market.btc_usd: must be above 0, not -1"),
    ],
)
def test_a_wrong_section_is_told_in_words(
    problems: Said, good_text: str, old: str, new: str, message: str
) -> None:
    assert old in good_text
    (found,) = problems(good_text.replace(old, new))
    assert found.startswith(message)


def test_nothing_at_all_is_three_things_missing_and_two_prices(problems: Said) -> None:
    assert [line.split(": ")[1] for line in problems("")] == [
        "bitcoind",
        "market",
        "network",
        "power",
        "solo",
    ]


def test_a_section_that_is_no_table_is_told(problems: Said) -> None:
    found = problems("solo = 3\ncpu = []\nbitcoind = 3\nunit = [3]\n")
    assert "1: solo: must be a table, not 3" in found
    assert "2: cpu: must be a table, not an array" in found
    assert "3: bitcoind: must be a table, written [[bitcoind]], not 3" in found
    assert "4: unit[1]: must be a table, not 3" in found


def test_one_bad_key_of_a_section_hides_nothing_else_of_it(problems: Said, good_text: str) -> None:
    found = problems(good_text + '[http]\nlisten = "x"\ntoken_file = "missing"\n')
    assert [line.split(": ")[:2] for line in found] == [["14", "http.listen"], ["15", "http.token_file"]]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('network = "main\n', "1:16"),
        ("network = \n", "1:11"),
        ('a = 1\n[x\nb = "c"\n', "2:3"),
        ("a = 1\na = 2\n", "2:1"),
    ],
)
def test_what_is_no_toml_has_line_and_column(problems: Said, text: str, place: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"{place}: ")


def test_a_file_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hashmill init --out FILE"):
        load(tmp_path / "none.toml")


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: cannot be read: Is a directory"):
        load(tmp_path)


def test_bytes_that_are_no_text_are_told_by_their_line(tmp_path: Path) -> None:
    file = tmp_path / "hashmill.toml"
    file.write_bytes(b'network = "main"\n# \xff\n')
    with pytest.raises(ConfigError, match=r"hashmill.toml:2: is not UTF-8 text"):
        load(file)


def test_a_password_comes_from_the_environment(config_file: Callable[[str], Path], good_text: str) -> None:
    text = good_text.replace('cookie_file = "cookie"', 'rpc_user = "me"')
    text += '[[bitcoind]]\nrpc_url = "http://127.0.0.1:18444"\nrpc_user = "me"\n'
    environ = {"HASHMILL_RPC_PASSWORD": "one", "HASHMILL_RPC_PASSWORD_2": "two"}
    config = load(config_file(text), environ)
    assert [node.rpc_password and node.rpc_password.get_secret_value() for node in config.bitcoind] == [
        "one",
        "two",
    ]


def test_the_processs_environment_is_the_default(
    config_file: Callable[[str], Path], good_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHMILL_RPC_PASSWORD", "from outside")
    node = load(config_file(good_text.replace('cookie_file = "cookie"', 'rpc_user = "me"'))).bitcoind[0]
    assert node.rpc_password is not None
    assert node.rpc_password.get_secret_value() == "from outside"


def test_a_password_comes_from_the_first_line_of_its_file(
    config_file: Callable[[str], Path], good_text: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hunter2 \nnot this\n")
    (tmp_path / "secret").chmod(0o600)
    text = good_text.replace('cookie_file = "cookie"', 'rpc_user = "me"\nrpc_password_file = "secret"')
    node = load(config_file(text), {"HASHMILL_RPC_PASSWORD": "not this either"}).bitcoind[0]
    assert node.rpc_password is not None
    assert node.rpc_password.get_secret_value() == "hunter2"


def test_a_problem_reads_like_a_compilers() -> None:
    assert str(Problem(Path("a.toml"), 3, "cpu.threads", "is bad")) == "a.toml:3: cpu.threads: is bad"
    assert str(Problem(Path("a.toml"), 3, "", "is no TOML", column=7)) == "a.toml:3:7: is no TOML"
    assert str(Problem(Path("a.toml"), None, "", "is missing")) == "a.toml: is missing"
