"""The first job on a new tip: a block without transactions, made of the tip's header alone.

It is hashed until the node has made its template. Everything such a block says follows from the header before it,
except the bits where they change, and the version, which is that of the last template.
"""

import math
from dataclasses import dataclass, replace

from miner.chain.coinbase import HALVING_INTERVAL, subsidy_sat
from miner.chain.difficulty import POW_LIMIT, RETARGET_INTERVAL, bits_to_target
from miner.chain.merkle import witness_commitment
from miner.work.job import MOST_ELAPSED_S
from miner.work.template import MINIMUM_DIFFICULTY_NETWORKS, Template


@dataclass(frozen=True, slots=True)
class TipHeader:
    """What a first job needs of the header it builds on: `hash` in internal order.

    `median_time_s` is the median time of it and the ten blocks before, in unix seconds: the next block is later.
    """

    hash: bytes
    height: int
    bits: int
    median_time_s: int


@dataclass(frozen=True, slots=True)
class NoFirstJob:
    """There is no first job on this tip, and why: the work waits for the template."""

    reason: str


def has_first_jobs(network: str) -> bool:
    """Whether the header before tells a block's bits; on the networks of least difficulty its time decides them, too."""
    return network not in MINIMUM_DIFFICULTY_NETWORKS


def first_template(
    tip: TipHeader, network: str, before: Template, fetched_at: float, now: float
) -> Template | NoFirstJob:
    """The template of an empty block on `tip`, which pays the subsidy.

    `before` is the node's last template and `fetched_at` the local time it came at, in unix seconds: they tell the
    node's clock. KeyError for an unknown network.
    """
    height = tip.height + 1
    if not has_first_jobs(network):
        return NoFirstJob(f"on {network} the bits depend on the time")
    if height < 1 or height % RETARGET_INTERVAL == 0:
        return NoFirstJob(f"the bits of block {height} are not known from the block before")
    try:
        target = bits_to_target(tip.bits)
    except ValueError as error:
        return NoFirstJob(f"bits {tip.bits:08x} of the tip: {error}")
    if target > POW_LIMIT[network]:
        return NoFirstJob(f"bits {tip.bits:08x} of the tip are easier than {network} allows")
    min_time_s = tip.median_time_s + 1
    elapsed_s = math.floor(min(max(now - fetched_at, 0.0), MOST_ELAPSED_S))
    return replace(
        before,
        height=height,
        prev_hash=tip.hash,
        bits=tip.bits,
        min_time_s=min_time_s,
        cur_time_s=max(before.cur_time_s + elapsed_s, min_time_s),
        reward_sat=subsidy_sat(height, HALVING_INTERVAL[network]),
        txs=(),
        # Where there is segwit the empty block commits, too: a signet asks for it. Before, a witness is an error.
        witness_commitment=None if before.witness_commitment is None else witness_commitment([]),
        longpoll_id="",
    )


def difference(first: Template, full: Template) -> str:
    """What the node's template says otherwise than the first job on the same tip did; empty if they agree."""
    named = ("height", "bits", "min_time_s")
    return ", ".join(
        f"{name} {getattr(first, name)} instead of {getattr(full, name)}"
        for name in named
        if getattr(first, name) != getattr(full, name)
    )
