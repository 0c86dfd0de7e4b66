"""How fast the daemon mines: 100 blocks of a regtest with transactions in them, 20 blocks of the private signet.

Usage: python bench/mining.py [--quick] [--json] [--regtest N] [--signet N]

On a regtest the hashing is next to nothing: what is timed is the way from one block to the next. A block of the signet takes
4.9 million hashes, give or take its luck. That the blocks are right is proven in tests/end_to_end/test_mining.py.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from report import Series, arguments, machine, progress, publish
from setting import EASY_SHARE, MS, cores, lone_node, running

from regtest import chain

if TYPE_CHECKING:
    from regtest.bitcoind import Bitcoind, Chain
    from regtest.process import HashmillProcess

BLOCKS: Final = {"regtest": (100, 10), "signet": (20, 2)}
"""How many are mined, in full and quickly."""
FEES_SAT: Final = tuple(range(1_000, 1_030))
LIMIT_S: Final = 300.0


def measure(on: Chain, blocks: int) -> list[Series]:
    """Mine so many blocks."""
    seconds = Series(f"{blocks} {on} blocks, from the daemon's start", "s")
    rate = Series(f"{on} blocks accepted", "1/s")
    interval = Series(f"{on}: from one block found to the next", "ms")
    share = Series(f"{on}: blocks accepted of those found and settled", "%")
    difficulty = EASY_SHARE if on == "regtest" else "auto"
    with lone_node(on, wallet=on == "regtest") as (node, folder):
        if on == "regtest":
            _fill_mempool(node)
        sections = {"cpu": {"threads": cores(), "share_difficulty": difficulty}}
        began = time.time()
        with running(node, folder, sections) as daemon:
            daemon.wait_until(lambda: _accepted(daemon) >= blocks, f"mine {blocks} blocks", LIMIT_S)
            took = time.time() - began
            found = sorted(daemon.blocks(), key=lambda block: float(block["found_at"]))
    settled = [block for block in found if block["status"] in {"accepted", "mature", "rejected", "orphaned"}]
    good = [block for block in settled if block["status"] in {"accepted", "mature"}]
    assert len(good) >= blocks
    seconds.values.append(took)
    times = [float(block["found_at"]) for block in good]
    rate.values.append((len(times) - 1) / (times[-1] - times[0]))
    interval.values += [MS * (after - before) for before, after in pairwise(times)]
    share.values.append(100 * len(good) / len(settled))
    return [seconds, rate, interval, share]


def _fill_mempool(node: Bitcoind) -> None:
    """Transactions that the first blocks will take, as in the test."""
    chain.fund(node, len(FEES_SAT))
    chain.send_transactions(node, FEES_SAT)


def _accepted(daemon: HashmillProcess) -> int:
    counts = daemon.status()["blocks"]
    return int(counts["accepted"] + counts["mature"])


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    for on, (full, quick) in BLOCKS.items():
        parser.add_argument(f"--{on}", type=int, help=f"blocks on {on} (default: {full}, quickly {quick})")
    options = parser.parse_args()
    about, series = machine(), list[Series]()
    chains: tuple[Chain, ...] = ("regtest", "signet")
    for on in chains:
        blocks = getattr(options, on) or BLOCKS[on][1 if options.quick else 0]
        progress(f"mining: {blocks} blocks on {on}")
        series += measure(on, blocks)
    publish("mining", about, series, as_json=options.json)


if __name__ == "__main__":
    main()
