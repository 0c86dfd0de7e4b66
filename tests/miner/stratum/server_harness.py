"""A Stratum server on a port of its own, with real jobs and sessions, a ledger that does as it is told, and miners."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

from miner.chain.difficulty import difficulty_of_hash
from miner.kernel import RECORD, ShareBuffer, SubmitTaker, Tally
from miner.payouts import Payee, PayoutRefused
from miner.stratum.dispatch import MAIN
from miner.stratum.house import Taker
from miner.stratum.listener import Port
from miner.stratum.rules import PortRules
from miner.stratum.server import Counter, Server, ServerLimits
from miner.stratum.v1 import Notice
from miner.work.job import JobBook
from miner.work.layout import Layout
from miner.work.roster import HashingUnit, Roster
from miner.work.share import Accepted, Block, Pending, PoolShare, Submission, Verdict, judge
from miner.work.solo_job import solo_job
from tests.miner.harness import NOW, PAYOUT, Clock, template

LAYOUT = Layout(4, 8)
EASY = 1e-10
"""A difficulty that every hash meets."""
RULES = PortRules(start_difficulty=EASY, min_difficulty=EASY, max_difficulty=EASY, vardiff=False)
PATIENCE_S = 20.0
"""How long a test waits for what must come; far longer than it ever takes."""


class FakeLedger:
    """Takes records; while `holding`, keeps their futures in `held` until the test says what became of them."""

    def __init__(self) -> None:
        self.holding = False
        self.refuses: Exception | None = None
        self.held: list[tuple[bytes, asyncio.Future[None]]] = []
        self.durable: list[bytes] = []
        self.asked = asyncio.Event()

    def write(self, records: bytes) -> asyncio.Future[None]:
        self.asked.set()
        if self.refuses is not None:
            raise self.refuses
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.holding:
            self.held.append((records, future))
        else:
            self.durable.append(records)
            future.set_result(None)
        return future

    def release(self) -> None:
        """What is held is durable."""
        for records, future in self.held:
            self.durable.append(records)
            future.set_result(None)
        self.held = []
        self.holding = False

    @property
    def shares(self) -> int:
        return sum(len(records) for records in self.durable) // RECORD.size


class WallClock(Clock):
    """Unix seconds; `uptime` goes on with them, but not when they are set."""

    def __init__(self) -> None:
        super().__init__()
        self._set = 0.0

    def set_by(self, seconds: float) -> None:
        self.now += seconds
        self._set += seconds

    def uptime(self) -> float:
        return self.now - self._set


class NoRate:
    def sample(self, _tally: Any, _now: float) -> None: ...


class FakePayouts:
    """Knows nobody until the test has said whom a name pays."""

    def __init__(self) -> None:
        self.answers: dict[str, Payee | PayoutRefused] = {}
        self.asked: dict[str, asyncio.Future[Payee | PayoutRefused]] = {}

    def known(self, name: str) -> Payee | PayoutRefused | None:
        return self.answers.get(name)

    async def resolve(self, name: str) -> Payee | PayoutRefused:
        future = self.asked[name] = asyncio.get_running_loop().create_future()
        return await future


def roster_of(limit: int = 1000, **options: Any) -> Roster:
    return Roster(limit, now=NOW, new_tally=Tally, new_rate=NoRate, **options)


@dataclass
class Rig:
    """A server and everything around it."""

    server: Server
    ledger: FakeLedger
    book: JobBook
    roster: Roster
    clock: WallClock
    alerts: dict[str, str]
    served_s: list[float]
    payouts: FakePayouts
    closing: asyncio.Event
    serials: Iterator[int] = field(default_factory=lambda: itertools.count(0x100))
    writers: list[asyncio.StreamWriter] = field(default_factory=list)  # of its miners, closed at the end

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    def new_job(
        self,
        *,
        seen_at: float | None = None,
        lane: str = MAIN,
        work: Mapping[str, Any] = MappingProxyType({}),
        **changes: Any,
    ) -> Notice:
        """A new job for everyone on the lane; on the same tip and of the present layout unless told otherwise.

        `changes` are of its template, `work` is what else is odd about the job.
        """
        sizes = self.server.layout.extranonce1_size, self.server.layout.extranonce2_size
        made = solo_job(
            template(**{"bits": 0x1D00FFFF, **changes}),
            f"{next(self.serials):x}",
            PAYOUT.script,
            PAYOUT.tag,
            *sizes,
            clean=True,
            now=NOW,
        )
        made = replace(made, **work)
        clean = self.book.tip != made.prev_hash
        self.book.add(made, self.clock())
        notice = Notice(made, clean=clean)
        self.server.serve(notice, seen_at, lane)
        return notice


@asynccontextmanager
async def rig_of(
    limits: ServerLimits | None = None,
    *,
    ports: list[Port] | None = None,
    worker_mode: bool = False,
    with_job: bool = True,
    reserved: Iterable[bytes] = (),
    take: Callable[[Submission, int], Verdict | Pending] | None = None,
    lane_of: Callable[[HashingUnit], str] = lambda _unit: MAIN,
    write: Callable[[bytes], asyncio.Future[None]] | None = None,
    **roster: Any,
) -> AsyncIterator[Rig]:
    """A server that serves while the context lasts."""
    book, buffer, clock, ledger = JobBook(60.0), ShareBuffer(), WallClock(), FakeLedger()
    units, payouts = roster_of(**roster), FakePayouts()
    alerts: dict[str, str] = {}
    served_s: list[float] = []

    def judged(submission: Submission, share_target: int) -> Verdict:
        verdict = judge(book, submission, share_target, clock())
        unit = units.by_id(submission.unit_id)
        assert unit is not None
        match verdict:
            case (
                Accepted(hash=digest, difficulty=credited)
                | Block(hash=digest, credited=credited)
                | PoolShare(hash=digest, credited=credited)
            ) if credited:
                unit.tally.accept(credited, difficulty_of_hash(digest), clock())  # type: ignore[attr-defined]  # a kernel's
                serial = int(submission.job_id, 16)
                buffer.add(unit.number, 0, clock(), credited, serial, digest)
        return verdict

    def taker(
        unit: HashingUnit, worker: bytes, extranonce1: bytes, version_mask: int | None, script: bytes | None
    ) -> Taker:
        return SubmitTaker(
            book.board,
            buffer,
            unit.tally,  # type: ignore[arg-type]  # the roster was given the kernel's
            unit=unit.number,
            worker=worker,
            extranonce1=extranonce1,
            version_mask=version_mask,
            payout_script=script,
        )

    server = Server(
        Counter(take or judged, taker, buffer, write or ledger.write),
        units,
        limits or ServerLimits(connections=1000),
        layout=LAYOUT,
        lane_of=lane_of,
        reserved=reserved,
        payouts=payouts if worker_mode else None,
        on_alert=alerts.__setitem__,
        on_tip_served=served_s.append,
        clock=clock,
        uptime=clock.uptime,
    )
    server.open(ports or [Port("127.0.0.1", 0, RULES)])
    rig = Rig(server, ledger, book, units, clock, alerts, served_s, payouts, asyncio.Event())
    if with_job:
        rig.new_job()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.run(rig.closing))
            try:
                yield rig
            finally:
                rig.closing.set()
    finally:
        server.close()
        for writer in rig.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in rig.writers), return_exceptions=True)


class Miner:
    """A device as the server sees it: speaks lines, remembers what it was told unasked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.told: list[dict[str, Any]] = []
        self.session = ""
        self.extranonce1 = ""
        self._ids = itertools.count(1)
        self._nonces = itertools.count(1)

    @classmethod
    async def connect(cls, rig: Rig, **options: Any) -> Self:
        port = options.pop("port", rig.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
        rig.writers.append(writer)
        return cls(reader, writer)

    @classmethod
    async def mining(cls, rig: Rig, name: str = "farm.1", **options: Any) -> Self:
        """One that has logged in and has a job."""
        wants_extranonce = options.pop("wants_extranonce", False)
        miner = await cls.connect(rig, **options)
        await miner.log_in(name, wants_extranonce=wants_extranonce)
        await miner.note("mining.notify")
        return miner

    def send(self, method: str, *params: Any) -> int:
        number = next(self._ids)
        self.writer.write(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")
        return number

    async def line(self) -> dict[str, Any]:
        """The next line; EOFError when the connection has ended."""
        async with asyncio.timeout(PATIENCE_S):
            line = await self.reader.readline()
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        return message

    async def answer(self, number: int) -> dict[str, Any]:
        """The answer to a call; what comes before it unasked goes to `told`."""
        while True:
            message = await self.line()
            if message.get("id") == number:
                return message
            self.told.append(message)

    async def note(self, method: str) -> dict[str, Any]:
        """The first thing told unasked by this name that was not looked at yet."""
        while True:
            for index, message in enumerate(self.told):
                if message.get("method") == method:
                    return self.told.pop(index)
            self.told.append(await self.line())

    async def call(self, method: str, *params: Any) -> dict[str, Any]:
        return await self.answer(self.send(method, *params))

    async def subscribe(self, *params: Any) -> None:
        subscriptions, self.extranonce1, _ = (await self.call("mining.subscribe", *params))["result"]
        self.session = subscriptions[0][1]

    async def log_in(
        self, name: str = "farm.1", *, resume: str | None = None, wants_extranonce: bool = False
    ) -> dict[str, Any]:
        if wants_extranonce:
            await self.call("mining.extranonce.subscribe")
        await self.subscribe("test/1", *([] if resume is None else [resume]))
        return await self.call("mining.authorize", name, "x")

    def submit(self, notice: Notice, name: str = "farm.1") -> int:
        """Hand in a share nobody else hands in; the number of the call."""
        nonce = next(self._nonces)
        return self.send(
            "mining.submit",
            name,
            notice.job.id,
            "00" * notice.job.extranonce2_size,
            f"{notice.job.ntime_s:08x}",
            f"{nonce:08x}",
        )

    def submit_late(self, name: str = "farm.1") -> int:
        """Hand in a share with a time that the C core leaves to Python."""
        return self.send("mining.submit", name, "1", "00" * 8, "ffffffff", "00000000")

    def told_of(self, method: str) -> list[dict[str, Any]]:
        """What was told unasked by this name, and not looked at."""
        return [message for message in self.told if message.get("method") == method]

    async def ended(self) -> None:
        """Wait until the server has closed the connection."""
        try:
            while True:
                self.told.append(await self.line())
        except (EOFError, ConnectionError):
            self.close()

    def close(self) -> None:
        self.writer.close()


async def until(condition: Any) -> None:
    """Wait until something is so that must become so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is of many kinds
            await asyncio.sleep(0.005)
