from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bench.wire import Job, Miner, on_wire, sha256d
from tests.bench.scripted import JOB_2, ScriptedServer, Session, bad, good, notify

SESSIONS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "stratum.json").read_text()
)["sessions"]


@pytest.mark.parametrize("session", SESSIONS, ids=[each["source"] for each in SESSIONS])
def test_a_header_is_rebuilt_from_the_words_of_a_notify_and_a_submit(session: dict[str, Any]) -> None:
    _, _, extranonce2, ntime, nonce, *bits = session["submit"]
    rolled = int(bits[0], 16) if bits else 0
    header = Job.of(session["notify"]).header(session["extranonce1"], extranonce2, ntime, nonce, rolled)
    assert header.hex() == session["header"]
    assert sha256d(header)[::-1].hex() == session["hash"]


def test_a_hash_in_display_order_is_written_as_a_notify_has_it() -> None:
    notify_hash = SESSIONS[0]["notify"][1]
    shown = Job.of(SESSIONS[0]["notify"]).prev_hash[::-1].hex()
    assert on_wire(shown) == notify_hash


def test_a_target_is_read_from_its_compact_form() -> None:
    assert Job.of(JOB_2).target == 0x0377AE << 8 * 27


def test_a_miner_finds_a_block_and_hands_it_in() -> None:
    def judge(session: Session, request: dict[str, Any]) -> list[bytes]:
        name, job_id, extranonce2, ntime, nonce = request["params"]
        header = Job.of(JOB_2).header(f"{session.number:08x}", extranonce2, ntime, nonce)
        digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()
        met = (name, job_id) == ("lucky", "a2") and int.from_bytes(digest, "little") <= 0x0377AE << 8 * 27
        return [notify(), good(request) if met else bad(request, 23)]

    with ScriptedServer(judge) as server, Miner(server.port, "lucky") as miner:
        assert miner.job().id == "a1"
        server.tell(notify(JOB_2))
        assert miner.wait_for_job().id == "a2"
        block_hash, params = miner.find_block()
        answer = miner.answer(miner.send(params))
        assert miner.job().id == "a1"
    assert answer["result"] is True
    assert int(block_hash, 16) <= 0x0377AE << 8 * 27


def test_a_server_that_goes_away_is_an_error() -> None:
    with ScriptedServer(lambda *_: None) as server, Miner(server.port, "w0") as miner, pytest.raises(OSError):  # noqa: PT011 - any
        miner.answer(miner.send(["w0"]))
