"""Which found blocks are sent to the nodes: one a tip while it is not refused, all that compete with others."""

from dataclasses import dataclass
from enum import Enum, auto

from miner.work.job import KEPT_TIPS
from miner.work.share import Block, Submission


@dataclass(frozen=True, slots=True)
class BlockFind:
    """A block as it was found: by whom, with what, when."""

    block: Block
    submission: Submission
    found_at: float


class Claim(Enum):
    """What becomes of a found block."""

    SUBMIT = auto()
    """Send it to every node, now."""
    RESERVE = auto()
    """A block of ours on this very tip was sent before: this one counts as a share, and goes only if that one is refused."""
    PACED = auto()
    """Too soon after the last block of a paced regtest: it counts as a share."""


@dataclass(slots=True)
class _Tip:
    sent: bytes
    reserve: BlockFind | None = None


class BlockClaims:
    """Decides what becomes of each found block.

    A second block of ours on a tip could only compete with our first, so it is kept in reserve. A block found on a
    stale tip competes with a block of somebody else and is sent. `min_block_interval_s` paces a regtest, where every
    second hash is a block; it must be 0 on every chain that is worth something.
    """

    def __init__(self, min_block_interval_s: float = 0.0) -> None:
        self._min_block_interval_s = min_block_interval_s
        self._last_sent_at = float("-inf")
        self._tips: dict[bytes, _Tip] = {}  # by prev hash, in the order of their blocks

    def claim(self, found: BlockFind, now: float) -> Claim:
        """What to do with `found` at `now`."""
        block = found.block
        tip = self._tips.get(block.job.prev_hash)
        if tip is not None:
            tip.reserve = tip.reserve or found
            return Claim.RESERVE
        if not block.stale and now - self._last_sent_at < self._min_block_interval_s:
            return Claim.PACED
        self._tips[block.job.prev_hash] = _Tip(block.hash)
        if len(self._tips) > KEPT_TIPS:
            del self._tips[next(iter(self._tips))]
        self._last_sent_at = now
        return Claim.SUBMIT

    def solved(self, prev_hash: bytes) -> bool:
        """Whether a block of ours on this tip is on its way, so that more hashing on it earns nothing."""
        return prev_hash in self._tips

    def reopen(self, prev_hash: bytes) -> None:
        """The chain is back at this tip, without the block of ours that was sent on it."""
        self._tips.pop(prev_hash, None)

    def refused(self, block_hash: bytes) -> BlockFind | None:
        """Every node refused this block: its tip is open again; returns the block in reserve, to be claimed anew."""
        for prev_hash, tip in self._tips.items():
            if tip.sent == block_hash:
                del self._tips[prev_hash]
                self._last_sent_at = float("-inf")
                return tip.reserve
        return None
