"""The Stratum V1 codec: lines to messages, and messages to lines, for either side of a connection.

A line is one JSON object. What is read may be sloppy (ids of every kind, unknown keys, missing or extra params); what is
written is exact. On the wire, numbers of 32 bits are big-endian hex, and the previous hash is the header's 32 bytes
with each 4-byte word reversed. Source: the slush documents of 2012, BIP310, and what devices send.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, Context, Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from miner.chain.block import compact_size
from miner.chain.difficulty import DIFFICULTY_1_TARGET
from miner.work.job import Job
from miner.work.share import Reason

OTHER: Final = 20
JOB_GONE: Final = 21
DUPLICATE: Final = 22
LOW_DIFFICULTY: Final = 23
UNAUTHORIZED: Final = 24
NOT_SUBSCRIBED: Final = 25

REASON_ERRORS: Final[Mapping[Reason, tuple[int, str]]] = MappingProxyType(
    {
        Reason.JOB_NOT_FOUND: (JOB_GONE, "Job not found"),
        Reason.STALE: (JOB_GONE, "Stale share"),
        Reason.DUPLICATE: (DUPLICATE, "Duplicate share"),
        Reason.LOW_DIFFICULTY: (LOW_DIFFICULTY, "Low difficulty share"),
        Reason.TIME_TOO_OLD: (OTHER, "Time too old"),
        Reason.TIME_TOO_NEW: (OTHER, "Time too new"),
        Reason.BAD_VERSION: (OTHER, "Version bits are not of 32 bits"),
        Reason.BAD_NONCE: (OTHER, "Nonce is not of 32 bits"),
        Reason.BAD_EXTRANONCE: (OTHER, "Wrong size of extranonce2"),
        Reason.TABLE_FULL: (OTHER, "No room to remember this share"),
    }
)
"""The error of each reason for which a share is worth nothing: code and text."""

LEAST_DIFFICULTY: Final = 1e-12
"""Nothing below it is sent: every hash meets a difficulty of 2**-32 already."""

MOST_DIFFICULTY: Final = 2.0**53
"""Nor anything above it, even while no block's difficulty is known: up to here all readers of JSON agree on whole numbers."""

WHOLE_FROM: Final = 32.0
"""From here on a difficulty is sent as a whole number, since some devices cut off what is behind the point."""

_DIGITS: Final = Context(prec=6, rounding=ROUND_DOWN)  # below WHOLE_FROM, so many significant digits
_NULL: Final = b"null"
_HEX: Final = re.compile(r"[0-9a-fA-F]*")
_WORD: Final = re.compile(r"[0-9a-fA-F]{8}")
_HASH_SIZE: Final = 32
_NOTIFY_PARAMS: Final = 9


class ProtocolError(Exception):
    """The other side sent what is no message; `id` is that of its answer, as JSON."""

    def __init__(self, why: str, request_id: bytes = _NULL) -> None:
        super().__init__(why)
        self.id = request_id


class NotAnObjectError(ProtocolError):
    """The line is no JSON object at all: whatever is at the other end, it does not speak Stratum."""


# ---- Reading -------------------------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True):
    """A call that wants an answer; `id` is the JSON it came as, to be given back unchanged."""

    id: bytes
    method: str
    params: list[Any]


class Notification(msgspec.Struct, frozen=True):
    """A call whose id is null or missing."""

    method: str
    params: list[Any]


class Response(msgspec.Struct, frozen=True):
    """An answer to the request of that id (as JSON); `error` is None for a good one."""

    id: bytes
    result: Any
    error: Any


Message = Request | Notification | Response


class _Line(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(_NULL)
    method: Any = None
    params: Any = None
    result: Any = msgspec.UNSET
    error: Any = msgspec.UNSET


_LINE: Final = msgspec.json.Decoder(_Line)


def parse_line(line: bytes) -> Message:
    """The message of one line (without its newline).

    `params` becomes a list whatever it was: an object is one param, nothing is none. An id that is no scalar counts as
    null. Raises ProtocolError, and no other error whatever the bytes are; NotAnObjectError if there is no JSON object.
    """
    try:
        read = _LINE.decode(line)
        str(read.id, "utf-8")  # it is given back as it is, and the decoder did not look into it
    except UnicodeDecodeError:
        return parse_line(line.decode(errors="replace").encode())  # now it is UTF-8
    except (
        msgspec.MsgspecError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: a number of 5,000 digits
        raise NotAnObjectError("Not a JSON object") from error
    request_id = bytes(read.id).strip()
    if request_id[:1] in {b"{", b"["}:
        request_id = _NULL
    if isinstance(read.method, str):
        params = _as_list(read.params)
        if request_id == _NULL:
            return Notification(read.method, params)
        return Request(request_id, read.method, params)
    if read.method is None and (read.result is not msgspec.UNSET or read.error is not msgspec.UNSET):
        return Response(
            request_id,
            None if read.result is msgspec.UNSET else read.result,
            None if read.error is msgspec.UNSET else read.error,
        )
    raise ProtocolError("Neither a method nor a result", request_id)


def _as_list(params: Any) -> list[Any]:
    if isinstance(params, list):
        return params
    return [] if params is None else [params]


# ---- Writing -------------------------------------------------------------------------------------------------


def result(request_id: bytes, value: Any) -> bytes:
    """The line of a good answer; `request_id` is JSON, `value` anything that JSON can say."""
    return b'{"id":%b,"result":%b,"error":null}\n' % (request_id, msgspec.json.encode(value))


def error(request_id: bytes, code: int, message: str) -> bytes:
    """The line of a refusal; `request_id` is JSON."""
    return b'{"id":%b,"result":null,"error":[%d,%b,null]}\n' % (
        request_id,
        code,
        msgspec.json.encode(message),
    )


def rejection(request_id: bytes, reason: Reason) -> bytes:
    """The answer to a share that is worth nothing."""
    return error(request_id, *REASON_ERRORS[reason])


def request(number: int, method: str, params: Sequence[Any]) -> bytes:
    """The line of a call that wants an answer."""
    return b'{"id":%d,"method":%b,"params":%b}\n' % (
        number,
        msgspec.json.encode(method),
        msgspec.json.encode(params),
    )


def notification(method: str, params: Sequence[Any]) -> bytes:
    """The line of a call that wants none."""
    return b'{"id":null,"method":%b,"params":%b}\n' % (
        msgspec.json.encode(method),
        msgspec.json.encode(params),
    )


def set_difficulty(difficulty: float) -> bytes:
    """The shares of the jobs that follow must have this difficulty. Raises ValueError for none above zero."""
    return (
        b'{"id":null,"method":"mining.set_difficulty","params":[%b]}\n' % difficulty_text(difficulty).encode()
    )


def set_extranonce(extranonce1: bytes, extranonce2_size: int) -> bytes:
    """The jobs that follow have this extranonce1; only for miners that asked to be told."""
    return notification("mining.set_extranonce", [extranonce1.hex(), extranonce2_size])


def set_version_mask(mask: int) -> bytes:
    """From now on the miner may roll these bits of the version (BIP310)."""
    return notification("mining.set_version_mask", [hex_word(mask)])


def show_message(text: str) -> bytes:
    """Words for the owner of the device."""
    return notification("client.show_message", [text])


def reconnect(host: str, port: int, wait_s: int) -> bytes:
    """Connect again in `wait_s` seconds; an empty host and port 0 mean the same place."""
    return notification("client.reconnect", [host, port, wait_s] if host or port else [])


def get_version(number: int) -> bytes:
    """Ask the miner what it is."""
    return request(number, "client.get_version", [])


def ping(number: int) -> bytes:
    """Ask whether the other side is still there."""
    return request(number, "mining.ping", [])


def hex_word(number: int) -> str:
    """A number of 32 bits as it stands on the wire."""
    return f"{number:08x}"


# ---- Difficulty ----------------------------------------------------------------------------------------------


def wire_difficulty(difficulty: float) -> float:
    """The nearest difficulty below that every device reads right: whole from 32 on, else of six digits.

    Shares are judged by the target of this number, not of the one it came from. Raises ValueError for a difficulty that is
    not a finite number above zero.
    """
    if not 0 < difficulty < math.inf:
        raise ValueError(f"difficulty {difficulty} is not a finite number above zero")
    if difficulty >= WHOLE_FROM:
        return float(math.floor(difficulty))
    return max(float(_DIGITS.create_decimal(Decimal(repr(difficulty)))), LEAST_DIFFICULTY)


def difficulty_text(difficulty: float) -> str:
    """The number as a device parses it: no exponent, no `.0`; reading it gives the same float again.

    Raises ValueError for a difficulty that is not a finite number above zero.
    """
    if not 0 < difficulty < math.inf:
        raise ValueError(f"difficulty {difficulty} is not a finite number above zero")
    if difficulty == math.floor(difficulty):
        return str(int(difficulty))
    return f"{Decimal(repr(difficulty)):f}"


# ---- Jobs ----------------------------------------------------------------------------------------------------


def swap_words(prev_hash: bytes) -> bytes:
    """The 32 bytes with each word of four reversed: internal order to that of the wire, and back."""
    return b"".join(prev_hash[i : i + 4][::-1] for i in range(0, len(prev_hash), 4))


class Notify(msgspec.Struct, frozen=True):
    """The params of mining.notify as values; hashes in internal order."""

    job_id: str
    prev_hash: bytes
    coinbase1: bytes
    coinbase2: bytes
    branch: tuple[bytes, ...]
    version: int
    bits: int
    ntime_s: int
    clean: bool

    def line(self) -> bytes:
        """The line that says it."""
        return notification(
            "mining.notify",
            [
                self.job_id,
                swap_words(self.prev_hash).hex(),
                self.coinbase1.hex(),
                self.coinbase2.hex(),
                [node.hex() for node in self.branch],
                hex_word(self.version),
                hex_word(self.bits),
                hex_word(self.ntime_s),
                self.clean,
            ],
        )


def parse_notify(params: list[Any]) -> Notify:
    """What the params of mining.notify say. Raises ProtocolError."""
    if len(params) < _NOTIFY_PARAMS or not isinstance(params[0], str) or not isinstance(params[4], list):
        raise ProtocolError("mining.notify needs nine params")
    prev_hash = swap_words(_bytes(params[1]))
    branch = tuple(_bytes(node) for node in params[4])
    if any(len(digest) != _HASH_SIZE for digest in (prev_hash, *branch)):
        raise ProtocolError("a hash of mining.notify is not of 32 bytes")
    return Notify(
        params[0],
        prev_hash,
        _bytes(params[2]),
        _bytes(params[3]),
        branch,
        _word(params[5]),
        _word(params[6]),
        _word(params[7]),
        params[8] is True,
    )


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) % 2 or not _HEX.fullmatch(text):
        raise ProtocolError("a field of mining.notify is not hex")
    return bytes.fromhex(text)


def _word(text: Any) -> int:
    if not isinstance(text, str) or not _WORD.fullmatch(text):
        raise ProtocolError("a field of mining.notify is not a number of 32 bits")
    return int(text, 16)


class Terms(NamedTuple):
    """What a session must look at before it is sent a job; while they stay the same, the job's line is all it needs.

    `ceiling` is a difficulty, `version_mask` the bits that the work leaves to miners. `origin` and `epoch` say whose work it
    is, and which connection of that pool's brought it (0 for our own); `extranonce_sizes` are in bytes.
    """

    ceiling: float
    version_mask: int
    origin: str
    epoch: int
    extranonce_sizes: tuple[int, int]

    @property
    def source(self) -> tuple[str, int]:
        """Where the work comes from: never is one job's work mixed with that of another source."""
        return self.origin, self.epoch


@lru_cache(maxsize=64)
def terms_of(
    ceiling: float, version_mask: int, origin: str, epoch: int, extranonce_sizes: tuple[int, int]
) -> Terms:
    """These terms: mostly the same object for the same values, so that sessions see at a glance that nothing changed."""
    return Terms(ceiling, version_mask, origin, epoch, extranonce_sizes)


class Notice:
    """The mining.notify of a job, prepared once for all sessions.

    `line` is for everyone who mines to the job's own payout under its own id. `ceiling` is the hardest difficulty that makes
    sense while the job lasts: that of a block, or of a share that the pool wants. Raises ValueError for a job whose id is no
    serial.
    """

    __slots__ = (
        "_after",
        "_before",
        "_payout",
        "ceiling",
        "clean",
        "job",
        "line",
        "prev_hash",
        "serial",
        "terms",
    )

    def __init__(self, job: Job, *, clean: bool) -> None:
        if job.serial is None:
            raise ValueError(f"the job id {job.id!r} is no serial")
        self.job: Final = job
        self.clean: Final = clean
        self.serial: Final[int] = job.serial
        self.prev_hash: Final = job.prev_hash
        self.ceiling: Final = wire_difficulty(DIFFICULTY_1_TARGET / job.handed_on_target)
        self.terms: Final = terms_of(
            self.ceiling,
            job.version_mask,
            job.origin,
            0 if job.upstream is None else job.upstream.epoch,
            (job.extranonce1_size, job.extranonce2_size),
        )
        offset, length = job.payout_at or (0, 0)
        self._payout = job.coinbase2[offset : offset + length]
        self._before = (
            f'","{swap_words(job.prev_hash).hex()}","{job.coinbase1.hex()}","{job.coinbase2[:offset].hex()}'
        ).encode()
        branch = ",".join(f'"{node.hex()}"' for node in job.branch)
        self._after = (
            f'{job.coinbase2[offset + length :].hex()}",[{branch}],"{hex_word(job.version)}","{hex_word(job.bits)}","'
        ).encode()
        self.line: Final = self.line_for(None, None)

    def line_for(
        self,
        wire_id: str | None,
        payout_script: bytes | None,
        *,
        ntime_s: int | None = None,
        clean: bool | None = None,
    ) -> bytes:
        """The line for one session: other id, payout, time or clean flag than everyone's, where given.

        A payout script for a job that has no place for one is ignored.
        """
        payout = self._payout
        if payout_script is not None and payout:
            payout = compact_size(len(payout_script)) + payout_script
        return b'{"id":null,"method":"mining.notify","params":["%b%b%b%b%08x",%b]}\n' % (
            (wire_id or self.job.id).encode(),
            self._before,
            payout.hex().encode(),
            self._after,
            self.job.ntime_s if ntime_s is None else ntime_s,
            b"true" if (self.clean if clean is None else clean) else b"false",
        )
