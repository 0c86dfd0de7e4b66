"""`kill -9` at random moments under load: is any acknowledged share missing, or any twice, is any block lost?

Usage: python bench/kill.py [--quick] [--json] [--times N] [--ledger sqlite|postgresql] [--miners N] [--seed N]

Each time: miners hand in shares as fast as they are answered, one of them finds a block of the private signet and hands it in, and
a few milliseconds after that, or after the answer, the daemon is killed; then it is started again on the same ledger. What was
acknowledged is what the miners read from their sockets. Afterwards each acknowledged share is hashed anew with hashlib, from the words
on the wire, and looked for in the ledger; each acknowledged block is looked for on the node's chain. PostgreSQL is a server of our own.
The exit code is 1 if anything is missing or twice.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from generator import Load
from proof import Block, Books, Told
from report import Series, arguments, machine, progress, publish
from signet import signet_node
from stratum import LIMIT_S, free_longpolls, site
from wire import Miner

from miner.ledger.reader import Reader
from regtest.process import DaemonError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratum import Site

    from regtest.bitcoind import Bitcoind

TIMES: Final = (50, 2)
MINERS: Final = 200
WINDOW: Final = 4
DUPLICATES: Final = 0.02
TRANSACTIONS: Final = 100
LOAD_S: Final = (0.1, 1.0)
"""Under load before the block, shortest and longest."""
KILL_S: Final = 0.05
"""From the block's handing in, or in turn from its answer, to the kill, at most, and mostly far less: an answer takes about 10 ms."""
SETTLED: Final = {"accepted", "mature", "rejected", "orphaned"}
LATEST: Final = 10
"""Blocks of the ledger looked at after each kill."""
FATE_LIMIT_S: Final = 60.0
STALE: Final = 21
HTTP_OK: Final = 200


@dataclass(slots=True)
class Findings:
    """Series of the campaign; those with a goal of 0 must be 0 each time."""

    told: Series
    missing: Series
    beside: Series
    restart: Series

    @classmethod
    def of(cls, ledger: str) -> Findings:
        """With nothing measured yet."""
        return cls(
            Series(f"shares acknowledged until a kill, {ledger}", "shares"),
            Series(f"acknowledged shares that the ledger lacks, {ledger}", "shares", 0.0),
            Series(f"shares in the ledger whose answer did not get out, {ledger}", "shares"),
            Series(f"from the start after a kill to work for miners, {ledger}", "s"),
        )


@contextlib.contextmanager
def ledger_url(kind: str) -> Iterator[str | None]:
    """The URL of a new ledger; None for the file that a daemon has by itself."""
    if kind == "sqlite":
        yield None
        return
    # Imported here: its driver is an extra of the package.
    from regtest.postgres import Postgres  # noqa: PLC0415

    with Postgres() as server:
        yield server.new_database()


def campaign(node: Bitcoind, times: int, miners: int, ledger: str, chance: random.Random) -> list[Series]:
    """Kill so many times, and look afterwards."""
    findings, acknowledged, cut_off, lost = Findings.of(ledger), 0, 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="hashmill-kill-") as folder,
        ledger_url(ledger) as given,
        site(node, ledger_url=given) as at,
    ):
        url = given or f"sqlite:///{at.daemon.ledger_file}"
        books = Books(url)
        for number in range(times):
            log, began = Path(folder) / "log", time.time() - 1
            block, answered = one_kill(at, miners, log, chance, wait=number % 2 == 1)
            started = time.monotonic()
            at.daemon.start()
            at.daemon.wait_until(lambda: at.daemon.http("/readyz")[0] == HTTP_OK, "have work", LIMIT_S)
            findings.restart.values.append(time.monotonic() - started)
            told = Told.of(log)
            told.blocks += [block] if answered else []
            acknowledged += len(told.blocks)
            cut_off += not answered
            lost += lost_blocks(at, url, told.blocks)
            free_longpolls(node)
            missing, beside = books.add(told.shares, began)
            findings.told.values.append(len(told.shares))
            findings.missing.values.append(missing)
            findings.beside.values.append(beside)
            progress(
                f"  {ledger}, kill {number + 1} of {times}: {len(told.shares)} acknowledged, {missing} missing"
            )
        lacking, twice, told_twice = books.close()
    return [
        *(findings.told, findings.missing, findings.beside, findings.restart),
        Series(f"acknowledged shares the ledger lacks in the end, {ledger}", "shares", 0.0, [lacking]),
        Series(f"shares the ledger has more than once, {ledger}", "shares", 0.0, [twice]),
        Series(f"shares acknowledged more than once, {ledger}", "shares", 0.0, [told_twice]),
        Series(f"blocks acknowledged, {ledger}", "blocks", None, [acknowledged]),
        Series(f"blocks cut off before their answer, {ledger}", "blocks", None, [cut_off]),
        Series(f"acknowledged blocks that never got onto the chain, {ledger}", "blocks", 0.0, [lost]),
    ]


def one_kill(at: Site, miners: int, log: Path, chance: random.Random, *, wait: bool) -> tuple[Block, bool]:
    """Load the daemon, hand in a block, kill it: the block, and whether it was acknowledged.

    `wait`: kill after the answer, not after the handing in.
    """
    options: dict[str, Any] = {
        "window": WINDOW,
        "roll": True,
        "duplicates": DUPLICATES,
        "seconds": 0,
        "warm_up": 0,
    }
    with (
        Load(
            at.port, connections=miners, log=log, drain=1, seed=chance.randrange(1, 2**53), **options
        ) as load,
        Miner(at.port, "finder") as finder,
    ):
        load.wait_for("measuring")
        time.sleep(chance.uniform(*LOAD_S))
        block_hash, params = finder.find_block()
        block = Block(block_hash, finder.job().prev_hash[::-1].hex())
        request = finder.send(params)
        answer = finder.answer(request) if wait else None
        time.sleep(KILL_S * chance.random() ** 2)
        at.daemon.kill()
        with contextlib.suppress(OSError):
            answer = answer or finder.answer(request)
        result = load.result()
    assert result["malformed"] == result["unexpected"] == result["duplicates"]["accepted"] == 0, result
    assert set(result["total"]["rejected"]) <= {"21", "22"}, result
    # By luck, another miner may have found a block meanwhile.
    assert answer is None or answer["result"] or answer["error"][0] == STALE, f"a block was refused: {answer}"
    return block, answer is not None and bool(answer["result"])


def lost_blocks(at: Site, url: str, blocks: list[Block]) -> int:
    """How many of these are not on the chain, once the daemon had time to hand in again what its ledger has.

    Of two on the same parent one is enough. Nobody mines meanwhile who could hide a loss.
    """

    def settled() -> bool:
        with Reader.open(url) as reader:
            return all(block.status in SETTLED for block in reader.blocks(limit=LATEST)) and all(
                _has_child(at.node, block.prev_hash) for block in blocks
            )

    try:
        at.daemon.wait_until(settled, "have every block's fate known", FATE_LIMIT_S)
    except DaemonError as error:
        progress(f"  {error}")
    return sum(not _has_child(at.node, block.prev_hash) for block in blocks)


def _has_child(node: Bitcoind, block_hash: str) -> bool:
    return "nextblockhash" in node.rpc("getblockheader", block_hash)


def main() -> int:
    """Kill, look, and print."""
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, help=f"kills of each (default: {TIMES[0]}, quickly {TIMES[1]})")
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], action="append", help="default: sqlite")
    parser.add_argument("--miners", type=int, default=MINERS, help=f"default: {MINERS}")
    parser.add_argument("--seed", type=int, help="of the moments (default: another each time)")
    options = parser.parse_args()
    times = options.times or TIMES[options.quick]
    about, series = machine(), list[Series]()
    seed = time.time_ns() if options.seed is None else options.seed
    progress(f"kill: seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - no secret
    with signet_node(TRANSACTIONS) as node:
        for ledger in options.ledger or ["sqlite"]:
            series += campaign(node, times, options.miners, ledger, chance)
    publish("kill", about, series, as_json=options.json)
    return 0 if all(each.goal is None or each.within == len(each.values) for each in series) else 1


if __name__ == "__main__":
    sys.exit(main())
