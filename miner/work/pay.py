"""What a pool pays for work, as the controller is to reckon with it; pure."""

from dataclasses import dataclass
from typing import Final

PRIOR_SHARES: Final = 100
"""How many shares of the usual kind are taken to have come before the first: one that is rejected out of two is no half."""


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


def rejected_ratio(shares: int, accepted: float, rejected: float, expected: float = 0.0) -> float | None:
    """The part of the work that is not paid, from sums of difficulties over `shares` answered shares; None without a share.

    Few shares say little: `expected` (from 0 to below 1) counts as much as `PRIOR_SHARES` shares, so that 1 is never reached.
    """
    if shares <= 0 or accepted + rejected <= 0:
        return None
    prior = (accepted + rejected) / shares * PRIOR_SHARES
    return (rejected + expected * prior) / (accepted + rejected + prior)
