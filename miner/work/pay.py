"""What a pool pays for work, as the controller is to reckon with it; pure."""

from dataclasses import dataclass
from math import exp
from typing import Final

PRIOR_SHARES: Final = 100
"""How many shares of the usual kind are taken to have come before the first: one that is rejected out of two is no half."""


KEPT_S: Final = 86_400.0
"""What was judged this long ago counts a third beside what is judged now."""

MOST_SHARES: Final = 10_000
IDLE_S: Final = 4 * 3_600.0
"""A pool that refused everything for an hour is not to look worthless for long: units that are off because of it hand in nothing that
could show that it pays again. So all that was judged counts as `MOST_SHARES` at most, and a third of it after this time without a share."""

MOST_REJECTED: Final = 0.5
"""More than this is no matter of what work is worth: it is for the pool's guard, and for a person."""


@dataclass(frozen=True, slots=True)
class PoolPay:
    """A pool's scheme and fee as configured, and the part of the work handed in that it does not pay, all fractions.

    `rejected_ratio` is None while nothing is known of it. `pool_work_ratio` is the part of all work that goes to the pool, the rest is
    mined solo. `scheme` is one of the configuration's.
    """

    pool: str
    scheme: str
    fee: float = 0.0
    rejected_ratio: float | None = None
    pool_work_ratio: float = 1.0


def rejected_ratio(shares: float, accepted: float, rejected: float, expected: float = 0.0) -> float | None:
    """The part of the work that is not paid, from sums of difficulties over `shares` answered shares; None without a share.

    Few shares say little: `expected` (from 0 to below 1) counts as much as `PRIOR_SHARES` shares. It is `MOST_REJECTED` at most.
    """
    if shares <= 0 or accepted + rejected <= 0:
        return None
    prior = (accepted + rejected) / shares * PRIOR_SHARES
    return min((rejected + expected * prior) / (accepted + rejected + prior), MOST_REJECTED)


class PaidLately:
    """The work that a pool has judged, the older the less it counts: after KEPT_S seconds a third, and less where nothing came since."""

    def __init__(self, accepted: float, rejected: float, shares: float, now: float) -> None:
        self._accepted, self._rejected, self._shares = accepted, rejected, shares
        self._weight = min(shares, MOST_SHARES)
        """As how many shares all of it counts."""
        self._at = now

    def add(self, result: str, work: float, now: float) -> None:
        """A share worth `work` was "accepted" or "rejected"; anything else says nothing."""
        if result not in {"accepted", "rejected"}:
            return
        self._fade(now)
        self._shares += 1
        self._weight = min(self._weight + 1, MOST_SHARES)
        if result == "accepted":
            self._accepted += work
        else:
            self._rejected += work

    def rejected_ratio(self, expected: float, now: float) -> float | None:
        """The part of the work that is not paid; as the function of that name."""
        self._fade(now)
        count = min(self._shares, self._weight)
        part = count / self._shares if self._shares > 0 else 0.0
        return rejected_ratio(count, self._accepted * part, self._rejected * part, expected)

    def _fade(self, now: float) -> None:
        passed_s = max(now - self._at, 0.0)
        factor = exp(-passed_s / KEPT_S)
        self._weight *= exp(-passed_s / IDLE_S)
        self._accepted, self._rejected, self._shares = (
            self._accepted * factor,
            self._rejected * factor,
            self._shares * factor,
        )
        self._at = now
