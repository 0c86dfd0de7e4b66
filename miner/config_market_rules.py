"""Rules of [market] that look at more than one key, at presets, or at paths into answers."""

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from controller.sources.jsonpath import PathSyntaxError, parse
from controller.sources.presets import BTC_PRESETS, FX_PRESETS, Preset
from controller.ticks import fx_series
from miner.config_feeds_rules import keys_stay_secret
from miner.config_market import BtcSourceConfig, CurrencyConfig, MarketConfig
from miner.config_rules import Draft, Finding
from miner.config_toml import KeyPath


def label(source: BtcSourceConfig) -> str:
    """What a source is called: as it says itself, else by its preset or its URL's host."""
    if source.name:
        return source.name
    called = source.preset or urlsplit(source.url or "").hostname or "?"
    return called if source.currency == "USD" else f"{called} {source.currency}"


def _market(draft: Draft, *keys: str) -> MarketConfig | None:
    section = draft.sections.get(("market",))
    return section if isinstance(section, MarketConfig) and draft.sound("market", *keys) else None


def sources(draft: Draft) -> Iterator[Finding]:
    """Every [[market.btc_source]] says what to ask and where the price stands, under a name of its own."""
    section = _market(draft, "btc_source")
    if section is None:
        return
    if section.btc_source and section.btc_usd is not None:
        yield Finding(
            ("market", "btc_usd"), "there are [[market.btc_source]] too: keep either the number or them"
        )
    seen: dict[str, int] = {}
    for position, source in enumerate(section.btc_source):
        path: KeyPath = ("market", "btc_source", position)
        yield from _asked(path, source, BTC_PRESETS)
        preset = BTC_PRESETS.get(source.preset or "")
        if preset is not None and source.currency not in preset.codes:
            yield Finding(
                (*path, "currency"), f"{source.preset} has {', '.join(preset.codes)}, not {source.currency}"
            )
        elif source.currency not in {"USD", *section.currency} and draft.sound("market", "currency"):
            yield Finding(
                (*path, "currency"),
                f"the rate of {source.currency} is missing: write [market.currency] {source.currency} = "
                '{ preset = "frankfurter" }, or a number',
            )
        yield from keys_stay_secret(draft, path, source)
        name = label(source)
        if name in seen:
            yield Finding(
                (*path, "name"),
                f'market.btc_source[{seen[name]}] is called "{name}" too: give each a name of its own',
            )
        seen.setdefault(name, position + 1)


def currencies(draft: Draft) -> Iterator[Finding]:
    """Every [market.currency] is one, and says its rate or whom to ask for it."""
    section = _market(draft, "currency")
    for currency, rate in section.currency.items() if section else ():
        path: KeyPath = ("market", "currency", currency)
        try:
            fx_series(currency)
        except ValueError:
            yield Finding(path, "is no currency: three capital letters, like EUR")
            continue
        if currency == "USD":
            yield Finding(path, "all rates are in USD: leave this one out")
        if rate.usd is None:
            yield from _asked(path, rate, FX_PRESETS)
        else:
            yield from _besides(path, rate)
        preset = FX_PRESETS.get(rate.preset or "")
        if preset is not None and currency not in {"USD", *preset.codes}:
            others = [name for name, other in FX_PRESETS.items() if currency in other.codes]
            hint = f"try {' or '.join(others)}" if others else "write a number, or url and path"
            yield Finding((*path, "preset"), f"{rate.preset} has no rate of {currency}: {hint}")
        yield from keys_stay_secret(draft, path, rate)


def _besides(path: KeyPath, rate: CurrencyConfig) -> Iterator[Finding]:
    """A fixed rate needs nothing else."""
    for key in ("preset", "url", "path"):
        if getattr(rate, key) is not None:
            yield Finding((*path, key), "there is a fixed rate (usd) too: keep one of them")


def _asked(
    path: KeyPath, feed: BtcSourceConfig | CurrencyConfig, presets: Mapping[str, Preset]
) -> Iterator[Finding]:
    """A preset that there is, or a URL with the path into its answer; and paths that are some."""
    if feed.preset is not None and feed.preset not in presets:
        yield Finding((*path, "preset"), f'there is no "{feed.preset[:40]}": there are {", ".join(presets)}')
    elif feed.preset is None and feed.url is None:
        yield Finding(path, f"whom to ask is missing: set preset ({', '.join(presets)}), or url and path")
    elif feed.preset is None and feed.path is None:
        yield Finding(
            (*path, "url"),
            "path is missing beside it: where the number stands in the answer, like data.0.price",
        )
    for key in ("path", "time_path"):
        written: str | None = getattr(feed, key)
        if written is None:
            continue
        if feed.preset is not None:
            yield Finding((*path, key), f'the preset "{feed.preset[:40]}" has its own: leave it out')
        try:
            parse(written)
        except PathSyntaxError as error:
            yield Finding((*path, key), str(error))


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (sources, currencies)
