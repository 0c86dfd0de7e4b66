"""What a session asks of the server it belongs to, and what it gives back: the seam between protocol and sockets."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from miner.stratum.v1 import Notice
from miner.work.roster import HashingUnit
from miner.work.share import Pending, Submission, Verdict
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
    LAYOUT = "layout"
    """Extranonces have other sizes now, and it cannot be told so without connecting again."""


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
    """A session's place: its id, and the extranonce1 that is its alone; `resumed` if it was here before.

    `learned` is what is still known of one that was here, but whose place is gone.
    """

    session_id: str
    extranonce1: bytes
    extranonce2_size: int
    resumed: Resumable | None = None
    learned: VardiffState | None = None

    @property
    def extranonce_sizes(self) -> tuple[int, int]:
        """Bytes of extranonce1 and extranonce2."""
        return len(self.extranonce1), self.extranonce2_size


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

    `credited` good shares are answered in `data`, which must wait until the ledger holds them. `holds`: there is more that the
    ledger must hold first, or before an answer that comes later: a share that is no good but a block, or one for a pool.
    `login`: have this login looked into, and call `login_settled`.
    """

    data: bytes = b""
    credited: int = 0
    close: str = Closing.STAY
    login: LoginWanted | None = None
    holds: bool = False


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


MakeTaker: TypeAlias = Callable[[HashingUnit, bytes, bytes, int | None, bytes | None], Taker | None]
"""Makes a taker for one session: of its unit, worker name, extranonce1, version mask and payout script.

The mask is None for a session that rolls no versions, the script None where the jobs' own is paid. No taker: every share
goes by `take`.
"""


class House(Protocol):
    """The server as its sessions see it; every method answers at once."""

    def subscribe(self, resume: str | None, now: float, /) -> Subscription:
        """A place for a session, the one of the session id `resume` if it can be had. Raises ExtranonceExhaustedError."""
        ...

    def login(self, name: str, password: str, now: float, /) -> Granted | Refused | Waiting:
        """Whether a worker may mine here."""
        ...

    def take(self, submission: Submission, share_target: int, /) -> Verdict | Pending:
        """Judge, count and record one share; the way of those that the taker leaves.

        Pending: it counts, and `ServerSession.answered` brings the answer.
        """
        ...

    @property
    def taker(self) -> MakeTaker:
        """Makes the takers."""
        ...

    def notice(self) -> Notice | None:
        """The current job for this session, once it has logged in; None while there is no work."""
        ...

    def work_mask(self) -> int | None:
        """The version bits that the present work leaves to miners; None while there is no work."""
        ...
