"""What hashing earns, and what it will earn after the next retarget; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

HASHES_PER_DIFFICULTY: Final = 2**32
HASHES_PER_PH: Final = 1e15
SECONDS_PER_DAY: Final = 86_400
SAT_PER_BTC: Final = 100_000_000
EPOCH_BLOCKS: Final = 2016
BLOCK_INTERVAL_S: Final = 600
TARGET_TIMESPAN_S: Final = EPOCH_BLOCKS * BLOCK_INTERVAL_S
CLAMP: Final = 4
HALVING_BLOCKS: Final = 210_000
FIRST_SUBSIDY_SAT: Final = 50 * SAT_PER_BTC

PRIOR_BLOCKS: Final = 500.0
"""How many blocks at ten minutes the difficulty in force is worth as a forecast of the pace. Epochs of August 2025
to February 2026 (shared data) are projected with the least error for 300 to 1,000."""

_TWO_SIDED_90: Final = 1.645

_SIGN: Final = 0x80_0000
_ONE_EXPONENT: Final = 0x1D
_ONE_DIGITS: Final = 0xFFFF


def hashprice_btc_per_ph_day(difficulty: float, subsidy_sat: float, fees_sat: float) -> float:
    """Expected revenue of one PH/s for a day, in BTC, before pool fee and stale work.

    `fees_sat` is the mean per block over the last 144 blocks. Raises ValueError for difficulty <= 0.
    Source: expected hashes per block are difficulty * 2**32.
    """
    if not difficulty > 0:
        raise ValueError(f"difficulty must be above zero, not {difficulty}")
    blocks = HASHES_PER_PH * SECONDS_PER_DAY / (difficulty * HASHES_PER_DIFFICULTY)
    return blocks * (subsidy_sat + fees_sat) / SAT_PER_BTC


def hashprice_usd_per_ph_day(difficulty: float, subsidy_sat: float, fees_sat: float, btc_usd: float) -> float:
    """Expected revenue of one PH/s for a day, in USD, before pool fee and stale work."""
    return hashprice_btc_per_ph_day(difficulty, subsidy_sat, fees_sat) * btc_usd


def subsidy_sat(height: int, halving_blocks: int = HALVING_BLOCKS) -> int:
    """New coins of the block at `height`, satoshi; ValueError for a height below zero or a halving that never comes."""
    if height < 0 or halving_blocks < 1:
        raise ValueError(f"a subsidy needs a height and a halving, not {height} and {halving_blocks}")
    return FIRST_SUBSIDY_SAT >> min(height // halving_blocks, 64)


def difficulty_of_bits(bits: int) -> float:
    """Difficulty of a target as a block header holds it: an exponent of 256 and three digits.

    Raises ValueError for a target that is zero or below. Source: difficulty 1 has the bits 0x1d00ffff.
    """
    exponent, digits = bits >> 24, bits & 0xFF_FFFF
    if not 0 < digits < _SIGN or not 0 < bits < 2**32:
        raise ValueError(f"bits {bits:#x} are no target")
    return float(_ONE_DIGITS) / digits * 256.0 ** (_ONE_EXPONENT - exponent)


@dataclass(frozen=True, slots=True)
class Earned:
    """Which part of hashprice reaches the operator as far as it is configured: fractions, 0.02 is two per cent.

    `pool_fee` is the pool's share (0 when mining solo), `stale` the part of work that comes too late, `uptime` the
    part of the time the unit hashes while it is on. What a pool is known to pay goes before (`controller.earnings`).
    """

    pool_fee: float = 0.0
    stale: float = 0.0
    uptime: float = 1.0

    def __post_init__(self) -> None:
        """Refuse anything that is no fraction."""
        for name in ("pool_fee", "stale"):
            value: float = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be from 0 to below 1, not {value}")
        if not 0 < self.uptime <= 1:
            raise ValueError(f"uptime must be above 0 and at most 1, not {self.uptime}")

    @property
    def ratio(self) -> float:
        """The factor from gross to net."""
        return (1 - self.pool_fee) * (1 - self.stale) * self.uptime


def next_difficulty(difficulty: float, first_time_s: float, last_time_s: float) -> float:
    """Difficulty after an epoch whose first and last block (2015 intervals apart) bear these times.

    Exact but for the rounding of compact bits (below 1e-5). Raises ValueError for difficulty <= 0.
    """
    if not difficulty > 0:
        raise ValueError(f"difficulty must be above zero, not {difficulty}")
    return difficulty * retarget_ratio(last_time_s - first_time_s)


def retarget_ratio(timespan_s: float) -> float:
    """By what the difficulty is multiplied after an epoch of that many seconds, clamped to a factor of 4."""
    clamped = min(max(timespan_s, TARGET_TIMESPAN_S / CLAMP), TARGET_TIMESPAN_S * CLAMP)
    return TARGET_TIMESPAN_S / clamped


@dataclass(frozen=True, slots=True)
class Retarget:
    """The next difficulty as far as it can be known: `low` and `high` hold it with 90 %.

    `ratio` is next over present difficulty; `at` is when its first block is expected, UTC unix seconds.
    """

    difficulty: float
    ratio: float
    ratio_low: float
    ratio_high: float
    at: float
    at_low: float
    at_high: float
    blocks_left: int


def project_retarget(
    difficulty: float, height: int, epoch_start_time_s: float, tip_time_s: float, now: float
) -> Retarget:
    """Project the next difficulty from the epoch so far.

    `height` is the tip's, `epoch_start_time_s` the time in the header of the epoch's first block. Block times are Poisson
    with an unknown rate: the intervals so far and `PRIOR_BLOCKS` at ten minutes give its gamma distribution, and
    what is left of the epoch has the mean and variance that follow. Blocks do not remember how long ago the last one was: what is left
    counts from `now`, and a next block that is late has changed nothing yet. Raises ValueError for difficulty <= 0 or height < 0.
    """
    if not difficulty > 0 or height < 0:
        raise ValueError("a projection needs a difficulty above zero and a height")
    done = height % EPOCH_BLOCKS
    left = EPOCH_BLOCKS - 1 - done
    # Of a finished epoch the times of its blocks tell all; until then the time without a block tells of the pace, too.
    seen_until_s = max(tip_time_s, now) if left else tip_time_s
    elapsed = max(seen_until_s - epoch_start_time_s, 0.0)
    # The gamma distribution of the rate: `shape` blocks were seen in `scale` seconds.
    shape = done + PRIOR_BLOCKS
    scale = elapsed + PRIOR_BLOCKS * BLOCK_INTERVAL_S
    mean_s = left * scale / (shape - 1)
    variance = left * (left + shape - 1) / ((shape - 1) ** 2 * (shape - 2)) * scale**2
    spread_s = _TWO_SIDED_90 * math.sqrt(variance)
    pace_s = scale / (shape - 1)
    at = max(tip_time_s, now) + mean_s + pace_s
    ratio = retarget_ratio(elapsed + mean_s)
    return Retarget(
        difficulty=difficulty * ratio,
        ratio=ratio,
        ratio_low=retarget_ratio(elapsed + mean_s + spread_s),
        ratio_high=retarget_ratio(elapsed + mean_s - spread_s),
        at=at,
        at_low=max(at - spread_s, now),
        at_high=at + spread_s,
        blocks_left=left + 1,
    )
