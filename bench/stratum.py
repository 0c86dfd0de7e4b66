"""What the Stratum server takes and gives: CPU per share, shares a second, answers, new blocks, memory, storms of logins.

Usage: python bench/stratum.py [--quick] [--json] [--connections N ...] [--repeats N] [--seconds S] [--blocks N] [part ...]

On the private signet, with 4,095 transactions in every template, so that a share is hashed through twelve merkle branches; share
difficulty is 1e-10, so that every hash is a share. The miners are the load generator of bench/load on the same machine: each has
one share unanswered at a time, every hundredth is a repetition and must be refused as one, and each answer is checked. Shares are
answered once the ledger (SQLite) has them. Sizes take turns, so that a slow moment of the machine meets them all.

For throughput and new blocks the generator looks at its sockets every millisecond, as a network card collects its interrupts: else
the server is charged for waking it at nearly every write (on a virtual machine a fifth of the whole), which no miner on a network
makes it do. New blocks are timed by the kernel's receive timestamps, which that does not change.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from generator import Load, assert_every_answer_right
from overhead import memory_mb
from publications import StampedPublications
from report import Series, arguments, machine, progress, publish
from setting import running
from signet import mine_empty, signet_node
from wire import Miner, on_wire

from regtest.ports import Reservation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generator import Event

    from regtest.bitcoind import Bitcoind
    from regtest.process import HashmillProcess

CONNECTIONS: Final = ((1_000, 10_000), (20, 60))
"""In full, and quickly; so are the next."""
REPEATS: Final = (5, 1)
SECONDS: Final = (5.0, 0.5)
BLOCKS: Final = (12, 2)

CPU_GOAL_US: Final = 18.0
MEMORY_GOAL_KB: Final = 25.0
NEW_BLOCK_GOALS_MS: Final = {1_000: 15.0, 10_000: 130.0}
EVERY_HASH: Final = 1e-10
BRANCHES: Final = 12
DUPLICATES: Final = 0.01
SHARES_PER_MINUTE: Final = 12.0
"""Of a miner whose difficulty fits."""
LEAST_RATE: Final = 20.0
"""Shares a second of all miners, however few: there must be something to measure."""
PER_SOURCE: Final = 1_000
"""Miners of one address: ports are a limit otherwise."""
REST_US: Final = 1_000
WARM_UP_S: Final = 1.0
QUIET_S: Final = (0.2, 0.5)
RECONNECT_S: Final = 1.0
TICKS: Final = os.sysconf("SC_CLK_TCK")
USER, SYSTEM = 11, 12
"""Fields of proc_pid_stat(5) behind the name."""
KB_PER_MB: Final = 1e3
US: Final = 1e6
NS_PER_MS: Final = 1e6
LIMIT_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    connections: tuple[int, ...]
    repeats: int
    seconds: float
    blocks: int


@dataclass(frozen=True, slots=True)
class Site:
    """A daemon with a port for miners, on its node."""

    node: Bitcoind
    daemon: HashmillProcess
    port: int

    def load(self, connections: int, **options: Any) -> Load:
        """So many miners; options as the generator has them."""
        sources = -(-connections // PER_SOURCE)
        return Load(self.port, connections=connections, sources=sources, login_limit=LIMIT_S, **options)


@contextlib.contextmanager
def site(node: Bitcoind, *, ledger_url: str | None = None, difficulty: float = EVERY_HASH) -> Iterator[Site]:
    """A daemon that serves miners and hashes nothing itself; without `ledger_url` its ledger is an SQLite file of its own."""
    with tempfile.TemporaryDirectory(prefix="hashmill-bench-") as folder, Reservation(1) as reserved:
        (port,) = reserved.ports
        sections: dict[str, dict[str, Any]] = {
            "cpu": {"threads": 0},
            "stratum": {
                "listen": f"127.0.0.1:{port}",
                "start_difficulty": difficulty,
                "min_difficulty": difficulty,
                "max_difficulty": difficulty,
                "max_connections_per_address": 0,
                "max_workers": 100_000,
            },
        }
        try:
            with running(node, Path(folder), sections, ledger_url=ledger_url) as daemon:
                yield Site(node, daemon, port)
        finally:
            free_longpolls(node)


def free_longpolls(node: Bitcoind) -> None:
    """Have the node answer those who are no more: until a new block, each daemon's longpoll keeps one of its few threads."""
    mine_empty(node)


def share_rate(count: int) -> float:
    """Shares a second of so many miners whose difficulty fits."""
    return max(count * SHARES_PER_MINUTE / 60, LEAST_RATE)


def cpu_s(pid: int) -> float:
    """Seconds of CPU, user and system, that a process has used with all its threads, ended ones too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[USER]) + int(fields[SYSTEM])) / TICKS


def wait_for_full_work(at: Site) -> None:
    """Until jobs are on the node's tip with all twelve branches: after a block, the first job has none."""
    tip, deadline = at.node.rpc("getbestblockhash"), time.monotonic() + LIMIT_S
    with Miner(at.port, "w0") as miner:
        job = miner.job()
        while job.prev_hash[::-1].hex() != tip or len(job.branch) != BRANCHES:
            assert time.monotonic() < deadline, f"a job of {len(job.branch)} branches, not {BRANCHES}"
            job = miner.wait_for_job()


def give_back(node: Bitcoind) -> None:
    """Undo the blocks that lucky shares made, so that their transactions are in the mempool again."""
    while len(node.rpc("getblock", tip := node.rpc("getbestblockhash"))["tx"]) > 1:
        node.rpc("invalidateblock", tip)


def throughput(node: Bitcoind, plan: Plan) -> list[Series]:
    """Closed loop: what the server makes of two cores of which the miners take what they need."""
    series: dict[int, tuple[Series, ...]] = {
        count: (
            Series(f"CPU per accepted share, {count:,} miners", "us", CPU_GOAL_US),
            Series(f"shares accepted, {count:,} miners", "1/s"),
            Series(f"median answer, {count:,} miners", "ms"),
            Series(f"99 of 100 answers, {count:,} miners", "ms"),
            Series(f"the generator's own CPU per share, {count:,} miners", "us"),
        )
        for count in plan.connections
    }
    with site(node) as at:
        for repeat in range(plan.repeats):
            for count in plan.connections:
                progress(f"  throughput, {count:,} miners, {repeat + 1} of {plan.repeats}")
                for each, value in zip(series[count], _closed_loop(at, count, plan.seconds), strict=True):
                    each.values.append(value)
    return [each for of_count in series.values() for each in of_count]


def _undisturbed(at: Site, count: int, seconds: float, **options: Any) -> tuple[Event, float, float]:
    """What the generator measured, and the seconds of CPU that the server and it used meanwhile.

    Of the shares one in five million is a block, which makes others stale: then it is measured once more.
    """
    while True:
        mine_empty(at.node)  # a new set of shares that have been seen
        wait_for_full_work(at)
        with at.load(count, seconds=seconds, warm_up=WARM_UP_S, **options) as load:
            load.wait_for("measuring", limit_s=LIMIT_S)
            server_s, own_s = cpu_s(at.daemon.pid), cpu_s(load.pid)
            load.wait_for("measured")
            server_s, own_s = cpu_s(at.daemon.pid) - server_s, cpu_s(load.pid) - own_s
            result = load.result()
        lucky = result["tips"] > 1
        assert_every_answer_right(result, codes=frozenset({"21"} if lucky else ()))
        if not lucky:
            return result, server_s, own_s
        progress("  a share was a block: once more")
        give_back(at.node)


def _closed_loop(at: Site, count: int, seconds: float) -> tuple[float, ...]:
    result, server_s, own_s = _undisturbed(at, count, seconds, duplicates=DUPLICATES, rest=REST_US)
    assert result["duplicates"]["found"] == result["duplicates"]["sent"] > 0, result["duplicates"]
    accepted, latency = result["measured"]["accepted"], result["latency_ms"]
    return (
        US * server_s / accepted,
        accepted / result["seconds"],
        latency["p50"],
        latency["p99"],
        US * own_s / accepted,
    )


def answers(node: Bitcoind, plan: Plan) -> list[Series]:
    """Open loop: as many shares as so many miners send whose difficulty fits, at random times."""
    found: list[Series] = []
    with site(node) as at:
        for count in plan.connections:
            rate = share_rate(count)
            named = f"{count:,} miners, {rate:g} shares/s"
            quantiles = {"p50": "median answer", "p99": "99 of 100 answers", "max": "slowest answer"}
            series = {each: Series(f"{what}, {named}", "ms") for each, what in quantiles.items()}
            for repeat in range(plan.repeats):
                progress(f"  answers, {named}, {repeat + 1} of {plan.repeats}")
                result, _, _ = _undisturbed(at, count, plan.seconds, rate=rate, poisson=True, stamps=True)
                assert result["unsent"] == 0
                for each, one in series.items():
                    one.values.append(result["latency_ms"][each])
            found += series.values()
    return found


def blocks(node: Bitcoind, plan: Plan) -> list[Series]:
    """From the kernel's receipt of the node's publication to its receipt of the notify for the last miner."""
    found = []
    assert node.zmq_hashblock is not None
    with site(node) as at, contextlib.closing(StampedPublications(node.zmq_hashblock)) as publications:
        publications.settle(lambda: mine_empty(node))
        for count in plan.connections:
            goal = NEW_BLOCK_GOALS_MS.get(count)
            for rate in (0.0, share_rate(count)):
                beside = f", {rate:g} shares/s beside" if rate else ""
                progress(f"  new blocks, {count:,} miners{beside}")
                last = Series(
                    f"new block to the last of {count:,} miners{beside}", "ms", None if rate else goal
                )
                middle = Series(f"new block to half of {count:,} miners{beside}", "ms")
                first = Series(f"new block to the first of {count:,} miners{beside}", "ms")
                with at.load(
                    count, rate=rate or None, window=0, poisson=True, stamps=True, rest=REST_US, seconds=0
                ) as load:
                    load.wait_for("measuring", limit_s=LIMIT_S)
                    for _ in range(plan.blocks):
                        told = _new_block(node, publications, load)
                        for each, after_ms in zip((first, middle, last), told, strict=True):
                            each.values.append(after_ms)
                    load.stop()
                    assert_every_answer_right(load.result(), codes=frozenset({"21"}))
                found += [last, middle, first]
    return found


def _new_block(node: Bitcoind, publications: StampedPublications, load: Load) -> tuple[float, ...]:
    """Milliseconds from a block's publication until the first of the miners, half of them and all were told of it."""
    time.sleep(random.uniform(*QUIET_S))  # noqa: S311 - no secret
    with ThreadPoolExecutor(1) as other_party:
        mining = other_party.submit(mine_empty, node)
        block_hash, published_ns = publications.wait()
        assert mining.result(LIMIT_S) == block_hash, "another block came between"
    told = load.until(lambda event: event.get("prev_hash") == on_wire(block_hash), LIMIT_S)
    assert told["missing"] == 0, f"{told['missing']} miners were never told"
    return tuple(
        # The daemon may hear of a block before the node publishes it: then nobody waits after the publication.
        max(told[f"{which}_utc_ns"] - published_ns, 0) / NS_PER_MS
        for which in ("first", "median", "last")
    )


def memory(node: Bitcoind, plan: Plan) -> list[Series]:
    """What the server's resident memory grows by when so many miners log in; each number on a new daemon."""
    found = []
    for count in plan.connections:
        series = Series(f"memory per connection, {count:,} miners", "KB", MEMORY_GOAL_KB)
        for repeat in range(plan.repeats):
            progress(f"  memory, {count:,} miners, {repeat + 1} of {plan.repeats}")
            with site(node) as at:
                # What the first login loads is no connection's own.
                wait_for_full_work(at)
                before = memory_mb(at.daemon.pid, "VmRSS")
                with at.load(count, window=0, warm_up=WARM_UP_S, seconds=0) as load:
                    load.wait_for("measuring", limit_s=LIMIT_S)
                    grown = memory_mb(at.daemon.pid, "VmRSS") - before
                    # A few may well fit into what the daemon's start has left behind.
                    series.values.append(max(KB_PER_MB * grown / count, 0.0))
                    load.stop()
                    assert_every_answer_right(load.result())
        found.append(series)
    return found


def storms(node: Bitcoind, plan: Plan) -> list[Series]:
    """All miners at once: from the first connect, and from the kill of the daemon, to a job for the last."""
    found = []
    for count in plan.connections:
        login = Series(f"{count:,} miners log in at once, all have a job", "s")
        back = Series(f"{count:,} miners have a job again after a kill of the daemon and its restart", "s")
        start = Series(f"of which the daemon took to start, {count:,} miners", "s")
        with site(node) as at:
            for repeat in range(plan.repeats):
                progress(f"  storms, {count:,} miners, {repeat + 1} of {plan.repeats}")
                options = {"at_once": 0, "window": 0, "seconds": 0, "reconnect": RECONNECT_S, "resume": True}
                with at.load(count, warm_up=0, **options) as load:
                    login.values.append(load.wait_for("ready", limit_s=LIMIT_S)["seconds"])
                    load.wait_for("measuring", limit_s=LIMIT_S)
                    at.daemon.kill()
                    free_longpolls(node)
                    began = time.monotonic()
                    at.daemon.start()
                    start.values.append(time.monotonic() - began)
                    back.values.append(load.wait_for("ready", limit_s=LIMIT_S)["seconds"])
                    load.stop()
                    result = load.result()
                assert "oddity" not in result, result["oddity"]
        found += [login, back, start]
    return found


PARTS: Final = {
    "throughput": throughput,
    "answers": answers,
    "blocks": blocks,
    "memory": memory,
    "storms": storms,
}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--connections", type=int, nargs="+", action="extend", help="numbers of miners")
    parser.add_argument("--repeats", type=int, help="of everything but blocks")
    parser.add_argument("--seconds", type=float, help="measured each time")
    parser.add_argument("--blocks", type=int, help="new blocks by number of miners")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    quick = int(options.quick)
    plan = Plan(
        tuple(options.connections or CONNECTIONS[quick]),
        options.repeats or REPEATS[quick],
        options.seconds or SECONDS[quick],
        options.blocks or BLOCKS[quick],
    )
    about, series = machine(), list[Series]()
    progress("stratum: a node with full blocks")
    with signet_node() as node:
        for name in options.parts or PARTS:
            series += PARTS[name](node, plan)
    publish("stratum", about, series, as_json=options.json)


if __name__ == "__main__":
    main()
