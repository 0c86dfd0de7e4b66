"""A pool fails in one of the ways that pools fail: mining goes on at the next one, and the books of both agree with ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.pool_client import (
    ANSWER_S,
    CPU_EASY,
    EASY,
    LIMIT_S,
    active,
    assert_books_agree,
    assert_mined_on,
    failure_of,
    mines_at_first,
    name_of,
    rows_of,
    taken_by,
)
from tests.miner.stratum.pool_certificates import make_certificate, needs_openssl
from tests.miner.stratum.scripted_pool import PoolThread

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.rig import Rig
    from tests.miner.stratum.scripted_pool import ScriptedPool


def test_a_pool_that_is_killed(mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig) -> None:
    daemon = mine_at(pool, second)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: each.die())
        assert_mined_on(daemon, rig, pool, second)


def test_a_pool_that_takes_connections_and_says_nothing(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    pool.pool.script.hangs = True
    daemon = mine_at(pool, second)
    with rig:
        daemon.wait_until(lambda: failure_of(daemon, pool) is not None, "give the first pool up", LIMIT_S)
        assert failure_of(daemon, pool)["kind"] == "unanswered"
        assert_mined_on(daemon, rig, pool, second)


def test_a_pool_that_falls_silent_with_shares_of_ours_in_its_hands(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool, second)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: setattr(each.script, "hangs", True))
        assert_mined_on(daemon, rig, pool, second)
    assert any("did not answer" in text for text in rig.errors)
    assert any(row.result == "in_doubt" for row in rows_of(daemon, pool).values())


def test_a_pool_that_takes_shares_and_does_not_answer_them(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool, second)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: each.script.silent.add("mining.submit"))
        assert_mined_on(daemon, rig, pool, second)
    unanswered = taken_by(pool) - rig.accepted
    assert unanswered
    assert {rows_of(daemon, pool)[hash_].result for hash_ in unanswered} == {"in_doubt"}


def test_a_pool_that_lets_nobody_in_any_more(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool, second)

    def lock(each: ScriptedPool) -> None:
        each.script.admits = lambda _user: False
        each.drop()

    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lock)
        daemon.wait_until(lambda: failure_of(daemon, pool)["kind"] == "login", "hear the refusal", LIMIT_S)
        assert "Unauthorized worker" in failure_of(daemon, pool)["text"]
        assert_mined_on(daemon, rig, pool, second)


@pytest.mark.parametrize(
    ("code", "kind"), [(24, "login"), (23, "bad_work")], ids=["since it forgot us", "for no reason"]
)
def test_a_pool_that_refuses_every_share(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig, code: int, kind: str
) -> None:
    daemon = mine_at(pool, second)

    def refuse(each: ScriptedPool) -> None:
        each.script.answer = lambda _share: {"result": None, "error": [code, "Not from you", None]}

    with rig:
        mines_at_first(daemon, rig, pool)
        taken = taken_by(pool)
        pool.do(refuse)
        daemon.wait_until(lambda: active(daemon) == name_of(second), "leave the pool", LIMIT_S)
        assert failure_of(daemon, pool)["kind"] == kind
        rig.mine_on()
        rig.stop()
    assert daemon.stop() == 0
    refused = {hash_ for hash_, row in rows_of(daemon, pool).items() if row.result == "rejected"}
    assert refused
    assert not refused & rig.accepted
    assert "Not from you" in rig.errors
    assert taken <= {hash_ for hash_, row in rows_of(daemon, pool).items() if row.result == "accepted"}
    assert_books_agree(daemon, second)


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\x16\x03\x01\n",
        b"[" * 100_000 + b"\n",
        b"x" * 1_100_000,
    ],
    ids=["of another protocol", "in bytes", "nested deeply", "without end"],
)
def test_a_pool_that_sends_garbage(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig, line: bytes
) -> None:
    daemon = mine_at(pool, second)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: each.say(line))
        assert_mined_on(daemon, rig, pool, second)


def test_a_pool_that_never_sends_work(mine_at: Any, rig: Rig) -> None:
    with PoolThread("a", difficulty=EASY) as pool, PoolThread("b", difficulty=EASY, job_every_s=0.3) as good:
        pool.pool.script.works = False
        daemon = mine_at(pool, good, keys={"no_work_s": 1.0})
        with rig:
            daemon.wait_until(lambda: failure_of(daemon, pool) is not None, "give the first pool up", LIMIT_S)
            assert failure_of(daemon, pool)["kind"] == "no_work"
            assert_mined_on(daemon, rig, pool, good)


def test_a_pool_that_sends_no_work_any_more(mine_at: Any, rig: Rig) -> None:
    with (
        PoolThread("a", difficulty=EASY, job_every_s=0.3) as pool,
        PoolThread("b", difficulty=EASY, job_every_s=0.3) as good,
    ):
        daemon = mine_at(pool, good, keys={"no_work_s": 1.5})
        with rig:
            mines_at_first(daemon, rig, pool)
            pool.do(lambda each: setattr(each.script, "works", False))
            assert_mined_on(daemon, rig, pool, good)


def test_a_pool_that_leaves_one_byte_of_extranonce2_is_refused_clearly(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool, second)
    with rig:
        mines_at_first(daemon, rig, pool)

        def narrow(each: ScriptedPool) -> None:
            each.set_extranonce(b"\x77" * 4, 1)
            each.new_job(clean=True)

        pool.do(narrow)
        assert_mined_on(daemon, rig, pool, second)
    assert "pool_too_narrow" in daemon.log


@needs_openssl
def test_a_pool_with_a_certificate_for_somebody_else(
    mine_at: Any, second: PoolThread, rig: Rig, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path, "DNS:pool.example")
    with PoolThread("a", difficulty=EASY, certificate=certificate) as pool:
        sections = [
            {"url": pool.url, "user": "site", "ca_file": str(certificate[0])},
            {"url": second.url, "user": "site"},
        ]
        daemon = mine_at(pool=sections)
        with rig:
            daemon.wait_until(lambda: failure_of(daemon, pool) is not None, "see the certificate", LIMIT_S)
            assert failure_of(daemon, pool)["kind"] == "tls"
            assert "certificate" in failure_of(daemon, pool)["text"]
            assert_mined_on(daemon, rig, pool, second)
        assert not pool.do(lambda each: each.heard)


@needs_openssl
def test_a_pool_with_the_right_certificate_is_mined_at(mine_at: Any, rig: Rig, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with PoolThread("a", difficulty=EASY, certificate=certificate) as pool:
        daemon = mine_at(pool, keys={"ca_file": str(certificate[0])})
        with rig:
            rig.mine_on()
        assert daemon.stop() == 0
        assert_books_agree(daemon, pool)


def test_the_cpu_unit_mines_on_at_the_next_pool_and_comes_back(mine_at: Any) -> None:
    with PoolThread("a", difficulty=CPU_EASY) as pool, PoolThread("b", difficulty=CPU_EASY) as good:
        daemon = mine_at(pool, good, cpu={"threads": 1}, upstreams={"answer_s": ANSWER_S, "return_s": 1.0})
        for mined, fault in ((pool, "die"), (good, "revive"), (pool, "")):
            daemon.wait_until(lambda mined=mined: active(daemon) == name_of(mined), "change", LIMIT_S)
            before = len(taken_by(mined))
            daemon.wait_until(
                lambda mined=mined, before=before: len(taken_by(mined)) > before + 5, "mine", LIMIT_S
            )
            if fault:
                pool.do(lambda each, fault=fault: getattr(each, fault)())  # type: ignore[misc] # bound on purpose
        assert daemon.stop() == 0
        assert_books_agree(daemon, pool, good)
