"""Log lines: one event a line, its fields behind it, as text for people or JSON for machines."""

import json
import logging
import sys
import time
from typing import Literal

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _PLAIN}


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class TextFormatter(logging.Formatter):
    """`time level event key=value ...`; values with spaces are quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of text."""
        fields = " ".join(f"{key}={_text(value)}" for key, value in _fields(record).items())
        line = f"{_stamp(record)} {record.levelname.lower():8s} {record.getMessage()} {fields}".rstrip()
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON object."""
        line: dict[str, object] = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return (
        json.dumps(text)
        if not text or any(c.isspace() or c in '"=' or not c.isprintable() for c in text)
        else text
    )


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Send every event of at least `level` to standard error, where systemd and containers expect a log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
