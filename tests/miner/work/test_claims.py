from miner.work.claims import BlockClaims, BlockFind, Claim
from miner.work.job import Job
from miner.work.share import Block, Submission


def job(prev_hash: bytes = bytes(32)) -> Job:
    return Job(
        id="1",
        origin="solo",
        height=1,
        version=0x20000000,
        version_mask=0x1FFFE000,
        prev_hash=prev_hash,
        coinbase1=b"",
        coinbase2=b"",
        branch=(),
        bits=0x207FFFFF,
        ntime_s=0,
        min_time_s=0,
        extranonce1_size=4,
        extranonce2_size=8,
        clean=True,
        reward_sat=0,
        payout_script=b"",
        created_at=0.0,
    )


def found(number: int, prev_hash: bytes = bytes(32), *, stale: bool = False) -> BlockFind:
    digest = number.to_bytes(32, "big")
    block = Block(
        hash=digest, header=bytes(80), difficulty=1.0, stale=stale, job=job(prev_hash), credited=1.0
    )
    return BlockFind(block, Submission("cpu", "1", bytes(4), bytes(8), 0, number), 0.0)


def test_the_first_block_of_a_tip_is_sent_and_solves_it() -> None:
    claims = BlockClaims()
    assert not claims.solved(bytes(32))
    assert claims.claim(found(1), 0.0) is Claim.SUBMIT
    assert claims.solved(bytes(32))


def test_a_second_block_of_ours_on_the_same_tip_waits_in_reserve() -> None:
    claims = BlockClaims()
    claims.claim(found(1), 0.0)
    assert claims.claim(found(2), 0.1) is Claim.RESERVE
    assert claims.claim(found(3), 0.1) is Claim.RESERVE


def test_when_the_first_is_refused_the_reserve_can_be_sent() -> None:
    claims = BlockClaims()
    claims.claim(found(1), 0.0)
    claims.claim(found(2), 0.1)
    reserve = claims.refused(found(1).block.hash)
    assert reserve is not None
    assert reserve.block.hash == found(2).block.hash
    assert not claims.solved(bytes(32))
    assert claims.claim(reserve, 0.2) is Claim.SUBMIT


def test_a_refusal_of_another_block_changes_nothing() -> None:
    claims = BlockClaims()
    claims.claim(found(1), 0.0)
    assert claims.refused(found(9).block.hash) is None
    assert claims.solved(bytes(32))


def test_a_block_on_a_stale_tip_is_sent_as_a_competitor_whatever_the_pace() -> None:
    claims = BlockClaims(min_block_interval_s=100.0)
    claims.claim(found(1), 0.0)
    assert claims.claim(found(3, b"\x01" * 32, stale=True), 0.1) is Claim.SUBMIT


def test_no_block_of_ours_competes_with_another_of_ours() -> None:
    claims = BlockClaims()
    claims.claim(found(1), 0.0)
    claims.claim(found(2, b"\x01" * 32), 1.0)
    assert claims.claim(found(3, stale=True), 1.1) is Claim.RESERVE


def test_a_tip_that_the_chain_comes_back_to_is_open_again() -> None:
    claims = BlockClaims()
    claims.claim(found(1), 0.0)
    claims.reopen(bytes(32))
    assert not claims.solved(bytes(32))
    assert claims.claim(found(2), 1.0) is Claim.SUBMIT


def test_tips_of_long_ago_are_forgotten() -> None:
    claims = BlockClaims()
    for number in range(10):
        claims.claim(found(number, bytes([number]) * 32), float(number))
    assert not claims.solved(bytes(32))
    assert claims.solved(bytes([9]) * 32)


def test_the_next_tip_is_open_again() -> None:
    claims = BlockClaims()
    claims.claim(found(1), 0.0)
    assert claims.claim(found(2, b"\x01" * 32), 0.1) is Claim.SUBMIT


def test_a_paced_chain_takes_one_block_an_interval() -> None:
    claims = BlockClaims(min_block_interval_s=10.0)
    assert claims.claim(found(1), 100.0) is Claim.SUBMIT
    assert claims.claim(found(2, b"\x01" * 32), 109.9) is Claim.PACED
    assert claims.claim(found(3, b"\x01" * 32), 110.0) is Claim.SUBMIT


def test_a_refused_block_does_not_count_for_the_pace() -> None:
    claims = BlockClaims(min_block_interval_s=10.0)
    claims.claim(found(1), 100.0)
    claims.refused(found(1).block.hash)
    assert claims.claim(found(2), 100.1) is Claim.SUBMIT
