"""What the chain itself says about mining's worth: difficulty, subsidy, fees, and where the epoch stands."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from miner.chain.coinbase import HALVING_INTERVAL, subsidy_sat
from miner.node.rpc import RpcClient, RpcRefusedError, internal_hash

FEE_BLOCKS = 144  # about a day
EPOCH_BLOCKS = 2016
_BATCH = 24  # a full block takes its node tens of milliseconds to sum up: do not hold its RPC thread for long
_BATCH_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """The chain at its tip. Times in unix seconds, amounts in satoshi, hash in internal order.

    `difficulty` and `bits` are the tip's; `subsidy_sat` is the next block's; `fees_sat_mean_144` is the mean of the
    last `fee_blocks` blocks, which are 144 unless the chain has fewer.
    """

    chain: str
    height: int
    tip_hash: bytes
    tip_time_s: int
    median_time_s: int
    difficulty: float
    bits: int
    subsidy_sat: int
    fees_sat_mean_144: float
    fee_blocks: int
    epoch_start_height: int
    epoch_start_time_s: int


class FeeCache:
    """Fees of blocks by hash, so that each block is summed up once; bounded to the blocks of the last reading."""

    def __init__(self) -> None:
        self.fees_sat: dict[str, int] = {}


class _InfoReply(msgspec.Struct):
    chain: str
    bestblockhash: str


class _HeaderReply(msgspec.Struct):
    height: int
    time: int
    mediantime: int
    bits: str
    difficulty: float


class _StatsReply(msgspec.Struct):
    totalfee: int


async def chain_facts(rpc: RpcClient, cache: FeeCache | None = None) -> ChainFacts:
    """Read the facts at the node's tip; `cache` spares all but the new blocks at later readings. Raises RpcError."""
    info = await rpc.call("getblockchaininfo", decode=_InfoReply, retry_s=5.0)
    tip = await rpc.call("getblockheader", info.bestblockhash, decode=_HeaderReply, retry_s=5.0)
    epoch_height = tip.height - tip.height % EPOCH_BLOCKS
    epoch_hash = await rpc.call("getblockhash", epoch_height, decode=str, retry_s=5.0)
    epoch = await rpc.call("getblockheader", epoch_hash, decode=_HeaderReply, retry_s=5.0)
    fees = await _fees(rpc, tip.height, cache or FeeCache())
    return ChainFacts(
        chain=info.chain,
        height=tip.height,
        tip_hash=internal_hash(info.bestblockhash),
        tip_time_s=tip.time,
        median_time_s=tip.mediantime,
        difficulty=tip.difficulty,
        bits=int(tip.bits, 16),
        subsidy_sat=subsidy_sat(tip.height + 1, HALVING_INTERVAL[info.chain]),
        fees_sat_mean_144=sum(fees) / len(fees) if fees else 0.0,
        fee_blocks=len(fees),
        epoch_start_height=epoch_height,
        epoch_start_time_s=epoch.time,
    )


async def _fees(rpc: RpcClient, tip_height: int, cache: FeeCache) -> Sequence[int]:
    """Total fees of the last blocks; the genesis block and blocks the node has pruned are left out."""
    heights = range(max(1, tip_height - FEE_BLOCKS + 1), tip_height + 1)
    hashes = [
        one
        for one in await rpc.batch([("getblockhash", height) for height in heights], decode=str)
        if isinstance(one, str)
    ]
    known = {block: cache.fees_sat[block] for block in hashes if block in cache.fees_sat}
    missing = [block for block in hashes if block not in known]
    for start in range(0, len(missing), _BATCH):
        some = missing[start : start + _BATCH]
        stats = await rpc.batch(
            [("getblockstats", block, ["totalfee"]) for block in some],
            decode=_StatsReply,
            timeout_s=_BATCH_LIMIT_S,
        )
        for block, answer in zip(some, stats, strict=True):
            if not isinstance(answer, RpcRefusedError):
                known[block] = answer.totalfee
        cache.fees_sat = dict(
            known
        )  # a reader that loses patience with a slow disk goes on here the next time
    cache.fees_sat = known
    return list(known.values())
