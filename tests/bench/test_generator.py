"""The load generator, with address and undefined behaviour sanitizers in it, against a server that follows a script."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from bench import generator
from bench.generator import GeneratorError, Load, assert_every_answer_right, compile_to
from tests.bench.scripted import JOB_2, JOB_3, ScriptedServer, Session, bad, good, line, notify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Load]

SHORT = {"warm_up": 0, "seconds": 0.1}
"""Long enough for many shares, and no test depends on how many."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("load") / "stratum-load"
    compile_to(built, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *generator.WARNINGS)
    return built


@pytest.fixture
def start(program: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    # Sandboxes that trace their processes leave no room for the search for leaks.
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")

    def run(server: ScriptedServer, **options: Any) -> Load:
        return Load(server.port, program=program, **{**SHORT, **options})

    return run


@pytest.mark.parametrize("compiler", [each for each in ("cc", "clang") if shutil.which(each)])
def test_it_is_compiled_without_a_warning(compiler: str, tmp_path: Path) -> None:
    compile_to(tmp_path / "load", *generator.WARNINGS, compiler=compiler)


def test_it_is_built_once_into_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = generator.generator()
    assert program.parent == tmp_path / "hashmill"
    built = program.stat().st_mtime_ns
    assert generator.generator().stat().st_mtime_ns == built
    assert list(program.parent.iterdir()) == [program]


def test_a_compiler_that_fails_is_heard(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="cannot build the load generator"):
        compile_to(tmp_path / "load", "-Dmain=")


def test_every_share_is_another_one_and_is_answered_once(start: Start) -> None:
    with ScriptedServer() as server, start(server, connections=20, window=3) as load:
        result = load.result()
    assert_every_answer_right(result)
    shares = server.shares
    assert len(shares) == len(set(shares)) == result["total"]["accepted"] > 0
    assert {share[0] for share in shares} == {f"w{number}" for number in range(20)}
    assert {(share[1], share[3], len(share[2]), len(share[4])) for share in shares} == {
        ("a1", "6a5f5e10", 16, 8)
    }
    assert result["per_connection"]["min"] > 0
    assert result["difficulty"] == {"min": 1e-10, "max": 1e-10}
    # Those of the warm-up, which here is the first burst, are not measured.
    assert 0 < result["latency_ms"]["n"] <= result["total"]["accepted"]


def test_a_short_extranonce2_comes_round_and_shares_still_differ(start: Start) -> None:
    with (
        ScriptedServer(extranonce2_size=1) as server,
        start(server, window=500, seconds=0) as load,
    ):
        wait_until(lambda: len(server.shares) > 600)
        load.stop()
        assert_every_answer_right(load.result())
    shares = server.shares
    assert {len(share[2]) for share in shares} == {2}
    assert len({share[2] for share in shares}) == 256
    assert len(shares) == len(set(shares))


def test_answers_in_pieces_of_one_byte_are_read(start: Start) -> None:
    def bytewise(_session: Session, request: dict[str, Any]) -> list[bytes]:
        whole = good(request)
        return [whole[at : at + 1] for at in range(len(whole))]

    with ScriptedServer(bytewise) as server, start(server, connections=3) as load:
        result = load.result()
    assert_every_answer_right(result)
    assert result["total"]["accepted"] == len(server.shares) > 0


def test_answers_of_several_shares_in_one_packet_and_out_of_order_are_read(start: Start) -> None:
    waiting: list[bytes] = []

    def four_at_once(_session: Session, request: dict[str, Any]) -> list[bytes]:
        waiting.append(good(request).replace(b'"result":true', b'"result" : true , "extra" : [{"a":"\\"}"}]'))
        if len(waiting) < 4:
            return []
        packet = b"".join(reversed(waiting))
        waiting.clear()
        middle = len(packet) // 3
        return [packet[:middle], packet[middle:]]

    with ScriptedServer(four_at_once) as server, start(server, window=4) as load:
        result = load.result()
    # What is left at the end are fewer than four, which this server never answers.
    assert result["total"]["accepted"] == len(server.shares) // 4 * 4 > 0
    assert result["unanswered"] == len(server.shares) % 4
    assert result["unexpected"] == result["malformed"] == 0


def test_rejections_are_counted_by_their_code(start: Start) -> None:
    def alternating(_session: Session, request: dict[str, Any]) -> list[bytes]:
        return [(good(request), bad(request, 21), bad(request, 23))[request["id"] % 3]]

    with ScriptedServer(alternating) as server, start(server) as load:
        result = load.result()
    total = result["total"]
    assert set(total["rejected"]) == {"21", "23"}
    assert total["accepted"] + sum(total["rejected"].values()) == total["sent"] == len(server.shares)
    with pytest.raises(AssertionError):
        assert_every_answer_right(result)
    assert_every_answer_right(result, codes=frozenset({"21", "23"}))


def test_wanted_repetitions_are_true_ones_and_must_be_refused_as_such(start: Start) -> None:
    def strict(session: Session, request: dict[str, Any]) -> list[bytes]:
        return [bad(request, 22) if session.shares.count(tuple(request["params"])) > 1 else good(request)]

    with ScriptedServer(strict) as server, start(server, connections=4, duplicates=0.2, roll=True) as load:
        result = load.result()
    assert_every_answer_right(result)
    repeated = len(server.shares) - len(set(server.shares))
    assert result["duplicates"] == {"sent": repeated, "found": repeated, "accepted": 0, "other": 0}
    assert repeated > 0


def test_a_server_that_accepts_repetitions_is_found_out(start: Start) -> None:
    with ScriptedServer() as server, start(server, duplicates=0.5) as load:
        result = load.result()
    assert result["duplicates"]["accepted"] == result["duplicates"]["sent"] > 0
    with pytest.raises(AssertionError):
        assert_every_answer_right(result)


@pytest.mark.parametrize(
    ("answer", "counter", "words"),
    [
        (lambda r: good(r) * 2, "unexpected", "an answer to nothing that was asked"),
        (lambda r: good({"id": r["id"] + 1000}) + good(r), "unexpected", "an answer to nothing that was asked"),
        (lambda r: good({"id": str(r["id"])}) + good(r), "unexpected", "an answer to nothing that was asked"),
        (lambda r: b'{"result":true,"error":null}\n' + good(r), "unexpected", "an answer to nothing"),
        (lambda r: line({"id": r["id"], "result": True, "error": [20, "x"]}), "malformed", "neither accepted"),
        (lambda r: line({"id": r["id"], "result": None, "error": None}), "malformed", "neither accepted"),
        (lambda r: line({"id": r["id"], "result": "true", "error": None}), "malformed", "neither accepted"),
        (lambda r: line({"id": r["id"], "result": None, "error": "no"}), "malformed", "neither accepted"),
        (lambda r: good(r)[:-3] + b"\n" + good(r), "malformed", "not a JSON object"),
        (lambda r: b"OK\n" + good(r), "malformed", "not a JSON object"),
        (lambda r: b"[1,2]\n" + good(r), "malformed", "not a JSON object"),
        (lambda r: good(r)[:-1] + b"}\n" + good(r), "malformed", "not a JSON object"),
        (lambda r: line({"id": 1, "method": "mining.dance", "params": []}) + good(r), "malformed", "a call that no"),
        (lambda r: notify(["a1", "00"]) + good(r), "malformed", "a notify that is none"),
    ],
)  # fmt: skip
def test_what_should_not_come_is_counted_and_shown(
    start: Start, answer: Callable[[dict[str, Any]], bytes], counter: str, words: str
) -> None:
    with ScriptedServer(lambda _, request: [answer(request)]) as server, start(server) as load:
        result = load.result()
    assert result[counter] == result["total"]["sent"] > 0
    assert result["oddity"].startswith(words)
    with pytest.raises(AssertionError):
        assert_every_answer_right(result)


def test_a_lost_connection_and_its_unanswered_shares_are_counted(start: Start) -> None:
    def leave(session: Session, request: dict[str, Any]) -> list[bytes] | None:
        if session.number == 1 and len(session.shares) == 3:
            return None
        return [good(request)]

    with ScriptedServer(leave) as server, start(server, connections=2) as load:
        result = load.result()
    assert (result["disconnects"], result["lost"], result["ready"]) == (1, 1, 1)
    assert result["total"]["sent"] == result["total"]["accepted"] + 1
    assert result["per_connection"]["max"] > 2


def test_when_all_are_lost_it_ends_and_says_so(start: Start) -> None:
    with ScriptedServer(lambda *_: None) as server, start(server, connections=3, seconds=0) as load:
        result = load.result()
    assert result["failure"] == "every connection was lost"
    assert result["lost"] == result["disconnects"] == 3


def test_who_is_lost_comes_back_with_its_old_session_and_other_shares(start: Start) -> None:
    def leave(session: Session, request: dict[str, Any]) -> list[bytes] | None:
        return None if session.number <= 2 and len(session.shares) == 5 else [good(request)]

    with (
        ScriptedServer(leave) as server,
        start(server, connections=2, reconnect=0.05, resume=True, seconds=0) as load,
    ):
        load.wait_for("ready")
        load.wait_for("lost")
        ready = load.wait_for("ready")
        wait_until(lambda: all(session.shares for session in server.sessions[2:]))
        load.stop()
        result = load.result()
    assert ready["seconds"] > 0
    assert result["disconnects"] == result["lost"] == 2
    assert {session.requests[0]["params"][-1] for session in server.sessions[2:]} == {"session1", "session2"}
    assert len(server.shares) == len(set(server.shares))


def test_a_server_that_asks_it_away_is_obeyed(start: Start) -> None:
    away = line({"id": None, "method": "client.reconnect", "params": []})
    with ScriptedServer() as server, start(server, reconnect=0.05, seconds=0) as load:
        load.wait_for("ready")
        server.tell(away)
        load.wait_for("ready")
        load.stop()
        assert load.result()["asked_away"] == 1


def test_a_new_job_is_worked_on_and_a_new_block_is_reported_once_all_were_told(start: Start) -> None:
    before = time.time_ns()
    with ScriptedServer() as server, start(server, connections=5, stamps=True, seconds=0) as load:
        load.wait_for("measuring")
        wait_until(lambda: all(session.shares for session in server.sessions))
        server.tell(notify(JOB_2))
        tip = load.wait_for("tip")
        after = time.time_ns()
        server.tell(notify(JOB_3))
        wait_until(lambda: all(session.shares[-1][1] == "a3" for session in server.sessions))
        load.stop()
        result = load.result()
    assert_every_answer_right(result)
    assert (tip["prev_hash"], tip["connections"], tip["missing"]) == ("11" * 32, 5, 0)
    assert before < tip["first_utc_ns"] <= tip["median_utc_ns"] <= tip["last_utc_ns"] < after
    assert (result["jobs"], result["tips"]) == (3, 2)
    assert [event["event"] for event in load.passed].count("tip") == 1
    assert {(share[1], share[3]) for share in server.shares} >= {("a1", "6a5f5e10"), ("a3", "6a5f5e21")}


def test_who_was_not_told_of_a_block_is_missing_in_its_report(start: Start) -> None:
    with ScriptedServer() as server, start(server, connections=3, window=0, seconds=0) as load:
        load.wait_for("measuring")
        for session in server.sessions[:2]:
            session.send(notify(JOB_2))
        wait_until(lambda: len(server.sessions) == 3)
        server.sessions[2].send(notify(["b", "22" * 32, *JOB_2[2:]]))
        tips = [load.wait_for("tip")]
        load.stop()
        load.result()
    tips += [event for event in load.passed if event["event"] == "tip" and event not in tips]
    assert {(tip["prev_hash"], tip["connections"], tip["missing"]) for tip in tips} <= {
        ("11" * 32, 2, 1),
        ("22" * 32, 1, 2),
    }


def test_a_login_is_made_step_by_step_or_all_at_once(start: Start) -> None:
    steps = ["mining.configure", "mining.subscribe", "mining.authorize"]
    for together in (False, True):
        with ScriptedServer() as server, start(server, roll=True, together=together, connections=2) as load:
            result = load.result()
        assert_every_answer_right(result)
        assert all(session.methods() == steps for session in server.sessions)


def test_versions_are_rolled_within_the_mask_of_the_server(start: Start) -> None:
    for mask, allowed in (("00ffe000", 0x00FFE000), (None, None)):
        with ScriptedServer(mask=mask) as server, start(server, roll=True) as load:
            assert_every_answer_right(load.result())
        if allowed is None:
            assert {len(share) for share in server.shares} == {5}
        else:
            bits = {int(share[5], 16) for share in server.shares}
            assert len(bits) > 1
            assert all(each & ~allowed == 0 for each in bits)


def test_a_refused_login_ends_it_with_the_reason(start: Start) -> None:
    with ScriptedServer() as server:
        server.refuse = True
        with start(server) as load:
            result = load.result()
    assert result["failure"] == "every connection was lost"
    assert result["oddity"].startswith('the login was refused: {"id":3')


def test_nobody_listening_is_a_failure(program: Path) -> None:
    with ScriptedServer() as server:
        port = server.port
    with Load(port, program=program) as load:
        result = load.result()
    assert (result["failure"], result["connect_failures"]) == ("every connection was lost", 1)


def test_a_login_that_takes_too_long_is_a_failure(start: Start) -> None:
    silent = ScriptedServer()
    silent.answer = lambda *_: []  # type: ignore[method-assign] # says nothing at all
    with silent, start(silent, login_limit=0.2) as load:
        result = load.result()
    assert result["failure"] == "not all connections logged in"
    assert result["ready"] == 0


def test_at_a_given_rate_a_share_is_late_from_when_it_was_due(start: Start) -> None:
    """The server rests for 0.4 s: of 500 shares a second, those due in the first half of it wait at least 0.2 s."""
    rested = threading.Event()

    def rest_once(session: Session, request: dict[str, Any]) -> list[bytes]:
        if not rested.is_set() and len(session.shares) == 20:
            rested.set()
            time.sleep(0.4)
        return [good(request)]

    with ScriptedServer(rest_once) as server, start(server, rate=500, window=0, seconds=1) as load:
        result = load.result()
    assert_every_answer_right(result)
    assert result["latency_ms"]["p90"] > 190
    assert result["latency_ms"]["max"] > 380
    assert result["latency_ms"]["n"] + result["unsent"] >= 499


def test_shares_at_random_times_are_as_many_on_the_mean(start: Start) -> None:
    with (
        ScriptedServer() as server,
        start(server, rate=2000, poisson=True, connections=4, seconds=1, seed=1) as load,
    ):
        result = load.result()
    assert_every_answer_right(result)
    assert result["latency_ms"]["n"] + result["unsent"] > 1600
    assert set(Counter(share[0] for share in server.shares)) == {"w0", "w1", "w2", "w3"}


def test_the_log_has_every_acknowledged_share_in_order_with_its_job(start: Start, tmp_path: Path) -> None:
    def odd_only(_session: Session, request: dict[str, Any]) -> list[bytes]:
        return [good(request) if request["id"] % 2 else bad(request, 23)]

    log = tmp_path / "log"
    with (
        ScriptedServer(odd_only) as server,
        start(server, connections=3, window=2, roll=True, log=log, seconds=0) as load,
    ):
        load.wait_for("measuring")
        wait_until(lambda: all(len(session.shares) > 10 for session in server.sessions))
        server.tell(notify(JOB_2))
        wait_until(lambda: all(session.shares[-1][1] == "a2" for session in server.sessions))
        load.stop()
        load.result()
    lines = [each.split(" ", 2) for each in log.read_text().splitlines()]
    jobs = {number: json.loads(told)["params"] for kind, number, told in lines if kind == "job"}
    assert list(jobs.values()) == [[*params] for params in (json.loads(notify())["params"], JOB_2)]
    logged: dict[str, list[tuple[str, ...]]] = {}
    for kind, number, rest in lines:
        if kind == "share":
            extranonce1, job, *words = rest.split(" ")
            logged.setdefault(extranonce1, []).append((f"w{number}", jobs[job][0], *words))
    for session in server.sessions:
        answered = [
            tuple(each["params"])
            for each in session.requests
            if each["method"] == "mining.submit" and each["id"] % 2
        ]
        assert logged[f"{session.number:08x}"] == answered


def test_the_end_of_its_input_ends_it_even_before_anything_was_measured(start: Start) -> None:
    with ScriptedServer() as server, start(server, warm_up=60) as load:
        load.wait_for("ready")
        load.stop()
        result = load.result()
    assert result["failure"] == "stopped before anything was measured"


def test_an_event_that_does_not_come_is_an_error(start: Start) -> None:
    with ScriptedServer() as server, start(server, seconds=0) as load:
        load.wait_for("measuring")
        with pytest.raises(GeneratorError, match=r"no tip in 0\.01 s"):
            load.wait_for("tip", limit_s=0.01)
        load.stop()
        with pytest.raises(GeneratorError, match="it ended before tip"):
            load.wait_for("tip")


@pytest.mark.parametrize("options", [{"connections": 0}, {"duplicates": 2}, {"window": "x"}, {"no_such": 1}])
def test_a_wrong_option_is_refused(start: Start, options: dict[str, Any]) -> None:
    with ScriptedServer() as server, start(server, **options) as load, pytest.raises(GeneratorError):
        load.result()


def wait_until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.01)
