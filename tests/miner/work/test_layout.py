"""How the extranonce is shared out."""

import pytest

from miner.work.layout import Layout, TooNarrowError, layout_of


@pytest.mark.parametrize(
    ("upstream_size", "sizes"),
    [(2, (1, 1)), (3, (1, 2)), (4, (2, 2)), (5, (2, 3)), (6, (3, 3)), (7, (3, 4)), (8, (4, 4)), (16, (4, 4))],
)
def test_a_pool_s_extranonce2_is_shared_out_as_wide_as_it_is(
    upstream_size: int, sizes: tuple[int, int]
) -> None:
    layout = layout_of(upstream_size)
    assert (layout.extranonce1_size, layout.extranonce2_size) == sizes
    assert layout.size <= upstream_size


@pytest.mark.parametrize(("most", "sizes"), [(1, (4, 1)), (2, (4, 2)), (4, (4, 4)), (8, (4, 4))])
def test_no_device_is_given_more_than_it_may_have(most: int, sizes: tuple[int, int]) -> None:
    assert layout_of(12, most) == Layout(*sizes)


@pytest.mark.parametrize("upstream_size", [-3, 0, 1])
def test_an_extranonce_too_narrow_to_share_is_refused_with_what_to_do(upstream_size: int) -> None:
    with pytest.raises(TooNarrowError, match=r"has [01] byte.*2 are the least.*ask the pool"):
        layout_of(upstream_size)


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (-1, 2)])
def test_both_parts_have_at_least_one_byte(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        Layout(*sizes)
    with pytest.raises(ValueError, match="at least one byte"):
        layout_of(8, 0)
