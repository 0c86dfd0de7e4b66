"""What may be seen when the price that counts is not known yet, and what being on is then expected to be worth; pure.

Prices are in USD/kWh with or without what comes on top, alike everywhere: only differences between them count. A cost is that of stopping
and starting a block of power, in USD per kW of the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from controller.recent import KEPT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AHEAD: Final = 16
"""How many quarter hours beyond the last known price day-ahead prices are looked at."""
HOURS: Final = 0.25
"""The length of a quarter hour, as money counts it."""

FITTED: Final = "fitted"
MARKOV: Final = "markov"
BAND: Final = "band"
"""The methods that tell a worth."""


class Sees(StrEnum):
    """What a decision may see: the price of the quarter hour that begins (A), or those of earlier ones only (B)."""

    A = "A"
    B = "B"


@dataclass(frozen=True, slots=True)
class Seen:
    """The prices in sight: `quarter` (quarter hours since 1970) is the last one whose price is known.

    `recent`: the last `KEPT` prices, newest last; `day_ahead`: the day-ahead price of `quarter` and of the `AHEAD` that follow. NaN where
    nothing is known. Raises ValueError for other lengths.
    """

    quarter: int
    recent: NDArray[np.float64]
    day_ahead: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what has another length."""
        if self.recent.shape != (KEPT,) or self.day_ahead.shape != (1 + AHEAD,):
            raise ValueError(
                f"{KEPT} recent and {1 + AHEAD} day-ahead prices are looked at, not {self.recent.shape} and {self.day_ahead.shape}"
            )


@dataclass(frozen=True, slots=True)
class Expected:
    """What each block's being on is expected to be worth, as a share of its cost, and by which method.

    `ratio` is E[D']/cost: for `Sees.A` of the quarter hours after the last known one, in [0, 1]; for `Sees.B` the margin of the next
    quarter hour is part of it. `methods`: "fitted", "markov" or "band" for each block. `why` says for a person why any of them is not
    fitted; it is empty where all are.
    """

    ratio: NDArray[np.float64]
    methods: tuple[str, ...]
    why: str = ""
