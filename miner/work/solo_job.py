"""A job of our own node's template."""

from miner.chain.coinbase import build_coinbase
from miner.chain.merkle import merkle_branch
from miner.work.job import DEFAULT_VERSION_MASK, Job
from miner.work.shelf import SOLO
from miner.work.template import Template


def solo_job(  # noqa: PLR0913 - the template, and each choice that is the operator's
    template: Template,
    job_id: str,
    payout_script: bytes,
    tag: bytes,
    extranonce1_size: int,
    extranonce2_size: int,
    version_mask: int = DEFAULT_VERSION_MASK,
    *,
    clean: bool,
    now: float,
) -> Job:
    """Job of our own node's template that pays the whole reward to `payout_script`.

    `now` is the local time at which the template came. Raises ValueError where the coinbase cannot be built.
    """
    coinbase = build_coinbase(
        template.height,
        template.reward_sat,
        payout_script,
        template.witness_commitment,
        tag,
        extranonce1_size + extranonce2_size,
    )
    return Job(
        id=job_id,
        origin=SOLO,
        height=template.height,
        version=template.version & ~version_mask,
        version_mask=version_mask,
        prev_hash=template.prev_hash,
        coinbase1=coinbase.prefix,
        coinbase2=coinbase.suffix,
        branch=merkle_branch([tx.txid for tx in template.txs]),
        bits=template.bits,
        ntime_s=template.cur_time_s,
        min_time_s=template.min_time_s,
        extranonce1_size=extranonce1_size,
        extranonce2_size=extranonce2_size,
        clean=clean,
        reward_sat=template.reward_sat,
        payout_script=payout_script,
        created_at=now,
        txs=tuple(tx.raw for tx in template.txs),
        commits_to_witness=template.witness_commitment is not None,
        time_sets_bits=template.time_sets_bits,
        payout_at=coinbase.payout_at,
    )
