"""Targets, bits, difficulty, work and retargets: the edges of Bitcoin's arithmetic."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.difficulty import (
    DIFFICULTY_1_TARGET,
    HASHES_PER_DIFFICULTY,
    MAX_TARGET,
    POW_LIMIT,
    TARGET_TIMESPAN_S,
    bits_to_target,
    difficulty_of_hash,
    difficulty_of_target,
    hash_to_int,
    next_bits,
    target_of_difficulty,
    target_to_bits,
    work_of_target,
)

targets = st.integers(1, MAX_TARGET) | st.integers(0, 255).map(lambda n: 1 << n)
difficulties = st.floats(1e-10, 1e30)


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x1D00FFFF, DIFFICULTY_1_TARGET),
        (0x1C3FFFC0, 0x3FFFC0 << 200),  # difficulty 4
        (0x207FFFFF, 0x7FFFFF << 232),  # regtest
        (0x1E0377AE, 0x377AE << 216),  # signet
        (0x1B0404CB, 0x0404CB << 192),  # the example of the developer documentation
        (0x03123456, 0x123456),
        (0x02123456, 0x1234),
        (0x01123456, 0x12),
        (0x21000001, 1 << 240),
        (0x220000FF, 0xFF << 248),
    ],
)
def test_bits_stand_for_their_target(bits: int, target: int) -> None:
    assert bits_to_target(bits) == target


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0, "zero"),
        (0x01003456, "zero"),
        (0x20000000, "zero"),
        (0x1D80FFFF, "negative"),
        (0x01FEDCBA, "negative"),
        (0x22000100, "above"),
        (0x23000001, "above"),
        (0xFF7FFFFF, "above"),
        (1 << 32, "32-bit"),
        (-1, "32-bit"),
    ],
)
def test_bits_that_no_node_accepts_are_refused(bits: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bits_to_target(bits)


@settings(deadline=None)
@given(targets)
def test_bits_lose_only_what_is_below_their_23_bits(target: int) -> None:
    shown = bits_to_target(target_to_bits(target))
    assert shown <= target
    assert target - shown < max(target >> 15, 1)
    assert target_to_bits(shown) == target_to_bits(target)


@pytest.mark.parametrize("target", [0, -1, MAX_TARGET + 1])
def test_a_number_that_is_no_target_has_no_bits_and_no_work(target: int) -> None:
    with pytest.raises(ValueError, match="a target lies between"):
        target_to_bits(target)
    if target:
        with pytest.raises(ValueError, match="a target lies between"):
            work_of_target(target)


def test_pow_limits_are_the_bits_of_each_genesis_block() -> None:
    genesis = {
        "main": 0x1D00FFFF,
        "test": 0x1D00FFFF,
        "testnet4": 0x1D00FFFF,
        "signet": 0x1E0377AE,
        "regtest": 0x207FFFFF,
    }
    assert {network: target_to_bits(limit) for network, limit in POW_LIMIT.items()} == genesis


@settings(deadline=None)
@given(difficulties, st.integers(1, MAX_TARGET))
def test_a_hash_meets_the_target_of_a_difficulty_exactly_if_it_is_that_difficult(
    difficulty: float, value: int
) -> None:
    target = target_of_difficulty(difficulty)
    for near in (value, target, min(target + 1, MAX_TARGET)):
        difficult_enough = Fraction(DIFFICULTY_1_TARGET, near) >= Fraction(difficulty)
        assert (near <= target) == (difficult_enough or target == 1 == near)


@settings(deadline=None)
@given(st.floats(1e-9, 1e30))
def test_difficulty_survives_the_way_through_its_target(difficulty: float) -> None:
    assert math.isclose(difficulty_of_target(target_of_difficulty(difficulty)), difficulty, rel_tol=1e-9)


def test_targets_of_tiny_difficulties_saturate() -> None:
    assert target_of_difficulty(1e-10) == MAX_TARGET
    assert target_of_difficulty(5e-324) == MAX_TARGET
    assert target_of_difficulty(1e308) == 1


@pytest.mark.parametrize("difficulty", [0.0, -1.0, math.inf, math.nan])
def test_a_number_that_is_no_difficulty_has_no_target(difficulty: float) -> None:
    with pytest.raises(ValueError, match="not a finite number above zero"):
        target_of_difficulty(difficulty)


def test_there_is_no_difficulty_of_a_target_that_nothing_meets() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        difficulty_of_target(0)


def test_difficulty_of_a_hash_reads_it_little_endian() -> None:
    genesis = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")[::-1]
    assert hash_to_int(genesis) == 0x19D6689C085AE165831E934FF763AE46A2A6C172B3F1B60A8CE26F
    assert math.isclose(difficulty_of_hash(genesis), 2536.4262984453103, rel_tol=1e-15)


def test_a_hash_of_zero_has_a_finite_difficulty() -> None:
    assert math.isfinite(difficulty_of_hash(bytes(32)))


def test_work_of_difficulty_1_is_what_the_first_block_adds_to_the_chain() -> None:
    assert work_of_target(DIFFICULTY_1_TARGET) == 0x100010001
    assert math.isclose(work_of_target(DIFFICULTY_1_TARGET), HASHES_PER_DIFFICULTY, rel_tol=2e-5)
    assert work_of_target(MAX_TARGET) == 1


@pytest.mark.parametrize(
    ("bits", "first_time_s", "last_time_s", "expected"),
    [
        # mainnet: blocks 30240 to 32255, 0 to 2015, 66528 to 68543 and 46368 to 48383
        (0x1D00FFFF, 1261130161, 1262152739, 0x1D00D86A),
        (0x1D00FFFF, 1231006505, 1233061996, 0x1D00FFFF),
        (0x1C05A3F4, 1279008237, 1279297671, 0x1C0168FD),
        (0x1C387F6F, 1263163443, 1269211443, 0x1D00E1FD),
    ],
)
def test_retargets_of_mainnet(bits: int, first_time_s: int, last_time_s: int, expected: int) -> None:
    assert next_bits(bits, first_time_s, last_time_s, POW_LIMIT["main"]) == expected


@settings(deadline=None)
@given(st.integers(0x1B000001, 0x1B7FFFFF), st.integers(-(10**7), 10**7))
def test_a_retarget_is_clamped_to_a_factor_of_four(bits: int, taken_s: int) -> None:
    before = bits_to_target(bits)
    after = bits_to_target(next_bits(bits, 0, taken_s, POW_LIMIT["main"]))
    exact = Fraction(
        before * min(max(taken_s, TARGET_TIMESPAN_S // 4), TARGET_TIMESPAN_S * 4), TARGET_TIMESPAN_S
    )
    assert after <= exact
    assert after > exact * Fraction(32767, 32768) - 1
