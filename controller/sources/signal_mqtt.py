"""Signals from an MQTT broker: each a topic whose last message says what holds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from controller.sources.base import SourceError
from controller.sources.own_thread import OwnThread
from controller.sources.regular_file import first_line
from controller.sources.signal_windows import Timeline
from controller.validate import CLOCK_SKEW_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from aiomqtt import Client, Message

    from controller.sources.signal_text import Reading
    from controller.ticks import Tick

log = logging.getLogger(__name__)

MISSING: Final = "signals over MQTT need the library aiomqtt: pip install 'hashmill[mqtt]'"
PORT: Final = 1883
TLS_PORT: Final = 8883

CONNECT_LIMIT_S: Final = 10.0
KEEPALIVE_S: Final = 30
FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 60.0
WELL_S: Final = 60.0
"""A connection that held this long was well: after it the rests begin with the shortest again."""
SETTLE_S: Final = 0.5
"""Retained messages come at once: one look waits this long for them."""
FIRST_LIMIT_S: Final = 2.0
"""The first look waits this long for the broker; a broker that is away is not waited for again."""
MAX_BYTES: Final = 64 * 1024
MOST_WAITING: Final = 1_000
LOGIN_CODES: Final = frozenset({4, 5, 134, 135})
REFUSED: Final = 0x80
"""From this code on a broker's answer to a subscription is a refusal."""


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the broker: `ca_file` instead of the system's authorities; a certificate of ours where the broker asks for one."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """The context, its files read now. Raises OSError (ssl.SSLError among them) for a file that cannot be used."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


class _Secrets(NamedTuple):
    """What one connection logs in with."""

    password: str | None
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to log in.

    `password_file` is read at each connection, its first line counts. With a `client_id` the broker keeps a session: messages of QoS 1
    sent while we are away come later.
    """

    host: str
    port: int | None = None
    user: str | None = None
    password_file: Path | None = None
    client_id: str | None = None
    tls: Tls | None = None

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return f"{self.host}:{self.port or (PORT if self.tls is None else TLS_PORT)}"

    def secrets(self) -> _Secrets:
        """What of it is in files, read now; they may be on a share that hangs. Raises OSError, ValueError."""
        return _Secrets(
            None if self.password_file is None else first_line(self.password_file),
            None if self.tls is None else self.tls.context(),
        )


@dataclass(frozen=True, slots=True)
class MqttTopic:
    """A topic without wildcards, the signal it is of, and how its messages are read."""

    signal: str
    topic: str
    reading: Reading


class MqttSource:
    """The source of the signals of one broker; `run` keeps the connection, `read` says what came.

    While the broker is away what it last said holds. Where `run` does not run, as in a preview, `read` looks once, and finds retained
    messages only. `on_change()` is called after each message that changes something, so that nobody waits for the next tick to obey.
    Raises SourceError where the library is not installed.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[MqttTopic],
        *,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        try:
            import aiomqtt  # noqa: PLC0415 - an extra: only who uses it needs it
        except ImportError as error:
            raise SourceError(MISSING) from error
        self._library: Any = aiomqtt
        self.name = f"mqtt {broker.address}"
        self._broker = broker
        self._topics = tuple(topics)
        self._timelines = {each.signal: Timeline(each.signal, self.name) for each in topics}
        self._on_change = on_change
        self._clock = clock
        self._sleep = sleep
        self._running = False
        self._connected = False
        self._trouble = "not connected yet"
        self._unheard = {each.topic for each in topics}
        self._settled = asyncio.Event()
        self._refused: dict[str, str] = {}
        self._heard: dict[tuple[str, str], tuple[str, float]] = {}
        """By topic and signal, its last message that was understood, and when it was said."""
        self._read_at = -math.inf
        self._thread = OwnThread(self.name)

    @property
    def connected(self) -> bool:
        """Whether the broker is there and took the subscriptions."""
        return self._connected

    @property
    def refused(self) -> dict[str, str]:
        """By signal, why its last message was not understood, of those without a good one since."""
        return dict(self._refused)

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from ticks of an earlier run, in the order they were recorded: what a broker said without retaining it holds on."""
        given = list(ticks)
        for timeline in self._timelines.values():
            timeline.restore(given)

    async def run(self) -> None:
        """Keep the connection until cancelled; rests between tries grow to a minute, with jitter."""
        rest_s = FIRST_REST_S
        self._running = True
        try:
            while True:
                began = self._clock()
                await self._stay()
                if self._clock() - began >= WELL_S:
                    rest_s = FIRST_REST_S
                wait_s = rest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads tries, no secret
                log.warning(
                    "mqtt_disconnected",
                    extra={
                        "broker": self._broker.address,
                        "error": self._trouble,
                        "again_in_s": round(wait_s, 1),
                    },
                )
                await self._sleep(wait_s)
                rest_s = min(rest_s * 2, LONGEST_REST_S)
        finally:
            self._running = False

    async def read(self, now: float) -> list[Tick]:
        """The windows in force or to come, and the last one of each signal.

        Raises SourceError where the broker is away and nothing is known.
        """
        trouble: SourceError | None = None
        if not self._running:
            try:
                await self._look()
            except SourceError as error:
                trouble = error
        elif not self._settled.is_set():  # the first decision should know what is retained
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_LIMIT_S):
                    await self._settled.wait()
        if now < self._read_at - CLOCK_SKEW_S:
            self._say_again(now)
        self._read_at = now
        ticks = [
            tick
            for timeline in self._timelines.values()
            for tick in timeline.ticks(now, seen_at=now if self._connected else None)
        ]
        if self._running and not self._connected:
            trouble = SourceError(f"{self._broker.address}: {self._trouble}")
        if trouble is not None and not ticks:
            raise trouble
        return ticks

    def _say_again(self, now: float) -> None:
        """The clock was set back: times in messages may be to come again, and none was said later than now."""
        for each in self._topics:
            heard = self._heard.get((each.topic, each.signal))
            if heard is not None:
                text, said_at = heard[0], min(heard[1], now)
                self._heard[each.topic, each.signal] = (text, said_at)
                self._timelines[each.signal].say(each.reading.windows(text, said_at), now)

    async def _stay(self) -> None:
        """Connect and take messages until the connection is lost; `_trouble` then says why."""
        try:
            async with self._connection() as client:
                await self._subscribe(client)
                self._connected = True
                asyncio.get_running_loop().call_later(SETTLE_S, self._settled.set)
                log.info("mqtt_connected", extra={"broker": self._broker.address})
                async for message in client.messages:
                    self._take(message)
        except Exception as error:  # noqa: BLE001 - whatever the library makes of a broker, the others and the tries go on
            self._trouble = _words(error)
            self._settled.set()
        finally:
            self._connected = False

    async def _look(self) -> None:
        """One connection, for the retained messages."""
        try:
            async with self._connection() as client:
                await self._subscribe(client)
                with contextlib.suppress(TimeoutError):  # a topic without a retained message
                    async with asyncio.timeout(SETTLE_S):
                        while self._unheard:
                            self._take(await anext(aiter(client.messages)))
        except (self._library.MqttError, OSError, ValueError) as error:
            raise SourceError(f"{self._broker.address}: {_words(error)}") from error

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Client]:
        client = self._client(await self._thread.call(self._broker.secrets))
        try:
            async with client:
                yield client
        finally:
            # The library leaves open the socket, with its tasks, of a connection that did not come about or was cut off.
            close = getattr(client._client, "_sock_close", None)  # noqa: SLF001 - there is no public way
            if close is not None:
                close()

    def _client(self, secrets: _Secrets) -> Client:
        broker = self._broker
        client: Client = self._library.Client(
            hostname=broker.host,
            port=broker.port or (PORT if broker.tls is None else TLS_PORT),
            username=broker.user,
            password=secrets.password,
            identifier=broker.client_id if self._running else None,
            clean_session=broker.client_id is None or not self._running,
            keepalive=KEEPALIVE_S,
            timeout=CONNECT_LIMIT_S,
            max_queued_incoming_messages=MOST_WAITING,
            logger=_silent(),
            tls_context=secrets.tls,
        )
        return client

    async def _subscribe(self, client: Client) -> None:
        wanted = list(dict.fromkeys(each.topic for each in self._topics))
        answers = await client.subscribe([(topic, 1) for topic in wanted])
        codes = [answer if isinstance(answer, int) else int(answer.value) for answer in answers]
        for topic, code in zip(wanted, codes, strict=True):
            if code >= REFUSED:
                raise self._library.MqttError(f"the broker refuses the topic {topic}: may this user read it?")

    def _take(self, message: Message) -> None:
        """Hear a message; one that is not understood changes nothing."""
        now = self._clock()
        self._unheard.discard(str(message.topic))
        if not self._unheard:
            self._settled.set()
        changed = False
        for each in self._topics:
            if each.topic != str(message.topic):
                continue
            try:
                text = _text(message.payload)
                said_at = self._said_at(each, text, now) if message.retain else now
                windows = each.reading.windows(text, said_at)
            except ValueError as error:
                self._refused[each.signal] = str(error)
                log.warning(
                    "signal_not_understood",
                    extra={"signal": each.signal, "topic": each.topic, "error": str(error)},
                )
                continue
            self._refused.pop(each.signal, None)
            self._heard[each.topic, each.signal] = (text, said_at)
            timeline = self._timelines[each.signal]
            before = timeline.windows
            timeline.say(windows, now)
            changed = changed or timeline.windows != before
        if changed:
            self._on_change()

    def _said_at(self, topic: MqttTopic, text: str, now: float) -> float:
        """When a message was said that the broker had retained: it sends it at each connection, also long after.

        One that we know was said when we heard it first. From an earlier run only windows are known: where it would have said just
        those, it was said then.
        """
        heard = self._heard.get((topic.topic, topic.signal))
        if heard is not None:
            return heard[1] if heard[0] == text else now
        timeline, longest_s = self._timelines[topic.signal], topic.reading.longest_s
        times = {window.start for window in timeline.windows}
        if math.isfinite(longest_s):
            times |= {window.stop - longest_s for window in timeline.windows}
        for at in sorted((at for at in times if at <= now), reverse=True):
            if math.isfinite(at) and timeline.says(topic.reading.windows(text, at), at):
                return at
        return now


def _text(payload: object) -> str:
    if not isinstance(payload, bytes | bytearray):
        return str(payload if payload is not None else "")
    if len(payload) > MAX_BYTES:
        raise ValueError(f"{len(payload)} bytes are more than {MAX_BYTES}")
    return payload.decode()


def _silent() -> logging.Logger:
    """A logger that says nothing: what matters of the library's words comes back as an error."""
    return logging.Logger("mqtt", logging.CRITICAL + 1)  # noqa: LOG001 - kept out of the tree of loggers


def _words(error: Exception) -> str:
    """What an error says, on one line; never empty."""
    code = getattr(error, "rc", None)
    if getattr(code, "value", code) in LOGIN_CODES:
        return "the broker refuses the login: are user and password_file right?"
    if isinstance(
        error, OSError
    ):  # a file of the password or of TLS: the client makes its own errors of the network's
        return f"{error.filename or 'TLS'}: {error.strerror or error}"
    return " ".join((str(error) or type(error).__name__).split())
