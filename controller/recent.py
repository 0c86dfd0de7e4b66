"""The power prices of the last day, one for each quarter hour: what tells where a market stands; pure.

Markets settle by quarter hours, so a price seen several times within one is one price: the latest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

QUARTER_S: Final = 900.0
A_DAY: Final = 96
"""Quarter hours of a day."""
KEPT: Final = A_DAY + 1
"""So many are kept: the last one, and those of the day before it back to the same quarter hour."""
LATE_S: Final = 1_800.0
"""So much later than usual the next price may be told before the last one counts no more."""


@dataclass(frozen=True, slots=True)
class Recent:
    """The last prices, USD/kWh, newest last, None where nothing was known; `quarter` numbers the newest one's (since 1970, UTC).

    Empty before anything was seen. Raises ValueError for more than `KEPT`, or prices without a quarter hour.
    """

    quarter: int | None = None
    prices_usd_per_kwh: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what nothing remembers."""
        if len(self.prices_usd_per_kwh) > KEPT or (self.quarter is None) != (not self.prices_usd_per_kwh):
            raise ValueError(f"prices of up to {KEPT} quarter hours are kept, and of which ones")


def held_until(start: float, end: float) -> float:
    """Until when a price of [start, end) stands for those after it that are not told yet: as long as it was itself, and some time for slow feeds."""
    return end + max(end - start, QUARTER_S) + LATE_S


def counts_at(start: float, end: float, now: float) -> float:
    """The time that a price of [start, end) is taken for at `now`: where the next one should have been told by then, it is not that one's."""
    return min(now, math.nextafter(held_until(start, end) - LATE_S, -math.inf))


def quarter_of(at: float) -> int:
    """The number of the quarter hour that holds that time (UTC unix seconds)."""
    return math.floor(at / QUARTER_S)


def remember(recent: Recent, usd_per_kwh: float, at: float) -> Recent:
    """The last prices after a look at the one in force at `at`; the same object where that says nothing new.

    What was remembered of quarter hours to come, before a clock was set back, is forgotten.
    """
    quarter = quarter_of(at)
    prices = recent.prices_usd_per_kwh
    if recent.quarter is None or recent.quarter >= quarter + A_DAY:
        return Recent(quarter, (usd_per_kwh,))
    passed = quarter - recent.quarter
    if passed < 0:
        return Recent(quarter, (*prices[: passed - 1], usd_per_kwh))
    if passed == 0 and _same(prices[-1], usd_per_kwh):
        return recent
    if passed == 0:
        return Recent(quarter, (*prices[:-1], usd_per_kwh))
    if passed >= KEPT:
        return Recent(quarter, (usd_per_kwh,))
    gap = (None,) * (passed - 1)
    return Recent(quarter, (*prices, *gap, usd_per_kwh)[-KEPT:])


def _same(one: float | None, other: float) -> bool:
    """Whether two prices are the same to the bit: zeros of either sign are not, as recorded inputs tell them apart."""
    return one is not None and one == other and math.copysign(1.0, one) == math.copysign(1.0, other)
