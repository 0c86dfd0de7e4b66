"""The kinds of scripts that a block reward is paid to."""

from typing import Literal

PayoutKind = Literal["p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr"]


def payout_kind(script: bytes) -> PayoutKind | None:
    """What a scriptPubKey is; None for every other script, such as those that anybody may spend."""
    match script[:2], script[-2:], len(script):
        case b"\x76\xa9", b"\x88\xac", 25 if script[2] == 20:  # noqa: PLR2004 - a push of a hash of 20 bytes
            return "p2pkh"
        case b"\xa9\x14", _, 23 if script[-1] == 0x87:  # noqa: PLR2004 - OP_EQUAL
            return "p2sh"
        case b"\x00\x14", _, 22:
            return "p2wpkh"
        case b"\x00\x20", _, 34:
            return "p2wsh"
        case b"\x51\x20", _, 34:
            return "p2tr"
    return None
