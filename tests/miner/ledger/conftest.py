"""A fresh ledger, and rows to put into it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from miner.ledger.rows import BlockRow, DecisionRow, TickRow
from miner.ledger.store import Store


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hashmill.db'}"


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
