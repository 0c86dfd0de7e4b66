"""A site that lives through the scripted day: simulated units, the real controller over its real sources and a ledger, on a clock that is stepped.

Time stands still while anything is under way and leaps to when the next thing is due, so a run depends on nothing but the day. The
controller, its sources and its ledger can be torn down and built anew at any time; units, servers and clock go on, as they do in the world.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiomqtt

from controller.actuation import ActuationConfig
from controller.limits import SiteConfig
from controller.loop import ControllerLoop, LoopConfig
from controller.policy import PolicyConfig
from controller.ports import Listener
from controller.signals import Action, SignalRule
from controller.sources.btc import BtcFeedSpec, BtcPrice
from controller.sources.fx import FxFeedSpec, Rates
from controller.sources.http import DEFAULT_TIMEOUT_S
from controller.sources.node import NodeSource
from controller.sources.power import Adder, PowerSource
from controller.sources.power_http import PowerHttpFeed
from controller.sources.power_markets import BOUNDS_USD_PER_KWH
from controller.sources.power_paths import Paths
from controller.sources.power_presets import Ask
from controller.sources.power_tariff import Hours, Season, Tariff, TariffRule
from controller.sources.power_terms import Terms, price_unit
from controller.sources.presets import BTC_PRESETS, FX_PRESETS
from controller.sources.signal_file import SignalFile
from controller.sources.signal_mqtt import Broker, MqttSource, MqttTopic
from controller.sources.signal_text import Reading
from controller.ticks import BTC_USD, POWER
from controller.units import OFF, Mode, PowerCurve, Unit, UnitState
from controller.validate import MAINNET_RULES, SeriesRule
from miner.control_journal import LedgerJournal
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from tests.end_to_end.live_clock import SETTLED_S, Busy, BusyJournal, BusySource, SteppedTime
from tests.end_to_end.live_day import AHEAD, BTC, FX, NODE, SPOT, ZONE, Day, DayServers, Facts, clock_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from controller.decisions import Outcome
    from controller.sources.base import Source
    from controller.units import Setpoint
    from controller.view import View
    from regtest.mosquitto import Mosquitto

TICK_S: Final = 600.0
"""Every feed is asked at each tick: what is known does not depend on when the controller was started."""
CAP_KW: Final = 27.0
MQTT_TOPIC: Final = "utility/grid"
HANG_S: Final = 1.5
"""Of real time: how long the feed that may hang is waited for."""
ADDER_EUR: Final = {"day": 0.021, "night": 0.006}
"""The network's charge per kWh: from 07:00 to 22:00 on the wall of a working day or Sunday in summer, and else."""
TAX, OVERHEAD = 0.05, 0.03
BTC_MAX_AGE_S: Final = 600.0
POWER_MAX_AGE_S: Final = 1800.0
GRACE_S: Final = 900.0

LADDER: Final = PowerCurve(
    Mode(name, th_s, watts)
    for name, th_s, watts in (
        (OFF, 0, 12),
        ("76", 76, 1850),
        ("80", 80, 2000),
        ("87", 87, 2300),
        ("92", 92, 2500),
        ("96", 96, 2700),
        ("100", 100, 2970),
    )
)
NEW: Final = PowerCurve([Mode(OFF, 0, 15), Mode("on", 200, 3500)])
OLD: Final = PowerCurve([Mode(OFF, 0, 0), Mode("on", 13.5, 1350)])
UNITS: Final = (
    *(
        Unit(f"a{n}", LADDER, 600, 900, restart_s=240, safe_mode="pause", wear_usd=0.02, change_s=60)
        for n in range(1, 5)
    ),
    *(Unit(f"b{n}", NEW, 1800, 1800, restart_s=420, safe_mode="run", wear_usd=0.1) for n in range(1, 6)),
    *(Unit(f"c{n}", OLD, 600, 600, restart_s=60, safe_mode="pause", starts_per_day=3) for n in range(1, 4)),
)
SIGNALS: Final = (
    SignalRule("peak", Action.CAP, cap_kw=20.0, ramp_s=1800.0),
    SignalRule("grid", Action.PAUSE, units=frozenset(f"b{n}" for n in range(1, 6)), ramp_s=600.0),
)
RULES: Final[Mapping[str, SeriesRule]] = {
    **MAINNET_RULES,
    BTC_USD: SeriesRule(10_000, 1_000_000, BTC_MAX_AGE_S),
    POWER: SeriesRule(*BOUNDS_USD_PER_KWH["epex"], POWER_MAX_AGE_S),
}
CONFIG: Final = LoopConfig(
    policy=PolicyConfig(
        rules=RULES,
        grace_s=GRACE_S,
        dry_run=False,
        max_changes_per_minute=10,
        unit_max_age_s=180.0,
        site=SiteConfig(cap_kw=CAP_KW, signals=SIGNALS, zone=ZONE.key),
    ),
    actuation=ActuationConfig(confirm_s=20.0, retry_after_s=600.0),
    tick_s=TICK_S,
    horizon_hours=8.0,
)


# --- the world ----------------------------------------------------------------------------------------


@dataclass
class SimUnit:
    """A unit that takes its time: `start_s` from off to hashing, `step_s` between running modes, at once to off.

    It answers nobody in `silent` (from, to); at `forgets_at` it is in its vendor's mode again, whatever it was told.
    """

    unit: Unit
    mode: str
    clock: Callable[[], float]
    start_s: float = 150.0
    step_s: float = 40.0
    silent: tuple[float, float] = (0.0, 0.0)
    forgets_at: float = float("inf")
    told: list[tuple[float, str]] = field(default_factory=list)
    _target: str = ""
    _there_at: float = 0.0

    async def apply(self, setpoint: Setpoint, now: float) -> None:
        self._live(now)
        if self._is_silent(now):
            raise ConnectionRefusedError(f"{self.unit.id} does not answer")
        self.told.append((now, setpoint.mode))
        if setpoint.mode in {self._target, self.mode} and (self._target or self.mode == setpoint.mode):
            if self._target != setpoint.mode:
                self._target = ""
            return
        if setpoint.mode == OFF:
            self.mode, self._target = OFF, ""
            return
        self._target = setpoint.mode
        self._there_at = now + (self.start_s if self.mode == OFF else self.step_s)

    async def read(self, now: float) -> UnitState:
        self._live(now)
        if self._is_silent(now):
            raise TimeoutError(f"{self.unit.id} does not answer")
        mode = self.unit.curve.mode(self.mode)
        return UnitState(self.unit.id, mode.name, mode.th_s, mode.watts, 62.0, now)

    def _is_silent(self, now: float) -> bool:
        return self.silent[0] <= now < self.silent[1]

    def _live(self, now: float) -> None:
        if self._target and now >= self._there_at:
            self.mode, self._target = self._target, ""
        if now >= self.forgets_at:
            self.mode, self._target, self.forgets_at = self.unit.curve.full.name, "", float("inf")


# --- the controller over it ---------------------------------------------------------------------------


def tariff() -> Tariff:
    """The network's charge by the hour on the wall."""
    rules = [
        TariffRule(ADDER_EUR["day"], hours=(Hours(7 * 60, 22 * 60),), seasons=(Season((3, 1), (10, 31)),)),
        TariffRule(ADDER_EUR["night"]),
    ]
    return Tariff(ZONE, rules)


def power_source(servers: DayServers, rates: Rates) -> PowerSource:
    """The price of the moment before the day-ahead auction's."""
    unit = price_unit("eur_per_mwh")
    shapes = {
        SPOT: Paths("price", unit, ZONE, time="time"),
        AHEAD: Paths("data[*].price", unit, ZONE, start="data[*].from", end="data[*].to"),
    }
    feeds = []
    for name, shape in shapes.items():
        asks = [Ask(servers.url(name))]
        feeds.append(PowerHttpFeed(lambda _, asks=asks: asks, shape, every_s=TICK_S, name=name))  # type: ignore[misc]
    return PowerSource(
        feeds,
        rate=rates.steady,
        terms=Terms(TAX, OVERHEAD),
        adder=Adder("EUR", 0.0, tariff()),
        max_age_s=POWER_MAX_AGE_S,
        horizon_s=36 * 3600.0,
    )


def market_sources(servers: DayServers) -> list[Source]:
    rates = Rates({"EUR": FxFeedSpec(servers.url(FX), FX_PRESETS["er-api"].path_of("EUR"), every_s=TICK_S)})
    btc = BtcPrice(
        [
            BtcFeedSpec(
                name,
                servers.url(name),
                BTC_PRESETS[name].path_of("USD"),
                every_s=TICK_S,
                timeout_s=HANG_S if name == BTC[1] else DEFAULT_TIMEOUT_S,
            )
            for name in BTC
        ]
    )
    return [btc, power_source(servers, rates), rates]


class Ear(Listener):
    """Keeps every tick's view."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.outcomes: list[Outcome] = []
        self.alerts: list[tuple[str | None, str]] = []

    def on_view(self, view: View) -> None:
        self.views.append(view)

    def on_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def on_alert(self, unit_id: str | None, message: str) -> None:
        self.alerts.append((unit_id, message))


class Site:
    """The world and, between `start` and `stop`, the controller over it; `live_until` lets time pass."""

    def __init__(
        self, folder: Path, day: Day, time: SteppedTime, servers: DayServers, mosquitto: Mosquitto
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.ledger_url = f"sqlite:///{folder / 'live.db'}"
        self.signal_file = folder / "peak.csv"
        self.signal_file.write_text("start_utc,end_utc,cap_kw\n")
        self.ear = Ear()
        self.units = {unit.id: SimUnit(unit, unit.curve.full.name, time.clock) for unit in UNITS}
        self._day = day
        self._time = time
        self._servers = servers
        self._mosquitto = mosquitto
        self._busy = Busy()
        self._events: list[tuple[float, Callable[[Site], Any]]] = []
        self._heard = 0
        self._stack = contextlib.AsyncExitStack()

    def plan(self, events: Sequence[tuple[float, Callable[[Site], Any]]]) -> None:
        """What happens in the world, and when; each is called with the site, and awaited where it can be."""
        self._events = sorted(events, key=lambda event: event[0])

    async def start(self) -> None:
        """Build the controller on its ledger and begin to run it."""
        self._stack = contextlib.AsyncExitStack()
        store = Store.open(self.ledger_url)
        self._stack.callback(store.close)
        journal = LedgerJournal(await self._stack.enter_async_context(Recorder(store)))
        mqtt = MqttSource(
            Broker(self._mosquitto.host, self._mosquitto.port),
            [MqttTopic("grid", MQTT_TOPIC, Reading())],
            on_change=self._on_signal,
            clock=self._time.clock,
        )
        file = SignalFile("peak", self.signal_file, Reading(limits=True, cap_kw=20.0))
        known = await journal.signals(self._time.now - 86_400.0)
        for source in (mqtt, file):
            source.restore(known)
        found = [*market_sources(self._servers), NodeSource(self._facts, refresh_s=60.0), file, mqtt]
        self._loop = ControllerLoop(
            units=UNITS,
            sources=[BusySource(source, self._busy) for source in found],
            actuators=dict(self.units),
            journal=BusyJournal(journal, self._busy),  # type: ignore[arg-type]
            config=CONFIG,
            listener=self.ear,
            clock=self._time.clock,
            sleep=self._time.sleep,
        )
        await self._stack.enter_async_context(_running(mqtt.run()))
        async with asyncio.timeout(SETTLED_S):
            while not mqtt.connected:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.002)
        await self._stack.enter_async_context(_running(self._loop.run()))
        await self._busy.settle()

    async def stop(self) -> None:
        """Tear it down, whatever is under way."""
        await self._stack.aclose()

    async def live_until(self, until: float) -> None:
        """Let time pass, leaping from what is due to what is due next."""
        while True:
            event_at = self._events[0][0] if self._events else float("inf")
            due = min(self._time.next_at(), event_at)
            if due >= until:
                break
            self._time.now = due
            self._servers.catch_up()
            while self._events and self._events[0][0] <= due:
                done = self._events.pop(0)[1](self)
                if done is not None:
                    await done
            self._time.step_to(due)
            await self._busy.settle()
        self._time.step_to(until)

    async def say(self, text: str) -> None:
        """Publish on the signal's topic, and return when the controller has heard it."""
        before = self._heard
        async with aiomqtt.Client(self._mosquitto.host, self._mosquitto.port) as client:
            await client.publish(MQTT_TOPIC, text, qos=1)
        async with asyncio.timeout(SETTLED_S):
            while self._heard == before:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.002)

    def _on_signal(self) -> None:
        self._heard += 1
        self._loop.wake()

    async def _facts(self) -> Facts:
        if self._day.is_down(NODE, self._time.now):
            raise ConnectionRefusedError("no bitcoind answers")
        return self._day.chain(self._time.now)


@contextlib.asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def world_events() -> list[tuple[float, Callable[[Site], Any]]]:
    """What happens besides prices: a cap by file, known beforehand; a pause by MQTT; a unit falls silent, one forgets its mode."""

    def announce(site: Site) -> None:
        rows = "2026-03-29T10:00Z,2026-03-29T11:00Z,15\n"
        site.signal_file.write_text(f"start_utc,end_utc,cap_kw\n{rows}")

    return [
        (clock_time("11:00"), announce),
        (clock_time("13:32"), lambda site: site.say("on")),
        (clock_time("13:53"), lambda site: site.say("off")),
    ]


@contextlib.asynccontextmanager
async def living(folder: Path, day: Day, mosquitto: Mosquitto, start: float) -> AsyncIterator[Site]:
    """A site in the scripted world from `start` on; the controller is not started yet."""
    time = SteppedTime(start)
    with DayServers(day, time.clock) as servers:
        site = Site(folder, day, time, servers, mosquitto)
        site.plan(world_events())
        site.units["a2"].silent = (clock_time("15:13"), clock_time("16:13"))
        site.units["b3"].forgets_at = clock_time("17:42")
        try:
            yield site
        finally:
            await site.stop()
