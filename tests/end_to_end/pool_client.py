"""What tests of mining at pools share: a daemon's configuration, and questions to miners, pools and the ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from miner.ledger.store import Store
from tests.end_to_end.test_stratum import await_work, document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miner.ledger.rows import PoolShareRow
    from regtest.process import HashmillProcess
    from tests.end_to_end.asic import Asic
    from tests.end_to_end.rig import Rig
    from tests.miner.stratum.scripted_pool import PoolThread, ScriptedPool
    from tests.miner.stratum.scripted_work import SeenShare

EASY = 1e-6
"""About 4,300 hashes: hashlib finds one in milliseconds."""
CPU_EASY = 1e-3
"""About 4.3 million hashes: ten a second of one thread."""
LIMIT_S = 20.0
ANSWER_S = 1.0
"""How long a pool may leave a request unanswered here."""
POOL_TAG = b"/scripted/"
"""In the coinbase of a scripted pool."""


def served(port: int, **keys: Any) -> dict[str, Any]:
    """A [stratum] section whose shares are easy, and as hard as the pool's at most."""
    fixed = {"start_difficulty": EASY, "min_difficulty": EASY, "max_difficulty": EASY}
    return {"listen": f"127.0.0.1:{port}", **fixed, **keys}


def start(daemon: HashmillProcess) -> HashmillProcess:
    daemon.start()
    await_work(daemon)
    return daemon


def sums(daemon: HashmillProcess) -> dict[str, tuple[int, int, int, int]]:
    """By pool: shares found, accepted, rejected and in doubt, of a ledger whose daemon has ended."""
    with Store.open(f"sqlite:///{daemon.ledger_file}") as store:
        return {
            name: (each.found, each.accepted, each.rejected, each.in_doubt)
            for name, each in store.pool_share_sums().items()
        }


def active(daemon: HashmillProcess) -> str | None:
    """The pool that is mined."""
    pools = document(daemon, "/api/v1/status")["pools"]
    return next((pool["name"] for pool in pools if pool["state"] == "active"), None)


def name_of(pool: PoolThread) -> str:
    return pool.url.rpartition("/")[2]


def all_accepted(pool: ScriptedPool) -> int:
    """How many shares the pool took; AssertionError if it refused one."""
    assert not pool.rejected, pool.rejected[:3]
    return len(pool.accepted)


def wait_for_work_of(asic: Asic, tag: bytes) -> None:
    """Until the miner's job is one whose coinbase holds that tag."""
    end = time.monotonic() + LIMIT_S
    while asic.job is None or tag.hex() not in asic.job[2] + asic.job[3]:
        asic.listen(end - time.monotonic(), "mining.notify")


def mine_some(asic: Asic, count: int) -> list[dict[str, Any]]:
    """The answers to so many shares."""
    answers = []
    for _ in range(count):
        asic.wait_for_job()
        answers.append(asic.submit(asic.mine()))
    return answers


def rows_of(daemon: HashmillProcess, pool: PoolThread) -> dict[str, PoolShareRow]:
    """The shares for a pool in the ledger of a daemon that has ended, by hash."""
    with Store.open(f"sqlite:///{daemon.ledger_file}") as store:
        rows = store.pool_shares(100_000, pool=name_of(pool))
    by_hash = {row.hash: row for row in rows}
    assert len(by_hash) == len(rows)
    return by_hash


def seen_by(pool: PoolThread) -> dict[str, SeenShare]:
    """Every share that a pool was sent, by hash: of its own jobs all of them, and none that could have been known to be bad."""
    seen: list[SeenShare] = pool.do(lambda each: list(each.shares))
    assert all(share.job_id.startswith(f"{pool.pool.name}-") for share in seen)
    assert {share.text for share in seen} <= {"", "Stale"}
    by_hash = {share.hash[::-1].hex(): share for share in seen}
    assert len(by_hash) == len(seen)
    return by_hash


def taken_by(*pools: PoolThread) -> set[str]:
    """Hashes of the shares that pools accepted."""
    return {hash_ for pool in pools for hash_, share in seen_by(pool).items() if share.code == 0}


def assert_books_agree(daemon: HashmillProcess, *pools: PoolThread, killed_at: Sequence[float] = ()) -> None:
    """What the ledger of a daemon that has ended says of each share is what its pool said, if it said it.

    Where it was killed it may not know of shares that it sent within the second before, since their commit was under way.
    """
    for pool in pools:
        rows = rows_of(daemon, pool)
        seen = {
            hash_: share
            for hash_, share in seen_by(pool).items()
            if hash_ in rows or not any(moment - 1 < share.at < moment + 1 for moment in killed_at)
        }
        by_result = {
            result: {hash_ for hash_, row in rows.items() if row.result == result}
            for result in ("accepted", "rejected", "in_doubt", "waiting")
        }
        taken = {hash_ for hash_, share in seen.items() if share.code == 0}
        assert not by_result["waiting"]
        assert by_result["accepted"] <= taken <= by_result["accepted"] | by_result["in_doubt"]
        assert by_result["rejected"] <= seen.keys() - taken <= by_result["rejected"] | by_result["in_doubt"]
        assert all(row.job_id.startswith(f"{pool.pool.name}-") for row in rows.values())
        if rows:
            found, accepted, rejected, in_doubt = sums(daemon)[name_of(pool)]
            assert found == accepted + rejected + in_doubt == len(rows)


def failure_of(daemon: HashmillProcess, pool: PoolThread) -> dict[str, Any]:
    """Why a pool is not mined at, as the API tells it; no kind and no text while nothing ails it."""
    statuses = document(daemon, "/api/v1/pools")["pools"]
    failure: dict[str, Any] | None = next(each for each in statuses if each["name"] == name_of(pool))[
        "failure"
    ]
    return failure or {"kind": "", "text": ""}


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
