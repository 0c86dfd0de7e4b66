"""Fixtures shared by every test: real bitcoinds, each fresh, each stopped when its test ends; a real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from regtest.bitcoind import Bitcoind
from regtest.postgres import NoPostgresError, Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def bitcoind_factory() -> Iterator[Callable[..., Bitcoind]]:
    """Starts a bitcoind with the arguments of `Bitcoind`, as often as asked; all are stopped at the end."""
    with contextlib.ExitStack() as nodes:

        def start(*args: Any, **options: Any) -> Bitcoind:
            return nodes.enter_context(Bitcoind(*args, **options))

        yield start


@pytest.fixture
def bitcoind(bitcoind_factory: Callable[..., Bitcoind]) -> Bitcoind:
    """A fresh regtest node at height 0, with a wallet and ZMQ."""
    return bitcoind_factory()


@pytest.fixture
def signet_bitcoind(bitcoind_factory: Callable[..., Bitcoind]) -> Bitcoind:
    """A fresh node at height 0 of the private signet, with a wallet and ZMQ, under the real clock."""
    return bitcoind_factory("signet")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests of this process; each takes a database of its own from it.

    Where there is none its tests are skipped, unless the environment says that they must run.
    """
    try:
        server = Postgres()
    except NoPostgresError as error:
        if os.environ.get("HASHMILL_REQUIRE_POSTGRES"):
            raise
        pytest.skip(str(error))
    with server:
        yield server
