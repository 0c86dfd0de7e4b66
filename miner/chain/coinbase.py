"""The coinbase: subsidy, height, extranonce, payout and witness commitment.

The coinbase we build is of one shape: BIP34 height, our tag, the extranonce, each as a push, so that no byte
of them counts as a signature operation; BIP54-ready (nLockTime = height - 1, nSequence not final); the payout
first, then the witness commitment.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from miner.chain.block import compact_size
from miner.chain.merkle import HASH_SIZE, WITNESS_RESERVED_VALUE

HALVING_INTERVAL: Final = MappingProxyType(
    {
        "main": 210_000,
        "test": 210_000,
        "testnet4": 210_000,
        "signet": 210_000,
        "regtest": 150,
    }
)
"""Blocks between two halvings of the subsidy, by network."""

MAX_SCRIPT_SIG: Final = 100
MIN_SCRIPT_SIG: Final = 2
COMMITMENT_SCRIPT_START: Final = bytes.fromhex("6a24aa21a9ed")
"""OP_RETURN and a push of 36 bytes, of which the commitment itself is the last 32 (BIP141)."""

_FIRST_SUBSIDY_SAT = 50 * 100_000_000
_MAX_MONEY_SAT = 21_000_000 * 100_000_000
_FIRST_TIME_LOCK = 500_000_000  # an nLockTime from here on is a time, not a height
_VERSION = (2).to_bytes(4, "little")
_INPUT_START = b"\x01" + bytes(32) + b"\xff\xff\xff\xff"
_SEQUENCE = (0xFFFF_FFFE).to_bytes(4, "little")
_VALUE_SIZE = 8
_WITNESS_MARKER_AND_FLAG = b"\x00\x01"
_OP_0 = b"\x00"
_OP_1 = 0x51
_LAST_SMALL_NUMBER = 16  # OP_16 is the last opcode that is a number itself
_OP_PUSHDATA1 = b"\x4c"


@dataclass(frozen=True, slots=True)
class Coinbase:
    """A coinbase without witness, cut where the extranonce belongs: prefix + extranonce + suffix.

    `payout_at` is where in the suffix (offset, length) the payout script with its compact size lies.
    """

    prefix: bytes
    suffix: bytes
    extranonce_size: int
    payout_at: tuple[int, int]


def subsidy_sat(height: int, halving_interval: int = 210_000) -> int:
    """New coins that the block at `height` may create, in satoshi.

    Raises ValueError for a negative height or an interval below 1.
    """
    if height < 0 or halving_interval < 1:
        raise ValueError("a height is not negative, and an interval has at least one block")
    return _FIRST_SUBSIDY_SAT >> min(height // halving_interval, 64)


def height_push(height: int) -> bytes:
    """The push that a coinbase's script begins with (BIP34): OP_1 to OP_16, then minimal signed numbers.

    Raises ValueError for a height below 1: the genesis block is nobody's to mine.
    """
    if height < 1:
        raise ValueError(f"height {height} cannot be mined")
    if height <= _LAST_SMALL_NUMBER:
        return bytes((_OP_1 + height - 1,))
    return _push(height.to_bytes(height.bit_length() // 8 + 1, "little"))  # one bit more, for the sign


def build_coinbase(
    height: int,
    reward_sat: int,
    payout_script: bytes,
    witness_commitment: bytes | None,
    tag: bytes,
    extranonce_size: int,
) -> Coinbase:
    """Coinbase of the block at `height` that pays the whole reward to `payout_script`.

    `witness_commitment` is the 32 bytes of BIP141, None for a chain without segwit. `tag` is free text.
    Raises ValueError for a height, reward, script or commitment that cannot be, and for a scriptSig above 100
    bytes.
    """
    if not 0 <= reward_sat <= _MAX_MONEY_SAT:
        raise ValueError(f"{reward_sat} satoshi cannot be a reward")
    if not payout_script:
        raise ValueError("an empty payout script is money for everyone")
    if height > _FIRST_TIME_LOCK:
        raise ValueError(f"height {height} is too large for BIP54's nLockTime")
    outputs = [_output(reward_sat, payout_script)]
    if witness_commitment is not None:
        if len(witness_commitment) != HASH_SIZE:
            raise ValueError("a witness commitment has 32 bytes")
        outputs.append(_output(0, COMMITMENT_SCRIPT_START + witness_commitment))
    script_start, script_end = _script_sig(height, tag, extranonce_size)
    script_size = len(script_start) + extranonce_size + len(script_end)
    if script_size > MAX_SCRIPT_SIG:
        raise ValueError(f"the coinbase's script has {script_size} bytes, 100 are allowed: shorten the tag")
    before_outputs = script_end + _SEQUENCE + compact_size(len(outputs))
    return Coinbase(
        prefix=_VERSION + _INPUT_START + compact_size(script_size) + script_start,
        suffix=b"".join((before_outputs, *outputs, (height - 1).to_bytes(4, "little"))),
        extranonce_size=extranonce_size,
        payout_at=(len(before_outputs) + _VALUE_SIZE, len(outputs[0]) - _VALUE_SIZE),
    )


def with_witness(coinbase_without_witness: bytes) -> bytes:
    """The same coinbase as it stands in a block with a witness commitment: reserved value of zeros added.

    Raises ValueError for bytes that cannot be a coinbase, or that hold a witness already.
    """
    version, rest, lock_time = (
        coinbase_without_witness[:4],
        coinbase_without_witness[4:-4],
        coinbase_without_witness[-4:],
    )
    if not rest.startswith(_INPUT_START):
        raise ValueError("not a coinbase without witness")
    witness = b"\x01" + compact_size(len(WITNESS_RESERVED_VALUE)) + WITNESS_RESERVED_VALUE
    return version + _WITNESS_MARKER_AND_FLAG + rest + witness + lock_time


def _script_sig(height: int, tag: bytes, extranonce_size: int) -> tuple[bytes, bytes]:
    """Parts of the scriptSig before and after the extranonce."""
    if extranonce_size < 0:
        raise ValueError("an extranonce has no negative size")
    start = height_push(height) + (_push(tag) if tag else b"")
    if extranonce_size:
        return start + _push_opcode(extranonce_size), b""
    return start, _OP_0 * (MIN_SCRIPT_SIG - len(start))


def _push(data: bytes) -> bytes:
    return _push_opcode(len(data)) + data


def _push_opcode(size: int) -> bytes:
    """Opcode that pushes the following `size` bytes; sizes that no coinbase can hold are refused."""
    if size > MAX_SCRIPT_SIG:
        raise ValueError(f"{size} bytes do not fit into the coinbase's script of 100")
    return bytes((size,)) if size < _OP_PUSHDATA1[0] else _OP_PUSHDATA1 + bytes((size,))


def _output(value_sat: int, script: bytes) -> bytes:
    return value_sat.to_bytes(_VALUE_SIZE, "little") + compact_size(len(script)) + script
