"""The power price as it is configured: from [power] to the controller's source of it."""

from collections.abc import Callable
from datetime import UTC
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
from miner.config_power import PowerConfig, PowerEntry, PowerHttpConfig, hours_of, season_of, weekdays_of
from miner.config_power_rules import label, read_holidays
from miner.config_rules import first_line
from miner.control_prices import request_headers

FIXED = "configuration"
FALLBACK = "fallback"
DAY_S = 86_400.0
SECONDS_PER_MINUTE = 60.0


def power_source(
    power: PowerConfig, rate: Rate, *, max_age_s: float, horizon_hours: float
) -> PowerSource | None:
    """Every source of [power] as one, the best first; None where there is none.

    `rate` tells what currencies are worth; `max_age_s` is how long a price of the moment counts. Raises OSError or ValueError for
    a file with a key or holidays that cannot be read.
    """
    horizon_s = horizon_hours * 3600 + DAY_S / 2
    feeds: list[PowerFeed] = [feed for kind in power.order for feed in _MAKERS[kind](power, horizon_s)]
    if power.usd_per_kwh is not None:
        feeds.append(FixedFeed(power.usd_per_kwh, name=FIXED))
    if power.fallback_usd_per_kwh is not None:
        feeds.append(FixedFeed(power.fallback_usd_per_kwh, complete=True, name=FALLBACK))
    if not feeds:
        return None
    adder = _tariff(power, power.adder, default=0.0) if power.adder else None
    return PowerSource(
        feeds,
        rate=rate,
        terms=Terms(power.tax_ratio, power.overhead_ratio),
        adder=Adder(power.currency, power.adder_per_kwh, adder),
        max_age_s=max_age_s,
        horizon_s=horizon_s,
    )


def power_bounds(power: PowerConfig) -> tuple[float, float] | None:
    """The lowest and highest price of the market that [power] names, or of all its presets; None where none is known."""
    markets = [power.market] if power.market else [_market_of(feed) for feed in power.http]
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


def _schedule(power: PowerConfig, horizon_s: float) -> list[PowerFeed]:
    if not power.schedule:
        return []
    return [ScheduleFeed(_tariff(power, power.schedule), currency=power.currency, horizon_s=horizon_s)]


def _file(power: PowerConfig, _horizon_s: float) -> list[PowerFeed]:
    if power.file is None:
        return []
    unit = price_unit(power.file.unit) if power.file.unit else None
    return [FileFeed(power.file.path, unit=unit, complete=power.file.complete)]


def _http(power: PowerConfig, _horizon_s: float) -> list[PowerFeed]:
    return [_preset(feed) if feed.preset else _own(power, feed) for feed in power.http]


def _preset(feed: PowerHttpConfig) -> PowerHttpFeed:
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

    return _made(feed, requests, preset.shape, settings.area, preset.every_s, complete=preset.complete)


def _own(power: PowerConfig, feed: PowerHttpConfig) -> PowerHttpFeed:
    """Any other server."""
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

    return _made(feed, requests, shape, "", DAY_AHEAD_S if by_interval else REAL_TIME_S, complete=False)


def _made(
    feed: PowerHttpConfig,
    requests: Callable[[float], list[Ask]],
    shape: Shape,
    area: str,
    every_s: float,
    *,
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
        name=label(feed),
    )


_MAKERS: dict[str, Callable[[PowerConfig, float], list[PowerFeed]]] = {
    "http": _http,
    "file": _file,
    "schedule": _schedule,
}
