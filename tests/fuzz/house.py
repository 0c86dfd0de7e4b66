"""A whole server for the fuzzer but for its sockets: desk, book, roster and places are the real ones, the clock is the script's."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from miner.desk import Desk, PoolFind
from miner.kernel import RECORD, ShareBuffer
from miner.stratum.house import (
    Granted,
    LoginOutcome,
    Output,
    Refused,
    Resumable,
    Subscription,
    Taker,
    Waiting,
)
from miner.stratum.places import Places
from miner.stratum.rules import PortRules
from miner.stratum.server_session import ServerSession
from miner.stratum.v1 import OTHER, UNAUTHORIZED, Notice
from miner.work.claims import BlockClaims, BlockFind
from miner.work.extranonce import ExtranonceAllocator, ExtranonceExhaustedError
from miner.work.job import Job, UpstreamWork
from miner.work.layout import Layout
from miner.work.roster import HashingUnit, Roster, RosterError
from miner.work.share import Block, Pending, Submission, Verdict
from miner.work.shelf import Shelf
from tests.miner.harness import NOW
from tests.miner.stratum.device import EASY_BITS, HARD_BITS, work

FIRST_SERIAL: Final = 0x1A2
OWN_SCRIPT: Final = b"\x51\x20" + b"\x07" * 32
MOST_UNITS: Final = 6
KEPT_NOTICES: Final = 8
WITNESS: Final = "witness"


class UnsentDesk(Desk):
    """A desk whose blocks go nowhere."""

    def _send(self, _found: BlockFind) -> None:
        pass


def _desk() -> UnsentDesk:
    nothing = cast("Any", None)
    return UnsentDesk(
        nothing, nothing, nothing, nothing, nothing,
        on_credit=lambda _unit, _credited: None, on_solved=lambda: None, on_reopened=lambda: None, clock=lambda: NOW,
    )  # fmt: skip


_DESK: Final = _desk()  # its buffer of 4 MB is made once: copies of it get their own, smaller one


@dataclass(frozen=True)
class Setting:
    """How a house is furnished."""

    is_fast: bool = False
    duplicates: int = 4096
    records: int = 1 << 16
    capacity: int = 6
    extranonces: int = 256


class FuzzHouse:
    """The server as its sessions see it. With `is_fast` plain shares go through the C core, else everything by Python."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.now = NOW
        self.shelf = Shelf(first_tip_number=1)
        self.book = self.shelf.add("solo", 60.0, capacity=setting.capacity, duplicates=setting.duplicates)
        self.roster = Roster(MOST_UNITS + 1, now=NOW, configured={WITNESS: WITNESS})
        self.desk = copy(_DESK)
        self.desk.__dict__.update(
            _shelf=self.shelf,
            _claims=BlockClaims(),
            _roster=self.roster,
            _clock=lambda: self.now,
            _on_pool_share=self._hand_up,
        )
        self.desk.buffer = ShareBuffer(min(16, setting.records), setting.records)
        self._tokens = 0
        self.tokens = 0
        self.extranonces = ExtranonceAllocator(4, start=0xF0000000)
        self.places = Places(Layout(4, 8), lambda _size: self.extranonces, self._token, most_parked=4)
        self.is_full = False
        self.serial = FIRST_SERIAL
        self.current: Notice | None = None
        self.notices: list[Notice] = []
        self.blocks = 0
        self.records: list[tuple[Any, ...]] = []

    def _hand_up(self, _find: PoolFind) -> int | None:
        """Every other share for a pool waits for the pool's word."""
        self.tokens += 1
        return self.tokens if self.tokens & 1 else None

    def _token(self) -> str:
        """Ids that scripts can name, but for that of the witness, who is first: no id can be guessed in earnest."""
        self._tokens += 1
        return f"c0ffee{self._tokens:02x}" if self._tokens > 1 else "4f1d9b0c6e2a7358"

    # ---- Work ------------------------------------------------------------------------------------------------

    def new_job(self, tip: int, kind: int) -> Notice:
        """Another job, on the tip of this number; the bits of `kind` say what is odd about it."""
        made = work(
            f"{self.serial:x}",
            prev_hash=bytes((0xA0 + tip,)) * 32,
            bits=EASY_BITS if kind & 1 else HARD_BITS,
            time_sets_bits=bool(kind & 2),
            payout_at=None if kind & 4 else work().payout_at,
            branch=(b"\x0b" * 32,) * (kind >> 3 & 3),
            clean=bool(kind & 32),
        )
        if kind & 64:
            made = replace(made, version_mask=0x0000E000)
        if kind & 128:
            upstream = UpstreamWork("7", made.network_target, b"", 1 + (kind & 1))
            made = replace(made, origin="pool", upstream=upstream)
        self.serial += 1
        return self.add(made)

    def add(self, job: Job) -> Notice:
        self.book.add(job, self.now)
        self.current = Notice(job, clean=job.clean)
        self.notices = [*self.notices[1 - KEPT_NOTICES :], self.current]
        return self.current

    def withdraw(self) -> None:
        self.book.withdraw(self.now)
        self.current = None

    def toggle_full(self) -> None:
        """From now on no further place can be had; or again."""
        self.is_full = not self.is_full

    def commit(self) -> None:
        """What the ledger takes out of the buffer."""
        self.records += RECORD.iter_unpack(self.desk.buffer.take())
        self.roster.drain_new()

    # ---- What sessions ask -----------------------------------------------------------------------------------

    def login(self, name: str, now: float) -> LoginOutcome | Waiting:
        """The name says what becomes of the login."""
        if name.startswith("wait"):
            return Waiting()
        return self.decide(name, now)

    def decide(self, name: str, now: float) -> LoginOutcome:
        if name.startswith("no"):
            return Refused(UNAUTHORIZED, "no such worker", close=name.startswith("no!"))
        try:
            return Granted(self.roster.login(name, now), OWN_SCRIPT if "own" in name else None)
        except RosterError as error:
            return Refused(OTHER, str(error), close=True)

    def notice(self) -> Notice | None:
        return self.current

    def work_mask(self) -> int | None:
        return None if self.current is None else self.current.terms.version_mask


class Guest:
    """One connection: the house as this session sees it, all that it read and wrote, and its place's view of it."""

    def __init__(
        self, house: FuzzHouse, rules: PortRules, on_output: Callable[["Guest", Output], None]
    ) -> None:
        self.house = house
        self.rules = rules
        self._on_output = on_output
        self.place: Subscription | None = None
        self.read: list[bytes] = []
        self.written: list[bytes] = []
        self.delayed: dict[int, bytes] = {}
        """Ids of shares whose answers waited for the pool's word, by token."""
        self.is_gone = False
        self.session = ServerSession(self, rules, house.now)

    def hear(self, data: bytes) -> None:
        if self.is_gone:
            return
        self.read.append(data)
        self.say(self.session.receive(data, self.house.now))

    def say(self, output: Output | bytes) -> None:
        if self.is_gone:
            return
        output = output if isinstance(output, Output) else Output(output)
        self.delayed |= self.session._awaited
        self.written.append(output.data)
        self._on_output(self, output)
        if output.close:
            self.leave()

    def leave(self) -> None:
        """The connection ends."""
        if self.is_gone:
            return
        self.is_gone = True
        if self.place is not None:
            self.house.places.leave(self.place.session_id, self, self.house.now)
        self.session.end(self.house.now)

    # ---- Places ----------------------------------------------------------------------------------------------

    def resumable(self) -> Resumable | None:
        return self.session.resumable()

    def drop(self, _reason: str, /) -> None:
        self.leave()

    # ---- House -----------------------------------------------------------------------------------------------

    def subscribe(self, resume: str | None, now: float) -> Subscription:
        if self.house.is_full:
            raise ExtranonceExhaustedError
        self.place = self.house.places.subscribe(self, resume, now)
        return self.place

    def login(self, name: str, _password: str, now: float) -> Granted | Refused | Waiting:
        return self.house.login(name, now)

    def take(self, submission: Submission, share_target: int) -> Verdict | Pending:
        verdict = self.house.desk.take(submission, share_target)
        self.house.blocks += isinstance(verdict, Block)
        return verdict

    def taker(
        self,
        unit: HashingUnit,
        worker: bytes,
        extranonce1: bytes,
        version_mask: int | None,
        script: bytes | None,
    ) -> Taker | None:
        if not self.house.setting.is_fast:
            return None
        return self.house.desk.taker(unit, worker, extranonce1, version_mask, script)

    def notice(self) -> Notice | None:
        return self.house.notice()

    def work_mask(self) -> int | None:
        return self.house.work_mask()
