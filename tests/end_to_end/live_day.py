"""A scripted day of prices, and real servers on loopback that tell it by a clock that is handed to them, and fail on schedule.

The day is Sunday 2026-03-29 in Berlin, which has 23 hours: at 02:00 clocks are put forward. What every server says is a function of
seed and time alone, so that two runs of a controller see the same world.

    with DayServers(Day(seed=1), clock) as servers:
        feed = JsonFeed(servers.url("spot"))

Who stops the clock calls `servers.catch_up()` after each step of it: ports are then open or closed as the day has it. Who lets it run
says how often that is to be done by itself.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Self
from zoneinfo import ZoneInfo

from aiohttp import web

from regtest.ports import LOOPBACK, Reservation
from tests.price_servers import bitstamp, coinbase, down, er_api, html, kraken, says

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from tests.price_servers import Answer

ZONE: Final = ZoneInfo("Europe/Berlin")
DATE: Final = date(2026, 3, 29)
QUARTER_S: Final = 900.0
STEP_S: Final = 300.0
"""The spot price and the bitcoin price change at its multiples."""
LIMIT_S: Final = 10.0

SPOT, AHEAD, FX = "spot", "day-ahead", "fx"
BTC: Final = ("coinbase", "kraken", "bitstamp")
FEEDS: Final = (SPOT, AHEAD, FX, *BTC)
NODE: Final = "node"
"""No server: whoever reads the chain asks `Day.is_down` of it."""


def clock_time(text: str, day: date = DATE) -> float:
    """The unix time of "HH:MM" on the wall in Berlin; of a time that comes twice the first."""
    hour, minute = map(int, text.split(":"))
    return datetime.combine(day, time(hour % 24, minute), ZONE).timestamp() + (hour // 24) * 86_400.0


def midnight(day: date) -> float:
    return datetime.combine(day, time(0), ZONE).timestamp()


START: Final = midnight(DATE)
END: Final = midnight(DATE + timedelta(days=1))


class Kind(StrEnum):
    """How a feed fails."""

    GONE = "nobody listens"
    BUSY = "HTTP 503"
    HANGS = "takes the question and says nothing"
    HTML = "a page of HTML"
    ZERO = "zero"
    BELOW = "a negative number where none can be"
    ABSURD = "far out of the market's bounds"
    REPEATS = "the last price again and again, with its old time"
    LATE = "prices of ten minutes ago"
    JUMP = "far from the others"


@dataclass(frozen=True, slots=True)
class Fault:
    """A feed that fails in this way from one time on the wall to another, the end not included."""

    feed: str
    kind: Kind
    start: float
    stop: float

    def holds_at(self, at: float) -> bool:
        return self.start <= at < self.stop


def fault(feed: str, kind: Kind, start: str, stop: str) -> Fault:
    return Fault(feed, kind, clock_time(start), clock_time(stop))


FAULTS: Final = (
    fault(SPOT, Kind.GONE, "00:40", "01:00"),
    fault(SPOT, Kind.ZERO, "01:20", "01:50"),
    fault(SPOT, Kind.ABSURD, "03:10", "03:50"),
    fault(SPOT, Kind.HTML, "04:00", "04:20"),
    fault(SPOT, Kind.BUSY, "04:30", "04:50"),
    fault(SPOT, Kind.REPEATS, "05:00", "05:50"),
    fault(SPOT, Kind.LATE, "06:00", "06:30"),
    fault(FX, Kind.GONE, "05:00", "12:00"),
    fault(BTC[0], Kind.ZERO, "06:40", "07:00"),
    fault(BTC[1], Kind.BELOW, "07:00", "07:20"),
    fault(BTC[2], Kind.JUMP, "07:20", "07:50"),
    fault(BTC[1], Kind.HANGS, "07:50", "08:00"),
    *(fault(feed, Kind.GONE, "08:40", "09:00") for feed in BTC),
    fault(AHEAD, Kind.BUSY, "13:00", "13:40"),
    fault(NODE, Kind.GONE, "15:30", "16:20"),
    fault(SPOT, Kind.GONE, "20:00", "20:50"),
    *(fault(feed, Kind.GONE, "22:00", "23:00") for feed in BTC),
)
SPIKE: Final = (clock_time("10:20"), clock_time("10:50"))
"""A real one: within the market's bounds."""
BTC_RISE: Final = clock_time("19:00")
"""From here on all say an eighth more: real, since all say it."""
PUBLISHED: Final = clock_time("14:20")
"""Tomorrow's prices, due at 13:00."""
REVISED: Final = clock_time("16:30")
RETARGET: Final = clock_time("18:00")

_EUR_PER_MWH: Final = (
    45,
    42,
    40,
    40,
    42,
    42,
    43,
    60,
    60,
    40,
    15,
    -5,
    -30,
    -45,
    -20,
    20,
    60,
    95,
    135,
    120,
    95,
    60,
    50,
    46,
)
"""By the hour on the wall."""
_USD_PER_EUR: Final = 1.16
_EPOCH_BLOCKS: Final = 2016
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Facts:
    """The chain as a node tells it; `ChainFacts` of the controller's source."""

    chain: str
    height: int
    difficulty: float
    subsidy_sat: int
    fees_sat_mean_144: float
    epoch_start_time_s: float
    tip_time_s: float


class Day:
    """What the world is like at any time of the day, by `seed`, and how its servers fail."""

    def __init__(self, seed: int, faults: Sequence[Fault] = FAULTS) -> None:
        self.seed = seed
        self.faults = tuple(faults)
        self._noises: dict[str, float] = {}

    def fault_at(self, feed: str, at: float) -> Fault | None:
        return next((each for each in self.faults if each.feed == feed and each.holds_at(at)), None)

    def is_down(self, feed: str, at: float) -> bool:
        found = self.fault_at(feed, at)
        return found is not None and found.kind is Kind.GONE

    def auction(self, at: float, *, revised: bool = False) -> float:
        """The day-ahead price of the quarter hour that holds at `at`, EUR/MWh; after its revision where there is one."""
        begin = math.floor(at / QUARTER_S) * QUARTER_S
        hour = datetime.fromtimestamp(begin, ZONE).hour
        noise = self._noise("auction", begin) * 4
        return round(_EUR_PER_MWH[hour] + noise + (7.5 if revised else 0.0), 2)

    def spot(self, at: float) -> float:
        """The price of the moment, EUR/MWh."""
        begin = math.floor(at / STEP_S) * STEP_S
        if SPIKE[0] <= begin < SPIKE[1]:
            return 900.0
        return round(self.auction(begin) + self._noise("spot", begin) * 6, 2)

    def btc_usd(self, at: float, source: str = "") -> float:
        begin = math.floor(at / STEP_S) * STEP_S
        walk = sum(
            self._noise("btc", START + hour * 3600) for hour in range(int((begin - START) // 3600) + 1)
        )
        offset = self._noise(f"btc {source}", 0.0) * 30 if source else 0.0
        price = 90_000 + 250 * walk + 60 * self._noise("btc step", begin) + offset
        return round(price * (1.125 if begin >= BTC_RISE else 1.0), 2)

    def usd_per_eur(self, at: float) -> float:
        """The exchange rate: it creeps, and leaps every six hours."""
        hours = math.floor((at - START) / 3600)
        return round(_USD_PER_EUR + 0.0001 * hours + 0.004 * (hours // 6), 5)

    def chain(self, at: float) -> Facts:
        """A block each ten minutes or so, and a new difficulty at `RETARGET`."""
        blocks = math.floor((at - START) / 600 + self._noise("chain", math.floor(at / 600)) * 0.4)
        first = 477 * _EPOCH_BLOCKS
        height = first - 1 - math.floor((RETARGET - START) / 600) + blocks
        is_new = at >= RETARGET
        height = max(height, first) if is_new else min(height, first - 1)
        return Facts(
            chain="main",
            height=height,
            difficulty=146.47e12 * (0.968 if is_new else 1.0),
            subsidy_sat=312_500_000,
            fees_sat_mean_144=2_000_000 + 400_000 * self._noise("fees", math.floor(at / 600)),
            epoch_start_time_s=RETARGET if is_new else RETARGET - 1_209_600 / 0.968,
            tip_time_s=max(math.floor(at / 600) * 600, RETARGET) if is_new else math.floor(at / 600) * 600,
        )

    def answer(self, feed: str, at: float) -> Answer | None:
        """What the feed's server answers at `at`; None: nothing, for as long as anybody waits."""
        found = self.fault_at(feed, at)
        match found and found.kind:
            case Kind.HANGS:
                return None
            case Kind.HTML:
                return html()
            case Kind.BUSY:
                return down(503, retry_after="400")
        if feed == AHEAD:
            return self._auctions(at)
        if feed == FX:
            return er_api(self.usd_per_eur(at), at)
        return self._spot(at, found) if feed == SPOT else self._btc(feed, at, found)

    def _spot(self, at: float, found: Fault | None) -> Answer:
        when, price = at, self.spot(at)
        match found and found.kind:
            case Kind.REPEATS if found is not None:
                when = found.start - 60.0
                price = self.spot(when)
            case Kind.LATE:
                when = at - 600.0
                price = self.spot(when)
            case Kind.ZERO:
                price = 0.0
            case Kind.ABSURD:
                price = 99_999.0
        return says({"price": price, "time": iso(when), "unit": "EUR/MWh"})

    def _btc(self, feed: str, at: float, found: Fault | None) -> Answer:
        price = self.btc_usd(at, feed)
        match found and found.kind:
            case Kind.ZERO:
                price = 0.0
            case Kind.BELOW:
                price = -1.0
            case Kind.JUMP:
                price *= 1.4
        if feed == "bitstamp":
            return bitstamp(price, at)
        return coinbase(price) if feed == "coinbase" else kraken(price)

    def _auctions(self, at: float) -> Answer:
        """Today's quarter hours, and tomorrow's once they are published."""
        days = [DATE]
        if at >= PUBLISHED:
            days.append(DATE + _DAY)
        rows = [
            {
                "from": iso(begin),
                "to": iso(end),
                "price": self.auction(begin, revised=day > DATE and at >= REVISED),
            }
            for day in days
            for begin, end in pairwise(quarters(day))
        ]
        return says({"data": rows})

    def _noise(self, what: str, key: float) -> float:
        """A number from -1 to 1 that depends on nothing but these and the seed."""
        name = f"{self.seed} {what} {key:.0f}"
        if name not in self._noises:
            self._noises[name] = random.Random(name).uniform(-1, 1)
        return self._noises[name]


def quarters(day: date) -> list[float]:
    """The edges of the quarter hours of that day in Berlin, its end included: 93 on the day that has 23 hours."""
    begin, end = midnight(day), midnight(day + _DAY)
    return [begin + QUARTER_S * number for number in range(round((end - begin) / QUARTER_S) + 1)]


def iso(at: float) -> str:
    """A time as the feeds write it: on the wall in Berlin, with its offset."""
    return datetime.fromtimestamp(at, tz=UTC).astimezone(ZONE).isoformat()


class DayServers:
    """A server for each feed, on a port of its own, in a thread of its own."""

    def __init__(self, day: Day, clock: Callable[[], float], every_s: float | None = None) -> None:
        """`every_s`: how often ports are looked after without being asked, in real seconds; None: only in `catch_up`."""
        self.asked: dict[str, list[float]] = {feed: [] for feed in FEEDS}
        """By feed, when it was asked, by the day's clock."""
        self._day = day
        self._clock = clock
        self._every_s = every_s
        self._reservation = Reservation(len(FEEDS))
        self._ports: Mapping[str, int] = dict(zip(FEEDS, self._reservation.ports, strict=True))
        self._runners: dict[str, web.AppRunner] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="day servers", daemon=True)
        self._watch: Future[Any] | None = None
        self._ended: asyncio.Event

    def url(self, feed: str) -> str:
        return f"http://{LOOPBACK}:{self._ports[feed]}/price"

    def catch_up(self) -> None:
        """Open and close ports as the day has it now."""
        self._do(self._catch_up())

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._begin())
        if self._every_s is not None:
            self._watch = asyncio.run_coroutine_threadsafe(self._look_after(self._every_s), self._loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()
        self._reservation.release()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    async def _begin(self) -> None:
        self._ended = asyncio.Event()
        await self._catch_up()

    async def _look_after(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self._catch_up()

    async def _catch_up(self) -> None:
        now = self._clock()
        for feed in FEEDS:
            is_down = self._day.is_down(feed, now)
            if is_down and feed in self._runners:
                await self._runners.pop(feed).cleanup()
            elif not is_down and feed not in self._runners:
                self._runners[feed] = await self._serve(feed)

    async def _serve(self, feed: str) -> web.AppRunner:
        async def answer(_request: web.Request) -> web.Response:
            now = self._clock()
            self.asked[feed].append(now)
            said = self._day.answer(feed, now)
            if said is None:
                await self._ended.wait()
                said = html(500)
            headers = {**said.headers, "Content-Type": said.kind}
            return web.Response(body=said.body, status=said.status, headers=headers)

        app = web.Application()
        app.router.add_get("/price", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, self._ports[feed], reuse_address=True).start()
        return runner

    async def _end(self) -> None:
        self._ended.set()
        for runner in self._runners.values():
            await runner.cleanup()
