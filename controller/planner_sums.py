"""Sums of products that are the same on one thread and on many; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def weighted(
    units: NDArray[np.float64] | NDArray[np.int64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The sum of all rows [N, ...], each times its `units` [N], added in their order.

    A product of matrices would be BLAS's: it wakes threads that spin while there is nothing for them to do, and it adds in an order that
    depends on how many there are.
    """
    total: NDArray[np.float64] = np.einsum("n,n...->...", units.astype(np.float64, copy=False), rows)
    return total


def dot(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """The sum of the products, likewise."""
    return float(np.einsum("n,n->", left, right))
