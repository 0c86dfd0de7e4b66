"""Both ends of a session in tests: a house with a real job book, and a device that mines what it is sent with hashlib alone."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from miner.kernel import ShareBuffer, SubmitTaker, Tally
from miner.stratum.house import Granted, Output, Refused, Subscription, Taker, Waiting
from miner.stratum.rules import PortRules
from miner.stratum.server_session import ServerSession
from miner.stratum.v1 import Notice
from miner.work.extranonce import ExtranonceExhaustedError
from miner.work.job import Job, JobBook
from miner.work.roster import HashingUnit
from miner.work.share import Submission, Verdict, judge
from tests.miner.harness import NOW, job

HARD_BITS = 0x1D00FFFF
"""Difficulty 1: no hash of these tests meets it."""
EASY_BITS = 0x207FFFFF
"""Every second hash does."""
EASY = 1e-9
"""A difficulty that every fourth hash meets; on the wire 0.000000001."""
FIXED = PortRules(start_difficulty=EASY, min_difficulty=EASY, max_difficulty=EASY)
PLACE = Subscription(session_id="c0ffee", extranonce1=bytes.fromhex("f000000f"), extranonce2_size=8)
PARAMS = (
    '"a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0",'
    '"02000000010000000000000000000000000000000000000000000000000000000000000000ffffffff17022c01062f746573742f0c",'
    '"feffffff02807c814a00000000220020%s0000000000000000266a24aa21a9ed'
    'e2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf92b010000",'
    '[],"20000000","1d00ffff","6553f3bc"'
)
"""The params of `work("1a2")` between its id and the clean flag, as they stand on the wire; %s is the payout's program."""


def work(job_id: str = "1a2", **changes: Any) -> Job:
    """A job whose blocks are too hard for these tests, unless `bits` says otherwise."""
    return replace(job(job_id), **{"bits": HARD_BITS, **changes})


class NoRate:
    """The hashrate of a unit is nobody's business here."""

    def sample(self, tally: object, now: float, /) -> None: ...


def unit_named(name: str, number: int = 1) -> HashingUnit:
    return HashingUnit(number, name, name, NOW, NOW, Tally(), NoRate())


@dataclass
class OpenHouse:
    """A house that lets everybody in: `logins` and `places` say otherwise; with `is_fast` shares go through the C core."""

    is_fast: bool = False
    current: Job | None = field(default_factory=work)
    logins: dict[str, Refused | Waiting | Granted] = field(default_factory=dict)
    places: list[Subscription] = field(default_factory=list)
    is_full: bool = False
    grace_s: float = 60.0
    now: float = NOW

    def __post_init__(self) -> None:
        self.book = JobBook(self.grace_s)
        self.buffer = ShareBuffer()
        self.units: dict[str, HashingUnit] = {}
        self.asked: list[str | None] = []
        self.taken: list[tuple[Submission, int, Verdict]] = []
        self.notices: dict[str, Notice] = {}
        if self.current is not None:
            self.book.add(self.current, NOW)

    def add(self, job: Job) -> Notice:
        """New work."""
        self.current = job
        self.book.add(job, self.now)
        return self.notice_of(job)

    def notice_of(self, job: Job) -> Notice:
        return self.notices.setdefault(job.id, Notice(job, clean=job.clean))

    # ---- What sessions ask -----------------------------------------------------------------------------------

    def subscribe(self, resume: str | None, _now: float) -> Subscription:
        self.asked.append(resume)
        if self.is_full:
            raise ExtranonceExhaustedError
        return self.places.pop(0) if self.places else PLACE

    def login(self, name: str, _password: str, _now: float) -> Granted | Refused | Waiting:
        return self.logins.get(name) or Granted(self.unit(name))

    def unit(self, name: str) -> HashingUnit:
        return self.units.setdefault(name, unit_named(name, len(self.units) + 1))

    def take(self, submission: Submission, share_target: int) -> Verdict:
        verdict = judge(self.book, submission, share_target, self.now)
        self.taken.append((submission, share_target, verdict))
        return verdict

    def taker(
        self,
        unit: HashingUnit,
        worker: bytes,
        extranonce1: bytes,
        version_mask: int | None,
        payout_script: bytes | None,
    ) -> Taker | None:
        if not self.is_fast:
            return None
        tally = unit.tally
        assert isinstance(tally, Tally)
        return SubmitTaker(
            self.book.board,
            self.buffer,
            tally,
            unit=unit.number,
            worker=worker,
            extranonce1=extranonce1,
            version_mask=version_mask,
            payout_script=payout_script,
        )

    def notice(self) -> Notice | None:
        return self.notice_of(self.current) if self.current else None

    def work_mask(self) -> int | None:
        return self.current.version_mask if self.current else None


def sha256d(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


class Device:
    """A miner on a session: what it says goes in as bytes, and it keeps what the answers tell it to mine.

    It takes the notify's hex apart by itself: header = version, previous hash, merkle root, time, bits and nonce.
    """

    def __init__(
        self, house: OpenHouse | None = None, rules: PortRules = FIXED, now: float = NOW, name: str = "rig"
    ) -> None:
        self.house = house or OpenHouse()
        self.session = ServerSession(self.house, rules, now)
        self.now = now
        self.name = name
        self.output = Output()
        self.lines: list[dict[str, Any]] = []
        self.difficulty = 0.0
        self.params: list[Any] = []
        self.extranonce1 = b""

    # ---- Talking ---------------------------------------------------------------------------------------------

    def send(self, *lines: str | bytes) -> list[str]:
        """Send these lines in one packet; the lines that came back."""
        packet = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
        return self.hear(self.session.receive(packet, self.now))

    def hear(self, output: Output | bytes) -> list[str]:
        """Take what the session wrote as a device does."""
        self.output = Output(output) if isinstance(output, bytes) else output
        said = [line for line in self.output.data.decode().split("\n") if line]
        for line in said:
            self._learn(json.loads(line))
        return said

    def call(self, method: str, *params: Any, id: Any = 1) -> list[str]:  # noqa: A002  the field's name
        return self.send(json.dumps({"id": id, "method": method, "params": params}))

    def log_in(self, password: str = "x") -> list[str]:
        return [
            *self.call("mining.subscribe", "test/1.0", id=1),
            *self.call("mining.authorize", self.name, password, id=2),
        ]

    def offer(self, job: Job) -> list[str]:
        """The house has new work."""
        self.house.now = self.now
        return self.hear(self.session.offer(self.house.add(job), self.now))

    def _learn(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        match line:
            case {"method": "mining.set_difficulty", "params": [difficulty]}:
                self.difficulty = difficulty
            case {"method": "mining.notify", "params": params}:
                self.params = params
            case {"method": "mining.set_extranonce", "params": [extranonce1, _]}:
                self.extranonce1 = bytes.fromhex(extranonce1)
            case {"result": [_, str(extranonce1), int()]}:
                self.extranonce1 = bytes.fromhex(extranonce1)

    # ---- Mining ----------------------------------------------------------------------------------------------

    def share(
        self, *, extranonce2: str = "0000000000000000", bits: int = 0, first: int = 0, good: bool = True
    ) -> list[str]:
        """The params of a submit that meets the difficulty it was told (or not, if it is not to be `good`)."""
        job_id, prev, one, two, branch, version, nbits, ntime, _ = self.params
        root = sha256d(bytes.fromhex(one) + self.extranonce1 + bytes.fromhex(extranonce2 + two))
        for node in branch:
            root = sha256d(root + bytes.fromhex(node))
        words = (prev[i : i + 8] for i in range(0, 64, 8))
        start = (
            (int(version, 16) ^ bits).to_bytes(4, "little")
            + b"".join(bytes.fromhex(word)[::-1] for word in words)
            + root
            + int(ntime, 16).to_bytes(4, "little")
            + int(nbits, 16).to_bytes(4, "little")
        )
        meets = self.meets
        nonce = next(
            n
            for n in range(first, 2**32)
            if meets(sha256d(start + n.to_bytes(4, "little")), nbits, good=good)
        )
        return [self.name, job_id, extranonce2, ntime, f"{nonce:08x}"]

    def meets(self, digest: bytes, nbits: str, *, good: bool) -> bool:
        number = int.from_bytes(digest, "little")
        exponent = bytes.fromhex(nbits)[0] - 3
        if number <= int.from_bytes(bytes.fromhex(nbits)[1:], "big") << 8 * exponent:
            return False  # a block, which is another story
        return (number <= 0xFFFF * 2**208 / self.difficulty) is good

    def submit(self, params: list[str], id: Any = 4) -> list[str]:  # noqa: A002  the field's name
        return self.call("mining.submit", *params, id=id)


def mining(house: OpenHouse | None = None, rules: PortRules = FIXED) -> Device:
    """A device that is logged in."""
    device = Device(house, rules)
    device.log_in()
    return device


MakeDevice = Callable[..., Device]
