"""A real pool on loopback that serves real jobs, judges every share with hashlib, and misbehaves on order.

On a loop: `async with ScriptedPool() as pool: ...`. Beside a test that has none: `with PoolThread() as pool:
pool.do(lambda p: p.new_job())`. How it behaves is in `pool.script`, and may be changed at any time; what it does once is a method.
"""

import asyncio
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from regtest.ports import LOOPBACK, Reservation
from tests.miner.stratum.scripted_work import Judge, PoolJob, SeenShare, Told

MASK = 0x1FFFE000
PATIENCE_S = 20.0
"""How long a test waits for what must come; far longer than it ever takes."""


@dataclass
class Script:
    """How the pool behaves from now on; as it stands here it does everything right."""

    hangs: bool = False
    """Takes connections and reads them, and never says anything."""
    slams: bool = False
    """Takes connections and closes them at once."""
    late_s: float = 0.0
    """Each line is sent so much later."""
    answer_late_s: float = 0.0
    """Each answer to a share is sent so much later."""
    silent: set[str] = field(default_factory=set)
    """Methods that are carried out and never answered, e.g. mining.submit."""
    unknown: set[str] = field(default_factory=set)
    """Methods answered with an error, as by a pool that has never heard of them."""
    admits: Callable[[str], bool] = lambda _user: True
    """Which users may log in."""
    refusal: Any = (24, "Unauthorized worker", None)
    """The error for the others."""
    works: bool = True
    """Whether jobs are sent at all."""
    job_before_difficulty: bool = False
    """The first job comes before the first difficulty."""
    difficulties: Iterator[float] | None = None
    """A new difficulty before each job."""
    answer: Callable[[SeenShare], dict[str, Any] | None] | None = None
    """What is answered to a share, e.g. {"result": False}; None: the truth."""


class Guest:
    """One connection to the pool."""

    def __init__(self, pool: "ScriptedPool", number: int, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.users: list[str] = []
        self.subscribed = False
        self.extranonce1 = number.to_bytes(pool.extranonce1_size, "big")
        self.extranonce2_size = pool.extranonce2_size
        self.difficulty = pool.difficulty
        self.version_mask = 0
        self.takes_extranonce = False
        self.told: dict[str, Told] = {}
        self._pool = pool
        self._writer = writer

    @property
    def mines(self) -> bool:
        return self.subscribed and bool(self.users)

    def send(self, message: dict[str, Any] | bytes, late_s: float = 0.0) -> None:
        """Say it, as late as the script wants; nothing while the pool hangs."""
        line = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        late_s += self._pool.script.late_s
        if late_s > 0:
            asyncio.get_running_loop().call_later(late_s, self._write, line)
        else:
            self._write(line)

    def _write(self, line: bytes) -> None:
        if not self._pool.script.hangs and not self._writer.is_closing():
            self._writer.write(line)

    def notify(self, method: str, *params: Any) -> None:
        self.send({"id": None, "method": method, "params": params})

    def set_difficulty(self, difficulty: float) -> None:
        self.difficulty = difficulty
        self.notify("mining.set_difficulty", difficulty)

    def offer(self, job: PoolJob, *, clean: bool | None = None) -> None:
        """Send a job; its shares are judged by what is in force now."""
        self.told[job.id] = Told(
            job, self.difficulty, self.extranonce1, self.extranonce2_size, self.version_mask
        )
        if clean is not None:
            job = replace(job, clean=clean)
        self.notify("mining.notify", *job.params(len(self.extranonce1) + self.extranonce2_size))

    def drop(self) -> None:
        """Cut the connection, as a crash does."""
        self._writer.transport.abort()


class ScriptedPool:
    """A pool on 127.0.0.1, at the same port from start to end; with `certificate` (PEM files: certificate, key) it speaks TLS.

    Its job ids begin with `name`, so that one pool's work is told from another's. With `job_every_s` jobs come by themselves.
    """

    def __init__(
        self,
        name: str = "pool",
        *,
        difficulty: float = 1e-9,
        extranonce1_size: int = 4,
        extranonce2_size: int = 8,
        version_mask: int = MASK,
        certificate: tuple[Path, Path] | None = None,
        job_every_s: float = 0.0,
        script: Script | None = None,
        **job: Any,
    ) -> None:
        self.name = name
        self.script = script or Script()
        self.difficulty = difficulty
        self.extranonce1_size = extranonce1_size
        self.extranonce2_size = extranonce2_size
        self.version_mask = version_mask
        self.judge = Judge()
        self.heard: list[tuple[int, dict[str, Any]]] = []
        """Every message with the number of its connection (from 1)."""
        self.guests: dict[int, Guest] = {}
        """The connections that stand, by number."""
        self.connections = 0
        self._numbers = itertools.count(1)
        self._ports = Reservation(1)
        self.port = self._ports.ports[0]
        self._tls = certificate is not None
        self._context = None if certificate is None else _context(*certificate)
        self._job_every_s = job_every_s
        self._ticking: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self.job = PoolJob(f"{name}-0", **{"ntime_s": int(time.time()), **job})

    # ---- Its life --------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"stratum+{'tls' if self._tls else 'tcp'}://{LOOPBACK}:{self.port}"

    async def revive(self) -> None:
        """Listen (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, LOOPBACK, self.port, ssl=self._context, family=socket.AF_INET
            )

    async def die(self) -> None:
        """Close the port and cut every connection; the next one is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()
        while self._handlers:
            await asyncio.wait(self._handlers, timeout=PATIENCE_S)

    def drop(self) -> None:
        """Cut every connection."""
        for guest in list(self.guests.values()):
            guest.drop()

    async def __aenter__(self) -> Self:
        await self.revive()
        if self._job_every_s:
            self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait([self._ticking])
        await self.die()
        self._ports.release()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._job_every_s)
            self.new_job()

    # ---- What it does on order -------------------------------------------------------------------------------

    def new_job(self, *, clean: bool = False, **changes: Any) -> PoolJob:
        """Send a new job like the last one to everybody; a clean one makes all before it stale."""
        if clean:
            self.judge.stale.update(job for guest in self.guests.values() for job in guest.told)
        self.job = replace(
            self.job,
            **{
                "id": f"{self.name}-{next(self._numbers)}",
                "ntime_s": int(time.time()),
                "clean": clean,
                **changes,
            },
        )
        if self.script.difficulties is not None:
            self.set_difficulty(next(self.script.difficulties))
        if self.script.works:
            for guest in self._miners():
                guest.offer(self.job)
        return self.job

    def new_block(self, **changes: Any) -> PoolJob:
        """A clean job on another block."""
        height = self.job.height + 1
        return self.new_job(
            clean=True, **{"height": height, "prev_hash": height.to_bytes(32, "big"), **changes}
        )

    def set_difficulty(self, difficulty: float) -> None:
        """Shares of later jobs must have it."""
        self.difficulty = difficulty
        for guest in self._miners():
            guest.set_difficulty(difficulty)

    def set_extranonce(self, extranonce1: bytes, extranonce2_size: int | None = None) -> None:
        """Later jobs of the present connections have this extranonce1; only those that asked are told, the others keep theirs."""
        size = self.extranonce2_size if extranonce2_size is None else extranonce2_size
        for guest in self._miners():
            if guest.takes_extranonce:
                guest.extranonce1, guest.extranonce2_size = extranonce1, size
                guest.notify("mining.set_extranonce", extranonce1.hex(), size)

    def set_version_mask(self, mask: int) -> None:
        """Later jobs let these bits be rolled."""
        for guest in self._miners():
            guest.version_mask = mask
            guest.notify("mining.set_version_mask", f"{mask:08x}")

    def redirect(self, *params: Any) -> None:
        """client.reconnect with host, port, wait; or with nothing."""
        self.notify("client.reconnect", *params)

    def notify(self, method: str, *params: Any) -> None:
        """Say something to everybody who is logged in."""
        for guest in self._miners():
            guest.notify(method, *params)

    def say(self, line: dict[str, Any] | bytes) -> None:
        """Say anything to everybody: garbage, a request, half a line."""
        for guest in list(self.guests.values()):
            guest.send(line)

    def _miners(self) -> list[Guest]:
        return [guest for guest in self.guests.values() if guest.mines]

    # ---- What it saw -----------------------------------------------------------------------------------------

    @property
    def shares(self) -> list[SeenShare]:
        return self.judge.shares

    @property
    def accepted(self) -> list[SeenShare]:
        return self.judge.accepted

    @property
    def rejected(self) -> list[SeenShare]:
        return self.judge.rejected

    def methods(self, connection: int | None = None) -> list[str]:
        """The methods that were called, on one connection or on all."""
        return [
            line["method"] for number, line in self.heard if "method" in line and connection in {None, number}
        ]

    def users(self) -> list[str]:
        """Everybody who is logged in now, in the order of coming."""
        return [user for guest in self.guests.values() for user in guest.users]

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Wait until it is so; AssertionError after a time that never passes."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"the pool waited in vain: {what}"
            await asyncio.sleep(0.005)

    # ---- Its side of a connection ----------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        guest = Guest(self, self.connections, writer)
        try:
            if self.script.slams:
                return
            self.guests[guest.number] = guest
            while line := await reader.readline():
                with suppress(json.JSONDecodeError):
                    message = json.loads(line)
                    self.heard.append((guest.number, message))
                    if not self.script.hangs:
                        self._hear(guest, message)
        except (OSError, ValueError):
            pass  # cut
        finally:
            self.guests.pop(guest.number, None)
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
            self._handlers.discard(task)

    def _hear(self, guest: Guest, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params") or []
        if method is None:
            return
        reply = self._reply(guest, method, params)
        if method in self.script.silent:
            return
        late_s = self.script.answer_late_s if method == "mining.submit" else 0.0
        guest.send({"id": message.get("id"), "result": None, "error": None, **reply}, late_s)
        if method in {"mining.subscribe", "mining.authorize"} and len(guest.users) == 1 and guest.mines:
            self._welcome(guest)

    def _reply(self, guest: Guest, method: str, params: list[Any]) -> dict[str, Any]:
        replies: dict[str, Callable[[Guest, list[Any]], dict[str, Any]]] = {
            "mining.configure": self._configured,
            "mining.subscribe": self._subscribed,
            "mining.authorize": self._authorized,
            "mining.extranonce.subscribe": self._extranonce_subscribed,
            "mining.submit": self._submitted,
            "mining.ping": lambda _guest, _params: {"result": "pong"},
        }
        if method not in replies or method in self.script.unknown:
            return {"error": [20, f"Unknown method {method}", None]}
        return replies[method](guest, params)

    def _configured(self, guest: Guest, params: list[Any]) -> dict[str, Any]:
        guest.version_mask = int(params[1].get("version-rolling.mask", "ffffffff"), 16) & self.version_mask
        return {"result": {"version-rolling": True, "version-rolling.mask": f"{guest.version_mask:08x}"}}

    def _subscribed(self, guest: Guest, _params: list[Any]) -> dict[str, Any]:
        guest.subscribed = True
        session = [["mining.set_difficulty", "d1"], ["mining.notify", "n1"]]
        return {"result": [session, guest.extranonce1.hex(), guest.extranonce2_size]}

    def _authorized(self, guest: Guest, params: list[Any]) -> dict[str, Any]:
        if not self.script.admits(params[0]):
            return {"result": False, "error": self.script.refusal}
        guest.users.append(params[0])
        return {"result": True}

    @staticmethod
    def _extranonce_subscribed(guest: Guest, _params: list[Any]) -> dict[str, Any]:
        guest.takes_extranonce = True
        return {"result": True}

    def _submitted(self, guest: Guest, params: list[Any]) -> dict[str, Any]:
        if params[0] not in guest.users:
            share = SeenShare(guest.number, params[0], params[1], 24, "Unauthorized worker")
            self.judge.shares.append(share)
        else:
            share = self.judge.take(guest.number, params, guest.told.get(params[1]))
        answer = None if self.script.answer is None else self.script.answer(share)
        if answer is not None:
            return answer
        return {"result": True} if share.code == 0 else {"error": [share.code, share.text, None]}

    def _welcome(self, guest: Guest) -> None:
        if self.script.job_before_difficulty and self.script.works:
            self._first_job(guest, 1.0)  # what counts for a miner that was told nothing yet
        guest.set_difficulty(self.difficulty)
        if self.script.works and not self.script.job_before_difficulty:
            self._first_job(guest, self.difficulty)

    def _first_job(self, guest: Guest, difficulty: float) -> None:
        guest.difficulty = difficulty
        guest.offer(self.job, clean=True)


class PoolThread:
    """A ScriptedPool in a thread with a loop of its own, for tests that have none."""

    def __init__(self, name: str = "pool", **options: Any) -> None:
        self.pool = ScriptedPool(name, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"pool {name}", daemon=True)

    @property
    def url(self) -> str:
        return self.pool.url

    def do(self, what: Callable[[ScriptedPool], Any]) -> Any:
        """Have the pool do something in its own thread: its result, awaited where it must be."""

        async def done() -> Any:
            result = what(self.pool)
            return await result if isinstance(result, Awaitable) else result

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(PATIENCE_S)

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(ScriptedPool.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        self.do(ScriptedPool.__aexit__)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
