"""JSON bodies of requests that change something, their fields checked all at once."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from miner.web.problems import FieldProblem, problem

MAX_BODY_BYTES: Final = 16 * 1024
LONGEST_TEXT: Final = 200
LONGEST_S: Final = 366 * 86_400.0
"""Nothing reaches farther: a time beyond is a slip, such as milliseconds for seconds."""

JSON_TYPE: Final = "application/json"
_TIME: Final = "a time: UTC unix seconds, or ISO 8601 with its offset"
_TOO_FAR: Final = "is more than a year ahead: times are seconds"

T = TypeVar("T")


class BadBodyError(Exception):
    """A body that is not understood, with the status and the faults of its fields to answer with."""

    def __init__(self, status: HTTPStatus, detail: str, errors: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors

    def response(self, request: web.Request) -> web.Response:
        """The problem document."""
        return problem(self.status, self.detail, instance=request.path, errors=self.errors)


async def read_body(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent. Raises BadBodyError; one too large is refused by the server before."""
    if request.content_type != JSON_TYPE:
        raise BadBodyError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send JSON, with the header Content-Type: {JSON_TYPE}"
        )
    try:
        body = msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBodyError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadBodyError(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
    return body


class Fields:
    """Reads the fields of a body at `now` (UTC unix seconds); `check` raises BadBodyError with all that was wrong with them.

    A field that is wrong reads as some value of its type, which nobody sees.
    """

    def __init__(self, body: Mapping[str, Any], known: tuple[str, ...], now: float) -> None:
        self._body = body
        self._now = now
        self._wrong = [
            FieldProblem(name[:LONGEST_TEXT], f"unknown; known are {', '.join(known)}")
            for name in body
            if name not in known
        ]

    def check(self) -> None:
        """Raise BadBodyError where anything was wrong."""
        if self._wrong:
            raise BadBodyError(HTTPStatus.BAD_REQUEST, "the body is not understood", tuple(self._wrong))

    def text(self, name: str, *, needed: bool = False) -> str:
        """Printable text without space around it; empty where it may be left out and is."""

        def read(value: object) -> str:
            if value is None and not needed:
                return ""
            if not (isinstance(value, str) and value.isprintable() and len(value) <= LONGEST_TEXT):
                raise ValueError(f"printable text of up to {LONGEST_TEXT} characters is wanted")
            if needed and not value.strip():
                raise ValueError("must not be empty")
            return value.strip()

        return self._read(name, read, "")

    def number(self, name: str) -> float | None:
        """A number of zero or more; None where it is left out."""

        def read(value: object) -> float | None:
            return None if value is None else _number(value)

        return self._read(name, read, None)

    def start(self) -> float:
        """The time in `start`, now where it is left out or past."""

        def read(value: object) -> float:
            return self._now if value is None else max(self._near(value), self._now)

        return self._read("start", read, self._now)

    def until(self, start: float) -> float:
        """The end: the time in `until`, infinite where that is null, or `minutes` after the start."""
        if "minutes" in self._body and "until" not in self._body:
            return self._read("minutes", lambda value: start + 60.0 * _minutes(value), math.inf)

        def read(value: object) -> float:
            if "minutes" in self._body:
                raise ValueError("is given beside minutes: keep one of them")
            if "until" not in self._body:
                raise ValueError("or minutes is needed: when it ends; null is until it is ended by hand")
            if value is None:
                return math.inf
            if self._near(value) <= start:
                raise ValueError("is over before it begins")
            return self._near(value)

        return self._read("until", read, math.inf)

    def _read(self, name: str, read: Callable[[object], T], instead: T) -> T:
        try:
            return read(self._body.get(name))
        except ValueError as error:
            self._wrong.append(FieldProblem(name, str(error)))
            return instead

    def _near(self, value: object) -> float:
        at = _time(value)
        if at > self._now + LONGEST_S:
            raise ValueError(_TOO_FAR)
        return at


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("a number of zero or more is wanted")
    return float(value)


def _minutes(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_S / 60:
        raise ValueError(f"a number above 0, up to {LONGEST_S / 60:.0f}, is wanted")
    return float(value)


def _time(value: object) -> float:
    """A time in UTC unix seconds."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            moment = at.timestamp() if at.tzinfo is not None else None
        except (ValueError, OverflowError):
            moment = None
        if moment is None:
            raise ValueError(_TIME)
        return moment
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(_TIME)
    return float(value)
