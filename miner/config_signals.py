"""The sections of signals: what each asks of units, where it comes from, and the MQTT broker."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeFloat, PositiveFloat, Strict

from miner.config_power import Hours, Season, Weekdays
from miner.config_values import (
    MODE_NAME,
    FilePath,
    ModeName,
    OptionalFilePath,
    Section,
    TimeZone,
    printable,
)

PORT = 1883
TLS_PORT = 8883
MAX_TOPIC_BYTES = 65_535


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f'"{value[:30]}" is no time like 2026-12-01T17:00:00Z') from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("must be a time with its offset, like 2026-12-01T17:00:00Z")
    return value


def _topic(value: str) -> str:
    if not value or len(value.encode()) > MAX_TOPIC_BYTES or not value.isprintable():
        raise ValueError("must be the name of a topic, like utility/dr")
    if "+" in value or "#" in value:
        raise ValueError(f'"{value[:40]}" must name one topic: + and # stand for many')
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
Topic = Annotated[str, AfterValidator(_topic)]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(printable)]
SignalName = Annotated[str, Field(pattern=MODE_NAME)]


class SignalWindowConfig(Section):
    """When a signal holds by itself: hours of the week, by the clock of `zone`, or one given time from `start` to `until`."""

    weekdays: Annotated[tuple[Weekdays, ...], Strict(strict=False)] = Field(
        default=(), description='Days: ["mon-fri"], ["sat", "sun"]; absent: every day.'
    )
    hours: Annotated[tuple[Hours, ...], Strict(strict=False)] = Field(
        default=(),
        description='Hours: ["17:00-20:00"], over midnight ["22:00-06:00"], which belong to the day they begin on; absent: all day.',
    )
    seasons: Annotated[tuple[Season, ...], Strict(strict=False)] = Field(
        default=(), description='Parts of the year, both days included: ["06-01..09-30"]; absent: all year.'
    )
    start: Moment | None = Field(
        default=None, description="Instead of those: when it begins, with its offset."
    )
    until: Moment | None = Field(default=None, description="And when it ends.")
    cap_kw: NonNegativeFloat | None = Field(
        default=None, description="What it leaves the site; absent: that of the signal."
    )


class SignalConfig(Section):
    """A signal of the grid, a utility or an operator. It goes before profit and overrides, and is obeyed at once. Any signal may be posted to `/api/v1/signals/NAME`; windows, a file and a topic may say it too, and it holds while any of them says so."""

    name: SignalName = Field(description="How it is called in API, logs and decisions.")
    action: Literal["pause", "run", "cap", "mode"] = Field(
        description='"pause": units go off; "run": they hash in whichever mode pays best; "cap": the site draws no more than cap_kw; '
        '"mode": they run in `mode`.'
    )
    units: Annotated[tuple[Text, ...], Strict(strict=False)] | None = Field(
        default=None,
        description="The units it is about, by id; absent: all. Not for a cap, which is the whole site's.",
    )
    cap_kw: NonNegativeFloat | None = Field(
        default=None, description='For "cap": what it leaves the site where it is said without a number.'
    )
    mode: ModeName | None = Field(default=None, description='For "mode": which.')
    ramp_s: NonNegativeFloat = Field(
        default=600.0,
        description='After its end power comes back evenly over this time; 0: at once. Not for "run".',
    )
    longest_s: PositiveFloat | None = Field(
        default=None,
        description="What a message or file says without an end is over after this time, unless it is said again; absent: it holds until "
        '"off" is said.',
    )
    topic: Topic | None = Field(
        default=None,
        description="MQTT topic at the broker of [mqtt] whose last message says whether it holds.",
    )
    file: OptionalFilePath = Field(
        default=None, description="File that says whether it holds, read again when it changes."
    )
    path: Text | None = Field(
        default=None,
        description="Where in JSON of another's making the value stands: `state.curtail`. Absent: the text is in Hashmill's own form.",
    )
    zone: TimeZone | None = Field(default=None, description="Time zone (IANA) of the windows' hours.")
    window: Annotated[tuple[SignalWindowConfig, ...], Strict(strict=False)] = Field(
        default=(), description="When it holds by itself."
    )


class MqttConfig(Section):
    """The MQTT broker of the signals that have a topic. Needs `pip install 'hashmill[mqtt]'`."""

    host: Annotated[str, Field(min_length=1, max_length=253), AfterValidator(printable)] = Field(
        description="The broker's name or address."
    )
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description=f"Its port; absent: {PORT}, with TLS {TLS_PORT}."
    )
    user: Text | None = Field(default=None, description="Name to log in with; absent: none.")
    password_file: OptionalFilePath = Field(
        default=None,
        description="File whose first line is the password, read at each connection; nobody but its owner may read it.",
    )
    client_id: Text | None = Field(
        default=None,
        description="With one of its own, no other client's, the broker keeps what is said while the daemon is away (QoS 1). Absent: only "
        "retained messages are heard at the start.",
    )
    tls: bool = Field(default=False, description="TLS, the broker's certificate checked.")
    ca_file: FilePath | None = Field(
        default=None, description="Certificates to believe instead of the system's authorities (PEM)."
    )
    certificate_file: FilePath | None = Field(
        default=None, description="Certificate to show, where the broker asks for one (PEM)."
    )
    key_file: FilePath | None = Field(default=None, description="Its private key.")
