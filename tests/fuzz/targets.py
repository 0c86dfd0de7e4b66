"""What is fuzzed: functions that take any bytes, and raise nothing unless something is wrong with the server.

`codec` reads them as lines. `session` reads them as a script: steps, parted by the byte 0xfe, which no text holds. The first
one furnishes the house (see `furnished`); of each other one the first byte is a peer, the second tells what happens (see the
table of steps in play.py), the rest is an argument. `pool` (pool.py) reads them as a script of another kind, for our own client. Bytes
that mean nothing mean something all the same: no input is lost.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any, Final

from miner.chain.difficulty import target_of_difficulty
from miner.kernel import Tally
from miner.stratum import fields, v1
from tests.fuzz.play import MOST_STEPS, STEP_ENDS, Play, furnished, said
from tests.fuzz.pool import pool

# ---- Codec ---------------------------------------------------------------------------------------------------


def codec(data: bytes) -> None:
    """Lines are read, or refused with the error that is meant for it; what was read can be written, and read again."""
    for line in data.split(b"\n"):
        try:
            message = v1.parse_line(line)
        except v1.ProtocolError as error:
            _one_line(v1.error(error.id, v1.OTHER, str(error)))
            continue
        match message:
            case v1.Request(id=request_id, method=method, params=params):
                answer = v1.parse_line(_one_line(v1.result(request_id, params)))
                assert isinstance(answer, v1.Response)
                assert answer.id == request_id
                assert answer.result == params
                again = v1.parse_line(_one_line(v1.request(7, method, params)))
                assert again == v1.Request(b"7", method, params)
                _fields(method, params)
            case v1.Notification(method=method, params=params):
                assert v1.parse_line(_one_line(v1.notification(method, params))) == message
                _fields(method, params)
            case v1.Response(id=request_id, result=result):
                _one_line(v1.result(request_id, result))


def _one_line(line: bytes) -> bytes:
    """A line that was written: JSON, and one line."""
    assert len(said(line)) == 1
    return line[:-1]


def _fields(method: str, params: list[Any]) -> None:
    """Every parser of params, whatever the method: only the errors that are meant for it."""
    fields.parse_subscribe(params)
    asked = fields.parse_configure(params)
    assert 0 <= asked.mask < 2**32
    v1.error(b"1", v1.OTHER, fields.printable(method))
    for parse in (fields.parse_submit, fields.parse_authorize, fields.parse_difficulty, fields.parse_target):
        try:
            read = parse(params)
        except fields.CallError as error:
            _one_line(v1.error(b"1", error.code, str(error)))
            continue
        if isinstance(read, float):
            target_of_difficulty(v1.wire_difficulty(read))
            assert json.loads(v1.difficulty_text(v1.wire_difficulty(read))) == v1.wire_difficulty(read)
        if isinstance(read, tuple) and len(read) == 2:
            fields.password_difficulty(read[1])
    try:
        notify = v1.parse_notify(params)
    except v1.ProtocolError:
        return
    message = v1.parse_line(notify.line()[:-1])
    assert isinstance(message, v1.Notification)
    assert v1.parse_notify(message.params) == notify


# ---- Session: both ways --------------------------------------------------------------------------------------


@dataclass
class Summary:
    """What a script came to, for those who look whether scripts reach anything."""

    credited: int = 0
    lines: int = 0
    closed: set[str] = field(default_factory=set)


def session(data: bytes) -> Summary:
    """The script played on two houses, one of which judges by the C core: the same bytes come out of both."""
    first, *steps = data.split(STEP_ENDS)
    script = furnished(first)
    plays = [Play(script, is_fast=is_fast) for is_fast in (False, True)]
    for step in steps[:MOST_STEPS]:
        for play in plays:
            play.step(step)
    slow, fast = plays
    if script.is_exact:
        for by_python, by_core in zip(slow.told, fast.told, strict=True):
            assert by_python == by_core
    for play in plays:
        play.end()
    if script.is_exact:
        assert slow.house.records == fast.house.records
        for unit, twin in zip(slow.house.roster, fast.house.roster, strict=True):
            _check_tallies(unit.tally, twin.tally)
    return Summary(
        fast.credited,
        sum(output.data.count(b"\n") for _, output in fast.told),
        {o.close for _, o in fast.told},
    )


def _check_tallies(by_python: Tally, by_core: Tally) -> None:
    """The same was counted; C rounds a hash's difficulty at other places than Python."""
    assert by_python.accepted == by_core.accepted
    assert by_python.work == by_core.work
    assert by_python.last_share_at == by_core.last_share_at
    assert by_python.rejections == by_core.rejections
    assert math.isclose(by_python.best_difficulty, by_core.best_difficulty, rel_tol=1e-12)


TARGETS: Final = {"codec": codec, "session": session, "pool": pool}
