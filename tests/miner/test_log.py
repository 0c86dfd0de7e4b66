import json
import logging
import sys

from miner.log import JsonFormatter, TextFormatter


def record(event: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"msg": event, "levelname": "WARNING", "name": "miner.node", "created": 0.25, "msecs": 250.0}
    )
    made.__dict__.update(fields)
    return made


def test_an_event_is_one_line_of_text_with_its_fields() -> None:
    line = TextFormatter().format(record("node_down", node="a", error="no answer", seconds=1.5))
    assert line == '1970-01-01T00:00:00.250Z warning  node_down node=a error="no answer" seconds=1.5'


def test_text_from_outside_cannot_forge_a_second_line() -> None:
    line = TextFormatter().format(record("share_rejected", user="x\n1970-01-01 critical block_lost"))
    assert "\n" not in line


def test_an_event_is_one_json_object() -> None:
    line = json.loads(JsonFormatter().format(record("node_down", node="a", raw=b"\x00")))
    assert line == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "miner.node",
        "event": "node_down",
        "node": "a",
        "raw": "b'\\x00'",
    }


def test_an_exception_is_told_with_its_event() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        failed = record("thread_failed", exc_info=sys.exc_info())
    assert "ValueError: broken" in TextFormatter().format(failed)
    assert "ValueError: broken" in json.loads(JsonFormatter().format(failed))["exception"]
