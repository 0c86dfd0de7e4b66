"""A pool's client between a pool and a thousand miners: what it adds to a share's answer, and whether it tells the truth.

Usage: python bench/upstream.py [--quick] [--json] [--connections N] [--repeats N] [--seconds S]

The pool is our own server on the private signet. The miners of bench/load hand in shares at random times, first to the pool
itself, then to a second daemon that mines there as its client and answers with the pool's word: the difference of the median
answers is what the client adds to a share. Both take turns. After each run the books of all three must agree: what
the miners were told, what the client handed up, and what the pool took.

Both ledgers are on the disk of this machine, and wait for each other there: so the way up is measured alone, too. One miner hands
in share after share beside the others' load, to a pool that notes when it comes: directly, and through the client.

Then the pool wants only every fourth hash: it must see nothing that is less.
"""

from __future__ import annotations

import contextlib
import secrets
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from generator import assert_every_answer_right
from noting_pool import NotingPool
from report import Series, arguments, machine, progress, publish
from setting import HTTP_OK, READY_LIMIT_S
from signet import mine_empty, signet_node
from stratum import EVERY_HASH, Site, share_rate, site
from wire import Miner

from miner.ledger.store import Store
from regtest.ports import LOOPBACK, Reservation
from regtest.process import HashmillProcess, pool_sections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generator import Event

    from regtest.bitcoind import Bitcoind

CONNECTIONS: Final = (1_000, 20)
"""In full, and quickly; so are the next."""
REPEATS: Final = (5, 1)
SECONDS: Final = (10.0, 1.0)
ADDED_GOAL_MS: Final = 1.0
MARKED: Final = (300, 20)
"""Shares whose way up is measured."""
MARK_S: Final = 0.02
EVERY_FOURTH: Final = 4 / 2**32
"""Difficulty that a quarter of all hashes meets."""
WARM_UP_S: Final = 1.0


@contextlib.contextmanager
def client(pool_port: int, node: Bitcoind, folder: Path) -> Iterator[Site]:
    """A daemon that mines at the pool of that port, and answers its miners with the pool's word."""
    with Reservation(1) as reserved:
        (port,) = reserved.ports
        easy = dict.fromkeys(("start_difficulty", "min_difficulty", "max_difficulty"), EVERY_HASH)
        settings: dict[str, Any] = {
            "network": "signet",
            "pool": pool_sections(pool_port, user="site"),
            "controller": {"enabled": False},
            "cpu": {"threads": 0},
            "stratum": {
                "listen": f"{LOOPBACK}:{port}",
                **easy,
                "max_connections_per_address": 0,
                "max_workers": 100_000,
                "answers": "pool",
            },
        }
        with HashmillProcess(folder, settings) as daemon:
            daemon.wait_until(lambda: daemon.http("/readyz")[0] == HTTP_OK, "have work", READY_LIMIT_S)
            yield Site(node, daemon, port)


def shares(at: Site, count: int, seconds: float) -> Event:
    """What so many miners were told of the shares they handed in, at random times."""
    with at.load(
        count, rate=share_rate(count), poisson=True, stamps=True, seconds=seconds, warm_up=WARM_UP_S
    ) as load:
        result = load.result()
    assert_every_answer_right(result, codes=frozenset({"21"}) if result["tips"] > 1 else frozenset())
    assert result["unsent"] == 0
    return result


def books(daemon: HashmillProcess) -> dict[str, int]:
    """What the client's ledger says of the shares that went up; the daemon has ended."""
    with Store.open(f"sqlite:///{daemon.ledger_file}") as store:
        (sums,) = store.pool_share_sums().values()
    assert sums.waiting == 0
    assert sums.found == sums.accepted + sums.rejected + sums.in_doubt
    return {"accepted": sums.accepted, "rejected": sums.rejected, "in_doubt": sums.in_doubt}


def added(node: Bitcoind, count: int, repeats: int, seconds: float) -> list[Series]:
    """The median answer at the pool and through its client, and whether the books agree."""
    direct = Series(f"median answer, {count:,} miners at the pool itself", "ms")
    through = Series(f"median answer, {count:,} miners through its client", "ms")
    difference = Series("added by the client", "ms", ADDED_GOAL_MS)
    slowest = Series(f"99 of 100 answers, {count:,} miners through its client", "ms")
    missing = Series("shares that miners and pool do not agree on", "shares", 0.0)
    for repeat in range(repeats):
        progress(f"  answers, {repeat + 1} of {repeats}")
        with site(node) as pool, tempfile.TemporaryDirectory(prefix="hashmill-bench-") as folder:
            mine_empty(node)
            at_pool = shares(pool, count, seconds)
            with client(pool.port, node, Path(folder)) as between:
                behind = shares(between, count, seconds)
                assert between.daemon.stop() == 0
                kept = books(between.daemon)
        told = behind["total"]["accepted"]
        missing.values.append(abs(told - kept["accepted"]) + kept["in_doubt"])
        direct.values.append(at_pool["latency_ms"]["p50"])
        through.values.append(behind["latency_ms"]["p50"])
        slowest.values.append(behind["latency_ms"]["p99"])
        difference.values.append(behind["latency_ms"]["p50"] - at_pool["latency_ms"]["p50"])
    return [direct, through, difference, slowest, missing]


def way_up(node: Bitcoind, count: int, marked: int) -> list[Series]:
    """From a miner's hand to the pool's: one share after the other, while the other miners hand in theirs."""
    progress("  the way up")
    direct = Series("a share's way to the pool, directly: median", "ms")
    through = Series(f"its way through the client of {count:,} miners: median", "ms")
    difference = Series("added to the way up by the client", "ms", ADDED_GOAL_MS)
    with NotingPool() as noting, tempfile.TemporaryDirectory(prefix="hashmill-bench-") as folder:
        with Miner(noting.port, "direct") as miner:
            direct.values.append(statistics.median(_ways(miner, noting, marked)))
        with (
            client(noting.port, node, Path(folder)) as between,
            between.load(count, rate=share_rate(count), poisson=True, seconds=0) as load,
        ):
            load.wait_for("measuring", limit_s=READY_LIMIT_S)
            with Miner(between.port, "marked") as miner:
                through.values.append(statistics.median(_ways(miner, noting, marked)))
            load.stop()
            assert_every_answer_right(load.result())
    difference.values.append(through.values[0] - direct.values[0])
    return [direct, through, difference]


def _ways(miner: Miner, noting: NotingPool, marked: int) -> list[float]:
    """Milliseconds from sending each share to the pool's reading it."""
    job, ways = miner.job(), []
    for _ in range(marked):
        nonce = secrets.token_hex(4)
        extranonce2 = "00" * miner.extranonce2_size
        sent_at = time.perf_counter()
        request = miner.send([miner.name, job.id, extranonce2, job.ntime, nonce])
        answer = miner.answer(request)
        assert answer["result"] is True, answer
        ways.append((noting.read_at(nonce) - sent_at) * 1e3)
        time.sleep(MARK_S)
    return ways


def only_theirs(node: Bitcoind, count: int, seconds: float) -> list[Series]:
    """A pool that wants every fourth hash of miners whose every hash is a share."""
    progress("  a pool that wants every fourth hash")
    part = Series("part of the miners' shares that the pool is handed, a quarter of all hashes", "")
    refused = Series("shares that the pool refuses as too easy", "shares", 0.0)
    with (
        site(node, difficulty=EVERY_FOURTH) as pool,
        tempfile.TemporaryDirectory() as folder,
        client(pool.port, node, Path(folder)) as between,
    ):
        behind = shares(between, count, seconds)
        assert between.daemon.stop() == 0
        kept = books(between.daemon)
    part.values.append(kept["accepted"] / max(behind["total"]["accepted"], 1))
    refused.values.append(kept["rejected"])
    return [part, refused]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--connections", type=int, help="number of miners")
    parser.add_argument("--repeats", type=int, help="of the answers")
    parser.add_argument("--seconds", type=float, help="measured each time")
    options = parser.parse_args()
    quick = int(options.quick)
    count = options.connections or CONNECTIONS[quick]
    seconds = options.seconds or SECONDS[quick]
    about = machine()
    progress("upstream: a node with full blocks")
    with signet_node() as node:
        series = added(node, count, options.repeats or REPEATS[quick], seconds)
        series += way_up(node, count, MARKED[quick])
        series += only_theirs(node, count, seconds)
    publish("upstream", about, series, as_json=options.json)


if __name__ == "__main__":
    main()
