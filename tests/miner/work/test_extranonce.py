"""Extranonces: unique while in use, disjoint between threads, never silently used up."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.work.extranonce import ExtranonceAllocator, ExtranonceExhaustedError, thread_extranonces


def test_values_are_handed_out_in_counting_order() -> None:
    allocator = ExtranonceAllocator()
    assert [allocator.allocate().hex() for _ in range(3)] == ["00000000", "00000001", "00000002"]


def test_a_released_value_comes_back_only_after_all_others_had_their_turn() -> None:
    allocator = ExtranonceAllocator(size=1)
    first = allocator.allocate()
    allocator.release(first)
    others = [allocator.allocate() for _ in range(255)]
    assert first not in others
    assert allocator.allocate() == first


def test_exhaustion_is_an_error_and_a_release_ends_it() -> None:
    allocator = ExtranonceAllocator(size=1)
    values = [allocator.allocate() for _ in range(256)]
    with pytest.raises(ExtranonceExhaustedError, match="256"):
        allocator.allocate()
    allocator.release(values[77])
    assert allocator.allocate() == values[77]


@pytest.mark.parametrize("value", [b"\x05", b"\x00\x00", b""])
def test_only_a_value_in_use_can_be_released(value: bytes) -> None:
    allocator = ExtranonceAllocator(size=1)
    allocator.allocate()
    with pytest.raises(ValueError, match="not in use"):
        allocator.release(value)


@settings(deadline=None)
@given(st.lists(st.integers(0, 300) | st.none(), max_size=600))
def test_two_holders_never_share_a_value(steps: list[int | None]) -> None:
    allocator = ExtranonceAllocator(size=1)
    held: list[bytes] = []
    for step in steps:
        if step is not None and held:
            allocator.release(held.pop(step % len(held)))
        elif len(held) < 256:
            held.append(allocator.allocate())
        assert len(set(held)) == len(held)


@settings(deadline=None)
@given(st.integers(1, 300))
def test_threads_share_no_value_and_leave_none_out(threads: int) -> None:
    slices = [list(thread_extranonces(thread, threads, 1)) for thread in range(threads)]
    assert sorted(value for values in slices for value in values) == [bytes((n,)) for n in range(256)]


def test_slices_of_eight_bytes_start_at_once() -> None:
    assert [value.hex() for value in islice(thread_extranonces(2, 3, 8), 2)] == [
        "0000000000000002",
        "0000000000000005",
    ]


@pytest.mark.parametrize(("thread", "threads", "size"), [(3, 3, 4), (-1, 3, 4), (0, 0, 4), (0, 1, 0)])
def test_a_slice_that_cannot_be_is_refused_before_the_first_value(
    thread: int, threads: int, size: int
) -> None:
    with pytest.raises(ValueError, match=r"there is no thread|at least one byte"):
        thread_extranonces(thread, threads, size)


def test_an_allocator_of_no_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        ExtranonceAllocator(size=0)


def test_counting_begins_where_it_is_told_and_goes_round() -> None:
    allocator = ExtranonceAllocator(1, start=254)
    assert [allocator.allocate() for _ in range(3)] == [b"\xfe", b"\xff", b"\x00"]


def test_a_reserved_value_is_not_handed_out_until_it_is_released() -> None:
    allocator = ExtranonceAllocator(1)
    allocator.reserve(b"\x00")
    assert allocator.allocate() == b"\x01"
    for taken in (b"\x00", b"\x01", b"\x00\x02"):
        with pytest.raises(ValueError, match="cannot be reserved"):
            allocator.reserve(taken)
    allocator.release(b"\x00")
    allocator.reserve(b"\x00")
