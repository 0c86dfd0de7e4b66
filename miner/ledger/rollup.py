"""Shares as they are stored, and how they add up: 64-byte records, folded into rows by unit and minute.

A record is unit number and tip number (u32), time in UTC unix seconds and credited difficulty (f64), job serial
(u64), header hash (32 bytes, internal order), all little-endian. `miner.kernel` writes the same.
"""

import struct
from collections.abc import Iterator
from typing import Final

from miner.chain.difficulty import DIFFICULTY_1_TARGET
from miner.ledger.rows import ShareMinuteRow

RECORD: Final = struct.Struct("<IIddQ32s")
MINUTE_S: Final = 60


def span_of(records: bytes) -> tuple[float, float]:
    """The times of the first and the last of records in the order they came in; ValueError where there is none whole."""
    if not records or len(records) % RECORD.size:
        raise ValueError(f"{len(records)} bytes are no whole number of records of {RECORD.size}")
    first, last = RECORD.unpack_from(records), RECORD.unpack_from(records, len(records) - RECORD.size)
    return first[2], last[2]


class MinuteFold:
    """Sums of accepted shares by unit and minute, of as many batches as are added; of rejected ones records know nothing."""

    def __init__(self) -> None:
        #: By unit and minute: accepted, work, work squared, least hash.
        self._sums: dict[tuple[int, int], tuple[int, float, float, int]] = {}
        self.shares = 0

    def add(self, records: bytes) -> None:
        """Count a batch."""
        sums = self._sums
        for unit, _tip, at, difficulty, _serial, digest in RECORD.iter_unpack(records):
            key = unit, int(at // MINUTE_S)
            value = int.from_bytes(digest, "little")
            known = sums.get(key)
            if known is None:
                sums[key] = 1, difficulty, difficulty * difficulty, value
            else:
                accepted, work, squared, least = known
                sums[key] = (
                    accepted + 1,
                    work + difficulty,
                    squared + difficulty * difficulty,
                    min(value, least),
                )
        self.shares += len(records) // RECORD.size

    def rows(self) -> Iterator[ShareMinuteRow]:
        """One row for every unit and minute with a share, by minute and unit."""
        for (unit, minute), (accepted, work, squared, least) in sorted(
            self._sums.items(), key=lambda item: (item[0][1], item[0][0])
        ):
            best = DIFFICULTY_1_TARGET / max(least, 1)
            yield ShareMinuteRow(unit, minute * MINUTE_S, accepted, work, squared, best)


def merged(known: ShareMinuteRow, more: ShareMinuteRow) -> ShareMinuteRow:
    """Two counts of one unit and minute, of different shares, as one."""
    reasons = {**known.rejected}
    for reason, count in more.rejected.items():
        reasons[reason] = reasons.get(reason, 0) + count
    return ShareMinuteRow(
        known.unit,
        known.minute_at,
        known.accepted + more.accepted,
        known.work + more.work,
        known.work_squared + more.work_squared,
        max(known.best_difficulty, more.best_difficulty),
        reasons,
    )
