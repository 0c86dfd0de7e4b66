"""The course a market's price usually takes from here, and what being on is worth if it just does that; pure.

Its level is drawn half from the last day: the median, and what was paid at the same time yesterday, spikes cut off. The other half is the
day-ahead price, or the same again where there is none. A price off that level comes back by a tenth of the distance each quarter hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from controller.recent import KEPT
from controller.worth_seen import AHEAD, HOURS, Sees

if TYPE_CHECKING:
    from numpy.typing import NDArray

RETURN: Final = 0.9
"""What is left of the distance to the level a quarter hour later, where nothing was fitted; ERCOT's hub of 2024 was as well with 0.85."""
CUT: Final = 5
"""Of the last day's prices, so many at either end are spikes."""


def levels(
    prices: NDArray[np.float64], day_ahead: NDArray[np.float64] | None, leads: int = 1 + AHEAD
) -> NDArray[np.float64]:
    """The level [N, leads] from the last known quarter hour on, of gapless prices [N, KEPT]; `day_ahead` [N, leads] may have gaps."""
    order = np.sort(prices, axis=1)
    middle = order[:, KEPT // 2, None]
    yesterday = np.clip(prices[:, :leads], order[:, CUT, None], order[:, KEPT - 1 - CUT, None])
    usual: NDArray[np.float64] = (middle + yesterday) / 2
    if day_ahead is None:
        return usual
    return np.where(np.isfinite(day_ahead), (usual + day_ahead) / 2, usual)


def by_course(
    level: NDArray[np.float64],
    price: float,
    breakeven: NDArray[np.float64],
    cost: NDArray[np.float64],
    sees: Sees,
) -> NDArray[np.float64]:
    """What each block's being on is worth, as a share of its cost, if the price comes back to `level` [1 + AHEAD] as it usually does."""
    scale = HOURS / cost
    off = price - level[0]
    course = []
    for height in level.tolist():
        course.append(height + off)
        off *= RETURN
    worth = np.clip((breakeven - course[-1]) * scale + 0.5, 0.0, 1.0)
    unbound = worth
    for expected in reversed(course[1:-1]):
        unbound = (breakeven - expected) * scale + worth
        worth = np.clip(unbound, 0.0, 1.0)
    told: NDArray[np.float64] = unbound if sees is Sees.B else worth
    return told
