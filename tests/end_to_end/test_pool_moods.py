"""A pool that is slow, restless or odd, and a Hashmill that dies or is restarted: mining goes on at the same pool, and the books agree."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.end_to_end.pool_client import (
    CPU_EASY,
    EASY,
    LIMIT_S,
    active,
    assert_books_agree,
    mines_at_first,
    name_of,
    rows_of,
    seen_by,
    taken_by,
)
from tests.end_to_end.rig import Rig
from tests.miner.stratum.scripted_pool import PoolThread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regtest.process import HashmillProcess
    from tests.miner.stratum.scripted_pool import ScriptedPool


def assert_all_is_well(daemon: HashmillProcess, rig: Rig, pool: PoolThread) -> None:
    """It is still the same pool, everything went up, and every word on it came down."""
    rig.mine_on()
    assert active(daemon) == name_of(pool)
    rig.stop()
    assert daemon.stop() == 0
    assert rig.accepted <= taken_by(pool)
    assert_books_agree(daemon, pool)


def test_a_pool_whose_every_line_is_late_is_mined_at_all_the_same(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    pool.pool.script.late_s = 0.4
    daemon = mine_at(pool, second)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: each.new_block())
        assert_all_is_well(daemon, rig, pool)
    assert all(row.result == "accepted" for row in rows_of(daemon, pool).values() if row.detail == "")


def test_an_extranonce_that_changes_again_and_again_costs_no_share(
    mine_at: Any, pool: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool)

    def change(each: ScriptedPool) -> None:
        each.set_extranonce(bytes([0x70 + next(numbers)]) * 4)
        each.new_job()

    with rig:
        mines_at_first(daemon, rig, pool)
        numbers = itertools.count()
        for _ in range(5):
            pool.do(change)
            rig.mine_on()
        assert_all_is_well(daemon, rig, pool)
    assert not any(share.code for share in seen_by(pool).values())
    assert rig.logins == 1


def test_an_extranonce_of_another_size_sends_miners_through_a_new_login_and_no_share_up_wrongly(
    mine_at: Any, pool: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool)

    def change(size1: int, size2: int) -> None:
        def tell(each: ScriptedPool) -> None:
            each.set_extranonce(b"\x77" * size1, size2)
            each.new_job(clean=True)

        pool.do(tell)

    with rig:
        mines_at_first(daemon, rig, pool)
        for size1, size2 in ((8, 4), (1, 2), (4, 8), (4, 3)):
            change(size1, size2)
            rig.mine_on()
        assert_all_is_well(daemon, rig, pool)


def test_a_pool_that_leaves_two_bytes_of_extranonce2_is_mined_at_by_several(
    mine_at: Any, ports: Sequence[int]
) -> None:
    with PoolThread("a", difficulty=EASY, extranonce2_size=2) as pool:
        daemon = mine_at(pool)
        with Rig(ports[0], "one") as one, Rig(ports[0], "other") as other:
            one.mine_on()
            other.mine_on()
            one.stop()
            other.stop()
        assert daemon.stop() == 0
        assert one.accepted | other.accepted <= taken_by(pool)
        assert not one.accepted & other.accepted
        assert_books_agree(daemon, pool)


def test_a_difficulty_that_moves_by_ten_with_every_job(mine_at: Any, pool: PoolThread, rig: Rig) -> None:
    pool.pool.script.difficulties = itertools.cycle([EASY, 10 * EASY, EASY, EASY / 10])
    daemon = mine_at(pool)
    with rig:
        mines_at_first(daemon, rig, pool)
        for _ in range(8):
            job = pool.do(lambda each: each.new_job().id)
            pool.do(
                lambda each, job=job: each.until(lambda: any(share.job_id == job for share in each.shares))  # type: ignore[misc] # bound on purpose
            )
        assert active(daemon) == name_of(pool)
        rig.stop()
    assert daemon.stop() == 0
    seen = seen_by(pool)
    assert not any(share.code for share in seen.values())
    assert all(share.difficulty >= share.asked for share in seen.values())
    assert {share.asked for share in seen.values()} == {EASY, 10 * EASY, EASY / 10}
    assert rig.errors == []
    assert_books_agree(daemon, pool)
    for hash_, row in rows_of(daemon, pool).items():
        assert abs(row.credited / seen[hash_].asked - 1) < 1e-6


def test_a_pool_that_sends_its_miners_to_another_domain_is_not_obeyed(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: each.redirect("localhost", second.pool.port, 0))
        pool.do(lambda each: each.redirect("pool.example", 3333, 0))
        daemon.wait_until(lambda: "pool_redirect_refused" in daemon.log, "refuse to go", LIMIT_S)
        assert_all_is_well(daemon, rig, pool)
    assert pool.pool.connections == 1
    assert second.pool.connections == 0


def test_a_pool_that_sends_its_miners_to_another_port_is_followed(
    mine_at: Any, pool: PoolThread, second: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool)
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: each.redirect("127.0.0.1", second.pool.port, 0))
        second.do(lambda each: each.until(lambda: len(each.accepted) > 3))
        rig.mine_on()
        rig.stop()
    assert daemon.stop() == 0
    assert rig.accepted <= taken_by(pool, second)


def test_a_pool_that_cuts_the_connection_again_and_again(mine_at: Any, pool: PoolThread, rig: Rig) -> None:
    daemon = mine_at(pool)
    with rig:
        mines_at_first(daemon, rig, pool)
        for _ in range(2):
            connections = pool.pool.connections
            pool.do(lambda each: each.drop())
            pool.do(lambda each, before=connections: each.until(lambda: each.connections > before))  # type: ignore[misc] # bound on purpose
            rig.mine_on()
        assert_all_is_well(daemon, rig, pool)
    assert rig.logins == 1


def test_words_that_mean_nothing_to_us_disturb_nobody(mine_at: Any, pool: PoolThread, rig: Rig) -> None:
    daemon = mine_at(pool)
    with rig:
        mines_at_first(daemon, rig, pool)
        for line in (
            {"id": 4711, "result": True, "error": None},
            {"id": None, "method": "mining.sing", "params": ["a song"]},
            {"id": 9, "method": "client.get_version", "params": []},
            {"id": None, "method": "client.show_message", "params": ["Maintenance \x1b[31m tonight"]},
            {"id": None, "method": "mining.notify", "params": ["too", "few"]},
            {"id": None, "method": "mining.set_difficulty", "params": [-1]},
            b"\n",
            b'{"id": 1, "result": \n'.replace(b"\n", b'true, "error": null}\n'),
        ):
            pool.do(lambda each, line=line: each.say(line))  # type: ignore[misc] # bound on purpose
            rig.mine_on(1)
        assert_all_is_well(daemon, rig, pool)
    assert pool.pool.connections == 1
    assert "\x1b" not in daemon.log


def test_a_kill_leaves_shares_in_doubt_and_the_sums_still_add_up(
    mine_at: Any, rig: Rig, pool: PoolThread
) -> None:
    daemon = mine_at(pool, upstreams={"answer_s": 10.0})
    with rig:
        mines_at_first(daemon, rig, pool)
        pool.do(lambda each: setattr(each.script, "answer_late_s", 5.0))
        seen = len(seen_by(pool))
        pool.do(lambda each: each.until(lambda: len(each.shares) > seen))
        time.sleep(1.5)  # so that it is in the ledger that it went up
        daemon.kill()
        pool.do(lambda each: setattr(each.script, "answer_late_s", 0.0))
        daemon.start()
        rig.mine_on()
        rig.stop()
    assert daemon.stop() == 0
    assert rig.accepted <= taken_by(pool)
    assert_books_agree(daemon, pool)
    in_doubt = {hash_ for hash_, row in rows_of(daemon, pool).items() if row.result == "in_doubt"}
    assert in_doubt
    assert not in_doubt & rig.accepted


def test_a_kill_among_many_shares_keeps_the_books_but_for_the_last_moment(mine_at: Any) -> None:
    with PoolThread("a", difficulty=CPU_EASY / 20, job_every_s=0.3) as pool:
        daemon = mine_at(pool, cpu={"threads": 1})
        killed_at = []
        for _ in range(2):
            seen = len(seen_by(pool))
            pool.do(lambda each, seen=seen: each.until(lambda: len(each.shares) > seen + 40))  # type: ignore[misc] # bound on purpose
            daemon.kill()
            killed_at.append(time.time())
            daemon.start()
        daemon.wait_until(lambda: active(daemon) == name_of(pool), "mine again", LIMIT_S)
        assert daemon.stop() == 0
        assert_books_agree(daemon, pool, killed_at=killed_at)


def test_a_restart_by_a_second_start_hands_the_miners_over_and_keeps_every_word(
    mine_at: Any, pool: PoolThread, rig: Rig
) -> None:
    daemon = mine_at(pool)
    with rig:
        mines_at_first(daemon, rig, pool)
        command = [sys.executable, "-m", "miner", "run", "--config", str(daemon.config_file)]
        with daemon.log_file.open("ab") as sink:
            heir = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
        try:
            assert daemon.wait() == 0
            rig.mine_on()
            before = len(taken_by(pool))
            rig.mine_on()
            assert len(taken_by(pool)) > before
            rig.stop()
        finally:
            heir.terminate()
            assert heir.wait(30) == 0
    assert rig.accepted <= taken_by(pool)
    assert_books_agree(daemon, pool)
    assert all(row.result == "accepted" for row in rows_of(daemon, pool).values())
