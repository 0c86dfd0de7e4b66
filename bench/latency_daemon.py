"""How fast a running daemon answers the world: a new block, its node's return, the price of power."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import zmq
from report import Series, progress
from setting import HTTP_OK, MS, NEVER_A_SHARE, cores, lone_node, mine, running

from regtest.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from regtest.bitcoind import Bitcoind
    from regtest.process import HashmillProcess

LIMIT_S: Final = 30.0
LOOK_S: Final = 0.001
QUIET_S: Final = (0.1, 0.3)
"""Between two blocks, shortest and longest: the daemon is at rest, its poll anywhere."""
SUBSCRIBE_MS: Final = 500
SUBSCRIBE_TRIES: Final = 20

RECOVERY_GOAL_S: Final = 5.0
JOB_MAX_AGE_S: Final = 2.0
"""So short that no work is left when the node returns."""
DOWN_S: Final = (0.0, 2.0)
"""How much longer the node stays away, shortest and longest: the daemon's tries, up to 2 s apart, are met anywhere."""

TICK_S: Final = 0.5
PRICE_S: Final = 1.5
"""How long a price lasts: three ticks."""
CHEAP, DEAR = 0.03, 0.12
TAPE: Final = {"hashprice_usd_per_ph_day": 50.0}
UNIT: Final = {"th_s": 1.0, "watts": 35.0}
"""With TAPE, this unit breaks even at 6 ct/kWh; what it really hashes does not matter to a decision."""


class Publications:
    """The node's announcements of new blocks, as anybody may hear them."""

    def __init__(self, node: Bitcoind) -> None:
        assert node.zmq_hashblock is not None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.subscribe(b"hashblock")
        self._socket.connect(node.zmq_hashblock)
        for _ in range(SUBSCRIBE_TRIES):
            mine(node)
            if self._socket.poll(SUBSCRIBE_MS):
                break
        while self._socket.poll(SUBSCRIBE_MS):
            self._socket.recv_multipart()

    def wait(self) -> tuple[str, float]:
        """Hash of the next block, and when it was heard of on the clock of time.perf_counter. Raises TimeoutError."""
        if not self._socket.poll(int(LIMIT_S * MS)):
            raise TimeoutError(f"the node published no block in {LIMIT_S:.0f} s")
        _, block_hash, _ = self._socket.recv_multipart()
        return block_hash.hex(), time.perf_counter()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close(linger=0)
        self._context.term()


class Eyes:
    """Looks at a daemon's API over one kept connection, as often as a look takes."""

    def __init__(self, daemon: HashmillProcess) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, daemon.http_port, timeout=LIMIT_S)

    def prev_hash(self) -> str | None:
        """The block that is worked upon; None without work."""
        document: dict[str, Any] = json.loads(self._get("/api/v1/status"))
        found: str | None = document["work"]["prev_hash"]
        return found

    def tip_to_work(self) -> tuple[int, float]:
        """The daemon's own histogram: tips it worked on, seconds in all."""
        samples = dict(line.rsplit(" ", 1) for line in self._get("/metrics").splitlines() if line[:1] != "#")
        name = "hashmill_tip_to_work_seconds"
        return int(float(samples[f"{name}_count"])), float(samples[f"{name}_sum"])

    def close(self) -> None:
        """Look no more."""
        self._connection.close()

    def _get(self, path: str) -> str:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read().decode()
        assert answer.status == HTTP_OK, f"{path} answered {answer.status}"
        return body


def tip_to_work(blocks: int, *, with_zmq: bool) -> list[Series]:
    """From a block that the node mines for somebody else to work on top of it, every core hashing at low priority.

    The blocks have no transactions. Seen from outside: from our own hearing of the node's publication to the first
    status that names the block, which is asked for at least each `LOOK_S`.
    """
    how = "by ZMQ" if with_zmq else "without ZMQ"
    outside = Series(f"block published to work on it, {how}", "ms")
    inside = Series(f"the same by the daemon's histogram, {how}", "ms")
    with lone_node() as (node, folder):
        publications = Publications(node)
        sections = {"cpu": {"threads": cores(), "share_difficulty": NEVER_A_SHARE}}
        with (
            contextlib.closing(publications),
            running(node, folder, sections, zmq=with_zmq) as daemon,
            contextlib.closing(Eyes(daemon)) as eyes,
            ThreadPoolExecutor(1) as other_party,
        ):
            for _ in range(blocks):
                seen_outside_s, seen_inside_s = _one_block(node, publications, eyes, other_party)
                outside.values.append(MS * seen_outside_s)
                inside.values.append(MS * seen_inside_s)
    return [outside, inside]


def _one_block(
    node: Bitcoind, publications: Publications, eyes: Eyes, other_party: Executor
) -> tuple[float, float]:
    """Seconds until there was work on one more block, as seen from outside and as the daemon counted them."""
    time.sleep(random.uniform(*QUIET_S))  # noqa: S311 - no secret
    count, sum_s = eyes.tip_to_work()
    mining = other_party.submit(mine, node)
    block_hash, published = publications.wait()
    while eyes.prev_hash() != block_hash:
        if time.perf_counter() - published > LIMIT_S:
            raise TimeoutError(f"in {LIMIT_S:.0f} s there was no work on the new block")
        time.sleep(LOOK_S)
    seen_outside_s = time.perf_counter() - published
    assert mining.result(LIMIT_S) == block_hash, "another block came between"
    count_after, sum_after_s = eyes.tip_to_work()
    assert count_after == count + 1, f"{count_after - count} tips were counted for one block"
    return seen_outside_s, sum_after_s - sum_s


def recovery(rounds: int) -> list[Series]:
    """From the answer of a node that was killed and started again to readiness, and to the next block found.

    The daemon has withdrawn its work by then. The node's answer is looked for each 20 ms.
    """
    ready = Series("node answers again to /readyz 200", "s", RECOVERY_GOAL_S)
    found = Series("node answers again to the next block found", "s", RECOVERY_GOAL_S)
    solo = {"min_block_interval_s": 0.2, "refresh_s": JOB_MAX_AGE_S, "job_max_age_s": JOB_MAX_AGE_S}
    with (
        lone_node() as (node, folder),
        running(node, folder, {"solo": solo}) as daemon,
        ThreadPoolExecutor(1) as operator,
    ):
        for number in range(rounds):
            progress(f"  restart {number + 1} of {rounds}")
            ready_s, found_s = _one_restart(node, daemon, operator)
            ready.values.append(ready_s)
            found.values.append(found_s)
    return [ready, found]


def _one_restart(node: Bitcoind, daemon: HashmillProcess, operator: Executor) -> tuple[float, float]:
    """Seconds from the node's answer until the daemon was ready, and until it had found a block."""
    accepted = _blocks(daemon, "accepted")
    daemon.wait_until(lambda: _blocks(daemon, "accepted") > accepted, "mine")
    node.flush()
    node.kill()
    daemon.wait_until(lambda: not _ready(daemon), "withdraw its work", LIMIT_S)
    time.sleep(random.uniform(*DOWN_S))  # noqa: S311 - no secret
    before = _blocks(daemon, "found")
    starting = operator.submit(_answer_again, node)
    daemon.wait_until(lambda: _ready(daemon), "be ready again", LIMIT_S)
    ready_at = time.perf_counter()
    daemon.wait_until(lambda: _blocks(daemon, "found") > before, "find a block", LIMIT_S)
    found_at = time.perf_counter()
    answered_at = starting.result(LIMIT_S)
    # The daemon may hear the node before our own look does.
    return max(ready_at - answered_at, 0.0), max(found_at - answered_at, 0.0)


def control(changes: int) -> list[Series]:
    """From the tick that sees another price to the unit's own word that its threads stopped, or hash. The goal is one tick."""
    paused = Series("dear price seen by a tick to threads stopped", "ms", MS * TICK_S)
    resumed = Series("cheap price seen by a tick to threads hashing", "ms", MS * TICK_S)
    with lone_node() as (node, folder):
        sections: dict[str, dict[str, Any]] = {
            "tape": {"file": str(_tape(folder)), "at_end": "loop"},
            "cpu": {
                "threads": cores(),
                "share_difficulty": NEVER_A_SHARE,
                "modes": [{"name": "full", "threads": cores(), **UNIT}],
            },
            "controller": {
                "enabled": True,
                "dry_run": False,
                "tick_s": TICK_S,
                "min_on_s": 0.0,
                "min_off_s": 0.0,
                "max_changes_per_minute": 1000,
            },
        }
        with running(node, folder, sections) as daemon:
            limit_s = LIMIT_S + 2 * PRICE_S * changes
            daemon.wait_until(lambda: len(list(_moves(daemon, "off"))) >= changes, "pause so often", limit_s)
            daemon.wait_until(
                lambda: len(list(_moves(daemon, "full"))) >= changes, "resume so often", limit_s
            )
            paused.values += [MS * took for took in _moves(daemon, "off")][:changes]
            resumed.values += [MS * took for took in _moves(daemon, "full")][:changes]
    return [paused, resumed]


def _moves(daemon: HashmillProcess, mode: str) -> Iterator[float]:
    """Seconds from each decision to go to `mode`, taken at its tick, to its confirmation."""
    for decision in daemon.decisions():
        if decision["to_mode"] == mode != decision["from_mode"]:
            confirmed = [each["at"] for each in decision["outcomes"] if each["outcome"] == "confirmed"]
            yield from (at - decision["at"] for at in confirmed)


def _tape(folder: Path) -> Path:
    """Power that is cheap and dear by turns."""
    tape = folder / "tape.csv"
    constant = ",".join(f"{value}" for value in TAPE.values())
    rows = [f"{PRICE_S * number},{price},{constant}" for number, price in enumerate((CHEAP, DEAR))]
    tape.write_text("\n".join([f"offset_s,usd_per_kwh,{','.join(TAPE)}", *rows]) + "\n")
    return tape


def _answer_again(node: Bitcoind) -> float:
    """Start the node; when its RPC answered, on the clock of time.perf_counter."""
    node.start()
    return time.perf_counter()


def _ready(daemon: HashmillProcess) -> bool:
    return daemon.http("/readyz")[0] == HTTP_OK


def _blocks(daemon: HashmillProcess, which: str) -> int:
    return int(daemon.status()["blocks"][which])
