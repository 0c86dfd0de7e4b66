"""A day of shares through the server's parts in some minutes: does its memory stay flat?

Usage: python bench/soak.py [--quick] [--json] [--miners N] [--hours H]

Sessions, C core, job book, commits and ledger are the daemon's own; the sockets are left out and the clock is made. Every
miner hands in twelve shares a minute, one of a hundred twice; a job comes every half minute, a block every ten; every hour a
tenth of the miners come anew. Memory is read at the end of each hour; the first two are left out, in which tables grow to
their size. Single shares are kept for three hours.
"""

import asyncio
import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from report import Series, arguments, machine, progress, publish

from miner.desk import Desk
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.share_books import ShareBooks
from miner.stratum.connection import Connection
from miner.stratum.rules import PortRules
from miner.stratum.server import Counter, Server, ServerLimits
from miner.stratum.v1 import Notice
from miner.work.claims import BlockClaims, BlockFind
from miner.work.job import Job
from miner.work.layout import Layout
from miner.work.roster import Roster
from miner.work.shelf import Shelf
from miner.work.solo_job import solo_job
from miner.work.template import Template

EASY: Final = 1e-10
ADDRESS: Final = "10.0.0.1"
START: Final = 1_700_000_040.0
MINUTE_S: Final = 60.0
SHARES_A_MINUTE: Final = 12
MINUTES_A_TIP: Final = 10
REPEATED: Final = 100
KEPT_S: Final = 3 * 3600.0
WARM_HOURS: Final = 2
GOAL_MB: Final = 2.0
"""What an hour may add: less is the noise of the allocator."""
DRAIN_S: Final = 60.0


class NoBlocks:
    """A keeper that no block comes to: here they are too hard."""

    async def keep_and_send(self, find: BlockFind, _on_kept: Callable[[], None]) -> bool:
        """Take none."""
        raise AssertionError(f"a block of difficulty {find.block.difficulty}")


class Wire:
    """The far side of a connection: counts the answers."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0

    def write(self, data: bytes) -> None:
        """Take what is written."""
        self.accepted += data.count(b'"result":true')
        self.refused += data.count(b'"error":[')

    def set_write_buffer_limits(self, high: int) -> None:
        """Everything is read at once."""

    def is_closing(self) -> bool:
        """Nobody closes it."""
        return False


class Day:
    """The server's parts on a clock of their own."""

    def __init__(self, recorder: Recorder, miners: int) -> None:
        self.now = START
        self.recorder = recorder
        self.shelf = Shelf()
        self.book = self.shelf.add("solo", 60.0)
        self.roster = Roster(miners, now=START)
        self.desk = Desk(
            self.shelf,
            BlockClaims(),
            NoBlocks(),
            Metrics("soak", "soak"),
            self.roster,
            on_credit=lambda _unit, _difficulty: None,
            on_solved=lambda: None,
            on_reopened=lambda: None,
            clock=self.clock,
        )
        self.books = ShareBooks(recorder, self.roster, self.desk.buffer, lambda: (), self.clock)
        self.server = Server(
            Counter(self.desk.take, self.desk.taker, self.desk.buffer, self.books.write),
            self.roster,
            ServerLimits(per_address=0),
            layout=Layout(4, 8),
            on_alert=lambda name, message: print(name, message) if message else None,
            on_tip_served=lambda _seconds: None,
            clock=self.clock,
            uptime=self.clock,
        )
        self.serial = 0x100
        self.number = 0
        self.miners: list[tuple[Connection, Wire]] = [self.connect(number) for number in range(miners)]
        self.answered = [0, 0]

    def clock(self) -> float:
        """The made time, unix seconds."""
        return self.now

    def connect(self, number: int) -> tuple[Connection, Wire]:
        """A miner that has logged in."""
        rules = PortRules(start_difficulty=EASY, min_difficulty=EASY, max_difficulty=EASY, vardiff=False)
        self.server._admission.enter(ADDRESS)  # noqa: SLF001 - what a listening socket does for a connection
        connection, wire = Connection(self.server, rules, ADDRESS, ADDRESS), Wire()
        connection.connection_made(wire)  # type: ignore[arg-type] # as much of a transport as is used
        login = f'{{"id":1,"method":"mining.subscribe","params":[]}}\n{{"id":2,"method":"mining.authorize","params":["w{number}","x"]}}\n'
        connection.data_received(login.encode())
        wire.accepted = wire.refused = 0
        return connection, wire

    def work(self, tip: int) -> Job:
        """New work for everybody."""
        self.serial += 1
        template = Template(
            height=1000 + tip,
            version=0x2000_0000,
            prev_hash=tip.to_bytes(32, "little"),
            bits=0x1D00_FFFF,
            min_time_s=int(self.now) - 600,
            cur_time_s=int(self.now),
            reward_sat=5_000_000_000,
            txs=(),
            witness_commitment=None,
            longpoll_id="",
        )
        script = bytes.fromhex("0014" + "11" * 20)
        job = solo_job(template, f"{self.serial:x}", script, b"/soak/", 4, 8, clean=False, now=self.now)
        self.book.add(job, self.now)
        self.books.note_tip(self.book.tip_number(job.prev_hash), job)
        self.server.serve(Notice(job, clean=job.clean))
        return job

    async def minute(self, number: int) -> None:
        """Two jobs, and the shares of everybody on each."""
        for _ in range(2):
            job = self.work(number // MINUTES_A_TIP)
            await asyncio.sleep(0)
            for index, (connection, _) in enumerate(self.miners):
                connection.data_received(self.shares(job, index))
            await self.server.committer.drain(DRAIN_S)
            self.now += MINUTE_S / 2
        self.roster.sample(self.now)
        self.books.end_minute()
        for connection, _ in self.miners:
            connection.tick(self.now, self.now)

    def shares(self, job: Job, miner: int) -> bytes:
        """One packet with half a minute's submissions of one miner."""
        lines = []
        for _ in range(SHARES_A_MINUTE // 2):
            self.number += 1
            line = f'{{"id":{self.number},"method":"mining.submit","params":["w{miner}","{job.id}","{self.number:016x}","{job.ntime_s:08x}","{self.number & 0xFFFF_FFFF:08x}"]}}\n'
            lines += [line] * (2 if self.number % REPEATED == 0 else 1)
        return "".join(lines).encode()

    async def hour(self) -> None:
        """What comes with each hour: some miners anew, and old shares forgotten."""
        for index in range(0, len(self.miners), 10):
            connection, wire = self.miners[index]
            self.answered = [self.answered[0] + wire.accepted, self.answered[1] + wire.refused]
            connection.connection_lost(None)
            self.miners[index] = self.connect(index)
        await self.recorder.prune_shares(self.now - KEPT_S)

    @property
    def totals(self) -> tuple[int, int]:
        """Accepted and refused shares so far, as the miners were told."""
        return (
            self.answered[0] + sum(wire.accepted for _, wire in self.miners),
            self.answered[1] + sum(wire.refused for _, wire in self.miners),
        )


def resident_mb() -> float:
    """Memory of this process, MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


async def soak(miners: int, hours: int) -> list[Series]:
    """Run and measure; asserts that every share got the answer it should."""
    growth = Series("memory added by an hour", "MB", GOAL_MB)
    resident = Series("memory at the end of an hour", "MB")
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/soak.db") as store:
        async with Recorder(store) as recorder:
            day = Day(recorder, miners)
            for hour in range(hours):
                for minute in range(60):
                    await day.minute(60 * hour + minute)
                await day.hour()
                resident.values.append(resident_mb())
                progress(f"hour {hour + 1} of {hours}: {resident.values[-1]:.1f} MB, {day.totals[0]} shares")
                if hour >= WARM_HOURS:
                    growth.values.append(resident.values[-1] - resident.values[-2])
            accepted, refused = day.totals
            assert accepted == day.number, (accepted, day.number)
            assert refused == day.number // REPEATED, (refused, day.number)
            await recorder.add_ticks([])
            minutes = await recorder.share_minutes()
            counted = sum(row.accepted for row in minutes)
            assert counted == accepted, (counted, accepted)
    return [growth, resident, Series("shares", "1", None, [float(accepted)])]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--miners", type=int, default=100, help="default: 100")
    parser.add_argument("--hours", type=int, help="default: 24")
    options = parser.parse_args()
    hours = options.hours or (WARM_HOURS + 1 if options.quick else 24)
    about = machine()
    publish("soak", about, asyncio.run(soak(options.miners, hours)), as_json=options.json)


if __name__ == "__main__":
    main()
