"""What a session asks of the server it belongs to, and what it gives back: the seam between protocol and sockets."""

from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from miner.stratum.v1 import Notice
from miner.work.roster import HashingUnit
from miner.work.share import Submission, Verdict
from miner.work.vardiff import VardiffState


class Closing(StrEnum):
    """Why a connection is to be closed, once what the session said is written; the values stay the same in logs."""

    STAY = ""
    NOT_STRATUM = "not_stratum"
    """A line that is no JSON object."""
    LINE_TOO_LONG = "line_too_long"
    TOO_MANY_LINES = "too_many_lines"
    """More lines than a login takes, and no login."""
    TOO_MUCH_HELD = "too_much_held"
    """It goes on talking while its login waits."""
    NO_EXTRANONCE = "no_extranonce"
    REFUSED = "refused"
    GONE = "gone"
    """The peer closed it, or the server did for a reason of its own."""
    LOGIN_TIMEOUT = "login_timeout"
    IDLE = "idle"


class Resumable(msgspec.Struct, frozen=True, kw_only=True):
    """What a session needs to go on where it was: on a new connection, or in another process.

    `level` is the number of its difficulty (see miner.stratum.levels), `name` the worker it logged in as first;
    `version_mask` None if it does not roll versions.
    """

    session_id: str
    extranonce1: bytes
    extranonce2_size: int
    level: int
    vardiff: VardiffState
    version_mask: int | None
    name: str
    agent: str


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A session's place: its id, and the extranonce1 that is its alone; `resumed` if it was here before."""

    session_id: str
    extranonce1: bytes
    extranonce2_size: int
    resumed: Resumable | None = None


class Granted(msgspec.Struct, frozen=True):
    """The login is good; `payout_script` is the worker's own, None where the job's pays.

    The session calls `joined` and `left` of the unit, and sets its `difficulty`.
    """

    unit: HashingUnit
    payout_script: bytes | None = None


class Refused(msgspec.Struct, frozen=True):
    """The login is refused with this error; `close`: and the connection ends."""

    code: int
    why: str
    close: bool = False


class Waiting(msgspec.Struct, frozen=True):
    """The node must be asked first; `ServerSession.login_settled` brings the outcome."""


LoginOutcome = Granted | Refused


class LoginWanted(msgspec.Struct, frozen=True):
    """A login that waits for the server to find out whether it is good."""

    name: str
    password: str


class Output(msgspec.Struct):
    """What a session wants done: bytes to be written, and then perhaps the connection closed.

    `credited` good shares are answered in `data`, which must wait until the ledger holds them. `login`: have this login
    looked into, and call `login_settled`.
    """

    data: bytes = b""
    credited: int = 0
    close: str = Closing.STAY
    login: LoginWanted | None = None


NOTHING: Final = Output()
"""The output of a session that wants nothing."""


class Taker(Protocol):
    """Judges plain submit lines of one session, many at once; `miner.kernel.SubmitTaker`."""

    @property
    def answers(self) -> bytes:
        """The answers to the lines of the last take, in order."""
        ...

    @property
    def accepted(self) -> int:
        """Good shares of the last take."""
        ...

    @property
    def work(self) -> float:
        """Sum of the difficulties credited for them."""
        ...

    def set_level(self, number: int, from_serial: int, difficulty: float, target: int, /) -> None:
        """The session has a further difficulty level."""
        ...

    def set_version_mask(self, mask: int | None, /) -> None:
        """The version bits that the session may roll."""
        ...

    def take(self, data: Any, start: int, now: float, /) -> int:
        """Take whole lines from `start` on; returns where it stopped."""
        ...


class House(Protocol):
    """The server as its sessions see it; every method answers at once."""

    def subscribe(self, resume: str | None, now: float, /) -> Subscription:
        """A place for a session, the one of the session id `resume` if it can be had. Raises ExtranonceExhaustedError."""
        ...

    def login(self, name: str, password: str, now: float, /) -> Granted | Refused | Waiting:
        """Whether a worker may mine here."""
        ...

    def take(self, submission: Submission, share_target: int, /) -> Verdict:
        """Judge, count and record one share; the way of those that the taker leaves."""
        ...

    def taker(
        self,
        unit: HashingUnit,
        worker: bytes,
        extranonce1: bytes,
        version_mask: int | None,
        payout_script: bytes | None,
        /,
    ) -> Taker | None:
        """A taker for one session; None: every share goes by `take`."""
        ...

    def notice(self) -> Notice | None:
        """The current job; None while there is no work."""
        ...
