"""The signals as they are configured: from [[signal]] and [mqtt] to the controller's rules and sources of them."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from controller.signals import Action, SignalRule
from controller.sources.base import Source, SourceError
from controller.sources.power_tariff import Hours, Season, Tariff, TariffRule
from controller.sources.signal_file import SignalFile
from controller.sources.signal_inbox import SignalInbox
from controller.sources.signal_mqtt import Broker, MqttSource, MqttTopic, Tls
from controller.sources.signal_schedule import SignalSchedule
from controller.sources.signal_text import Reading
from controller.sources.signal_windows import Restorable, Window
from controller.ticks import Tick
from miner.config_power import hours_of, season_of, weekdays_of
from miner.config_signals import MqttConfig, SignalConfig, SignalWindowConfig
from miner.control_refusals import SourceRefusedError

Record = Callable[[Sequence[Tick]], Awaitable[None]]
DAY_S = 86_400.0


def signal_rules(configured: Iterable[SignalConfig]) -> tuple[SignalRule, ...]:
    """What each signal means."""
    return tuple(
        SignalRule(
            name=signal.name,
            action=Action(signal.action),
            units=None if signal.units is None else frozenset(signal.units),
            cap_kw=signal.cap_kw,
            mode=signal.mode,
            ramp_s=signal.ramp_s,
        )
        for signal in configured
    )


@dataclass(frozen=True, slots=True)
class Signals:
    """Where signals come from: what is posted, and what the configuration names."""

    inbox: SignalInbox
    sources: tuple[Source, ...]
    mqtt: MqttSource | None = None

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from the windows of an earlier run, before anything is read."""
        given = list(ticks)
        for source in self.sources:
            if isinstance(source, Restorable):
                source.restore(given)

    async def run(self) -> None:
        """Keep the connection to the broker until cancelled; without one, return."""
        if self.mqtt is not None:
            await self.mqtt.run()


def signal_sources(
    configured: Sequence[SignalConfig],
    mqtt: MqttConfig | None,
    record: Record,
    *,
    horizon_hours: float = 36.0,
    on_change: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Signals:
    """Every source of signals. `record` makes posted windows durable; `on_change()` hears that one came without being asked for.

    Raises SourceRefusedError where a library is missing.
    """
    inbox = SignalInbox([signal.name for signal in configured], record, on_change=on_change)
    sources: list[Source] = [inbox] if configured else []
    for signal in configured:
        if signal.window:
            sources.append(_schedule(signal, horizon_hours))
        if signal.file is not None:
            sources.append(SignalFile(signal.name, signal.file, _reading(signal)))
    topics = [MqttTopic(signal.name, signal.topic, _reading(signal)) for signal in configured if signal.topic]
    if not topics or mqtt is None:
        return Signals(inbox, tuple(sources))
    try:
        broker = MqttSource(_broker(mqtt), topics, on_change=on_change, clock=clock, sleep=sleep)
    except SourceError as error:
        raise SourceRefusedError(str(error)) from error
    return Signals(inbox, (*sources, broker), broker)


def _reading(signal: SignalConfig) -> Reading:
    return Reading(
        limits=Action(signal.action) is Action.CAP,
        cap_kw=signal.cap_kw,
        path=signal.path,
        longest_s=math.inf if signal.longest_s is None else signal.longest_s,
    )


def _schedule(signal: SignalConfig, horizon_hours: float) -> SignalSchedule:
    recurring = [window for window in signal.window if window.start is None]
    # The lowest limit first: the first rule that holds counts.
    rules = sorted((_rule(signal, window) for window in recurring), key=lambda rule: rule.price)
    return SignalSchedule(
        signal.name,
        hours=Tariff(ZoneInfo(signal.zone or "UTC"), rules) if rules else None,
        fixed=[
            Window(window.start.timestamp(), window.until.timestamp(), _limit(signal, window))
            for window in signal.window
            if window.start is not None and window.until is not None
        ],
        limits=Action(signal.action) is Action.CAP,
        ahead_s=horizon_hours * 3600 + DAY_S / 2,
    )


def _limit(signal: SignalConfig, window: SignalWindowConfig) -> float | None:
    if Action(signal.action) is not Action.CAP:
        return None
    return signal.cap_kw if window.cap_kw is None else window.cap_kw


def _rule(signal: SignalConfig, window: SignalWindowConfig) -> TariffRule:
    limit = _limit(signal, window)
    return TariffRule(
        price=1.0 if limit is None else limit,
        weekdays=frozenset().union(*(weekdays_of(days) for days in window.weekdays)),
        hours=tuple(Hours(*hours_of(hours)) for hours in window.hours),
        seasons=tuple(Season(*season_of(season)) for season in window.seasons),
    )


def _broker(mqtt: MqttConfig) -> Broker:
    tls = Tls(mqtt.ca_file, mqtt.certificate_file, mqtt.key_file) if mqtt.tls else None
    return Broker(mqtt.host, mqtt.port, mqtt.user, mqtt.password_file, mqtt.client_id, tls)
