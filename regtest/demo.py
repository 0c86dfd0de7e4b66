"""`hashmill demo`: a private bitcoind, the daemon, and a day of power prices in forty seconds.

Everything is real but the prices: the blocks are accepted by bitcoind, their transactions pay real (regtest) fees, and the
controller pauses and resumes the hashing threads. A tape sets the prices, with a difficulty at which this very CPU
breaks even at six cents a kilowatt-hour, since at the difficulty of mainnet no CPU ever pays.
"""
# ruff: noqa: T201 - a demo prints what happens

from __future__ import annotations

import contextlib
import math
import os
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from miner.chain.difficulty import HASHES_PER_DIFFICULTY
from miner.hashing.calibration import choose
from miner.hashing.station import measured_rate
from regtest import chain
from regtest.bitcoind import Bitcoind, BitcoindError
from regtest.fetch import NoBitcoindError
from regtest.jsonrpc import RpcFailure
from regtest.process import DaemonError, HashmillProcess, bitcoind_sections

if TYPE_CHECKING:
    from collections.abc import Iterator

BREAKEVEN_USD_PER_KWH: Final = 0.06
WATTS_PER_THREAD: Final = 15.0
BTC_USD: Final = 90_000.0
SUBSIDY_SAT: Final = 312_500_000
VERSIONS: Final = 8

DAY_S: Final = 40.0
"""Seconds in which the tape plays a day."""
QUARTER_HOURS: Final = 96
CHEAP_USD_PER_KWH: Final = 0.03
DEAR_USD_PER_KWH: Final = 0.12
BLOCK_INTERVAL_S: Final = 2.0
COINS: Final = 30
POLL_S: Final = 0.25

RAISES: Final = frozenset({"start", "resume_profitable", "step_up"})
LOWERS: Final = frozenset({"pause_unprofitable", "step_down"})


@dataclass(slots=True)
class Story:
    """What has happened so far, as far as it was printed."""

    blocks: set[str] = field(default_factory=set)
    decision_ids: set[str] = field(default_factory=set)
    pauses: int = 0
    resumes: int = 0
    fees_sat: int = 0


def main(seconds: float | None) -> int:
    """Run the demo for `seconds`, or until Ctrl-C, and return its exit code.

    It is 0 only if blocks were accepted and the unit was paused and resumed by price.
    """
    story = Story()
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="hashmill-demo-") as folder, _interrupts():
            _say(0.0, "bitcoind: looking for one (Debian's package is fetched once and kept)")
            with Bitcoind() as node:
                chain.fund(node, COINS)
                with HashmillProcess(Path(folder), _configuration(Path(folder), node)) as daemon:
                    _introduce(daemon, node)
                    began = time.monotonic()
                    with contextlib.suppress(KeyboardInterrupt):
                        _watch(daemon, node, story, began, seconds)
                    status = daemon.status()
                    code = daemon.stop()
    except (NoBitcoindError, BitcoindError, DaemonError) as error:
        print(f"demo: {error}")
        return 1
    except KeyboardInterrupt:
        print("demo: stopped, before it began or while it was ending")
        return 1
    return _summary(status, story, code, time.monotonic() - started)


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, so that nothing is left behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _configuration(folder: Path, node: Bitcoind) -> dict[str, Any]:
    """A daemon on every core of this machine, live, with a tick a second and a tape of two columns."""
    threads = len(os.sched_getaffinity(0))
    choose(VERSIONS)  # the kernel that the daemon will hash with
    rate = measured_rate(VERSIONS)
    tape = folder / "tape.csv"
    tape.write_text(tape_csv(demo_difficulty(rate)))
    return {
        "network": "regtest",
        "bitcoind": bitcoind_sections([node]),
        "solo": {
            "payout_address": chain.new_address(node, "bech32m"),
            "coinbase_tag": "/hashmill demo/",
            "min_block_interval_s": BLOCK_INTERVAL_S,
        },
        "cpu": {
            "threads": threads,
            # As measured here: were it measured again, on a busy machine breakeven could lie off the tape.
            "modes": [
                {
                    "name": "full",
                    "threads": threads,
                    "watts": threads * WATTS_PER_THREAD,
                    "th_s": threads * rate / 1e12,
                }
            ],
            "versions": VERSIONS,
            "share_difficulty": rate * threads * 0.1 / HASHES_PER_DIFFICULTY,
        },
        "tape": {"file": str(tape), "speed": 86_400 / DAY_S, "at_end": "loop"},
        "controller": {"dry_run": False, "tick_s": 1.0, "min_on_s": 3.0, "min_off_s": 3.0, "confirm_s": 5.0},
    }


def demo_difficulty(hashes_per_second: float) -> float:
    """Difficulty at which a thread of this rate breaks even at BREAKEVEN_USD_PER_KWH.

    Expected revenue of one hash is subsidy / (difficulty * 2**32); its cost is power price * joules per hash.
    """
    joules_per_hash = WATTS_PER_THREAD / hashes_per_second
    usd_per_hash = joules_per_hash / 3.6e6 * BREAKEVEN_USD_PER_KWH
    return SUBSIDY_SAT / 1e8 * BTC_USD / (usd_per_hash * HASHES_PER_DIFFICULTY)


def tape_csv(difficulty: float) -> str:
    """A day of quarter hours: cheap at its ends, dear in the middle, crossing breakeven twice."""
    lines = ["offset_s,usd_per_kwh,btc_usd,difficulty,subsidy_sat,fees_sat"]
    for quarter in range(QUARTER_HOURS):
        height = (1 - math.cos(2 * math.pi * quarter / QUARTER_HOURS)) / 2
        price = CHEAP_USD_PER_KWH + (DEAR_USD_PER_KWH - CHEAP_USD_PER_KWH) * height
        lines.append(f"{quarter * 900},{price:.4f},{BTC_USD:.0f},{difficulty:.6g},{SUBSIDY_SAT},0")
    return "\n".join(lines) + "\n"


def _introduce(daemon: HashmillProcess, node: Bitcoind) -> None:
    status = daemon.status()
    _say(0.0, f"bitcoind {node.rpc('getnetworkinfo')['subversion'].strip('/')} on {node.rpc_url}, regtest")
    _say(
        0.0,
        f"hashmill {status['version']}, kernel {status['kernel']}, API http://127.0.0.1:{daemon.http_port}/",
    )
    _say(
        0.0,
        f"a day of prices plays in {DAY_S:.0f} s; this CPU breaks even at {BREAKEVEN_USD_PER_KWH * 100:.0f} ct/kWh",
    )


def _watch(
    daemon: HashmillProcess, node: Bitcoind, story: Story, began: float, seconds: float | None
) -> None:
    """Print what happens until the time is over or Ctrl-C, with a transaction in the mempool now and then."""
    next_payment = 0.0
    while True:
        at = time.monotonic() - began
        if seconds is not None and at >= seconds:
            return
        if at >= next_payment:
            next_payment = at + BLOCK_INTERVAL_S
            with contextlib.suppress(RpcFailure, ValueError):  # coins of the wallet are between two blocks
                chain.send_transactions(node, [10_000])
        _tell_decisions(daemon, story, at)
        _tell_blocks(daemon, node, story, at)
        time.sleep(POLL_S)


def _tell_decisions(daemon: HashmillProcess, story: Story, at: float) -> None:
    for decision in reversed(daemon.decisions(limit=20)):
        if decision["id"] in story.decision_ids or decision["from_mode"] == decision["to_mode"]:
            continue
        story.decision_ids.add(decision["id"])
        if decision["reason"] in LOWERS and decision["to_mode"] == "off":
            story.pauses += 1
        elif decision["reason"] in RAISES and story.pauses and decision["from_mode"] == "off":
            story.resumes += 1
        price = decision["numbers"].get("power_usd_per_kwh")
        known = "" if price is None else f" at {price * 100:.1f} ct/kWh"
        _say(
            at,
            f"{decision['unit_id']}: {decision['to_mode']} ({decision['reason']}){known}; {decision['flip']}",
        )


def _tell_blocks(daemon: HashmillProcess, node: Bitcoind, story: Story, at: float) -> None:
    for block in reversed(daemon.blocks(limit=20)):
        if block["hash"] in story.blocks or block["status"] not in {"accepted", "mature"}:
            continue
        try:
            stats = node.rpc("getblockstats", block["hash"], ["totalfee", "txs"])
        except RpcFailure:
            return  # accepted a moment ago: the node has its statistics at the next look
        story.blocks.add(block["hash"])
        story.fees_sat += stats["totalfee"]
        paid = f"{stats['txs'] - 1} transactions, {stats['totalfee']} sat fees"
        _say(at, f"block {block['height']} accepted by bitcoind: {paid}")


def _summary(status: dict[str, Any], story: Story, code: int, seconds: float) -> int:
    blocks = status["blocks"]
    accepted = blocks["accepted"] + blocks["mature"]
    unit = status["units"][0]
    print(
        f"\nin {seconds:.0f} s: {accepted} blocks accepted of {blocks['found']} found, {story.fees_sat} sat of fees, "
        f"{unit['shares_accepted']} shares accepted and {unit['shares_rejected']} rejected, "
        f"{unit['hashes'] / 1e6:,.0f} million hashes; paused {story.pauses} and resumed {story.resumes} times by price"
    )
    good = accepted > 0 and story.pauses > 0 and story.resumes > 0 and code == 0
    print(
        "demo: all of it worked" if good else "demo: NOT everything worked (run it for at least 50 seconds)"
    )
    return 0 if good else 1


def _say(at: float, text: str) -> None:
    print(f"{at:6.1f} s  {text}", flush=True)
