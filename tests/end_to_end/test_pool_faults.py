"""A pool fails in one of the ways that pools fail: mining goes on at the next one, and the books of both agree with ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from regtest import chain
from regtest.process import bitcoind_sections
from tests.end_to_end.pool_client import (
    CPU_EASY,
    EASY,
    LIMIT_S,
    active,
    assert_books_agree,
    name_of,
    rows_of,
    served,
    start,
    taken_by,
)
from tests.end_to_end.rig import Rig
from tests.end_to_end.test_stratum import document
from tests.miner.stratum.pool_certificates import make_certificate, needs_openssl
from tests.miner.stratum.scripted_pool import PoolThread
from tests.miner.stratum.scripted_work import PAYEE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from regtest.bitcoind import Bitcoind
    from regtest.process import HashmillProcess
    from tests.miner.stratum.scripted_pool import ScriptedPool

THIEF = bytes.fromhex("0014") + b"\x66" * 20
ANSWER_S = 1.0


@pytest.fixture
def mine_at(make_client: Callable[..., HashmillProcess], ports: Sequence[int]) -> Callable[..., HashmillProcess]:
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


def failure_of(daemon: HashmillProcess, pool: PoolThread) -> dict[str, Any]:
    """Why a pool is not mined at, as the API tells it."""
    statuses = document(daemon, "/api/v1/pools")["pools"]
    failure: dict[str, Any] = next(each for each in statuses if each["name"] == name_of(pool))["failure"]
    return failure


def assert_mined_on(daemon: HashmillProcess, rig: Rig, bad: PoolThread, good: PoolThread) -> None:
    """Mining goes on at the good pool, and nobody was told or remembers anything wrong."""
    daemon.wait_until(lambda: active(daemon) == name_of(good), "mine at the next pool", LIMIT_S)
    before = len(taken_by(good))
    rig.mine_on()
    assert len(taken_by(good)) > before
    rig.stop()
    assert daemon.stop() == 0
    assert rig.accepted <= taken_by(bad, good)
    assert_books_agree(daemon, bad, good)


def mines_at_first(daemon: HashmillProcess, rig: Rig, pool: PoolThread) -> None:
    rig.mine_on()
    assert active(daemon) == name_of(pool)


Mine = "Callable[..., HashmillProcess]"


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
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\x16\x03\x01\n", b"[" * 100_000 + b"\n", b"x" * 1_100_000],
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


@pytest.mark.parametrize("known", ["configured", "learned"])
def test_a_pool_whose_jobs_pay_somebody_else(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig, known: str
) -> None:
    daemon = mine_at(pool, second, keys={"payees": [PAYEE.hex()]} if known == "configured" else {})
    with rig:
        mines_at_first(daemon, rig, pool)
        for _ in range(3):
            pool.do(lambda each: each.new_job(clean=True, outputs=((312_500_000, THIEF),)))
        assert_mined_on(daemon, rig, pool, second)
    assert daemon.log.count("kind=pays_nobody_we_know") == 3
    assert "pool_condemned" in daemon.log


def test_a_pool_whose_shares_are_to_be_absurdly_hard(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool, second)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: each.set_difficulty(1e12))
        for _ in range(3):
            pool.do(lambda each: each.new_job(clean=True))
        assert_mined_on(daemon, rig, pool, second)
    assert daemon.log.count("kind=absurd_difficulty") == 3


@pytest.mark.bitcoind
def test_a_pool_that_builds_on_a_block_our_node_has_never_seen(
    mine_at: Any, bitcoind: Bitcoind, rig: Rig
) -> None:
    chain.mine(bitcoind, 1)
    tip = bytes.fromhex(bitcoind.rpc("getbestblockhash"))[::-1]
    on_tip: dict[str, Any] = {"difficulty": EASY, "job_every_s": 0.5, "prev_hash": tip, "height": 2}
    with PoolThread("a", **on_tip) as pool, PoolThread("b", **on_tip) as good:
        daemon = mine_at(pool, good, bitcoind=bitcoind_sections([bitcoind]))
        with rig:
            mines_at_first(daemon, rig, pool)
            pool.do(lambda each: each.new_block())
            daemon.wait_until(lambda: active(daemon) == name_of(good), "leave the pool", 60.0)
            assert_mined_on(daemon, rig, pool, good)
    assert "kind=unknown_prev_hash" in daemon.log


def test_the_cpu_unit_mines_on_at_the_next_pool_and_comes_back(mine_at: Any) -> None:
    with PoolThread("a", difficulty=CPU_EASY) as pool, PoolThread("b", difficulty=CPU_EASY) as good:
        daemon = mine_at(pool, good, cpu={"threads": 1}, upstreams={"answer_s": ANSWER_S, "return_s": 1.0})
        for mined, fault in ((pool, "die"), (good, "revive"), (pool, "")):
            daemon.wait_until(lambda mined=mined: active(daemon) == name_of(mined), "change", LIMIT_S)  # type: ignore[misc] # bound on purpose
            before = len(taken_by(mined))
            daemon.wait_until(lambda mined=mined, before=before: len(taken_by(mined)) > before + 5, "mine", LIMIT_S)  # type: ignore[misc] # bound on purpose
            if fault:
                pool.do(lambda each, fault=fault: getattr(each, fault)())  # type: ignore[misc] # bound on purpose
        assert daemon.stop() == 0
        assert_books_agree(daemon, pool, good)
