"""What a pool's answers and notifications say, read as leniently as they can be understood; what cannot be is a ProtocolError."""

import math
import re
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from miner.chain.difficulty import DIFFICULTY_1_TARGET, MAX_TARGET, target_of_difficulty
from miner.stratum.fields import printable
from miner.stratum.pool_events import PoolAccepted, PoolRejected, Redirected
from miner.stratum.v1 import OTHER, Notify, ProtocolError, parse_notify

LONGEST_TEXT: Final = 256
"""Characters kept of a pool's words."""

LONGEST_JOB_ID: Final = 128
"""Characters of a job id: it goes back with every share, and into the ledger."""

LONGEST_EXTRANONCE: Final = 32
"""Bytes of either extranonce; the script they stand in holds at most 100, with everything."""

LONGEST_COINBASE: Final = 20_000
"""Bytes of a coinbase. The most patient firmware takes 16,000; whatever is longer would only cut off every miner."""

LONGEST_WAIT_S: Final = 60.0
"""No pool makes us wait longer before we connect again: who may say "in a year" may switch us off."""

_HEX_BYTES: Final = re.compile(r"(?:[0-9a-fA-F]{2})*")
_HEX_WORD: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,8})")
_TARGET: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,64})")
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_SUBSCRIPTION: Final = 3
_MOST_CODE: Final = 2**31 - 1
_MOST_PORT: Final = 65_535
_SUFFIX: Final = 2
_REGISTRIES: Final = frozenset({"ac", "co", "com", "edu", "go", "gov", "mil", "ne", "net", "or", "org"})
"""Under these countries register domains, as in example.co.uk: what shares only `co.uk` is not of one owner."""


# ---- Answers -------------------------------------------------------------------------------------------------


def reason(error: Any) -> PoolRejected:
    """What the error of an answer says: a list (code, text, and more), an object, a text or a number.

    What it leaves out is code 20 and words of ours.
    """
    if isinstance(error, dict):
        parts = [error.get("code"), error.get("message")]
    else:
        parts = error if isinstance(error, list) else [error]
    codes = (
        part
        for part in parts
        if isinstance(part, int) and not isinstance(part, bool) and abs(part) <= _MOST_CODE
    )
    words = (printable(part, LONGEST_TEXT).strip() for part in parts)
    return PoolRejected(next(codes, OTHER), next(filter(None, words), "no reason given"))


def refusal(result: Any, error: Any) -> PoolRejected | None:
    """Why an answer is no yes; None for one that is: only `true` is, and only without an error."""
    return None if result is True and not error else reason(error)


def verdict(result: Any, error: Any) -> PoolAccepted | PoolRejected:
    """The pool's word on a share."""
    return refusal(result, error) or PoolAccepted()


class Extranonces(NamedTuple):
    """The pool's part of the coinbase, and how many bytes of it are ours."""

    extranonce1: bytes
    extranonce2_size: int


def parse_subscription(result: Any) -> Extranonces:
    """What the answer to mining.subscribe gives us. Raises ProtocolError."""
    if not isinstance(result, list) or len(result) < _SUBSCRIPTION:
        raise ProtocolError("the answer to mining.subscribe names no extranonce")
    return _extranonces(result[1], result[2])


def parse_set_extranonce(params: list[Any], before: Extranonces | None) -> Extranonces:
    """The params of mining.set_extranonce; a size that is left out is that of before. Raises ProtocolError."""
    size = params[1] if len(params) > 1 else before and before.extranonce2_size
    return _extranonces(params[0] if params else None, size)


def _extranonces(extranonce1: Any, size: Any) -> Extranonces:
    if not isinstance(extranonce1, str) or not _HEX_BYTES.fullmatch(extranonce1):
        raise ProtocolError("the pool's extranonce1 is not hex")
    if len(extranonce1) > 2 * LONGEST_EXTRANONCE:
        raise ProtocolError(f"the pool's extranonce1 is longer than {LONGEST_EXTRANONCE} bytes")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LONGEST_EXTRANONCE:
        raise ProtocolError(f"the pool's size of extranonce2 is not a number from 0 to {LONGEST_EXTRANONCE}")
    return Extranonces(bytes.fromhex(extranonce1), size)


def granted_mask(result: Any, error: Any) -> int | None:
    """The version bits that the answer to mining.configure lets us roll; None if it grants no rolling.

    A yes without a mask (BIP310 wants one) is taken for a no: shares that roll the wrong bits would all be lost.
    """
    if error or not isinstance(result, dict) or result.get("version-rolling") is not True:
        return None
    return _word(result.get("version-rolling.mask"))


# ---- Notifications -------------------------------------------------------------------------------------------


class Difficulty(NamedTuple):
    """What shares must have: the difficulty as a number, and the largest hash that meets it."""

    difficulty: float
    share_target: int


DIFFICULTY_1: Final = Difficulty(1.0, DIFFICULTY_1_TARGET)
"""What holds while a pool has named none."""


def parse_set_difficulty(params: list[Any]) -> Difficulty:
    """The params of mining.set_difficulty, a number or its text. Raises ProtocolError."""
    value = params[0] if params else None
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            difficulty = float(value)
        except (ValueError, OverflowError):
            difficulty = 0.0
        if 0 < difficulty < math.inf:
            return Difficulty(difficulty, target_of_difficulty(difficulty))
    raise ProtocolError("mining.set_difficulty does not name a number above zero")


def parse_set_target(params: list[Any]) -> Difficulty:
    """The params of mining.set_target, big-endian hex of up to 256 bits. Raises ProtocolError."""
    match = _TARGET.fullmatch(params[0]) if params and isinstance(params[0], str) else None
    target = int(match[1], 16) if match else 0
    if target == 0:
        raise ProtocolError("mining.set_target does not name a target above zero of 256 bits")
    return Difficulty(DIFFICULTY_1_TARGET / target, min(target, MAX_TARGET))


def parse_set_version_mask(params: list[Any]) -> int:
    """The params of mining.set_version_mask. Raises ProtocolError."""
    mask = _word(params[0] if params else None)
    if mask is None:
        raise ProtocolError("mining.set_version_mask does not name a mask of 32 bits")
    return mask


def parse_job(params: list[Any]) -> Notify:
    """The params of mining.notify, if its job id can be kept, and its coinbase given to miners. Raises ProtocolError."""
    notify = parse_notify(params)
    if len(notify.job_id) > LONGEST_JOB_ID or not notify.job_id.isprintable():
        raise ProtocolError(f"the job id of mining.notify is not of at most {LONGEST_JOB_ID} characters")
    size = len(notify.coinbase1) + len(notify.coinbase2)
    if size > LONGEST_COINBASE:
        raise ProtocolError(
            f"the coinbase of mining.notify has {size} bytes, and miners take {LONGEST_COINBASE} at most"
        )
    return notify


def _word(text: Any) -> int | None:
    match = _HEX_WORD.fullmatch(text) if isinstance(text, str) else None
    return int(match[1], 16) if match else None


# ---- client.reconnect ----------------------------------------------------------------------------------------


def parse_reconnect(params: list[Any], own_host: str) -> Redirected:
    """Where client.reconnect sends us: "" and 0 for the host and port of now. `own_host` is the pool's as it was configured.

    Raises ProtocolError for params that say nothing, and for a host that need not be the pool's own.
    """
    host, port, wait = (*params, None, None, None)[:3]
    if host is not None and not isinstance(host, str):
        raise ProtocolError("client.reconnect names a host that is no text")
    host = (host or "").strip()
    if isinstance(port, str):
        port = int(port) if port.isascii() and port.isdigit() and len(port) <= len(str(_MOST_PORT)) else -1
    if port is None:
        port = 0
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= _MOST_PORT:
        raise ProtocolError("client.reconnect names a port that is none")
    if host and not is_same_owner(own_host, host):
        raise ProtocolError(
            f"client.reconnect to {printable(host)}, which is not in the domain of {own_host}"
        )
    return Redirected(_canonical(host) if host else "", port, _wait_s(wait))


def _wait_s(value: Any) -> float:
    try:
        wait_s = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), LONGEST_WAIT_S) if math.isfinite(wait_s) else 0.0


def is_same_owner(own_host: str, other: str) -> bool:
    """Whether a host is surely the pool's too: the same, below it, or beside it in a domain of one owner.

    Addresses, and names without a domain, must be equal.
    """
    own, new = _canonical(own_host), _canonical(other)
    if own == new:
        return True
    if _is_address(own) or _is_address(new) or not _NAME.fullmatch(new) or "." not in own:
        return False
    labels = own.split(".")
    is_registry = len(labels[-1]) == _SUFFIX and labels[-2] in _REGISTRIES
    domain = labels[-_SUFFIX - is_registry :]
    is_beside = len(domain) == _SUFFIX + is_registry and new.split(".")[-len(domain) :] == domain
    return is_beside or new.endswith(f".{own}")


def _canonical(host: str) -> str:
    bare = host.strip().removeprefix("[").removesuffix("]").removesuffix(".").lower()
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        # A system's resolver takes more for an address than that, as 127.1: no name ends in a number.
        return host.rpartition(".")[2].isdigit()
    return True
