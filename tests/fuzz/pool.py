"""A pool that says anything: a script played to two client's sessions, one of which gets its words in small pieces.

Steps are parted by the byte 0xfe. The first one says who we are (see `_LOGINS`); of each other one the first byte tells what
happens (see `PoolPlay.step`), the rest is an argument; what means nothing is a line that the pool says.
"""

from typing import Final

from miner.chain.difficulty import MAX_TARGET
from miner.stratum import v1
from miner.stratum.client_session import LONGEST_LINE, ClientSession
from miner.stratum.pool_events import (
    Answered,
    ClientOutput,
    Event,
    Failed,
    LoggedIn,
    Message,
    PoolAccepted,
    PoolLogin,
    PoolRejected,
    PoolSilent,
    PoolSubmission,
    Redirected,
    Work,
)
from miner.stratum.pool_fields import LONGEST_EXTRANONCE, LONGEST_TEXT, LONGEST_WAIT_S
from tests.fuzz.play import MOST_PIECES, MOST_STEPS, STEP_ENDS, said

CAN_ROLL: Final = 0x1FFFE000
HOST: Final = "eu.pool.example"
GREETING: Final = (
    b'{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}\n'
    b'{"id":2,"result":[[],"0a0b0c0d",8],"error":null}\n'
    b'{"id":3,"result":true,"error":null}\n'
)
"""What lets us in, where the first step does not want otherwise."""
JOB: Final = (
    b'{"id":null,"method":"mining.notify","params":["bf","' + b"00" * 32 + b'","01","02",[],"20000000","1d00ffff",'
    b'"6553f3bc",true]}\n'
)  # fmt: skip
_LOGINS: Final = tuple(
    PoolLogin("account", "x", "hashmill", mask, worker_names=with_names)
    for with_names in (False, True)
    for mask in (CAN_ROLL, 0)
)
_WORKERS: Final = ("", "rig", "rig2")
_LONGEST_WHY: Final = 500
_LONGEST_FLOOD: Final = LONGEST_LINE + 5000


class PoolPlay:
    """One session, what it said, and what must be true of it all the while. Of the pool's words it gets `size` bytes at once."""

    def __init__(self, login: PoolLogin, size: int) -> None:
        self.now = 1000.0
        self.size = size
        self.session = ClientSession(login, self.now, host=HOST)
        self.heard: list[bytes] = []
        """What it wrote."""
        self.events: list[Event] = []
        self.is_closed = False
        self.tokens = 0
        self.requests = 0
        self.sent: dict[bytes, int] = {}
        """Tokens of the shares it wrote, by the id of the request."""
        self.granted: set[bytes] = set()
        """Ids to which the pool said yes."""
        self.rest = b""
        self._written(self.session.start(self.now))

    # ---- Steps -----------------------------------------------------------------------------------------------

    def step(self, step: bytes) -> None:
        """One thing that happens."""
        kind, argument = step[:1], step[1:]
        value = int.from_bytes(argument[:2], "big")
        match kind:
            case b"s":  # a share is found
                self.submit(_WORKERS[value % len(_WORKERS)], value >> 8)
            case b"t":  # up to a minute goes by
                self.now += value / 1024
                self._take(self.session.tick(self.now))
            case b"r":  # bytes, without an end
                self.say(argument)
            case b"b":  # a flood of them
                self.say((argument[2:] * (value % 4096))[:_LONGEST_FLOOD])
            case b"n":  # a line many times
                self.say((argument[1:] + b"\n") * (1 + (value >> 8) % 40))
            case b"e":
                self.end()
            case b"l":
                self.say(argument + b"\n")
            case _:
                self.say(step + b"\n")

    def say(self, data: bytes) -> None:
        """The pool says this."""
        size = max(self.size, len(data) // MOST_PIECES)
        for start in range(0, len(data), size):
            self._overhear(data[start : start + size])
            self._take(self.session.receive(data[start : start + size], self.now))

    def submit(self, worker: str, bits: int) -> None:
        """A share, whose nonce is its token."""
        if self.session.is_logged_in and not self.session._has_ended:
            self.tokens += 1
            share = PoolSubmission(worker, "bf", bytes(8), 0x6553F3BC, self.tokens, bits << 13 or None)
            self._written(self.session.submit(share, self.tokens, self.now))

    def end(self) -> None:
        """The connection ends."""
        self._events(self.session.end("gone", self.now))
        self.is_closed = True

    # ---- What must be true -----------------------------------------------------------------------------------

    def _overhear(self, data: bytes) -> None:
        """Note what the pool says yes to."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            try:
                message = v1.parse_line(line)
            except v1.ProtocolError:
                continue
            if isinstance(message, v1.Response) and message.result is True and not message.error:
                self.granted.add(message.id.strip(b'"').lstrip(b"0"))

    def _take(self, output: ClientOutput) -> None:
        if self.is_closed:
            assert output == ClientOutput(close=True)
            return
        self._written(output.data)
        self._events(output.events)
        self.is_closed = output.close
        assert self.is_closed or len(self.session._rest) <= LONGEST_LINE

    def _written(self, data: bytes) -> None:
        assert not (self.is_closed and data)
        self.heard.append(data)
        for line in said(data):
            if line.method is None:
                continue
            self.requests += 1
            assert int(line.id) == self.requests
            if line.method == "mining.submit":
                token = int(line.params[4], 16)
                assert token not in self.sent.values()  # a share goes up once
                assert len(line.params) == 5 or int(line.params[5], 16) & ~CAN_ROLL == 0
                self.sent[bytes(line.id)] = token

    def _events(self, events: list[Event]) -> None:
        self.events += events
        for event in events:
            match event:
                case Answered(token=token, verdict=verdict, took_s=took_s):
                    assert took_s >= 0
                    assert isinstance(verdict, PoolSilent) or token in self.sent.values()
                    if isinstance(verdict, PoolAccepted):
                        assert token in {self.sent.get(request) for request in self.granted}
                    if isinstance(verdict, PoolRejected):
                        assert verdict.text.isprintable()
                        assert 0 < len(verdict.text) <= LONGEST_TEXT
                case Work():
                    assert self.session.is_logged_in
                    assert event.difficulty > 0
                    assert 0 < event.share_target <= MAX_TARGET
                    assert len(event.extranonce1) <= LONGEST_EXTRANONCE
                    assert 0 <= event.extranonce2_size <= LONGEST_EXTRANONCE
                    assert (event.version_mask or 0) & ~CAN_ROLL == 0
                case Failed(why=text) | Message(text=text):
                    assert text.isprintable()
                    assert 0 < len(text) <= _LONGEST_WHY
                case Redirected():
                    assert not event.host or event.host.endswith("pool.example")
                    assert 0 <= event.port < 2**16
                    assert 0 <= event.wait_s <= LONGEST_WAIT_S
                case LoggedIn():
                    assert sum(isinstance(other, LoggedIn) for other in self.events) == 1

    def finish(self) -> None:
        """Whatever was said: a good job is mined if the connection stands, and every share has been answered once."""
        self.say(b"\n")  # the end of a line that had none
        if not self.is_closed and self.session.is_logged_in:
            before = len(self.events)
            self.say(JOB)
            (work,) = self.events[before:]
            assert isinstance(work, Work)
            assert work.notify.job_id == "bf"
            self.submit("", 0)
        self.end()
        answered = [event.token for event in self.events if isinstance(event, Answered)]
        assert sorted(answered) == list(range(1, self.tokens + 1))
        works = [event for event in self.events if isinstance(event, Work)]
        assert not works or works[0].notify.clean


def pool(data: bytes) -> PoolPlay:
    """The script played to two sessions: the same comes out, however the bytes were cut."""
    first, *steps = data.split(STEP_ENDS)
    kind = (first + b"\0")[0]
    plays = [PoolPlay(_LOGINS[kind % len(_LOGINS)], size) for size in (1 << 30, 1 + (kind >> 4))]
    for play in plays:
        if kind & 8 == 0:
            play.say(GREETING)
        for step in steps[:MOST_STEPS]:
            play.step(step)
        play.finish()
    whole, cut = plays
    assert b"".join(whole.heard) == b"".join(cut.heard)
    assert whole.events == cut.events
    assert whole.session.ignored == cut.session.ignored
    return whole
