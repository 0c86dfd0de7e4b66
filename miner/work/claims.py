"""Which found blocks are sent to the nodes: one a tip while it is not refused, all that compete with others."""

from dataclasses import dataclass
from enum import Enum, auto

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
    """A block of ours on this very tip is on its way already: this one counts as a share, and is sent if that one is refused."""
    PACED = auto()
    """Too soon after the last block of a paced regtest: it counts as a share."""


@dataclass(slots=True)
class _Tip:
    prev_hash: bytes
    sent: bytes
    reserve: BlockFind | None = None


class BlockClaims:
    """Decides what becomes of each found block.

    A second block of ours on a tip could only compete with our first, so it is kept in reserve. A block found on a
    stale tip competes with a block of somebody else and is always sent. `min_block_interval_s` paces a regtest, where
    every second hash is a block; it must be 0 on every chain that is worth something.
    """

    def __init__(self, min_block_interval_s: float = 0.0) -> None:
        self._min_block_interval_s = min_block_interval_s
        self._last_sent_at = float("-inf")
        self._tip: _Tip | None = None

    def claim(self, found: BlockFind, now: float) -> Claim:
        """What to do with `found` at `now`."""
        block = found.block
        if block.stale:
            return Claim.SUBMIT
        tip = self._tip
        if tip is not None and tip.prev_hash == block.job.prev_hash:
            tip.reserve = tip.reserve or found
            return Claim.RESERVE
        if now - self._last_sent_at < self._min_block_interval_s:
            return Claim.PACED
        self._tip = _Tip(block.job.prev_hash, block.hash)
        self._last_sent_at = now
        return Claim.SUBMIT

    def solved(self, prev_hash: bytes) -> bool:
        """Whether a block of ours on this tip is on its way, so that more hashing on it earns nothing."""
        return self._tip is not None and self._tip.prev_hash == prev_hash

    def refused(self, block_hash: bytes) -> BlockFind | None:
        """Every node refused this block: the tip is open again; returns the block in reserve, to be claimed anew."""
        tip = self._tip
        if tip is None or tip.sent != block_hash:
            return None
        self._tip = None
        self._last_sent_at = float("-inf")
        return tip.reserve
