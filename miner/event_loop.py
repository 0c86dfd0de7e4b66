"""The event loop the daemon runs on, and what is kept out of its way."""

import asyncio
import gc
import sys
from collections.abc import Callable


def spare_the_loop() -> None:
    """Let neither the garbage collector nor the ledger's thread take time that shares need.

    A share makes objects that are freed by their counts, and lives until its commit; with the usual thresholds the collector
    took half of the loop's time looking for circles among them (bench/stratum.py, throughput). The ledger's thread asks
    for the interpreter a few times in each commit, and need not wait 5 ms for it.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    sys.setswitchinterval(0.001)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Of uvloop where it is installed, which takes a third off what a share costs; None for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - it may not be there
    except ImportError:
        return None
    return uvloop.new_event_loop
