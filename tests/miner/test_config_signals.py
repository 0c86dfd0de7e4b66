from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from miner.config_signals import MqttConfig, SignalConfig, SignalWindowConfig


def test_a_signal_needs_a_name_and_an_action_only() -> None:
    signal = SignalConfig.model_validate({"name": "dr", "action": "pause"})
    assert (signal.units, signal.ramp_s, signal.window, signal.topic, signal.file) == (
        None,
        600.0,
        (),
        None,
        None,
    )


def test_a_given_time_has_its_offset() -> None:
    window = SignalWindowConfig.model_validate(
        {"start": "2026-12-01T17:00:00+01:00", "until": datetime(2026, 12, 1, 18, tzinfo=UTC)}
    )
    assert window.start is not None
    assert window.until is not None
    assert (window.until - window.start).total_seconds() == 7200


def test_a_broker_needs_a_host_only() -> None:
    broker = MqttConfig.model_validate({"host": "broker.example"})
    assert (broker.port, broker.user, broker.tls) == (None, None, False)


@pytest.mark.parametrize(
    ("model", "written", "words"),
    [
        (SignalWindowConfig, {"start": "2026-12-01T17:00:00"}, "with its offset"),
        (SignalWindowConfig, {"start": datetime(2026, 12, 1)}, "with its offset"),  # noqa: DTZ001 - as TOML gives it
        (SignalWindowConfig, {"start": "soon"}, "no time like"),
        (SignalWindowConfig, {"hours": ["25:00-26:00"]}, "on no clock"),
        (SignalWindowConfig, {"weekdays": ["mo"]}, "no day"),
        (SignalWindowConfig, {"cap_kw": -1.0}, "greater than or equal to 0"),
        (SignalConfig, {"name": "a/b", "action": "pause"}, "match pattern"),
        (SignalConfig, {"name": "a", "action": "stop"}, "'pause', 'run', 'cap' or 'mode'"),
        (SignalConfig, {"name": "a", "action": "pause", "topic": "utility/#"}, "one topic"),
        (SignalConfig, {"name": "a", "action": "pause", "topic": ""}, "name of a topic"),
        (SignalConfig, {"name": "a", "action": "pause", "zone": "Mars"}, "no time zone"),
        (MqttConfig, {"host": ""}, "at least 1 character"),
        (MqttConfig, {"host": "a", "port": 0}, "greater than or equal to 1"),
        (MqttConfig, {"host": "a", "password": "x"}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_named(model: type[Any], written: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        model.model_validate(written)
