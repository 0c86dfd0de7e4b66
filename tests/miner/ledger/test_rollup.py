import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.difficulty import difficulty_of_hash
from miner.ledger.rollup import RECORD, MinuteFold, merged, span_of
from miner.ledger.rows import ShareMinuteRow

Record = tuple[int, int, float, float, int, bytes]

#: Few units and little time, so that many shares meet in one minute.
RECORDS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 2**32 - 1),
        st.floats(1_700_000_000.0, 1_700_000_300.0),
        st.floats(1e-10, 1e9),
        st.integers(0, 2**64 - 1),
        st.binary(min_size=32, max_size=32),
    ),
    max_size=40,
)


def packed(records: list[Record]) -> bytes:
    return b"".join(RECORD.pack(*record) for record in records)


def naive(records: list[Record]) -> list[ShareMinuteRow]:
    """Minute by minute and unit by unit, as one would on paper."""
    keys = sorted({(int(record[2]) // 60 * 60, record[0]) for record in records})
    rows = []
    for minute, unit in keys:
        mine = [r for r in records if r[0] == unit and minute <= r[2] < minute + 60]
        rows.append(
            ShareMinuteRow(
                unit,
                minute,
                len(mine),
                sum(r[3] for r in mine),
                sum(r[3] * r[3] for r in mine),
                max(difficulty_of_hash(r[5]) for r in mine),
            )
        )
    return rows


@given(RECORDS)
def test_folding_records_gives_what_counting_them_one_by_one_does(records: list[Record]) -> None:
    fold = MinuteFold()
    fold.add(packed(records))
    assert list(fold.rows()) == naive(records)
    assert fold.shares == len(records)


@given(RECORDS, st.integers(0, 40))
def test_it_does_not_matter_how_records_are_cut_into_batches(records: list[Record], cut: int) -> None:
    whole, parts = MinuteFold(), MinuteFold()
    whole.add(packed(records))
    parts.add(packed(records[:cut]))
    parts.add(packed(records[cut:]))
    assert list(parts.rows()) == list(whole.rows())


@given(RECORDS)
def test_counts_of_different_shares_of_a_minute_merge_into_one(records: list[Record]) -> None:
    one_minute = [(0, r[1], 1_700_000_000.0, r[3], r[4], r[5]) for r in records]
    for cut in range(1, len(one_minute)):
        first, second = (naive(part)[0] for part in (one_minute[:cut], one_minute[cut:]))
        both, (whole,) = merged(first, second), naive(one_minute)
        assert replace(both, work=0.0, work_squared=0.0) == replace(whole, work=0.0, work_squared=0.0)
        assert (both.work, both.work_squared) == pytest.approx((whole.work, whole.work_squared))


def test_what_was_rejected_is_added_reason_by_reason() -> None:
    first = ShareMinuteRow(1, 60, rejected={"stale": 2, "duplicate": 1})
    second = ShareMinuteRow(1, 60, rejected={"stale": 3, "low_difficulty": 4})
    assert merged(first, second).rejected == {"stale": 5, "duplicate": 1, "low_difficulty": 4}


def test_a_record_is_64_bytes_of_numbers_and_a_hash_in_this_order() -> None:
    assert RECORD.size == 64
    record = RECORD.pack(1, 2, 3.5, 4.5, 5, bytes(range(32)))
    assert record == struct.pack("<I", 1) + struct.pack("<I", 2) + struct.pack("<d", 3.5) + struct.pack(
        "<d", 4.5
    ) + struct.pack("<Q", 5) + bytes(range(32))


def test_a_batch_spans_from_its_first_share_to_its_last() -> None:
    assert span_of(packed([(0, 0, at, 1.0, 0, bytes(32)) for at in (1.5, 2.5, 9.25)])) == (1.5, 9.25)


@pytest.mark.parametrize("records", [b"", bytes(63), bytes(65)])
def test_bytes_that_are_no_records_are_refused(records: bytes) -> None:
    with pytest.raises(ValueError, match="no whole number of records"):
        span_of(records)
