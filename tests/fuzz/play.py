"""A script played on one house: what a fuzzer's bytes make happen there, and what must be true all the while."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import msgspec

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


class Said(msgspec.Struct):
    """A line as the other side reads it; the id may be a number that is too large for anybody."""

    id: msgspec.Raw = msgspec.Raw(b"null")
    method: str | None = None
    params: Any = None
    result: Any = None
    error: Any = None


_SAID: Final = msgspec.json.Decoder(Said)


def said(data: bytes) -> list[Said]:
    """What was written: whole lines of JSON."""
    assert not data or data.endswith(b"\n")
    data.decode()
    return [_SAID.decode(line) for line in data.split(b"\n")[:-1]]


# ---- The script -----------------------------------------------------------------------------------------------


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
        self.witness = Device(self.house, FIXED, name=WITNESS)
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
        said(output.data)
        _check_held(guest)

    # ---- Steps -----------------------------------------------------------------------------------------------

    def step(self, step: bytes) -> None:
        """One thing that happens to the peer of the first byte: that of the second byte, or else it says all that follows."""
        which, kind, argument = step[:1] or b"0", step[1:2], step[2:]
        peer = self.peers[which[0] % PEERS]
        act = _STEPS.get(kind)
        if act is None:
            peer.hear(kind + argument + b"\n")
        else:
            act(self, peer, argument, int.from_bytes(argument[:2], "big"))

    def cut(self, peer: Guest, argument: bytes, value: int) -> None:
        """A line in pieces."""
        size = max(1 + value % 64, len(argument) // MOST_PIECES)
        for start in range(2, len(argument), size):
            peer.hear(argument[start : start + size])
        peer.hear(b"\n")

    def settle(self, peer: Guest, _argument: bytes, value: int) -> None:
        """The node's word on a login that waits, or on one that nobody waits for."""
        now, asked = self.house.now, peer.session._asking
        outcome = self.house.decide(asked.name, now) if asked and value & 1 == 0 else Refused(v1.OTHER, "no")
        peer.say(peer.session.login_settled(outcome, now))

    def gate(self, peer: Guest, _argument: bytes, _value: int) -> None:
        """The units of a peer are given no more work; or they are again."""
        for unit in peer.session.units:
            if unit.name != WITNESS:  # anybody may log in under its name
                unit.gate_reason = "" if unit.gate_reason else "too dear"

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

    def offer_again(self, peer: Guest, value: int) -> None:
        """The peer is put on another lane: it is given a job that others have had already."""
        if not peer.is_gone and self.house.notices:
            notice = self.house.notices[value % len(self.house.notices)]
            peer.say(peer.session.offer(notice, self.house.now))

    def answer(self, peer: Guest, value: int) -> None:
        """The pool's word on the share that waited longest; or on none."""
        if peer.is_gone:
            return
        token = next(iter(peer.session.awaited), 0)
        output = Output(peer.session.answered(token, None if value & 1 else (value, "the pool's word \x00")))
        due = [request_id for known, request_id in peer.delayed.items() if known == token]
        assert [bytes(line.id) for line in said(output.data)] == due
        self._note(peer, output)

    def change_extranonce(self, peer: Guest, _argument: bytes, _value: int) -> None:
        """The peer gets another place in the coinbase, if it wants that."""
        if peer.place is None or peer.is_gone:
            return
        place = msgspec.structs.replace(peer.place, extranonce1=self.house.extranonces.allocate())
        peer.say(peer.session.change_extranonce(place, self.house.now))

    def replace(self, peer: Guest) -> None:
        """The connection ends, and another comes."""
        number = self.peers.index(peer)
        peer.leave()
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
        assert self.witness.submit(self.witness.share(), id="mine") == [
            '{"id":"mine","result":true,"error":null}'
        ]
        self.credited += self.witness.output.credited
        assert all("result" not in line for line in self.witness.lines[3:heard]), (
            "the witness heard answers of others"
        )
        for guest in self.guests:
            guest.leave()
        self.house.commit()
        self.check_books()

    def check_books(self) -> None:
        """Every credited share is counted once, recorded once, and no hash is credited twice on a tip."""
        house = self.house
        units = list(house.roster)
        assert sum(unit.tally.accepted for unit in units) == self.credited
        blocks = house.blocks if house.setting.records < 64 else 0  # their credit does not wait for room
        assert self.credited - blocks <= len(house.records) <= self.credited
        hashes = [(record[1], record[5]) for record in house.records]
        assert len(set(hashes)) == len(hashes)
        assert all(unit.sessions == 0 for unit in units if unit.name != WITNESS)
        for unit in units:
            assert math.isfinite(unit.tally.work)
            assert unit.tally.work >= 0


_STEPS: Final[Mapping[bytes, Callable[[Play, Guest, bytes, int], None]]] = MappingProxyType(
    {
        # What it says: as it is; a line; one with the byte that ends steps; in pieces; many times; without an end.
        b"r": lambda _, peer, argument, _value: peer.hear(argument),
        b"l": lambda _, peer, argument, _value: peer.hear(argument + b"\n"),
        b"z": lambda _, peer, argument, _value: peer.hear(argument.replace(b"\x01", STEP_ENDS) + b"\n"),
        b"c": Play.cut,
        b"n": lambda _, peer, argument, value: peer.hear((argument[1:] + b"\n") * (1 + (value >> 8) % 40)),
        b"b": lambda _, peer, argument, value: peer.hear(argument[2:] * (value % 600)),
        # Time: up to a minute, up to a year, forth and back.
        b"t": lambda play, _, _argument, value: play.pass_time((value - 0x8000) / 512),
        b"T": lambda play, _, _argument, value: play.pass_time((value - 0x8000) * 1000.0),
        b"k": lambda play, *_: play.tick(),
        # Work: another job, another tip, none.
        b"j": lambda play, _, _argument, value: play.offer(value >> 8 & 1, value & 0xFF),
        b"p": lambda play, _, _argument, value: play.offer(value >> 8 & 3, value & 0xFF),
        b"w": lambda play, *_: play.house.withdraw(),
        b"y": lambda play, peer, _argument, value: play.offer_again(peer, value),
        b"a": lambda play, peer, _argument, value: play.answer(peer, value),
        # The connection, and what the server does of itself.
        b"e": lambda play, peer, *_: play.replace(peer),
        b"s": Play.settle,
        b"g": Play.gate,
        b"x": Play.change_extranonce,
        b"m": lambda _, peer, argument, _value: peer.say(
            peer.session.change_version_mask(int.from_bytes(argument[:4], "big"))
        ),
        b"v": lambda _, peer, *_rest: peer.say(peer.session.ask_version()),
        b"f": lambda _, peer, argument, _value: peer.say(
            peer.session.farewell(argument.decode(errors="replace")[:200])
        ),
        b"q": lambda play, *_: play.house.toggle_full(),
        b"o": lambda play, *_: play.house.commit(),
    }
)


def _check_held(guest: Guest) -> None:
    """What a session keeps of its input, and of its answers, is bounded."""
    session, rules = guest.session, guest.rules
    assert len(session._rest) <= (rules.line_limit if session._asking is None else rules.held_limit)
    assert not session._out
    assert session._credited == 0
    assert len(session._channel.workers) <= rules.workers_limit
    assert len(session.agent) <= fields.LONGEST_AGENT
    assert len(session.hardware) <= fields.LONGEST_AGENT


def _check_answers(guest: Guest) -> None:
    """Every line was answered once, in order, with its own id; and not with more than is due to it."""
    read, written = b"".join(guest.read), b"".join(guest.written)
    lines = read.split(b"\n")[:-1]
    heard = said(written)
    given = [bytes(answer.id) for answer in heard if answer.method is None]
    session = guest.session
    if session._asking is not None:
        held = session._rest.count(b"\n") + 1  # and the login itself
        lines = lines[:-held]
    expected = list(_in_time(_expected(lines), given, list(guest.delayed.values())))
    if guest.is_gone:
        # What came with the line that closed it has no answer; the line may be one that never ended.
        assert given == expected[: len(given)] or [*expected[: len(given) - 1], b"null"] == given
    else:
        assert given == expected
    calls = len(heard) - len(given)
    assert len(written) <= REPEATED * len(read) + LONGEST_LINE * (len(lines) + calls + 2)


def _in_time(expected: Iterator[bytes], given: list[bytes], delayed: list[bytes]) -> Iterator[bytes]:
    """The expected ids without those whose answers waited for the pool's word, wherever they were."""
    heard = iter([*given, None])
    at = next(heard)
    for request_id in expected:
        if request_id != at and request_id in delayed:
            delayed.remove(request_id)
        else:
            yield request_id
            at = next(heard, None)


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
