"""The fuzzers in small: every kept input, a few seconds of atheris, and scripts that hypothesis makes. campaign.py runs longer."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from miner.stratum.pool_events import (
    Answered,
    Failed,
    Failure,
    PoolAccepted,
    PoolRejected,
    PoolSilent,
    Redirected,
    Work,
)
from tests.fuzz.campaign import CORPUS, GUIDED, MOST_BYTES, MOST_FILES, ROOT, SANITIZED, WORDS, build_submit
from tests.fuzz.play import STEP_ENDS
from tests.fuzz.pool import JOB, pool
from tests.fuzz.scripts import scripts
from tests.fuzz.targets import TARGETS, codec, session

RUNS = {"codec": 5000, "session": 400, "pool": 1000}


def kept(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=SANITIZED, check=False, capture_output=True, text=True, errors="replace", timeout=150
    )  # fmt: skip


@pytest.mark.parametrize("target", GUIDED)
def test_no_input_of_the_long_campaign_breaks_anything(target: str) -> None:
    for path in kept(target):
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            error.add_note(f"with {path}")
            raise


def test_what_is_kept_is_little() -> None:
    for target in (*GUIDED, "submit"):
        assert 10 <= len(kept(target)) <= MOST_FILES[target]
        assert sum(path.stat().st_size for path in kept(target)) <= MOST_BYTES


def test_the_kept_scripts_reach_what_matters() -> None:
    played = [session(path.read_bytes()) for path in kept("session")]
    assert sum(summary.credited for summary in played) > len(played) + 20  # the witness has one in each
    assert {reason for summary in played for reason in summary.closed} >= {
        "not_stratum", "line_too_long", "too_many_lines", "login_timeout", "too_much_held", "no_extranonce",
    }  # fmt: skip


@pytest.mark.parametrize("target", GUIDED)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed: it has no wheel here"
)
def test_a_short_guided_run_finds_nothing(target: str, tmp_path: Path) -> None:
    ran = run(
        sys.executable, "-m", "tests.fuzz.guided", target, tmp_path, CORPUS / target, f"-dict={WORDS}", "-seed=1",
        f"-runs={len(kept(target)) + RUNS[target]}", "-max_len=2000", f"-artifact_prefix={tmp_path}/found-",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-5000:]


def test_the_c_core_takes_any_bytes_under_the_sanitizers(tmp_path: Path) -> None:
    why = build_submit(tmp_path)
    if why:
        pytest.skip(why)
    new = tmp_path / "new"
    new.mkdir()
    ran = run(
        tmp_path / "fuzz_submit", new, CORPUS / "submit", f"-dict={WORDS}", "-seed=1", "-runs=20000", "-max_len=2000",
        f"-artifact_prefix={tmp_path}/found-",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-5000:]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(script=scripts)
def test_whatever_devices_say_and_whatever_happens_the_witness_mines_and_the_books_agree(
    script: bytes,
) -> None:
    session(script)


def test_the_targets_see_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    login = (
        b'0{"id":1,"method":"mining.subscribe"}',
        b'0{"id":2,"method":"mining.authorize","params":["rig"]}',
    )
    share = b'0{"id":%d,"method":"mining.submit","params":["rig","1a2","0000000000000000","6553f3bc","%08x"]}'
    script = STEP_ENDS.join([b"", *login, *(share % (n, n) for n in range(20))])
    assert session(script).credited > 1
    monkeypatch.setattr(
        "miner.stratum.v1.result", lambda request_id, *_, **__: b'{"id":%b,"result":1}\n' % request_id
    )
    with pytest.raises(AssertionError):
        session(script)  # the core says true, Python 1
    with pytest.raises(AssertionError):
        codec(b'{"id":1,"method":"m"}')


def test_the_kept_scripts_of_pools_reach_what_matters() -> None:
    events = [event for path in kept("pool") for event in pool(path.read_bytes()).events]
    assert {event.kind for event in events if isinstance(event, Failed)} >= {
        Failure.LOGIN, Failure.NO_WORK, Failure.GARBAGE, Failure.UNANSWERED, Failure.BAD_WORK, Failure.REDIRECT_REFUSED,
    }  # fmt: skip
    assert {type(event.verdict) for event in events if isinstance(event, Answered)} == {
        PoolAccepted, PoolRejected, PoolSilent,
    }  # fmt: skip
    assert any(isinstance(event, Redirected) for event in events)
    assert len({event.extranonce1 for event in events if isinstance(event, Work)}) > 1


def test_the_pools_target_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [b'{"id":%d,"result":false}' % number for number in range(4, 8)]
    script = STEP_ENDS.join([b"\0", JOB, b"s\1\0", b"s\1\0", *answers])
    assert [type(e.verdict) for e in pool(script).events if isinstance(e, Answered)] == [
        PoolRejected, PoolRejected, PoolSilent,
    ]  # fmt: skip
    monkeypatch.setattr("miner.stratum.pool_fields.refusal", lambda *_: None)
    with pytest.raises(AssertionError):
        pool(script)  # a rejection told as an acceptance
