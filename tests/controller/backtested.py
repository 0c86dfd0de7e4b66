"""Results of a backtest without one: simple policies on the synthetic market, for what shows results."""

import numpy as np

from controller.backtest import (
    BacktestResult,
    Fleet,
    FleetResult,
    Policy,
    PolicyResult,
    Settles,
)
from controller.synthetic import synthetic_market
from controller.units import Mode, PowerCurve, Unit
from controller.worth_seen import Sees

QUARTERS_A_DAY = 96


def backtested(days: int = 21, *, ladder: bool = False, fleets: int = 1, missing: int = 0) -> BacktestResult:
    """`fleets` fleets on the synthetic market; the first `missing` quarter hours have no price."""
    market = synthetic_market(days, seed=5)
    price = market.real_time.values / 1000 + 0.025
    price[:missing] = np.nan
    hashprice = np.repeat(market.hashprice.values, QUARTERS_A_DAY) * 0.98
    return BacktestResult(
        sees=Sees.A,
        settles=Settles.REAL_TIME,
        settings={
            "--power": "a <b> & c.csv",
            "--restart-minutes": 10.0,
            "--model": None,
            "--j-per-th": [17.5],
        },
        gaps=("a.csv: nothing from x to y",) if missing else (),
        starts=market.real_time.starts,
        counts=np.isfinite(price),
        power_usd_per_kwh=price,
        day_ahead_usd_per_kwh=np.repeat(market.day_ahead.values, 4) / 1000 + 0.025,
        hashprice_usd_per_ph_day=hashprice,
        fleets=tuple(fleet(price, hashprice, 17.5 + 2 * number, ladder=ladder) for number in range(fleets)),
    )


def fleet(price: np.ndarray, hashprice: np.ndarray, j_per_th: float, *, ladder: bool) -> FleetResult:
    """Each policy a threshold of another width; the oracle the best of them and a little."""
    modes = [Mode("full", 100.0, 100.0 * j_per_th)]
    if ladder:
        modes.insert(0, Mode("eco", 70.0, 60.0 * j_per_th))
    breakeven = hashprice / 24 / j_per_th
    unit = Unit("u", PowerCurve(modes))
    money = {
        Policy.HASHMILL: run(price, breakeven, 0.004),
        Policy.ALWAYS_ON: run(price, breakeven, 10.0),
        Policy.THRESHOLD: run(price, breakeven, 0.0),
        Policy.DEBOUNCE: run(price, breakeven, 0.012),
        Policy.BAND: run(price, breakeven, 0.006),
        Policy.BEST_SINGLE_MODE: run(price, breakeven, 0.02 if ladder else 0.004),
        Policy.ORACLE: run(price, breakeven, 0.003),
    }
    best = max(earned.sum() for earned, _ in money.values())
    oracle = money[Policy.ORACLE][0] + 0.002 * abs(best) / len(price)
    oracle = oracle + (1.001 * best - oracle.sum()) / len(price)
    money[Policy.ORACLE] = (oracle, money[Policy.ORACLE][1])
    full_kw = unit.curve.full.watts / 1000
    policies = {policy: result(policy, *ran, float(oracle.sum()), full_kw) for policy, ran in money.items()}
    modes_usd = {"eco": policies[Policy.HASHMILL].usd - 3, "full": policies[Policy.HASHMILL].usd - 1}
    return FleetResult(
        Fleet(f"{j_per_th:g}", f"{j_per_th:g} J/TH", unit),
        policies,
        modes_usd if ladder else {"full": policies[Policy.HASHMILL].usd},
        np.where(np.isfinite(price), breakeven, np.nan),
        {"fitted": 2000, "markov": 3, "band": 0, "plan": 0},
    )


def run(price: np.ndarray, breakeven: np.ndarray, half_width: float) -> tuple[np.ndarray, np.ndarray]:
    """USD and running by the quarter hour of one kW that stops and starts with that half width; a start costs a sixth of an hour."""
    on, money, running = True, np.zeros(len(price)), np.zeros(len(price))
    for t in range(len(price)):
        if np.isnan(price[t]):
            continue
        margin = breakeven[t] - price[t]
        was, on = on, margin > -half_width if on else margin > half_width
        money[t] = on * margin * 0.25 - (on and not was) * breakeven[t] / 6
        running[t] = on
    return money, running


def result(
    policy: Policy, money: np.ndarray, running: np.ndarray, best: float, full_kw: float
) -> PolicyResult:
    regret = (best - money.sum()) / best if best > 0 else None
    return PolicyResult(
        policy=policy,
        usd=float(money.sum()),
        regret=regret,
        regret_low=None if regret is None else regret * 0.7,
        regret_high=None if regret is None else regret * 1.4,
        starts=int(np.count_nonzero(np.diff(running) > 0)),
        changes=0,
        uptime=float(running.mean()),
        money_usd=money,
        drawn_kw=running * full_kw,
        running=running,
    )
