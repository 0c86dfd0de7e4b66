import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controller.book import TickBook
from controller.signals import Action, active
from controller.sources.signal_mqtt import Broker, Tls
from controller.sources.signal_windows import Window
from controller.ticks import Tick
from controller.validate import MAINNET_RULES
from miner.config_signals import MqttConfig, SignalConfig
from miner.control_signals import Signals, _broker, signal_rules, signal_sources

NOON = 1_795_608_000.0  # 2026-11-25T12:00:00Z, a Wednesday


async def record(_ticks: Sequence[Tick]) -> None:
    """As if it were written."""


def configured(*signals: dict[str, Any]) -> list[SignalConfig]:
    return [SignalConfig.model_validate(signal) for signal in signals]


def sources_of(*signals: dict[str, Any], mqtt: dict[str, Any] | None = None) -> Signals:
    broker = None if mqtt is None else MqttConfig.model_validate(mqtt)
    return signal_sources(configured(*signals), broker, record, clock=lambda: NOON)


def test_a_rule_says_what_the_configuration_says() -> None:
    pause, cap, mode = signal_rules(
        configured(
            {"name": "dr", "action": "pause", "units": ["b", "a"]},
            {"name": "cap", "action": "cap", "cap_kw": 5.0, "ramp_s": 0.0},
            {"name": "eco", "action": "mode", "mode": "eco"},
        )
    )
    assert (pause.action, pause.units, pause.ramp_s) == (Action.PAUSE, frozenset({"a", "b"}), 600.0)
    assert (cap.action, cap.cap_kw, cap.ramp_s) == (Action.CAP, 5.0, 0.0)
    assert (mode.action, mode.mode) == (Action.MODE, "eco")


def test_without_signals_there_is_nothing_to_read() -> None:
    signals = sources_of()
    assert (signals.sources, signals.mqtt, signals.inbox.names) == ((), None, frozenset())


async def test_windows_of_the_configuration_are_in_force_by_the_clock_on_the_wall_the_lowest_limit_first() -> (
    None
):
    signal = {
        "name": "peak",
        "action": "cap",
        "cap_kw": 500.0,
        "zone": "Europe/Berlin",
        "window": [
            {"weekdays": ["mon-fri"], "hours": ["12:00-20:00"]},
            {"hours": ["17:00-19:00"], "seasons": ["11-01..03-31"], "cap_kw": 200.0},
            {"start": "2026-11-25T22:00:00Z", "until": "2026-11-25T23:00:00Z", "cap_kw": 0.0},
        ],
    }
    signals, rules = sources_of(signal), signal_rules(configured(signal))
    book = TickBook(MAINNET_RULES)
    for rank, source in enumerate(signals.sources):
        book.admit(await source.read(NOON), rank, NOON)
    limits = {hour: active(book.ticks(), rules, NOON + 3600 * (hour - 13)) for hour in range(13, 25)}
    assert {hour: tuple(each.cap_kw for each in found) for hour, found in limits.items() if found} == {
        **dict.fromkeys((13, 14, 15, 16, 19), (500.0,)),
        **dict.fromkeys((17, 18), (200.0,)),
        23: (0.0,),
    }


async def test_a_file_a_topic_and_the_webhook_may_all_say_the_same_signal(tmp_path: Path) -> None:
    file = tmp_path / "dr"
    signals = sources_of(
        {"name": "dr", "action": "pause", "file": str(file), "topic": "utility/dr", "longest_s": 60.0},
        mqtt={"host": "127.0.0.1", "port": 1},
    )
    names = [source.name for source in signals.sources]
    assert names == ["webhook", "file dr", "mqtt 127.0.0.1:1"]
    assert signals.mqtt is signals.sources[2]
    await signals.inbox.post("dr", Window(NOON, math.inf), NOON)
    assert len(await signals.sources[0].read(NOON)) == 1


async def test_what_an_earlier_run_said_is_handed_to_every_source(tmp_path: Path) -> None:
    signal = {"name": "dr", "action": "pause", "file": str(tmp_path / "dr")}
    signals = sources_of(signal)
    told = [
        Tick("signal:dr", 1.0, "1", NOON, math.inf, NOON, source) for source in ("webhook", "file dr", "gone")
    ]
    signals.restore(told)
    assert [await source.read(NOON + 5) for source in signals.sources] == [[told[0]], [told[1]]]
    await signals.run()  # there is no broker to keep a connection to


def test_a_broker_is_as_configured() -> None:
    plain = MqttConfig.model_validate({"host": "a", "user": "b", "client_id": "c"})
    assert _broker(plain) == Broker("a", user="b", client_id="c")
    secure = MqttConfig.model_validate({"host": "a", "tls": True, "ca_file": "/ca.pem"})
    assert _broker(secure).tls == Tls(Path("/ca.pem"))
