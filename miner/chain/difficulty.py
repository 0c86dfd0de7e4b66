"""Targets, their compact form (bits), difficulty, work and the retarget rule.

A target is an int below 2**256; a hash meets it when the hash, read as a little-endian number, is not above
it. Everything here is exact; floats appear only where a difficulty is asked for or given.
"""

from types import MappingProxyType
from typing import Final

DIFFICULTY_1_TARGET: Final = 0xFFFF << 208
HASHES_PER_DIFFICULTY: Final = 2**32
"""Expected hashes of one share of difficulty 1 (the field's convention; 0.0015 % below the exact number)."""

MAX_TARGET: Final = 2**256 - 1
RETARGET_INTERVAL: Final = 2016
TARGET_TIMESPAN_S: Final = 14 * 24 * 60 * 60

POW_LIMIT: Final = MappingProxyType(
    {
        "main": 2**224 - 1,
        "test": 2**224 - 1,
        "testnet4": 2**224 - 1,
        "signet": 0x377AE << 216,
        "regtest": 2**255 - 1,
    }
)
"""The easiest target of each network."""

_MANTISSA_BYTES = 3
_SIGN_BIT = 0x0080_0000


def bits_to_target(bits: int) -> int:
    """Target that the compact form `bits` of a header stands for.

    Raises ValueError for bits outside 32 bits and for a target that is negative, zero or above 2**256 - 1: no
    hash can meet those, and every node refuses them.
    """
    if not 0 <= bits < 2**32:
        raise ValueError(f"bits {bits:#x} is not a 32-bit number")
    shift = 8 * ((bits >> 24) - _MANTISSA_BYTES)
    target = (bits & 0x007F_FFFF) << max(shift, 0) >> max(-shift, 0)
    if target == 0:
        raise ValueError(f"bits {bits:08x} is a target of zero")
    if bits & _SIGN_BIT:
        raise ValueError(f"bits {bits:08x} is a negative target")
    if target > MAX_TARGET:
        raise ValueError(f"bits {bits:08x} is a target above 2**256 - 1")
    return target


def target_to_bits(target: int) -> int:
    """Compact form of `target`, rounded down to its 23 significant bits.

    Raises ValueError for a target below 1 or above 2**256 - 1.
    """
    if not 0 < target <= MAX_TARGET:
        raise ValueError("a target lies between 1 and 2**256 - 1")
    size = (target.bit_length() + 7) // 8
    shift = 8 * (size - _MANTISSA_BYTES)
    mantissa = target << max(-shift, 0) >> max(shift, 0)
    if mantissa & _SIGN_BIT:
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def difficulty_of_target(target: int) -> float:
    """Difficulty at which a hash meets `target` exactly: 0xffff * 2**208 / target.

    Raises ValueError for a target below 1.
    """
    if target < 1:
        raise ValueError("a target is at least 1")
    return DIFFICULTY_1_TARGET / target


def target_of_difficulty(difficulty: float) -> int:
    """Largest target whose difficulty is not below `difficulty`, exact for the given float.

    Saturates at 2**256 - 1 (difficulties below about 2**-32) and at 1. Raises ValueError for a difficulty
    that is not a finite number above zero.
    """
    if not 0 < difficulty < float("inf"):
        raise ValueError(f"difficulty {difficulty} is not a finite number above zero")
    numerator, denominator = difficulty.as_integer_ratio()
    return min(max(DIFFICULTY_1_TARGET * denominator // numerator, 1), MAX_TARGET)


def hash_to_int(digest: bytes) -> int:
    """Hash in internal byte order as the number that is compared with a target."""
    return int.from_bytes(digest, "little")


def difficulty_of_hash(digest: bytes) -> float:
    """Difficulty of the hardest target that `digest` (32 bytes, internal order) meets."""
    return DIFFICULTY_1_TARGET / max(hash_to_int(digest), 1)


def work_of_target(target: int) -> int:
    """Expected hashes until one meets `target`, rounded down: what a block adds to its chain's work.

    Raises ValueError for a target outside 0 to 2**256 - 1.
    """
    if not 0 <= target <= MAX_TARGET:
        raise ValueError("a target lies between 0 and 2**256 - 1")
    return 2**256 // (target + 1)


def next_bits(bits: int, first_time_s: int, last_time_s: int, pow_limit: int) -> int:
    """Bits of the epoch that follows one of `bits` whose first and last blocks bear the two times.

    The rule of main and signet: the time taken counts as at least a quarter and at most four times two weeks.
    testnet4 goes by the bits of the epoch's first block (BIP94), which the caller then gives. Raises
    ValueError for invalid bits.
    """
    taken_s = min(max(last_time_s - first_time_s, TARGET_TIMESPAN_S // 4), TARGET_TIMESPAN_S * 4)
    target = bits_to_target(bits) * taken_s // TARGET_TIMESPAN_S
    return target_to_bits(min(target, pow_limit))
