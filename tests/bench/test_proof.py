from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
SESSIONS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "stratum.json").read_text())[
    "sessions"
]
HASHES = [bytes.fromhex(session["hash"])[::-1][:16] for session in SESSIONS]


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """As the benches import it: by its bare name."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import proof as module  # noqa: PLC0415 - its folder is on the path only now

    return module


def log_of(folder: Path, *sessions: dict[str, Any]) -> Path:
    lines = []
    for number, session in enumerate(sessions, start=1):
        _, _, extranonce2, ntime, nonce, *bits = session["submit"]
        told = json.dumps({"id": None, "method": "mining.notify", "params": session["notify"]})
        words = [session["extranonce1"], number, extranonce2, ntime, nonce, bits[0] if bits else "-"]
        lines += [f"job {number} {told}", f"share {number} {' '.join(map(str, words))}"]
    log = folder / "log"
    log.write_text("\n".join(lines) + "\n")
    return log


def ledger_has(proof: ModuleType, monkeypatch: pytest.MonkeyPatch, *hashes: bytes) -> None:
    monkeypatch.setattr(proof, "in_ledger", lambda *_: iter(hashes))


def test_each_acknowledged_share_is_hashed_from_the_words_on_the_wire(
    proof: ModuleType, tmp_path: Path
) -> None:
    told = proof.Told.of(log_of(tmp_path, *SESSIONS))
    assert told.shares == HASHES


def test_an_acknowledged_share_that_meets_the_networks_target_is_a_block(
    proof: ModuleType, tmp_path: Path
) -> None:
    """The first session of the vectors is that of a block of 2012, the others are of shares."""
    (block,) = proof.Told.of(log_of(tmp_path, *SESSIONS)).blocks
    assert block.hash == SESSIONS[0]["hash"]
    assert block.prev_hash == "00000000440b921e1b77c6c0487ae5616de67f788f44ae2a5af6e2194d16b6f8"


def test_shares_are_missing_beside_or_twice_where_the_accounts_differ(
    proof: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = proof.Books("sqlite:///nowhere")
    shares = proof.Told.of(log_of(tmp_path, *SESSIONS[:2])).shares
    one, two, *_ = HASHES
    ledger_has(proof, monkeypatch, one, two)
    assert books.add(shares, 0.0) == (0, 0)
    assert books.close() == (0, 0, 0)
    ledger_has(proof, monkeypatch, one, b"other", one)
    assert books.add(shares, 0.0) == (1, 1)
    assert books.close() == (1, 1, 2)
