"""Fixtures of the node's tests: configuration files, and what is said of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from miner.config import Config, CpuConfig
from miner.config_file import ConfigError, load
from miner.hashing.station import OFF, CpuStation, StationMode
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from regtest import chain
from regtest.bitcoind import Bitcoind
from regtest.process import bitcoind_sections
from tests.miner.control_harness import CHAIN
from tests.miner.harness import ADDRESS
from tests.miner.node.harness import Proxy

NO_NODE = {"rpc_url": "http://127.0.0.1:1", "cookie_file": "/nowhere/.cookie"}

GOOD = """\
network = "regtest"
[[bitcoind]]
rpc_url = "http://127.0.0.1:18443"
cookie_file = "cookie"
[solo]
payout_address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
[market]
btc_usd = 90000
[power]
usd_per_kwh = 0.06
[cpu]
threads = 2
"""


@pytest.fixture
def good_text() -> str:
    """A configuration without faults: 12 lines, [cpu] the last section."""
    return GOOD


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a text to hashmill.toml in `tmp_path`."""

    def write(text: str) -> Path:
        file = tmp_path / "hashmill.toml"
        file.write_text(text)
        return file

    return write


@pytest.fixture
def problems(config_file: Callable[[str], Path]) -> Callable[..., list[str]]:
    """What `load` finds wrong with a text, as `line: key: message`; nothing if it loads."""

    def said(text: str, environ: dict[str, str] | None = None) -> list[str]:
        file = config_file(text)
        try:
            load(file, environ or {})
        except ConfigError as error:
            return [str(problem).removeprefix(f"{file}:") for problem in error.problems]
        return []

    return said


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """Makes the configuration of a daemon that mines on these nodes, without hashing threads, controller and HTTP."""

    def make(*nodes: Bitcoind, **sections: dict[str, Any] | str) -> Config:
        settings: dict[str, Any] = {
            "network": "regtest",
            "bitcoind": bitcoind_sections(nodes) if nodes else [NO_NODE],
            "solo": {"payout_address": ADDRESS},
            "controller": {"enabled": False},
            "ledger": {"url": f"sqlite:///{tmp_path / 'hashmill.db'}"},
            "http": {"listen": ""},
        }
        for name, section in sections.items():
            settings[name] = {**settings.get(name, {}), **section} if isinstance(section, dict) else section
        return Config.model_validate(settings)

    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'hashmill.db'}") as opened:
        yield opened


@pytest.fixture
async def recorder(store: Store) -> AsyncIterator[Recorder]:
    async with Recorder(store) as opened:
        yield opened


@pytest.fixture
async def proxy_of() -> AsyncIterator[Callable[[Bitcoind], Awaitable[Proxy]]]:
    """Starts proxies in front of real nodes, which fail on demand."""
    runners: list[web.AppRunner] = []

    async def start(bitcoind: Bitcoind) -> Proxy:
        proxy = Proxy(bitcoind)
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/", proxy.handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return proxy

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "hashmill.db"


@pytest.fixture
def node(bitcoind: Bitcoind) -> Bitcoind:
    """A regtest node with a few blocks on its disk."""
    chain.mine(bitcoind, 3)
    bitcoind.flush()
    return bitcoind


@pytest.fixture
def station() -> Iterator[CpuStation]:
    """A thread that hashes what it is given and finds nothing, since its shares are too hard."""
    made = CpuStation(
        CpuConfig(threads=1, share_difficulty=1e12),
        (StationMode(OFF, 0, 0.0, 0.0, 0.0), StationMode("full", 1, 4e-5, 15.0, 4e-5)),
        paced=True,
        extranonce1=bytes(4),
        on_submission=lambda _submission, _target: None,
        on_failure=lambda _error: None,
    )
    yield made
    made.stop()


@pytest.fixture
def tape_of(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Writes a tape of one row that holds for ever, and gives its section; None leaves a column out."""

    def write(**columns: Any) -> dict[str, Any]:
        columns = {name: value for name, value in {**CHAIN, **columns}.items() if value is not None}
        file = tmp_path / "tape.csv"
        file.write_text(f"offset_s,{','.join(columns)}\n0,{','.join(map(str, columns.values()))}\n")
        return {"file": str(file)}

    return write
