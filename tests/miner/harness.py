"""Work made by hand, and the mining half of the daemon without its hashing: what tests of miner's upper modules share."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller.decisions import Decision, Reason
from miner.chain.difficulty import hash_to_int
from miner.chain.merkle import witness_commitment
from miner.config import SoloConfig
from miner.delivery import Delivery
from miner.hashing.station import OFF, UNIT_ID, CpuStation
from miner.keeper import BlockBooks
from miner.kernel import Tally
from miner.ledger.recorder import Recorder
from miner.ledger.rows import BlockRow
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.mining import Mining
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import CookieFile, RpcClient, UserPassword
from miner.solo import STANDARD_LAYOUT, Payout
from miner.work.job import Job
from miner.work.roster import Roster
from miner.work.share import Submission
from miner.work.shelf import SOLO, Shelf
from miner.work.solo_job import solo_job
from miner.work.template import Template
from regtest.bitcoind import Bitcoind
from tests.miner.node.harness import OP_TRUE_P2WSH, until

NOW = 1_700_000_700.0
ANY_HASH = 2**256 - 1
"""A share target that every hash meets."""
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
PAYOUT = Payout(ADDRESS, OP_TRUE_P2WSH, b"/test/")


class Clock:
    """A clock that stands until it is moved, UTC unix seconds."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def template(**changes: Any) -> Template:
    """A regtest template without transactions; on regtest every second hash is a block."""
    made = Template(
        height=300,
        version=0x20000000,
        prev_hash=b"\xa0" * 32,
        bits=0x207FFFFF,
        min_time_s=1_700_000_000,
        cur_time_s=1_700_000_700,
        reward_sat=1_250_000_000,
        txs=(),
        witness_commitment=witness_commitment([]),
        longpoll_id="",
    )
    return replace(made, **changes)


def job(job_id: str = "1", **changes: Any) -> Job:
    """A job of `template(**changes)`."""
    return solo_job(template(**changes), job_id, PAYOUT.script, PAYOUT.tag, 4, 8, clean=True, now=NOW)


def block_on(job: Job, number: int = 0, unit: str = "cpu") -> Submission:
    """A submission that meets the network's target; another one for each `number`."""
    return _search(job, unit, number, is_block=True)


def share_on(job: Job, number: int = 0, unit: str = "cpu") -> Submission:
    """A submission that misses the network's target; another one for each `number`."""
    return _search(job, unit, number, is_block=False)


def _search(job: Job, unit: str, number: int, *, is_block: bool) -> Submission:
    extranonce1, extranonce2 = bytes(job.extranonce1_size), number.to_bytes(job.extranonce2_size, "big")
    for nonce in itertools.count():
        _, digest = job.header(
            extranonce1, extranonce2, ntime_s=job.ntime_s, nonce=nonce, version=job.version
        )
        if (hash_to_int(digest) <= job.network_target) is is_block:
            return Submission(unit, job.id, extranonce1, extranonce2, job.ntime_s, nonce)
    raise AssertionError


def shown(metrics: Metrics, sample: str) -> float | None:
    """The value of one sample, by its name with labels; None if it is not there."""
    lines = (line.rpartition(" ") for line in metrics.render().decode().splitlines())
    return next((float(value) for name, _, value in lines if name == sample), None)


class ToldBooks(BlockBooks):
    """Books that remember what they were told of each block: hash, status and detail, in order."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.told: list[tuple[str, str, str | None]] = []

    async def set_block_status(self, block_hash: str, status: str, /, **columns: Any) -> None:
        self.told.append((block_hash, status, columns.get("detail")))
        await super().set_block_status(block_hash, status, **columns)


@dataclass
class Rig:
    """The mining half and everything it was given."""

    mining: Mining
    delivery: Delivery
    shelf: Shelf
    nodes: NodeSet
    recorder: Recorder
    store: Store
    books: ToldBooks
    roster: Roster
    metrics: Metrics
    alerts: dict[str, str]
    fatal: list[Exception]
    closing: asyncio.Event

    @property
    def current(self) -> Job:
        """The job to be hashed, which there must be."""
        current = self.mining.book.current
        assert current is not None
        return current

    def tally(self, unit_id: str) -> Tally:
        """What a unit handed in."""
        unit = self.roster.by_id(unit_id)
        assert unit is not None
        return unit.tally

    def take_block(self, job: Job, number: int = 0) -> str:
        """Hand in a block found on `job`; its hash as people write it."""
        verdict = self.delivery.desk.take(block_on(job, number), ANY_HASH)
        return verdict.hash[::-1].hex()  # type: ignore[union-attr]

    def row(self, block_hash: str) -> BlockRow | None:
        return self.store.block(block_hash)

    def status(self, block_hash: str) -> str | None:
        row = self.row(block_hash)
        return None if row is None else row.status


def node_of(bitcoind: Bitcoind, name: str = "a") -> Node:
    """A real node as the daemon knows it."""
    return Node(
        name, RpcClient(bitcoind.rpc_url, CookieFile(bitcoind.cookie_file), name=name), bitcoind.zmq_hashblock
    )


@asynccontextmanager
async def rig_of(
    nodes: Sequence[Node],
    ledger: Path,
    *,
    station: CpuStation | None = None,
    block_wait_s: float = 5.0,
    on_work: Callable[[Job | None, float | None], None] = lambda _job, _seen_at: None,
    **solo: Any,
) -> AsyncIterator[Rig]:
    """A mining half that does not run yet."""
    with Store.open(f"sqlite:///{ledger}") as store:
        metrics = Metrics("0", "portable")
        alerts: dict[str, str] = {}
        fatal: list[Exception] = []
        node_set = NodeSet(nodes, "regtest")
        async with Recorder(store, block_wait_s=block_wait_s) as recorder:
            statuses = {row.hash: row.status for row in store.unsettled_blocks()}
            books = ToldBooks(recorder, metrics, statuses, store.block_counts())
            roster = Roster(10, now=time.time(), own=[UNIT_ID])
            shelf = Shelf()
            shelf.add(SOLO, 60.0)
            config = SoloConfig.model_validate({"payout_address": ADDRESS, **solo})
            delivery = Delivery(
                shelf,
                node_set,
                books,
                recorder,
                metrics,
                roster,
                station=station,
                min_block_interval_s=config.min_block_interval_s,
                on_fatal=fatal.append,
                clock=time.time,
            )

            def hand_out(job: Job | None, seen_at: float | None) -> None:
                delivery.hash(job)
                on_work(job, seen_at)

            mining = Mining(
                config,
                node_set,
                PAYOUT,
                delivery=delivery,
                shelf=shelf,
                layout=STANDARD_LAYOUT,
                metrics=metrics,
                on_alert=alerts.__setitem__,
                on_fatal=fatal.append,
                on_work=hand_out,
                clock=time.time,
            )
            try:
                yield Rig(
                    mining,
                    delivery,
                    shelf,
                    node_set,
                    recorder,
                    store,
                    books,
                    roster,
                    metrics,
                    alerts,
                    fatal,
                    asyncio.Event(),
                )
            finally:
                await node_set.close()


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    """Let it run, and end it in order."""
    async with asyncio.TaskGroup() as group:
        mining = group.create_task(rig.mining.run(), name="mining")
        delivery = group.create_task(rig.delivery.run(rig.closing), name="delivery")
        try:
            yield rig
        finally:
            rig.closing.set()
            delivery.add_done_callback(lambda _: mining.cancel())


async def has_work(rig: Rig) -> None:
    await until(lambda: rig.mining.book.current is not None)


async def become(rig: Rig, block_hash: str, status: str) -> None:
    """Wait until the ledger has the block in this status."""
    await until(lambda: rig.status(block_hash) == status)


def nobody() -> Node:
    """A node that is never asked."""
    return Node("a", RpcClient("http://127.0.0.1:1", UserPassword("u", "p"), name="a"))


DECISION = Decision(
    id="0001",
    at=NOW,
    unit_id=UNIT_ID,
    from_mode=OFF,
    to_mode="full",
    reason=Reason.RESUME,
    numbers={"power_usd_per_kwh": 0.05, "since_s": NOW},
    flip="pauses below $1",
    dry_run=False,
)
