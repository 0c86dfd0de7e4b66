"""The daemon as a process of its own, against real bitcoinds."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from regtest import chain
from regtest.ports import Reservation
from regtest.process import HashmillProcess, bitcoind_sections
from tests.end_to_end.pool_client import ANSWER_S, EASY, served, start
from tests.end_to_end.rig import Rig
from tests.miner.stratum.scripted_pool import PoolThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from regtest.bitcoind import Bitcoind

EASY_SHARES = 1e-5
"""About 43,000 hashes: a millisecond of one thread, so that a test does not wait for luck."""


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., HashmillProcess]]:
    """Makes a daemon for nodes, not started: `make(nodes, payout_address=..., **sections)`; all are stopped at the end.

    Sections are merged over a small live configuration. The second daemon of a test gets the folder of the first, as a restart
    with a new configuration does.
    """
    with contextlib.ExitStack() as daemons:

        def make(
            nodes: Sequence[Bitcoind], payout_address: str = "", network: str = "", **sections: Any
        ) -> HashmillProcess:
            settings: dict[str, Any] = {
                "network": network or nodes[0].chain,
                "bitcoind": bitcoind_sections(nodes),
                "solo": {"payout_address": payout_address or chain.new_address(nodes[0])},
                "cpu": {"threads": 1, "share_difficulty": EASY_SHARES},
                "controller": {"enabled": False},
            }
            for name, section in sections.items():
                settings[name] = (
                    {**settings.get(name, {}), **section} if isinstance(section, dict) else section
                )
            daemon = HashmillProcess(tmp_path, settings)
            daemons.callback(daemon.close)
            return daemon

        yield make


@pytest.fixture
def start_daemon(make_daemon: Callable[..., HashmillProcess]) -> Callable[..., HashmillProcess]:
    """Like `make_daemon`, started and answering."""

    def start(*args: Any, **options: Any) -> HashmillProcess:
        daemon = make_daemon(*args, **options)
        daemon.start()
        return daemon

    return start


@pytest.fixture
def ports() -> Iterator[Sequence[int]]:
    with Reservation(3) as reserved:
        yield reserved.ports


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[Callable[..., HashmillProcess]]:
    """Makes a daemon that mines for the pools at these URLs; all are stopped at the end."""
    with contextlib.ExitStack() as daemons:

        def make(*urls: str, name: str = "client", **sections: Any) -> HashmillProcess:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            settings: dict[str, Any] = {
                "network": "regtest",
                "pool": [{"url": url, "user": "site"} for url in urls],
                "controller": {"enabled": False},
                **sections,
            }
            daemon = HashmillProcess(folder, settings)
            daemons.callback(daemon.close)
            return daemon

        yield make


@pytest.fixture
def pool() -> Iterator[PoolThread]:
    with PoolThread("a", difficulty=EASY) as thread:
        yield thread


@pytest.fixture
def second() -> Iterator[PoolThread]:
    with PoolThread("b", difficulty=EASY) as thread:
        yield thread


@pytest.fixture
def mine_at(
    make_client: Callable[..., HashmillProcess], ports: Sequence[int]
) -> Callable[..., HashmillProcess]:
    """Starts a daemon that mines at these pools, serves at the first port, and tells miners what the pools say."""

    def mine(*pools: PoolThread, keys: dict[str, Any] | None = None, **sections: Any) -> HashmillProcess:
        rules: dict[str, Any] = {
            "stratum": served(ports[0], answers="pool"),
            "upstreams": {"answer_s": ANSWER_S},
            "pool": [{"url": pool.url, "user": "site", **(keys or {})} for pool in pools],
        }
        return start(make_client(**{**rules, **sections}))

    return mine


@pytest.fixture
def rig(ports: Sequence[int]) -> Rig:
    return Rig(ports[0])
