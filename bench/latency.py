"""How fast the node and the controller act: new work, pause, resume, a new block, a node's return, a dear price.

Usage: python bench/latency.py [--quick] [--json] [unit] [tip] [recovery] [control]

unit      new work taken in by every hashing thread, pause and resume, in this process
tip       a block mined by another party to work on top of it, with and without ZMQ
recovery  bitcoind killed and started again: from its answer to readiness and to the next block
control   a tick that sees another price to the threads' stop or start
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import latency_daemon
import latency_unit
from report import Series, arguments, machine, progress, publish
from setting import cores

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = {"unit": (200, 10), "tip": (60, 5), "recovery": (10, 1), "control": (20, 2)}
"""How often each is measured, in full and quickly."""


def unit(rounds: int) -> list[Series]:
    """One thread, and as many as there are cores."""
    return [series for threads in sorted({1, cores()}) for series in latency_unit.measure(threads, rounds)]


def tip(blocks: int) -> list[Series]:
    """With ZMQ, and by waiting and polling at the node alone."""
    return [
        *latency_daemon.tip_to_work(blocks, with_zmq=True),
        *latency_daemon.tip_to_work(blocks, with_zmq=False),
    ]


PARTS: Final[dict[str, Callable[[int], list[Series]]]] = {
    "unit": unit,
    "tip": tip,
    "recovery": latency_daemon.recovery,
    "control": latency_daemon.control,
}


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--n", type=int, help="measurements of each part, instead of its own number")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    about, series = machine(), list[Series]()
    for name, measure in PARTS.items():
        if not options.parts or name in options.parts:
            rounds = options.n or ROUNDS[name][1 if options.quick else 0]
            progress(f"{name}: {rounds} times")
            series += measure(rounds)
    publish("latency", about, series, as_json=options.json)


if __name__ == "__main__":
    main()
