"""The market's sources as they are configured: the bitcoin price over HTTP, and exchange rates."""

from collections.abc import Mapping
from pathlib import Path

from controller.sources.btc import BtcFeedSpec, BtcPrice
from controller.sources.fx import FxFeedSpec, Rates
from controller.sources.presets import BTC_PRESETS, FX_PRESETS, Preset
from controller.sources.quotes import QuoteRules
from miner.config_feeds import FeedConfig
from miner.config_market import BtcSourceConfig, CurrencyConfig, MarketConfig
from miner.config_market_rules import label
from miner.config_rules import first_line


def market_rates(market: MarketConfig) -> Rates:
    """The exchange rates of [market.currency]: a source of their series, and what converts other prices.

    Raises OSError or ValueError for a key's file that cannot be read.
    """
    return Rates(
        {
            currency: _fx_spec(currency, rate) if rate.usd is None else rate.usd
            for currency, rate in market.currency.items()
        }
    )


def btc_price(market: MarketConfig, rates: Rates) -> BtcPrice | None:
    """The bitcoin price of all [[market.btc_source]], None where there is none. Raises like `market_rates`."""
    if not market.btc_source:
        return None
    return BtcPrice(
        [_btc_spec(source) for source in market.btc_source],
        QuoteRules(
            max_age_s=market.quote_max_age_s,
            outlier_ratio=market.outlier_ratio,
            jump_ratio=market.jump_ratio,
            jump_confirm_s=market.jump_confirm_s,
        ),
        rates,
    )


def request_headers(feed: FeedConfig) -> dict[str, str]:
    """The headers that a source sends, its key's among them. Raises OSError or ValueError for a file that cannot be read."""
    headers = {name: value.get_secret_value() for name, value in feed.headers.items()}
    if feed.token_file is not None:
        key = first_line(Path(feed.token_file))
        if feed.token_header is None:
            headers["Authorization"] = f"Bearer {key}"
        else:
            headers[feed.token_header] = key
    return headers


def _btc_spec(source: BtcSourceConfig) -> BtcFeedSpec:
    url, path, time_path = _asked(source, BTC_PRESETS, source.currency)
    return BtcFeedSpec(
        name=label(source),
        url=url,
        path=path,
        currency=source.currency,
        time_path=time_path,
        headers=request_headers(source),
        every_s=source.every_s,
        timeout_s=source.timeout_s,
    )


def _fx_spec(currency: str, rate: CurrencyConfig) -> FxFeedSpec:
    url, path, time_path = _asked(rate, FX_PRESETS, currency)
    return FxFeedSpec(
        url=url,
        path=path,
        time_path=time_path,
        inverse=rate.inverse,
        headers=request_headers(rate),
        every_s=rate.every_s,
        timeout_s=rate.timeout_s,
        max_age_s=rate.max_age_s,
    )


def _asked(
    feed: BtcSourceConfig | CurrencyConfig, presets: Mapping[str, Preset], currency: str
) -> tuple[str, str, str]:
    """URL, path and path of the time: those written, else the preset's. The rules have seen to it that there are some."""
    if feed.preset is None:
        return feed.url or "", feed.path or "", feed.time_path or ""
    preset = presets[feed.preset]
    return feed.url or preset.url_of(currency), preset.path_of(currency), preset.time_path
