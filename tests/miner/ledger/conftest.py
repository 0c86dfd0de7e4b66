"""A fresh ledger, and rows to put into it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from miner.ledger.engine import engine_at
from miner.ledger.rollup import RECORD
from miner.ledger.rows import BlockRow, DecisionRow, PoolShareRow, TickRow
from miner.ledger.store import Store
from miner.ledger.tables import metadata
from regtest.postgres import Postgres
from tests.miner.ledger import schema_0001, schema_0002, schema_0003


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hashmill.db'}"


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    url = postgres.new_database()
    yield url
    postgres.give_back(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A ledger that is not made yet, of either kind."""
    kind = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    found: str = request.getfixturevalue(kind)
    return found


@pytest.fixture
def behind(url: str) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Runs SQL on the ledger behind its back, whatever tables it has, and returns the rows."""
    engine = engine_at(url)

    def run(sql: str) -> list[tuple[Any, ...]]:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(sql)
            return [tuple(row) for row in result] if result.returns_rows else []

    yield run
    engine.dispose()


@pytest.fixture
def url_0001(url: str, behind: Callable[[str], list[tuple[Any, ...]]]) -> str:
    """A ledger as Hashmill 0.1 left it."""
    for statement in schema_0001.statements("sqlite" if url.startswith("sqlite") else "postgresql"):
        behind(statement)
    return url


@pytest.fixture
def url_0002(url: str, behind: Callable[[str], list[tuple[Any, ...]]], shares: Callable[..., bytes]) -> str:
    """A ledger as Hashmill left it before it knew pools: a share on tip 1, then two on tip 2."""
    made = schema_0002.statements(
        "sqlite" if url.startswith("sqlite") else "postgresql",
        first=shares(12.0, tip=1),
        second=shares(21.0, tip=2),
        third=shares(31.0, tip=2),
    )
    for statement in made:
        behind(statement)
    return url


@pytest.fixture
def url_0003(url: str, behind: Callable[[str], list[tuple[Any, ...]]], shares: Callable[..., bytes]) -> str:
    """A ledger as Hashmill left it before it kept what decisions were made from."""
    made = schema_0003.statements(
        "sqlite" if url.startswith("sqlite") else "postgresql",
        first=shares(12.0, tip=1),
        second=shares(21.0, tip=2),
        third=shares(31.0, tip=2),
    )
    for statement in made:
        behind(statement)
    return url


@pytest.fixture
def held(url: str) -> Callable[[], AbstractContextManager[None]]:
    """While this lasts another process holds the database, and nobody else can write it."""

    @contextmanager
    def holding() -> Iterator[None]:
        engine = engine_at(url).execution_options(writes=True)
        with engine.connect() as connection:
            transaction = connection.begin()
            if engine.dialect.name == "postgresql":
                tables = ", ".join(table.name for table in metadata.sorted_tables)
                connection.exec_driver_sql(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
            yield
            transaction.rollback()
        engine.dispose()

    return holding


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def block() -> Callable[..., BlockRow]:
    def make(number: int = 1, **changed: Any) -> BlockRow:
        row: dict[str, Any] = {
            "hash": f"{number:064x}",
            "height": number,
            "prev_hash": f"{number - 1:064x}",
            "found_at": 1_700_000_000.25 + number,
            "unit_id": "cpu",
            "job_id": "1f",
            "origin": "solo",
            "reward_sat": 2_100_000_000_000_000,
            "difficulty": 4.656542373906925e-10,
            "payout_script": "0014" + "ab" * 20,
            "raw": bytes(range(256)),
        }
        return BlockRow(**{**row, **changed})

    return make


@pytest.fixture
def decision() -> Callable[..., DecisionRow]:
    def make(number: int = 1, **changed: Any) -> DecisionRow:
        row: dict[str, Any] = {
            "id": f"{number:020x}",
            "at": 1_700_000_000.0 + number,
            "unit_id": "cpu",
            "from_mode": "all",
            "to_mode": "off",
            "reason": "unprofitable",
            "numbers": {"hashprice_usd_per_ph_day": 39.8, "threads": 2, "cap": None, "source": "tape"},
            "flip": "runs again below 5.9 ct/kWh",
            "dry_run": False,
        }
        return DecisionRow(**{**row, **changed})

    return make


@pytest.fixture
def tick() -> Callable[..., TickRow]:
    def make(number: int = 1, **changed: Any) -> TickRow:
        row: dict[str, Any] = {
            "series": "btc_usd",
            "value": 90_000.0 + number,
            "unit": "USD",
            "valid_from": 1_700_000_000.0 + number,
            "valid_to": float("inf"),
            "observed_at": 1_700_000_000.0 + number,
            "source": "fixed",
        }
        return TickRow(**{**row, **changed})

    return make


@pytest.fixture
def shares() -> Callable[..., bytes]:
    """Records of shares at these times; the n-th share of all has n in its hash, and in its job."""
    numbers = itertools.count()

    def make(*times: float, unit: int = 1, tip: int = 1, difficulty: float = 2.0) -> bytes:
        return b"".join(
            RECORD.pack(
                unit, tip, at, difficulty, number, number.to_bytes(4, "little") + bytes(24) + b"\x01\0\0\0"
            )
            for at, number in zip(times, numbers, strict=False)
        )

    return make


@pytest.fixture
def pool_share() -> Callable[..., PoolShareRow]:
    """A share handed to a pool; the n-th has n in its hash."""

    def make(number: int = 1, **changed: Any) -> PoolShareRow:
        row: dict[str, Any] = {
            "id": number,
            "at": 1_700_000_000.25 + number,
            "pool": "main",
            "unit": 1,
            "worker": "account.rack",
            "job_id": "1f",
            "hash": f"{number:064x}",
            "difficulty": 9000.5,
            "credited": 4096.0,
        }
        return PoolShareRow(**{**row, **changed})

    return make
