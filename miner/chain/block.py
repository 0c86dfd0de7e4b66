"""The 80-byte header, and a whole block in the network's serialization."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from miner.chain.merkle import HASH_SIZE, sha256d

HEADER_SIZE: Final = 80
MAX_UINT32: Final = 0xFFFF_FFFF
_LENGTH_MARKERS = ((0xFD, 2), (0xFE, 4), (0xFF, 8))  # marker, and how many bytes of length follow it
_LAYOUT = struct.Struct("<I32s32sIII")


@dataclass(frozen=True, slots=True)
class Header:
    """A block header; hashes in internal order, numbers unsigned 32-bit, `ntime_s` in unix seconds."""

    version: int
    prev_hash: bytes
    merkle_root: bytes
    ntime_s: int
    bits: int
    nonce: int

    def pack(self) -> bytes:
        """The 80 bytes as they are hashed. Raises ValueError for a field out of its range."""
        if len(self.prev_hash) != HASH_SIZE or len(self.merkle_root) != HASH_SIZE:
            raise ValueError("a header's hashes have 32 bytes")
        try:
            return _LAYOUT.pack(
                self.version, self.prev_hash, self.merkle_root, self.ntime_s, self.bits, self.nonce
            )
        except struct.error as error:
            raise ValueError(f"a header's numbers have 32 bits: {error}") from error

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """Header of 80 bytes. Raises ValueError for any other length."""
        if len(raw) != HEADER_SIZE:
            raise ValueError(f"a header has 80 bytes, not {len(raw)}")
        return cls(*_LAYOUT.unpack(raw))


def header_hash(header: bytes) -> bytes:
    """Hash of an 80-byte header, in internal order, by hashlib: independent of the C core.

    Raises ValueError for any other length.
    """
    if len(header) != HEADER_SIZE:
        raise ValueError(f"a header has 80 bytes, not {len(header)}")
    return sha256d(header)


def compact_size(n: int) -> bytes:
    """Length prefix of the network's serialization. Raises ValueError outside 0 to 2**64 - 1."""
    if 0 <= n < _LENGTH_MARKERS[0][0]:
        return n.to_bytes(1, "little")
    for marker, size in _LENGTH_MARKERS:
        if 0 <= n < 256**size:
            return marker.to_bytes(1, "little") + n.to_bytes(size, "little")
    raise ValueError(f"{n} cannot be a length")


def assemble_block(header: bytes, coinbase_with_witness: bytes, txs: Sequence[bytes]) -> bytes:
    """Serialized block, as `submitblock` takes it. Raises ValueError for a header not of 80 bytes."""
    if len(header) != HEADER_SIZE:
        raise ValueError(f"a header has 80 bytes, not {len(header)}")
    return b"".join((header, compact_size(1 + len(txs)), coinbase_with_witness, *txs))
