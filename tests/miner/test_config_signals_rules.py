from pathlib import Path
from typing import Any

import pytest

from miner.config_rules import Draft
from miner.config_signals import MqttConfig, SignalConfig
from miner.config_signals_rules import RULES
from miner.config_units import UnitConfig

SIGNAL = {"name": "dr", "action": "pause"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, mode in (("ca.pem", 0o644), ("key.pem", 0o600), ("password", 0o600), ("open", 0o644)):
        (tmp_path / name).write_text("x\n")
        (tmp_path / name).chmod(mode)
    return tmp_path


def found(folder: Path, *signals: dict[str, Any], mqtt: dict[str, Any] | None = None) -> dict[str, str]:
    """What is found, by key."""
    raw: dict[str, Any] = {"signal": list(signals), "unit": [{"id": "rack1-07"}]}
    draft = Draft(folder / "hashmill.toml", raw, {})
    context = {"folder": folder}
    draft.sections["unit", 0] = UnitConfig(id="rack1-07")
    for position, signal in enumerate(signals):
        draft.sections["signal", position] = SignalConfig.model_validate(signal, context=context)
    if mqtt is not None:
        raw["mqtt"] = mqtt
        draft.sections["mqtt",] = MqttConfig.model_validate(mqtt, context=context)
    findings = [finding for rule in RULES for finding in rule(draft)]
    return {".".join(str(part) for part in finding.path): finding.message for finding in findings}


WELL: list[dict[str, Any]] = [
    SIGNAL,
    {"name": "a", "action": "run", "units": ["cpu", "rack1-07"]},
    {"name": "b", "action": "mode", "mode": "eco"},
    {"name": "c", "action": "cap", "window": [{"hours": ["17:00-20:00"], "cap_kw": 5.0}], "zone": "UTC"},
    {
        "name": "d",
        "action": "cap",
        "cap_kw": 5.0,
        "window": [{"start": "2026-12-01T17:00Z", "until": "2026-12-01T18:00Z"}],
    },
    {"name": "e", "action": "pause", "file": "later", "path": "a[0].b", "longest_s": 60.0},
    {"name": "f", "action": "pause", "topic": "utility/dr"},
]


def test_signals_as_they_should_be_are_well(folder: Path) -> None:
    mqtt = {"host": "a", "user": "site", "password_file": "password", "tls": True}
    files = {"ca_file": "ca.pem", "certificate_file": "ca.pem", "key_file": "key.pem"}
    assert found(folder, *WELL, mqtt={**mqtt, **files}) == {}


@pytest.mark.parametrize(
    ("written", "key", "words"),
    [
        ({"action": "mode"}, "mode", "is missing"),
        ({"mode": "eco"}, "mode", 'for action = "mode", not "pause"'),
        ({"cap_kw": 5.0}, "cap_kw", 'for action = "cap", not "pause"'),
        ({"action": "cap", "cap_kw": 5.0, "units": ["cpu"]}, "units", "whole site's"),
        ({"action": "run", "ramp_s": 5.0}, "ramp_s", "no power comes back"),
        ({"window": [{"cap_kw": 5.0}]}, "window.0.cap_kw", 'for action = "cap"'),
        ({"action": "cap", "window": [{}]}, "window.0", "names no limit"),
        ({"window": [{"start": "2026-12-01T17:00Z"}]}, "window.0.until", "is missing"),
        ({"window": [{"until": "2026-12-01T17:00Z"}]}, "window.0.start", "is missing"),
        (
            {"window": [{"start": "2026-12-01T17:00Z", "until": "2026-12-01T17:00Z"}]},
            "window.0.until",
            "not after start",
        ),
        (
            {
                "zone": "UTC",
                "window": [{"start": "2026-12-01T17:00Z", "until": "2026-12-01T18:00Z", "weekdays": ["mon"]}],
            },
            "window.0.weekdays",
            "come again",
        ),
        ({"window": [{"hours": ["17:00-20:00"]}]}, "zone", "is missing: whose clock"),
        ({"window": [{"seasons": ["06-01..09-30"]}]}, "zone", "is missing: whose clock"),
        ({"units": []}, "units", "names none"),
        ({"units": ["rack9"]}, "units.0", 'no [[unit]] "rack9"'),
        ({"topic": "utility/dr"}, "topic", "there is no [mqtt]"),
        ({"path": "a"}, "path", "for a topic or a file"),
        ({"longest_s": 5.0}, "longest_s", "for a topic or a file"),
        ({"file": "signal", "path": "a b[["}, "path", "cannot be read from"),
        ({"file": "nowhere/signal"}, "file", "does not exist: create it"),
        ({"file": "."}, "file", "is a folder"),
    ],
)
def test_a_signal_that_cannot_be_is_told_what_to_write(
    folder: Path, written: dict[str, Any], key: str, words: str
) -> None:
    problems = found(folder, {**SIGNAL, **written})
    assert list(problems) == [f"signal.0.{key}"]
    assert words in problems[f"signal.0.{key}"]


def test_each_signal_has_a_name_of_its_own(folder: Path) -> None:
    assert found(folder, SIGNAL, SIGNAL) == {"signal.1.name": 'there are two signals "dr"'}


@pytest.mark.parametrize(
    ("written", "key", "words"),
    [
        ({"password_file": "password"}, "user", "whose password"),
        ({"user": "site", "password_file": "open"}, "password_file", "chmod 600"),
        ({"user": "site", "password_file": "none"}, "password_file", "does not exist"),
        ({"ca_file": "ca.pem"}, "ca_file", "set tls = true"),
        ({"tls": True, "ca_file": "none.pem"}, "ca_file", "does not exist"),
        ({"tls": True, "key_file": "key.pem"}, "certificate_file", "whose key"),
        (
            {"tls": True, "certificate_file": "ca.pem", "key_file": "open"},
            "key_file",
            "chmod 600",
        ),
    ],
)
def test_a_broker_that_cannot_be_is_told_what_to_write(
    folder: Path, written: dict[str, Any], key: str, words: str
) -> None:
    problems = found(folder, {**SIGNAL, "topic": "utility/dr"}, mqtt={"host": "a", **written})
    assert list(problems) == [f"mqtt.{key}"]
    assert words in problems[f"mqtt.{key}"]


def test_a_broker_without_a_topic_has_nothing_to_do(folder: Path) -> None:
    assert list(found(folder, SIGNAL, mqtt={"host": "a"})) == ["mqtt"]
