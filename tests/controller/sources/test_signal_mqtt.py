"""Signals over a real broker: on and off, retained, at restarts of either side, with login and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest

from controller.actuators.cpu import CpuActuator
from controller.decisions import Reason
from controller.loop import ControllerLoop, LoopConfig
from controller.policy import PolicyConfig, SiteConfig
from controller.signals import Action, SignalRule
from controller.sources.base import Source, SourceError
from controller.sources.fixed import FixedSource
from controller.sources.signal_mqtt import MAX_BYTES, Broker, MqttSource, MqttTopic, Tls
from controller.sources.signal_text import Reading
from controller.sources.signal_windows import Restorable
from controller.ticks import HASHPRICE, POWER
from controller.units import Unit
from controller.validate import MAINNET_RULES
from tests.controller.loop_rig import CURVE, Cpu, Memory
from tests.miner.stratum.pool_certificates import make_certificate, needs_openssl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from controller.ticks import Tick
    from regtest.mosquitto import Mosquitto

NOW = 1_800_000_000.0
DR = MqttTopic("dr", "utility/dr", Reading())
CAP = MqttTopic("cap", "utility/cap", Reading(limits=True))


@pytest.fixture(autouse=True)
def _short_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback what is retained is there at once."""
    monkeypatch.setattr("controller.sources.signal_mqtt.SETTLE_S", 0.2)


class Site:
    """A source at a broker, whose clock stands still and whose rests are short."""

    def __init__(self, broker: Broker, *topics: MqttTopic) -> None:
        self.now = NOW
        self.changes = 0
        self.rests: list[float] = []
        self.source = MqttSource(
            broker, topics or (DR, CAP), on_change=self.hear, clock=lambda: self.now, sleep=self.rest
        )

    def hear(self) -> None:
        self.changes += 1

    async def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        await asyncio.sleep(0.02)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - of a source that tells nobody
                await asyncio.sleep(0.005)

    async def heard(self, changes: int) -> list[Tick]:
        await self.until(lambda: self.changes >= changes)
        return await self.source.read(self.now)


def held() -> tuple[int, int]:
    """How many files and sockets, and tasks, this process has."""
    return len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())


class Wake:
    """Wakes a loop that is made later."""

    def __init__(self) -> None:
        self.loop: ControllerLoop | None = None

    def __call__(self) -> None:
        if self.loop is not None:
            self.loop.wake()


@contextlib.asynccontextmanager
async def running(broker: Broker, *topics: MqttTopic) -> AsyncIterator[Site]:
    site = Site(broker, *topics)
    task = asyncio.create_task(site.source.run())
    try:
        yield site
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def connected(mosquitto: Mosquitto, **options: Any) -> AsyncIterator[Site]:
    async with running(Broker(mosquitto.host, mosquitto.port, **options)) as site:
        await site.until(lambda: site.source.connected)
        yield site


async def publish(mosquitto: Mosquitto, topic: str, payload: str | bytes, **options: Any) -> None:
    retain = options.pop("retain", False)
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, **options) as client:
        await client.publish(topic, payload, qos=1, retain=retain)


async def test_a_message_is_a_signal_from_then_on_until_the_next(mosquitto: Mosquitto) -> None:
    async with connected(mosquitto) as site:
        assert isinstance(site.source, Source)
        assert isinstance(site.source, Restorable)
        assert await site.source.read(NOW) == []
        await publish(mosquitto, "utility/dr", "on")
        (tick,) = await site.heard(1)
        assert (tick.series, tick.value, tick.valid_from, tick.valid_to) == ("signal:dr", 1.0, NOW, math.inf)
        assert tick.source == f"mqtt 127.0.0.1:{mosquitto.port}"
        site.now += 60
        await publish(mosquitto, "utility/cap", '{"cap_kw": 250, "minutes": 10}')
        assert [(tick.value, tick.unit, tick.valid_to) for tick in await site.heard(2)][1] == (
            250.0,
            "kW",
            NOW + 660,
        )
        await publish(mosquitto, "utility/dr", "off")
        assert (await site.heard(3))[0].valid_to == NOW + 60


async def test_a_retained_message_is_heard_at_the_start_and_the_same_again_changes_nothing(
    mosquitto: Mosquitto,
) -> None:
    await publish(mosquitto, "utility/dr", "on", retain=True)
    async with connected(mosquitto) as site:
        assert len(await site.heard(1)) == 1
        site.now += 60
        await publish(mosquitto, "utility/dr", "on")
        await publish(mosquitto, "utility/cap", "5")
        ticks = await site.heard(2)
        assert [tick.valid_from for tick in ticks] == [NOW, NOW + 60]


async def test_what_is_not_understood_changes_nothing_and_is_told(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(mosquitto) as site:
        await publish(mosquitto, "utility/dr", "on")
        before = await site.heard(1)
        for payload in ("perhaps", b"\xff\xfe", b"x" * (MAX_BYTES + 1), ""):
            await publish(mosquitto, "utility/dr", payload)
        await publish(mosquitto, "utility/cap", "5")
        assert (await site.heard(2))[0] == before[0]
        assert list(site.source.refused) == ["dr"]
        assert sum(record.message == "signal_not_understood" for record in caplog.records) == 4
        await publish(mosquitto, "utility/dr", "off")
        await site.heard(3)
        assert site.source.refused == {}


async def test_when_the_broker_restarts_the_signal_holds_and_what_it_says_then_counts(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(mosquitto) as site:
        await publish(mosquitto, "utility/dr", "on")
        (tick,) = await site.heard(1)
        mosquitto.kill()
        await site.until(lambda: not site.source.connected)
        site.now += 60
        assert await site.source.read(site.now) == [tick]  # observed when it was said, not now
        await site.until(lambda: len(site.rests) >= 3)
        mosquitto.start()
        await site.until(lambda: site.source.connected)
        await publish(mosquitto, "utility/dr", "off")
        assert (await site.heard(2))[0].valid_to == NOW + 60
    assert "mqtt_disconnected" in {record.message for record in caplog.records}


async def test_rests_between_tries_grow_and_none_is_longer_than_a_minute() -> None:
    async with running(Broker("127.0.0.1", 1)) as site:
        await site.until(lambda: len(site.rests) >= 9)
        for power, rest_s in enumerate(site.rests[:9]):
            most_s = min(2.0**power, 60.0)
            assert most_s / 2 <= rest_s <= most_s
        with pytest.raises(SourceError, match=r"127\.0\.0\.1:1: .*refused"):
            await site.source.read(NOW)


async def test_a_broker_that_takes_connections_and_never_answers_costs_no_more_with_each_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("controller.sources.signal_mqtt.CONNECT_LIMIT_S", 0.02)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        async with running(Broker(*silent.getsockname())) as site:
            await site.until(lambda: len(site.rests) >= 3)
            before = held()
            await site.until(lambda: len(site.rests) >= 10)
            assert all(now - then <= 2 for now, then in zip(held(), before, strict=True))
            with pytest.raises(SourceError, match="timed out"):
                await site.source.read(NOW)


async def test_with_a_client_id_what_was_said_while_we_were_away_comes_later(mosquitto: Mosquitto) -> None:
    async with connected(mosquitto, client_id="site-1"):
        pass
    await publish(mosquitto, "utility/dr", "on")
    async with connected(mosquitto, client_id="site-1") as site:
        assert len(await site.heard(1)) == 1


async def test_after_a_restart_a_signal_that_was_not_retained_holds_on(mosquitto: Mosquitto) -> None:
    async with connected(mosquitto) as site:
        await publish(mosquitto, "utility/dr", "on")
        recorded = await site.heard(1)
    again = Site(Broker(mosquitto.host, mosquitto.port))
    again.source.restore(recorded)
    assert await again.source.read(NOW + 60) == recorded


RELATIVE = MqttTopic("dr", "utility/dr", Reading(longest_s=1800))


@pytest.mark.parametrize("said", ["on", '{"minutes": 30}', '{"start": 1799999000}'])
async def test_what_is_retained_is_no_news_at_the_next_connection_nor_after_a_restart(
    mosquitto: Mosquitto, said: str
) -> None:
    async def ends(site: Site, now: float) -> list[float]:
        """Ends of what is said at `now`, as it is after a connection."""
        site.now = now
        task = asyncio.create_task(site.source.run())
        await site.until(lambda: site.source.connected)
        before = site.changes
        await publish(mosquitto, "utility/cap", str(now))  # what was retained came before it
        await site.until(lambda: now in {each.value for each in caps(site)})
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert site.changes > before
        return [each.stop for each in site.source._timelines["dr"].windows]

    broker = Broker(mosquitto.host, mosquitto.port)
    await publish(mosquitto, "utility/dr", said, retain=True)
    site = Site(broker, RELATIVE, CAP)
    assert await ends(site, NOW) == [NOW + 1800]
    ticks = site.source._timelines["dr"].ticks(NOW)
    for seconds in (1200, 2400, 3600):
        restarted = Site(broker, RELATIVE, CAP)
        restarted.source.restore(ticks)
        assert await ends(site, NOW + seconds) == [NOW + 1800]
        assert await ends(restarted, NOW + seconds) == [NOW + 1800]
        assert restarted.source._timelines["dr"].ticks(NOW + seconds) == ticks
    # Another message is news, and after it the same one again.
    await publish(mosquitto, "utility/dr", "off", retain=True)
    assert await ends(site, NOW + 4800) == [NOW + 1800]
    await publish(mosquitto, "utility/dr", said, retain=True)
    assert await ends(site, NOW + 4860) == [NOW + 1800, NOW + 6660]


def caps(site: Site) -> list[Tick]:
    return site.source._timelines["cap"].ticks(site.now)


async def test_what_is_sent_again_while_we_hear_it_counts_from_then(mosquitto: Mosquitto) -> None:
    async with running(Broker(mosquitto.host, mosquitto.port), RELATIVE) as site:
        await site.until(lambda: site.source.connected)
        for changes in (1, 2):
            await publish(mosquitto, "utility/dr", '{"minutes": 30}', retain=True)
            assert (await site.heard(changes))[-1].valid_to == site.now + 1800
            site.now += 60


async def test_after_the_clock_was_set_back_messages_without_times_hold_and_times_are_as_they_are_named(
    mosquitto: Mosquitto,
) -> None:
    async with connected(mosquitto) as site:
        await publish(mosquitto, "utility/dr", "on")
        await publish(mosquitto, "utility/cap", f'{{"start": {NOW - 60}, "until": {NOW + 900}, "cap_kw": 5}}')
        await site.heard(2)
        site.now = NOW - 3600
        await site.source.read(site.now)
        timelines = site.source._timelines
        assert [window.start for window in timelines["dr"].windows] == [NOW - 3600]
        assert [window.start for window in timelines["cap"].windows] == [NOW - 60]
        await publish(mosquitto, "utility/dr", "off")
        await site.heard(3)
        await site.source.read(site.now + 60)
        assert timelines["dr"].windows == ()


async def test_the_first_look_waits_for_what_is_retained_and_for_a_broker_that_is_away_only_shortly(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(mosquitto, "utility/dr", "on", retain=True)
    async with running(Broker(mosquitto.host, mosquitto.port), DR) as site:
        await asyncio.sleep(0)
        assert len(await site.source.read(NOW)) == 1
    monkeypatch.setattr("controller.sources.signal_mqtt.FIRST_LIMIT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with running(Broker(*silent.getsockname())) as site:
            await asyncio.sleep(0)
            with pytest.raises(SourceError, match="not connected yet"):
                await site.source.read(NOW)
    gc.collect()


async def test_a_preview_looks_once_for_what_is_retained(mosquitto: Mosquitto) -> None:
    broker = Broker(mosquitto.host, mosquitto.port)
    await publish(mosquitto, "utility/cap", "5", retain=True)
    assert [tick.value for tick in await Site(broker, CAP).source.read(NOW)] == [5.0]
    assert await Site(broker, DR).source.read(NOW) == []
    mosquitto.stop()
    with pytest.raises(SourceError, match="refused"):
        await Site(broker, CAP).source.read(NOW)


async def test_a_user_logs_in_with_the_password_of_a_file(
    mosquitto_factory: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto_factory(
        users={"site": "s3cret", "utility": "u"},
        acl=["user utility", "topic readwrite #", "user site", "topic read utility/#"],
    )
    password = tmp_path / "password"
    password.write_text("wrong\n")
    login = Broker(broker.host, broker.port, "site", password)
    with pytest.raises(SourceError, match="refuses the login: are user and password_file right") as refused:
        await Site(login).source.read(NOW)
    assert "wrong" not in str(refused.value)
    password.write_text("s3cret\n")
    async with running(login) as site:
        await site.until(lambda: site.source.connected)
        await publish(broker, "utility/dr", "on", username="utility", password="u")
        assert len(await site.heard(1)) == 1
    password.unlink()
    with pytest.raises(SourceError, match="password: No such file"):
        await Site(login).source.read(NOW)


# The client's library leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs_openssl
async def test_the_broker_shows_a_certificate_that_is_believed_or_there_is_no_connection(
    mosquitto_factory: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    broker = mosquitto_factory(tls=(certificate, key))
    with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
        await Site(Broker(broker.host, broker.port, tls=Tls())).source.read(NOW)
    gc.collect()
    trusting = Broker(broker.host, broker.port, tls=Tls(ca_file=certificate))
    assert await Site(trusting).source.read(NOW) == []
    with pytest.raises(SourceError, match="No such file"):
        await Site(Broker(broker.host, broker.port, tls=Tls(ca_file=tmp_path / "none"))).source.read(NOW)


def test_secrets_are_read_from_their_files_at_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "password"
    broker = Broker("a", user="ana", password_file=file)
    for text in ("one\nmore\n", "two"):
        file.write_text(text)
        assert broker.secrets() == (text[:3], None)
    assert Broker("a").secrets() == (None, None)


async def test_a_password_file_that_hangs_costs_one_thread_and_the_loop_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr("controller.sources.signal_mqtt.first_line", lambda _: str(let_go.wait(30)))
    monkeypatch.setattr("controller.sources.own_thread.OwnThread.call.__defaults__", (0.05,))
    broker = Broker("localhost", 1, password_file=tmp_path / "password")
    async with running(broker) as site:
        await site.until(lambda: len(site.rests) > 3)
        with pytest.raises(SourceError, match="localhost:1: still reading"):
            await site.source.read(NOW)
        assert [thread.name for thread in threading.enumerate()].count(site.source.name) == 1
        let_go.set()


async def test_a_pipe_as_password_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    broker = Broker("localhost", 1, password_file=tmp_path / "pipe")
    with pytest.raises(SourceError, match="localhost:1: it is no regular file"):
        await Site(broker).source.read(NOW)


def test_the_port_is_that_of_mqtt_or_of_mqtt_over_tls() -> None:
    assert Broker("a").address == "a:1883"
    assert Broker("a", tls=Tls()).address == "a:8883"
    assert Broker("a", 5, tls=Tls()).address == "a:5"


def test_where_the_library_is_missing_that_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    with pytest.raises(SourceError, match=r"pip install 'hashmill\[mqtt\]'"):
        MqttSource(Broker("a"), (DR,))


async def test_a_message_turns_a_unit_off_at_once_though_the_next_tick_is_an_hour_away(
    mosquitto: Mosquitto,
) -> None:
    cpu, waking = Cpu(), Wake()
    source = MqttSource(Broker(mosquitto.host, mosquitto.port), (DR,), on_change=waking)
    loop = ControllerLoop(
        units=[Unit("cpu", CURVE, min_on_s=3600)],
        sources=[source, FixedSource({HASHPRICE: 48.0, POWER: 0.01})],
        actuators={"cpu": CpuActuator("cpu", cpu)},
        journal=Memory(),
        config=LoopConfig(
            policy=PolicyConfig(
                rules=MAINNET_RULES, dry_run=False, site=SiteConfig(signals=(SignalRule("dr", Action.PAUSE),))
            ),
            tick_s=3600,
        ),
    )
    waking.loop = loop
    tasks = [asyncio.create_task(source.run()), asyncio.create_task(loop.run())]
    try:
        async with asyncio.timeout(10):
            while not (source.connected and loop.last_view is not None):  # noqa: ASYNC110 - they tell nobody
                await asyncio.sleep(0.01)
            assert cpu.mode == "full"
            await publish(mosquitto, "utility/dr", "on")
            began = asyncio.get_running_loop().time()
            while cpu.mode != "off":  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.005)
            assert asyncio.get_running_loop().time() - began < 3
        assert loop.last_view is not None
        assert loop.last_view.decisions["cpu"].reason is Reason.SIGNAL
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
