"""The params of a miner's calls, read as leniently as they can be understood; what cannot be is refused with a reason."""

import math
import re
from typing import Any, Final, NamedTuple

import msgspec

from miner.chain.block import MAX_UINT32
from miner.chain.difficulty import DIFFICULTY_1_TARGET, MAX_TARGET
from miner.stratum.v1 import OTHER, UNAUTHORIZED

LONGEST_NAME: Final = 128
"""Characters of a user name: it becomes a unit, a row and a metric's label."""

LONGEST_AGENT: Final = 64
"""Characters kept of what a device says it is."""

LONGEST_PASSWORD: Final = 512

_SUBMIT_PARAMS: Final = 5
_HEX: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,8})")
_HEX_BYTES: Final = re.compile(r"(?:[0-9a-fA-F]{2})*")
_TARGET: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,64})")
_OPTION: Final = re.compile(r"(?:^|[\s,;&])(?:d|diff)=([0-9.eE+-]{1,32})(?=$|[\s,;&])")
_LEVEL: Final = re.compile(r"([0-9a-f]{1,16})\.([0-9a-f]{1,8})")
_PLAIN: Final = re.compile(r"[0-9a-f]{1,16}")


class CallError(Exception):
    """A call that is refused, with the code and the words of the answer."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def printable(text: Any, longest: int = LONGEST_AGENT) -> str:
    """What a device says of itself, fit for logs and labels: nothing but printable characters, cut to `longest`."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else "?" for c in text[:longest])


# ---- Jobs and shares -----------------------------------------------------------------------------------------


class WireJob(NamedTuple):
    """A job id as it came back: the job's own id, its serial, and the difficulty level it names, if it names one.

    `serial` is None for an id that none of ours looks like.
    """

    id: str
    serial: int | None
    level: int | None


def wire_job(text: str) -> WireJob:
    """Takes apart `<job id>` or `<job id>.<level>`, both in lower-case hex."""
    match = _LEVEL.fullmatch(text)
    if match:
        return WireJob(match[1], int(match[1], 16), int(match[2], 16))
    return WireJob(text, int(text, 16) if _PLAIN.fullmatch(text) else None, None)


class Submit(msgspec.Struct, frozen=True):
    """The params of mining.submit; `version_bits` None if there are none."""

    worker: str
    job: WireJob
    extranonce2: bytes
    ntime_s: int
    nonce: int
    version_bits: int | None


def parse_submit(params: list[Any]) -> Submit:
    """What a share says; numbers need not be padded to eight digits. Raises CallError."""
    if len(params) < _SUBMIT_PARAMS:
        raise CallError(OTHER, "mining.submit needs worker, job, extranonce2, ntime and nonce")
    worker, job, extranonce2 = params[:3]
    if not isinstance(worker, str) or not isinstance(job, str):
        raise CallError(OTHER, "worker and job are strings")
    if not isinstance(extranonce2, str) or not _HEX_BYTES.fullmatch(extranonce2):
        raise CallError(OTHER, "extranonce2 is not hex")
    bits = params[_SUBMIT_PARAMS] if len(params) > _SUBMIT_PARAMS else None
    return Submit(
        worker,
        wire_job(job),
        bytes.fromhex(extranonce2),
        _word("ntime", params[3]),
        _word("nonce", params[4]),
        None if bits is None else _word("version bits", bits),
    )


def _word(what: str, text: Any) -> int:
    match = _HEX.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise CallError(OTHER, f"{what} is not a hex number of 32 bits")
    return int(match[1], 16)


# ---- Login ---------------------------------------------------------------------------------------------------


def parse_subscribe(params: list[Any]) -> tuple[str, str | None]:
    """What the device says it is, and the session it wants back, if it had one."""
    agent = printable(params[0]) if params else ""
    resume = params[1] if len(params) > 1 else None
    return agent, resume if isinstance(resume, str) and 0 < len(resume) <= LONGEST_AGENT else None


def parse_authorize(params: list[Any]) -> tuple[str, str]:
    """User name and password. Raises CallError for a name that cannot be one."""
    name = params[0] if params else None
    if not isinstance(name, str) or not name.strip():
        raise CallError(UNAUTHORIZED, "A user name is needed")
    if len(name) > LONGEST_NAME:
        raise CallError(UNAUTHORIZED, f"The user name is longer than {LONGEST_NAME} characters")
    if not name.isprintable():
        raise CallError(UNAUTHORIZED, "The user name holds characters that cannot be printed")
    password = params[1] if len(params) > 1 else ""
    return name, password[:LONGEST_PASSWORD] if isinstance(password, str) else ""


def password_difficulty(password: str) -> float | None:
    """The difficulty that a password asks for, as in `x,d=1234` or `diff=0.001`; None if it asks for none."""
    match = _OPTION.search(password)
    return None if match is None else _positive(match[1])


# ---- Difficulty ----------------------------------------------------------------------------------------------


def parse_difficulty(params: list[Any]) -> float:
    """The difficulty of mining.suggest_difficulty, a number or its text. Raises CallError."""
    difficulty = _positive(params[0]) if params else None
    if difficulty is None:
        raise CallError(OTHER, "A difficulty is a number above zero")
    return difficulty


def parse_target(params: list[Any]) -> float:
    """The difficulty that belongs to the target of mining.suggest_target, big-endian hex. Raises CallError."""
    match = _TARGET.fullmatch(params[0]) if params and isinstance(params[0], str) else None
    target = int(match[1], 16) if match else 0
    if target == 0:
        raise CallError(OTHER, "A target is a hex number above zero of 256 bits")
    return DIFFICULTY_1_TARGET / min(target, MAX_TARGET)


def _positive(value: Any) -> float | None:
    """A finite number above zero; None for anything else, and for numbers that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


# ---- Extensions (BIP310) -------------------------------------------------------------------------------------


class Configure(NamedTuple):
    """The params of mining.configure.

    `mask` are the version bits the miner can roll, all if it does not say; `minimum_difficulty` is None unless it names
    one, `hardware` what `info` says the device is.
    """

    extensions: tuple[str, ...]
    mask: int
    minimum_difficulty: float | None
    hardware: str


def parse_configure(params: list[Any]) -> Configure:
    """What a miner wants of the extensions; never fails.

    Some firmware sends no list of extensions, a bare name in its place, no object of values, or values of another type
    (Braiins OS left min-bit-count out, others send it as text): what can be understood counts, the rest is as if it
    were not there. min-bit-count is not even read: too few bits are better than a miner that is sent away.
    """
    names: list[str] = []
    values: dict[str, Any] = {}
    for param in params:
        if isinstance(param, dict):
            values.update(param)
        elif isinstance(param, list):
            names += [name for name in param if isinstance(name, str)]
        elif isinstance(param, str):
            names.append(param)
    if not names:
        names = [key.partition(".")[0] for key in values]
    return Configure(
        tuple(dict.fromkeys(names)),
        _mask(values.get("version-rolling.mask")),
        _positive(values.get("minimum-difficulty.value")),
        printable(values.get("info.hw-version")),
    )


def _mask(value: Any) -> int:
    match = _HEX.fullmatch(value) if isinstance(value, str) else None
    return int(match[1], 16) if match else MAX_UINT32
