"""Where the controller's numbers come from in the daemon: tape, configuration, node or pool, and what the pool pays."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from controller.earnings import Earnings, Scheme
from controller.sources.base import Source, SourceError
from controller.sources.fixed import FixedSource
from controller.sources.node import NodeSource
from controller.sources.pool import PoolSource
from controller.sources.tape import TapeSource
from controller.ticks import BTC_USD, POWER, POWER_DAY_AHEAD
from controller.validate import MAINNET_RULES
from miner.chain.coinbase import HALVING_INTERVAL
from miner.config import Config
from miner.control_power import day_ahead_source, power_source
from miner.control_prices import btc_price, market_rates
from miner.control_refusals import SourceRefusedError
from miner.ledger.rows import PoolShareSums
from miner.node.chain_facts import ChainFacts, FeeCache, chain_facts
from miner.node.nodes import NodeSet
from miner.node.rpc import RpcError
from miner.work.job import Job
from miner.work.pay import PoolPay, rejected_ratio


def sources(
    config: Config, nodes: NodeSet, tape: TapeSource | None, pool_job: Callable[[], Job | None] | None = None
) -> list[Source]:
    """Where prices come from: the tape before what is written in the configuration, that before the node.

    Without a node the chain is what `pool_job` says, the job of the pool that is mined, where there is one. Raises SourceRefusedError.
    """
    found: list[Source] = [] if tape is None else [tape]
    try:
        found += _prices(config, tape)
    except (OSError, ValueError) as error:
        raise SourceRefusedError(str(error)) from error
    if config.bitcoind:
        found.append(NodeSource(Facts(nodes)))
    elif pool_job is not None:
        found.append(PoolSource(_PoolFacts(pool_job), HALVING_INTERVAL[config.network]))
    return found


def _prices(config: Config, tape: TapeSource | None) -> Iterator[Source]:
    """The bitcoin price, exchange rates and the power price. Raises OSError or ValueError for a key's file that cannot be read."""
    if config.market.btc_usd is not None:
        yield FixedSource({BTC_USD: config.market.btc_usd}, "configuration")
    rates = market_rates(config.market)
    if config.market.currency:
        yield rates
    btc = btc_price(config.market, rates)
    if btc is not None:
        yield btc
    ages, horizon_hours = config.controller.max_age_s, config.controller.horizon_hours
    age_s = ages.power_usd_per_kwh or MAINNET_RULES[POWER].max_age_s
    power = power_source(
        config.power,
        rates.steady,
        max_age_s=age_s,
        horizon_hours=horizon_hours,
        real_time=config.controller.real_time,
    )
    # A tape that brings the price takes its place: nobody is asked for what is not looked at.
    brought = frozenset() if tape is None else tape.series
    if power is not None and POWER not in brought:
        yield power
    age_s = ages.power_day_ahead_usd_per_kwh or MAINNET_RULES[POWER_DAY_AHEAD].max_age_s
    day_ahead = day_ahead_source(config.power, rates.steady, max_age_s=age_s, horizon_hours=horizon_hours)
    if day_ahead is not None and POWER_DAY_AHEAD not in brought:
        yield day_ahead


class Facts:
    """Reads the chain from the node that gives work."""

    def __init__(self, nodes: NodeSet) -> None:
        self._nodes = nodes
        self._fees = FeeCache()

    async def __call__(self) -> ChainFacts:
        """The facts at the tip; SourceError where no node tells them."""
        node = self._nodes.active
        if node is None:
            raise SourceError("no bitcoind answers")
        try:
            return await chain_facts(node.rpc, self._fees)
        except RpcError as error:
            raise SourceError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _JobFacts:
    """A pool's job as the controller's source takes it."""

    height: int
    bits: int
    reward_sat: int
    at: float


class _PoolFacts:
    """Reads the chain from the job of the pool that is mined."""

    def __init__(self, pool_job: Callable[[], Job | None]) -> None:
        self._pool_job = pool_job

    def __call__(self) -> _JobFacts | None:
        job = self._pool_job()
        return None if job is None else _JobFacts(job.height, job.bits, job.reward_sat, job.created_at)


def earnings_of(pay: PoolPay | None) -> Earnings | None:
    """What a pool pays, as the controller reckons with it."""
    if pay is None:
        return None
    return Earnings(Scheme(pay.scheme), pay.fee, pay.rejected_ratio, pay.pool_work_ratio, pay.pool)


def expected_pay(config: Config, sums: Mapping[str, PoolShareSums]) -> PoolPay | None:
    """What is to be expected where no pool is connected: the first pool's terms, and what it rejected lately by `sums`.

    None without a pool.
    """
    if not config.pool:
        return None
    pool = config.pool[0]
    known = sums.get(pool.label, PoolShareSums())
    return PoolPay(
        pool=pool.label,
        scheme=pool.scheme,
        fee=pool.fee,
        rejected_ratio=rejected_ratio(
            known.accepted + known.rejected,
            known.work_accepted,
            known.work_rejected,
            config.controller.stale_ratio,
        ),
        pool_work_ratio=1 - config.solo_share,
    )
