"""How sure a regret is: whole weeks drawn again and again; pure.

What one week does to prices lasts for days, so quarter hours are not drawn, but weeks. Source: H. R. Künsch, The jackknife and the bootstrap
for general stationary observations, Annals of Statistics 17 (1989).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEEK: Final = 7 * 96
"""Quarter hours."""
DRAWS: Final = 2_000
PERCENT: Final = (2.5, 97.5)


def regret_of(policy_usd: float, oracle_usd: float) -> float | None:
    """The part of the oracle's money that the policy leaves; None where the oracle earns nothing."""
    return (oracle_usd - policy_usd) / oracle_usd if oracle_usd > 0 else None


def regret_interval(
    policy_usd: NDArray[np.float64], oracle_usd: NDArray[np.float64], seed: int
) -> tuple[float, float] | None:
    """Bounds that hold 95 % of the regrets of drawn periods, from money by quarter hour; None for less than two weeks.

    All policies meet the same draws. A draw in which the oracle earns nothing is left out.
    """
    if len(oracle_usd) < 2 * WEEK:  # one week says nothing of another
        return None
    first = np.arange(0, len(oracle_usd), WEEK)
    policy, oracle = np.add.reduceat(policy_usd, first), np.add.reduceat(oracle_usd, first)
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(len(first), size=(DRAWS, len(first)))
    best = oracle[drawn].sum(axis=1)
    regrets = 1 - policy[drawn].sum(axis=1)[best > 0] / best[best > 0]
    if not len(regrets):
        return None
    low, high = np.percentile(regrets, PERCENT)
    return float(low), float(high)
