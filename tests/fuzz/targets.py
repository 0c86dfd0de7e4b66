"""What is fuzzed: functions that take any bytes, and raise nothing unless something is wrong with the server.

`codec` reads them as lines. `session` reads them as a script: steps, parted by the byte 0xfe, which no text holds, of which the first furnishes
the house (see `furnished`). A step is a peer (its first byte), what happens (its second, see `Play.steps`), and an argument.
Bytes that mean nothing mean something all the same, so that no input is lost.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from miner.chain.difficulty import target_of_difficulty
from miner.kernel import Tally
from miner.stratum import fields, v1
from miner.stratum.house import Output, Refused
from miner.stratum.rules import PortRules
from tests.fuzz.house import WITNESS, FuzzHouse, Guest, Setting
from tests.miner.stratum.device import EASY, FIXED, Device

STEP_ENDS: Final = b"\xfe"
PEERS: Final = 3
MOST_STEPS: Final = 64
MOST_PIECES: Final = 256
LONGEST_LINE: Final = 2000
"""Bytes that answer one line, beyond those that repeat it: an answer, a difficulty and a job."""
REPEATED: Final = 10
"""Bytes at most that one byte of a line comes back as."""
EARLIEST, LATEST = 0.0, 4e9
"""Unix seconds between which the script may move the clock."""


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
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    msgspec.json.decode(line)
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


# ---- Session: the script -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Furnished:
    """What the first step of a script says of the house."""

    setting: Setting
    rules: PortRules
    is_exact: bool
    """Whether both paths must write the same bytes: vardiff counts chunk by chunk in the core, share by share without it."""


def furnished(first: bytes) -> Furnished:
    """How the house is furnished; every byte that is missing is a zero."""
    kind, limits, tables, places = (first + bytes(4))[:4]
    rules = (
        FIXED,
        PortRules(start_difficulty=EASY, vardiff=False),
        PortRules(start_difficulty=EASY, max_difficulty=1e-3),
        PortRules(start_difficulty=2e-9, min_difficulty=EASY, target_shares_per_minute=600.0),
    )[kind & 3]
    if limits & 1:
        rules = replace(rules, line_limit=256, held_limit=512, idle_timeout_s=100.0)
    if limits & 2:
        rules = replace(rules, lines_before_login=5, workers_limit=2)
    if limits & 4:
        rules = replace(rules, version_mask=0x0000E000)
    setting = Setting(
        duplicates=(4096, 2, 8, 4096)[tables & 3],
        records=(4096, 4096, 2, 8)[tables >> 2 & 3],
        capacity=(6, 2)[places & 1],
    )
    return Furnished(setting, rules, is_exact=kind & 3 < 2)


class Play:
    """A script played on one house, with a witness: a device that behaves, and must get its share credited."""

    def __init__(self, script: Furnished, *, is_fast: bool) -> None:
        self.script = script
        self.house = FuzzHouse(replace(script.setting, is_fast=is_fast))
        self.told: list[tuple[int, Output]] = []
        """Everything that came out, by number of the connection."""
        self.credited = 0
        self.numbers: dict[int, int] = {}
        self.house.new_job(0, 0)
        self.witness = Device(self.house, FIXED, name=WITNESS)  # type: ignore[arg-type]  a house with other walls
        self.post = Guest(self.house, FIXED, self._note)
        self.witness.session = self.post.session
        self.witness.log_in()
        self.peers = [self._connect() for _ in range(PEERS)]
        self.guests = list(self.peers)

    def _connect(self) -> Guest:
        guest = Guest(self.house, self.script.rules, self._note)
        self.numbers[id(guest)] = len(self.numbers)
        return guest

    def _note(self, guest: Guest, output: Output) -> None:
        self.told.append((self.numbers[id(guest)], output))
        self.credited += output.credited
        _check_lines(output.data)
        _check_held(guest)

    # ---- Steps -----------------------------------------------------------------------------------------------

    def step(self, step: bytes) -> None:
        """One thing that happens."""
        which, kind, argument = step[:1] or b"0", step[1:2], step[2:]
        number = which[0] % PEERS
        peer = self.peers[number]
        value = int.from_bytes(argument[:2], "big")
        match kind:
            case b"r":
                peer.hear(argument)
            case b"l":
                peer.hear(argument + b"\n")
            case b"z":
                peer.hear(argument.replace(b"\x01", STEP_ENDS) + b"\n")
            case b"c":  # cut into pieces
                size = max(1 + value % 64, len(argument) // MOST_PIECES)
                for start in range(2, len(argument), size):
                    peer.hear(argument[start : start + size])
                peer.hear(b"\n")
            case b"n":  # the same again and again
                peer.hear((argument[1:] + b"\n") * (1 + int.from_bytes(argument[:1], "big") % 40))
            case b"b":  # very long
                peer.hear(argument[2:] * (value % 600))
            case b"t":
                self.pass_time((value - 0x8000) * 0.25)
            case b"T":
                self.pass_time((value - 0x8000) * 1000.0)
            case b"k":
                self.tick()
            case b"j":
                self.offer(value >> 8 & 1, value & 0xFF)
            case b"p":
                self.offer(value >> 8 & 3, value & 0xFF)
            case b"e":
                self.replace(number)
            case _:
                self.odd_step(peer, kind, argument, value)

    def odd_step(self, peer: Guest, kind: bytes, argument: bytes, value: int) -> None:
        """What happens less often; anything else is a line."""
        session, house = peer.session, self.house
        match kind:
            case b"s":
                asked = session._asking
                outcome = house.decide(asked.name, house.now) if asked and value & 1 == 0 else Refused(20, "no")
                peer.say(session.login_settled(outcome, house.now))
            case b"f":
                peer.say(session.farewell(argument.decode(errors="replace")[:200]))
            case b"v":
                peer.say(session.ask_version())
            case b"m":
                peer.say(session.change_version_mask(int.from_bytes(argument[:4], "big")))
            case b"x":
                self.change_extranonce(peer)
            case b"w":
                house.withdraw()
            case b"q":
                house.is_full = not house.is_full
            case b"g":
                for unit in session.units:
                    unit.gate_reason = "" if unit.gate_reason else "too dear"
            case b"o":
                house.commit()
            case _:
                peer.hear(kind + argument + b"\n")

    def pass_time(self, seconds: float) -> None:
        self.house.now = self.witness.now = min(max(self.house.now + seconds, EARLIEST), LATEST)
        self.tick()

    def tick(self) -> None:
        for peer in self.peers:
            if not peer.is_gone:
                peer.say(peer.session.tick(self.house.now))
        self.house.places.expire(self.house.now)

    def offer(self, tip: int, kind: int) -> None:
        notice = self.house.new_job(tip, kind)
        for peer in self.peers:
            if not peer.is_gone:
                peer.say(peer.session.offer(notice, self.house.now))
        self.witness.hear(self.witness.session.offer(notice, self.house.now))

    def change_extranonce(self, peer: Guest) -> None:
        if peer.place is None or peer.is_gone:
            return
        place = msgspec.structs.replace(peer.place, extranonce1=self.house.extranonces.allocate())
        peer.say(peer.session.change_extranonce(place, self.house.now))

    def replace(self, number: int) -> None:
        """The connection ends, and another comes."""
        self.peers[number].leave()
        self.peers[number] = self._connect()
        self.guests.append(self.peers[number])

    # ---- The end ---------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Whatever happened: the witness mines as before, and the books agree."""
        heard = len(self.witness.lines)
        for guest in self.guests:
            _check_answers(guest)
        self.house.commit()
        self.offer(7, 0)  # a tip of its own, hence a table with room
        assert self.witness.submit(self.witness.share(), id="mine") == ['{"id":"mine","result":true,"error":null}']
        self.credited += self.witness.output.credited
        assert all("result" not in line for line in self.witness.lines[3:heard]), "the witness heard answers of others"
        for guest in self.guests:
            guest.leave()
        self.house.commit()
        self.check_books()

    def check_books(self) -> None:
        """Every credited share is counted once, recorded once, and no hash is credited twice on a tip."""
        house = self.house
        units = list(house.roster)
        assert sum(unit.tally.accepted for unit in units) == self.credited
        blocks = house.desk.blocks if house.setting.records < 64 else 0  # their credit does not wait for room
        assert self.credited - blocks <= len(house.records) <= self.credited
        hashes = [(record[1], record[5]) for record in house.records]
        assert len(set(hashes)) == len(hashes)
        assert all(unit.sessions == 0 for unit in units if unit.name != WITNESS)
        for unit in units:
            assert math.isfinite(unit.tally.work)
            assert unit.tally.work >= 0


def _check_lines(data: bytes) -> None:
    """What is written are whole lines of JSON."""
    assert not data or data.endswith(b"\n")
    for line in data.split(b"\n")[:-1]:
        assert isinstance(msgspec.json.decode(line), dict)


def _check_held(guest: Guest) -> None:
    """What a session keeps of its input, and of its answers, is bounded."""
    session, rules = guest.session, guest.rules
    assert len(session._rest) <= (rules.line_limit if session._asking is None else rules.held_limit)
    assert not session._out
    assert session._credited == 0
    assert len(session._channel.workers) <= rules.workers_limit
    assert len(session.agent) <= fields.LONGEST_AGENT
    assert len(session.hardware) <= fields.LONGEST_AGENT


class _Answer(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"null")
    method: str | None = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def _check_answers(guest: Guest) -> None:
    """Every line was answered once, in order, with its own id; and not with more than is due to it."""
    read, written = b"".join(guest.read), b"".join(guest.written)
    lines = read.split(b"\n")[:-1]
    answers = [_ANSWER.decode(line) for line in written.split(b"\n")[:-1]]
    given = [bytes(answer.id) for answer in answers if answer.method is None]
    session = guest.session
    if session._asking is not None:
        held = session._rest.count(b"\n") + 1  # and the login itself
        lines = lines[:-held]
    expected = list(_expected(lines))
    if guest.is_gone:
        # What came with the line that closed it has no answer; the line may be one that never ended.
        assert given == expected[: len(given)] or [*expected[: len(given) - 1], b"null"] == given
    else:
        assert given == expected
    calls = sum(1 for answer in answers if answer.method is not None)
    assert len(written) <= REPEATED * len(read) + LONGEST_LINE * (len(lines) + calls + 2)


def _expected(lines: list[bytes]) -> Iterator[bytes]:
    """The ids of the answers that these lines are due."""
    for line in lines:
        if not line.strip():
            continue
        try:
            message = v1.parse_line(line)
        except v1.ProtocolError as error:
            yield error.id
            continue
        match message:
            case v1.Request(id=request_id):
                yield request_id
            case v1.Notification():
                yield b"null"


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
        fast.credited, sum(output.data.count(b"\n") for _, output in fast.told), {o.close for _, o in fast.told}
    )


def _check_tallies(by_python: Tally, by_core: Tally) -> None:
    """The same was counted; C rounds a hash's difficulty at other places than Python."""
    assert by_python.accepted == by_core.accepted
    assert by_python.work == by_core.work
    assert by_python.last_share_at == by_core.last_share_at
    assert by_python.rejections == by_core.rejections
    assert math.isclose(by_python.best_difficulty, by_core.best_difficulty, rel_tol=1e-12)


TARGETS: Final = {"codec": codec, "session": session}
