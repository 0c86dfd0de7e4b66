"""What a pool's client is told and what it tells: login, shares, verdicts, failures, and the events between session and shell.

`miner.stratum.client_session` makes the events, `miner.stratum.client` acts on them; nothing here does anything itself.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from miner.stratum.v1 import Notify


class Failure(StrEnum):
    """What is wrong with a pool; the values stay the same in logs, metrics and API."""

    DNS = "dns"
    """Its name leads to no address."""
    REFUSED = "refused"
    """Nobody listens at its port."""
    UNREACHABLE = "unreachable"
    """There is no way to its address."""
    TIMEOUT = "timeout"
    """It could not be connected to in time."""
    TLS = "tls"
    """Its certificate is not good, or it speaks no TLS."""
    LOGIN = "login"
    """It refuses the user, or to subscribe."""
    NO_WORK = "no_work"
    """It sent no job for too long."""
    GARBAGE = "garbage"
    """It does not speak Stratum."""
    UNANSWERED = "unanswered"
    """It left a request without an answer."""
    LOST = "lost"
    """The connection ended, and nobody here wanted that."""
    BAD_WORK = "bad_work"
    """It sent work that cannot be used."""
    REDIRECT_REFUSED = "redirect_refused"
    """It wants to send us to somebody else; nothing comes of that."""


@dataclass(frozen=True, slots=True)
class PoolLogin:
    """As whom we mine at a pool.

    `agent` is what we say we are, `version_mask` the version bits that we can roll (0: none). With `worker_names` each
    worker's shares go up as `user.worker`.
    """

    user: str
    password: str = field(repr=False)
    agent: str
    version_mask: int
    worker_names: bool = False


@dataclass(frozen=True, slots=True)
class PoolSubmission:
    """A share for a pool; `worker` "" is the pool's user itself, `job_id` the pool's own.

    `extranonce2` is as wide as the pool gave it, whatever part of it is ours. `version_bits` are those hashed within the
    mask of the job's Work (BIP310), None where versions are not rolled.
    """

    worker: str
    job_id: str
    extranonce2: bytes
    ntime_s: int
    nonce: int
    version_bits: int | None


# ---- The pool's word on a share ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoolAccepted:
    """The pool took the share."""


@dataclass(frozen=True, slots=True)
class PoolRejected:
    """The pool refused the share, with the code and the words of its answer (20 where it named none)."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class PoolSilent:
    """The connection ended before the pool said anything, and so nobody knows: the share is in doubt."""

    why: str


PoolVerdict = PoolAccepted | PoolRejected | PoolSilent


# ---- Events --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Subscribed and authorized; `version_mask` None while the pool has granted no version rolling."""

    extranonce1: bytes
    extranonce2_size: int
    version_mask: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """A job, with all that was in force when it came: shares of it must meet `share_target`, that of `difficulty`.

    A Work whose `notify` came before, with less of a mask, replaces the one before; it is always clean.
    """

    notify: Notify
    difficulty: float
    share_target: int
    extranonce1: bytes
    extranonce2_size: int
    version_mask: int | None


@dataclass(frozen=True, slots=True)
class Answered:
    """The pool's word on the share of this token, which is told once; `took_s` since the share was written."""

    token: int
    verdict: PoolVerdict
    took_s: float


@dataclass(frozen=True, slots=True)
class Message:
    """The pool has something to say to the operator."""

    text: str


@dataclass(frozen=True, slots=True)
class Redirected:
    """The pool wants us to connect elsewhere, within its own domain: host "" and port 0 are those of now."""

    host: str
    port: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Something is wrong with the pool, `why` in words; the connection ends only if the output says so."""

    kind: Failure
    why: str


Event = LoggedIn | Work | Answered | Message | Redirected | Failed


@dataclass(frozen=True, slots=True)
class ClientOutput:
    """What a session wants done: bytes to be written, events to be acted on in order, and then perhaps the end."""

    data: bytes = b""
    events: list[Event] = field(default_factory=list)
    close: bool = False
