"""Merkle roots, the branch of a coinbase, and the witness commitment (BIP141).

Hashes are 32 bytes in internal order. hashlib only: what is computed here checks the C core.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

HASH_SIZE: Final = 32

WITNESS_RESERVED_VALUE: Final = bytes(32)
"""The value in the coinbase's witness that our commitments are made with."""


def sha256d(data: bytes) -> bytes:
    """Double SHA-256 of `data`, in internal order."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def merkle_root(txids: Sequence[bytes]) -> bytes:
    """Merkle root of a block's transactions, coinbase first.

    Raises ValueError for an empty block: it has no root.
    """
    if not txids:
        raise ValueError("a block has at least its coinbase")
    return root_from_branch(txids[0], merkle_branch(txids[1:]))


def merkle_branch(txids_without_coinbase: Sequence[bytes]) -> tuple[bytes, ...]:
    """Hashes that lead from any coinbase to the root of a block with these other transactions."""
    branch = []
    level = list(txids_without_coinbase)  # all but the leftmost hash, which the coinbase decides
    while level:
        branch.append(level[0])
        if len(level) % 2 == 0:
            level.append(level[-1])  # an odd row, counted with the coinbase's side, repeats its last hash
        level = [sha256d(level[i] + level[i + 1]) for i in range(1, len(level), 2)]
    return tuple(branch)


def root_from_branch(coinbase_txid: bytes, branch: Sequence[bytes]) -> bytes:
    """Merkle root of the block whose coinbase has `coinbase_txid`."""
    root = coinbase_txid
    for sibling in branch:
        root = sha256d(root + sibling)
    return root


def witness_commitment(wtxids_without_coinbase: Sequence[bytes]) -> bytes:
    """Commitment of BIP141 to the witnesses of a block, for a reserved value of 32 zero bytes.

    The coinbase itself counts as a wtxid of zero.
    """
    root = root_from_branch(bytes(32), merkle_branch(wtxids_without_coinbase))
    return sha256d(root + WITNESS_RESERVED_VALUE)
