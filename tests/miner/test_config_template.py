import re
from collections.abc import Callable
from pathlib import Path

import pytest

from miner.config import ARRAYS, TABLES
from miner.config_file import load
from miner.config_template import template
from miner.config_values import RPC_PORTS
from tests.miner.control_harness import a_model

Said = Callable[..., list[str]]


@pytest.mark.parametrize("network", RPC_PORTS)
def test_it_loads_once_the_address_is_filled_in(config_file: Callable[[str], Path], network: str) -> None:
    text = template(network).replace(
        'payout_address = ""', 'payout_address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7k"'
    )
    config = load(config_file(text), {})
    assert config.network == network
    assert config.bitcoind[0].rpc_url.endswith(f":{RPC_PORTS[network]}")
    assert config.controller.dry_run


@pytest.mark.parametrize("network", RPC_PORTS)
def test_as_it_is_only_the_address_is_missing(problems: Said, network: str) -> None:
    text = template(network)
    (found,) = problems(text)
    line = (
        text.splitlines().index(next(row for row in text.splitlines() if row.startswith("payout_address")))
        + 1
    )
    assert found.startswith(f"{line}: solo.payout_address: is empty")


@pytest.mark.parametrize("name", [*TABLES, *ARRAYS])
def test_every_section_is_mentioned(name: str) -> None:
    header = f"[[{name}]]" if name in ARRAYS else f"[{name}]"
    assert header in template("main")


def test_what_is_commented_out_is_right_too(config_file: Callable[[str], Path], tmp_path: Path) -> None:
    """Every commented key is one there is: uncommented, the file loads."""
    text = template("regtest").replace(
        'payout_address = ""', 'payout_address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7k"'
    )
    text = re.sub(r"^# (?=\[|[a-z0-9_]+ = )", "", text, flags=re.MULTILINE)
    # What stands beside it instead: one way to log in, one price of each; no tape runs fast where prices come as they come.
    text = re.sub(r"^(cookie_file|btc_usd|usd_per_kwh|speed) = .*\n", "", text, flags=re.MULTILINE).replace(
        "threads = 1   ", "threads = 2   ", 1
    )
    for name, content in (("rpc-password", "x"), ("prices.csv", "start_utc,btc_usd\n"), ("api-token", "x")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "market.model").write_bytes(a_model())
    config = load(config_file(text), {})
    assert config.tape is not None
    assert config.unit_settings("cpu").min_on_s == 60
    assert [mode.name for mode in config.cpu.modes] == ["eco", "full"]
    assert config.bitcoind[0].rpc_user == "hashmill"
    assert config.pool[0].user == "account.site1"


def test_without_node_and_solo_its_pool_is_enough(problems: Said) -> None:
    text = re.sub(r"^# (?=\[\[pool|url = |user = )", "", template("main"), flags=re.MULTILINE)
    for section in (r"\[\[bitcoind\]\]", r"\[solo\]"):
        text = re.sub(rf"^{section}\n([^\[\n].*\n)+", "", text, flags=re.MULTILINE)
    assert problems(text) == []


def test_pacing_is_offered_where_it_is_allowed() -> None:
    assert "min_block_interval_s" in template("regtest")
    assert "min_block_interval_s" not in template("main")


def test_comments_stand_in_one_column() -> None:
    for line in template("main").splitlines():
        if "  # " in line:
            assert line.index("  # ") + 2 == 44, line
