"""A backtest from what was recorded to what every policy made of it; pure.

Without a cap fleets do not know of each other: any part of them gives the same results, so parts may be run side by side
(backtest_parallel). Under a cap they are one site.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.backtest import BacktestResult, Fleet, FleetResult, Policy, PolicyResult
from controller.backtest_baselines import baselines
from controller.backtest_controlled import each_alone, one_site
from controller.backtest_intervals import regret_interval, regret_of
from controller.backtest_money import breakeven_usd_per_kwh, earned, prices_of, together
from controller.backtest_oracle import best_paths, best_paths_within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from controller.backtest import Asked, Recorded
    from controller.backtest_money import Earned, Prices

    Progress = Callable[[float, str], None]

_MOST: Final = 0.95
"""The controller's part of the whole run without a cap; the other policies are quick."""
_MOST_CAPPED: Final = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Results of some fleets; `together` and `oracle_bound_usd`, which no paths exceed, only where a cap binds them."""

    fleets: tuple[FleetResult, ...]
    together: FleetResult | None = None
    oracle_bound_usd: float | None = None


def backtest(
    recorded: Recorded,
    fleets: Sequence[Fleet],
    asked: Asked,
    settings: Mapping[str, object] | None = None,
    progress: Progress = lambda _, __: None,
) -> BacktestResult:
    """All policies on all fleets, in this process; `progress` hears which part is done, and what is done now."""
    return result_of(recorded, asked, settings or {}, judge(recorded, fleets, asked, progress))


def judge(
    recorded: Recorded, fleets: Sequence[Fleet], asked: Asked, progress: Progress = lambda _, __: None
) -> Judged:
    """What every policy makes of these fleets. Raises ValueError for none, and BacktestError where the controller itself fails."""
    if not fleets:
        raise ValueError("there is no fleet to run")
    prices = prices_of(recorded, asked.fee)
    most = _MOST if asked.cap_kw is None else _MOST_CAPPED
    run = each_alone if asked.cap_kw is None else one_site
    controlled = run(recorded, fleets, asked, prices, lambda done: progress(done * most, Policy.HASHMILL))
    progress(most, Policy.ORACLE)
    paths, bound_usd = _oracle(
        fleets, asked, prices, lambda done: progress(most + (1 - most) * done, Policy.ORACLE)
    )
    ran: dict[Policy, Sequence[Earned]] = {Policy.HASHMILL: controlled.own}
    for policy, modes in baselines(recorded, fleets, asked, prices).items():
        ran[policy] = [earned(fleet.unit, each, prices) for fleet, each in zip(fleets, modes, strict=True)]
    ran[Policy.BEST_SINGLE_MODE] = controlled.single
    ran[Policy.ORACLE] = [earned(fleet.unit, path, prices) for fleet, path in zip(fleets, paths, strict=True)]
    alone = asked.cap_kw is None
    is_whole = alone or len(fleets) == 1
    results = tuple(
        FleetResult(
            fleet=fleet,
            policies=_policies(
                {policy: each[index] for policy, each in ran.items()}, asked, is_whole=is_whole
            ),
            single_modes_usd=controlled.alone_usd[index],
            breakeven_usd_per_kwh=breakeven_usd_per_kwh(fleet.unit, prices),
            methods=controlled.methods[index],
        )
        for index, fleet in enumerate(fleets)
    )
    progress(1.0, "")
    if alone:
        return Judged(results)
    whole = {policy: together(fleets, each) for policy, each in ran.items()}
    site = Fleet("together", "all together", fleets[0].unit, sum(fleet.count for fleet in fleets))
    nothing = np.full(len(prices.starts), np.nan)
    return Judged(results, FleetResult(site, _policies(whole, asked, is_whole=True), {}, nothing), bound_usd)


def result_of(
    recorded: Recorded, asked: Asked, settings: Mapping[str, object], judged: Judged
) -> BacktestResult:
    """The results of all fleets with what they were judged on."""
    prices = prices_of(recorded, asked.fee)
    bound = {} if judged.oracle_bound_usd is None else {"oracle_bound_usd": judged.oracle_bound_usd}
    return BacktestResult(
        sees=asked.sees,
        settles=recorded.settles,
        settings={**settings, **bound},
        gaps=recorded.gaps,
        starts=prices.starts,
        counts=prices.counts,
        power_usd_per_kwh=prices.power_usd_per_kwh,
        day_ahead_usd_per_kwh=recorded.day_ahead_usd_per_kwh[
            recorded.warm_up : len(recorded.power_usd_per_kwh)
        ],
        hashprice_usd_per_ph_day=prices.hashprice_usd_per_ph_day,
        fleets=judged.fleets,
        together=judged.together,
    )


def _oracle(
    fleets: Sequence[Fleet], asked: Asked, prices: Prices, progress: Callable[[float], None]
) -> tuple[list[NDArray[np.uint8]], float | None]:
    """The oracle's paths for the units of each fleet, [count, T]; under a cap with what no paths exceed."""
    if asked.cap_kw is not None:
        return best_paths_within(fleets, prices, asked.cap_kw, progress)
    paths = best_paths(fleets, prices)
    shape = len(prices.starts)
    return [
        np.broadcast_to(path, (fleet.count, shape)) for fleet, path in zip(fleets, paths, strict=True)
    ], None


def _policies(ran: Mapping[Policy, Earned], asked: Asked, *, is_whole: bool) -> dict[Policy, PolicyResult]:
    """Results beside the oracle's, in the order of the policies. Of a part of a site under a cap there is no regret."""
    best = ran[Policy.ORACLE]
    found = {}
    for policy in Policy:
        one = ran[policy]
        interval = regret_interval(one.money_usd, best.money_usd, asked.seed) if is_whole else None
        low, high = interval or (None, None)
        found[policy] = PolicyResult(
            policy=policy,
            usd=one.usd,
            regret=regret_of(one.usd, best.usd) if is_whole else None,
            regret_low=low,
            regret_high=high,
            starts=one.starts,
            changes=one.changes,
            uptime=one.uptime,
            money_usd=one.money_usd,
            drawn_kw=one.drawn_kw,
            running=one.running,
        )
    return found
