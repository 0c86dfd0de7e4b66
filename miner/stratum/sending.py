"""Many short answers written at one call of the C core, without the interpreter and the loop's way for each of them."""

from collections.abc import Sequence
from typing import Any, Final

from miner._native import ffi, lib

MOST: Final = 256
"""Pieces at one call."""

# One thread writes: the event loop's.
_sockets: Any = ffi.new("int32_t[]", MOST)
_lengths: Any = ffi.new("uint32_t[]", MOST)
_sent: Any = ffi.new("uint32_t[]", MOST)


def send(sockets: Sequence[int], pieces: Sequence[bytes]) -> dict[int, bytes]:
    """Write each piece to the non-blocking socket of that file descriptor; at most MOST pieces, in the event loop's thread.

    Returns by their places the pieces that were not taken whole, with what remains of them: whoever writes that meets
    the error, if there was one. Behind such a piece nothing was written to its socket.
    """
    count = len(pieces)
    _sockets[0:count] = sockets
    _lengths[0:count] = [len(piece) for piece in pieces]
    if not lib.hm_send(_sockets, _lengths, b"".join(pieces), count, _sent):
        return {}
    return {place: piece[_sent[place] :] for place, piece in enumerate(pieces) if _sent[place] < len(piece)}
