"""The power price as it is configured: from [power] to the controller's source of it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from typing import TypedDict
from zoneinfo import ZoneInfo

from controller.sources.power import Adder, PowerFeed, PowerSource, Rate
from controller.sources.power_file import FileFeed
from controller.sources.power_http import PowerHttpFeed
from controller.sources.power_markets import BOUNDS_USD_PER_KWH
from controller.sources.power_paths import Paths, Table
from controller.sources.power_presets import DAY_AHEAD_S, PRESETS, REAL_TIME_S, Ask, FeedSettings, filled
from controller.sources.power_schedule import FixedFeed, ScheduleFeed
from controller.sources.power_shapes import Shape
from controller.sources.power_tariff import Hours, Season, Tariff, TariffRule
from controller.sources.power_terms import Terms, price_unit
from controller.ticks import POWER, POWER_DAY_AHEAD
from miner.config_controller import RealTimeConfig
from miner.config_power import (
    PowerConfig,
    PowerEntry,
    PowerFileConfig,
    PowerHttpConfig,
    hours_of,
    season_of,
    weekdays_of,
)
from miner.config_power_rules import label, read_holidays
from miner.config_rules import first_line
from miner.control_prices import request_headers

FIXED = "configuration"
FALLBACK = "fallback"
DAY_S = 86_400.0
SECONDS_PER_MINUTE = 60.0


def power_source(
    power: PowerConfig,
    rate: Rate,
    *,
    max_age_s: float,
    horizon_hours: float,
    real_time: RealTimeConfig | None = None,
) -> PowerSource | None:
    """Every source of [power] as one, the best first; None where there is none.

    `rate` tells what currencies are worth; `max_age_s` is how long a price of the moment counts. With `real_time` prices by interval may
    come when their time is over, and the fallback is none of the prices to come. Raises OSError or ValueError for a file with a key or holidays that cannot be read.
    """
    horizon_s = horizon_hours * 3600 + DAY_S / 2
    late = real_time is not None
    sees_ended = real_time is not None and real_time.sees == "B"
    own_every_s = DAY_AHEAD_S if real_time is None else REAL_TIME_S
    made: dict[str, list[PowerFeed]] = {
        "http": [*_http(power, power.http, own_every_s, late=late)],
        "file": [*_file(power.file, late=late)],
        "schedule": [*_schedule(power, horizon_s)],
    }
    feeds = [feed for kind in power.order for feed in made[kind]]
    if power.usd_per_kwh is not None:
        feeds.append(FixedFeed(power.usd_per_kwh, name=FIXED))
    fallback: PowerFeed | None = None
    if power.fallback_usd_per_kwh is not None:
        fallback = FixedFeed(power.fallback_usd_per_kwh, complete=True, name=FALLBACK)
        if real_time is None:  # what stands in for prices to come is not what a real-time market will cost
            feeds, fallback = [*feeds, fallback], None
    if not feeds and fallback is None:
        return None
    return PowerSource(feeds, fallback=fallback, late=sees_ended, **_terms(power, rate, max_age_s, horizon_s))


def day_ahead_source(
    power: PowerConfig, rate: Rate, *, max_age_s: float, horizon_hours: float
) -> PowerSource | None:
    """Every source of [power.day_ahead] as one, that informs only; None where there is none. Like `power_source`."""
    if power.day_ahead is None:
        return None
    feeds = [*_http(power, power.day_ahead.http), *_file(power.day_ahead.file)]
    horizon_s = horizon_hours * 3600 + DAY_S / 2
    if not feeds:
        return None
    name = "power_day_ahead"
    return PowerSource(feeds, name=name, series=POWER_DAY_AHEAD, **_terms(power, rate, max_age_s, horizon_s))


class _Terms(TypedDict):
    """What [power] says of every source of it."""

    rate: Rate
    terms: Terms
    adder: Adder
    max_age_s: float
    horizon_s: float


def _terms(power: PowerConfig, rate: Rate, max_age_s: float, horizon_s: float) -> _Terms:
    adder = _tariff(power, power.adder, default=0.0) if power.adder else None
    return _Terms(
        rate=rate,
        terms=Terms(power.tax_ratio, power.overhead_ratio),
        adder=Adder(power.currency, power.adder_per_kwh, adder),
        max_age_s=max_age_s,
        horizon_s=horizon_s,
    )


def power_bounds(power: PowerConfig) -> dict[str, tuple[float, float]]:
    """By series the lowest and highest price of the market that [power] names, or of all presets; left out where none is known."""
    ahead = power.day_ahead.http if power.day_ahead else ()
    found = {POWER: _bounds(power.market, power.http), POWER_DAY_AHEAD: _bounds(power.market, ahead)}
    return {series: bounds for series, bounds in found.items() if bounds is not None}


def _bounds(market: str | None, feeds: Sequence[PowerHttpConfig]) -> tuple[float, float] | None:
    markets = [market] if market else [_market_of(feed) for feed in feeds]
    known = [BOUNDS_USD_PER_KWH[market] for market in markets if market is not None]
    if not known or len(known) < len(markets):
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _market_of(feed: PowerHttpConfig) -> str | None:
    return PRESETS[feed.preset].market if feed.preset else None


def _tariff(power: PowerConfig, entries: tuple[PowerEntry, ...], default: float | None = None) -> Tariff:
    holidays = frozenset(power.holidays)
    if power.holidays_file is not None:
        holidays |= read_holidays(power.holidays_file)
    return Tariff(_zone(power), [_rule(entry) for entry in entries], holidays, default)


def _rule(entry: PowerEntry) -> TariffRule:
    return TariffRule(
        price=entry.price_per_kwh,
        weekdays=frozenset().union(*(weekdays_of(days) for days in entry.weekdays)),
        hours=tuple(Hours(*hours_of(hours)) for hours in entry.hours),
        seasons=tuple(Season(*season_of(season)) for season in entry.seasons),
    )


def _zone(power: PowerConfig) -> ZoneInfo:
    return ZoneInfo(power.zone or "UTC")


def _schedule(power: PowerConfig, horizon_s: float) -> Iterator[PowerFeed]:
    if power.schedule:
        yield ScheduleFeed(_tariff(power, power.schedule), currency=power.currency, horizon_s=horizon_s)


def _file(file: PowerFileConfig | None, *, late: bool = False) -> Iterator[PowerFeed]:
    if file is not None:
        unit = price_unit(file.unit) if file.unit else None
        yield FileFeed(file.path, unit=unit, complete=file.complete, late=late)


def _http(
    power: PowerConfig,
    feeds: Sequence[PowerHttpConfig],
    own_every_s: float = DAY_AHEAD_S,
    *,
    late: bool = False,
) -> Iterator[PowerFeed]:
    for feed in feeds:
        yield _preset(feed, late=late) if feed.preset else _own(power, feed, own_every_s, late=late)


def _preset(feed: PowerHttpConfig, *, late: bool) -> PowerHttpFeed:
    """A public feed by name."""
    preset = PRESETS[feed.preset or ""]
    settings = FeedSettings(
        area=feed.area or preset.area_default or "",
        token=first_line(feed.token_file) if feed.token_file else "",
        product=feed.product or "",
        base=feed.url or "",
    )
    headers = tuple((name, value.get_secret_value()) for name, value in feed.headers.items())

    def requests(now: float) -> list[Ask]:
        return [ask.with_headers(headers) for ask in preset.requests(settings, now)]

    return _made(
        feed, requests, preset.shape, settings.area, preset.every_s, late=late, complete=preset.complete
    )


def _own(power: PowerConfig, feed: PowerHttpConfig, every_s: float, *, late: bool) -> PowerHttpFeed:
    """Any other server; `every_s` is how often one that tells prices by interval is asked."""
    headers = tuple(request_headers(feed).items())
    unit = price_unit(feed.unit) if feed.unit else None
    zone = _zone(power)
    shape: Shape = Table(unit)
    if feed.format == "json" and unit is not None:
        shape = Paths(
            price=feed.price or "$",
            unit=unit,
            zone=zone if power.zone else UTC,
            start=feed.start or "",
            end=feed.end or "",
            time=feed.time or "",
            step_s=feed.interval_minutes and feed.interval_minutes * SECONDS_PER_MINUTE,
        )
    by_interval = feed.start is not None or feed.format == "csv"

    def requests(now: float) -> list[Ask]:
        return [Ask(filled(feed.url or "", now, zone), headers=headers)]

    return _made(
        feed, requests, shape, "", every_s if by_interval else REAL_TIME_S, late=late, complete=False
    )


def _made(
    feed: PowerHttpConfig,
    requests: Callable[[float], list[Ask]],
    shape: Shape,
    area: str,
    every_s: float,
    *,
    late: bool,
    complete: bool,
) -> PowerHttpFeed:
    return PowerHttpFeed(
        requests,
        shape,
        area=area,
        every_s=feed.every_s or every_s,
        accept_zero=feed.accept_zero,
        complete=complete if feed.complete is None else feed.complete,
        timeout_s=feed.timeout_s,
        late=late,
        name=label(feed),
    )
