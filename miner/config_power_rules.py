"""Rules of [power] that look at more than one key, at presets, or at paths into answers."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from controller.sources.jsonpath import PathSyntaxError, parse
from controller.sources.power_markets import BOUNDS_USD_PER_KWH
from controller.sources.power_presets import PRESETS, REAL_TIME_S, Preset
from controller.sources.power_terms import price_unit
from miner.config_feeds_rules import keys_stay_secret
from miner.config_market import MarketConfig
from miner.config_power import (
    HOLIDAY,
    PowerConfig,
    PowerDayAheadConfig,
    PowerEntry,
    PowerHttpConfig,
    weekdays_of,
)
from miner.config_rules import Draft, Finding, readable_file
from miner.config_toml import KeyPath

PATHS = ("price", "start", "end", "time")
USD = "USD"


def label(feed: PowerHttpConfig) -> str:
    """What a source is called: as it says itself, else by its preset or its URL's host."""
    return feed.name or feed.preset or urlsplit(feed.url or "").hostname or "?"


def read_holidays(file: Path) -> frozenset[date]:
    """The dates in a file, one a line. Raises OSError, and ValueError with the line that holds none."""
    found = set()
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        try:
            found |= {date.fromisoformat(text)} if text else set()
        except ValueError:
            raise ValueError(f'{file}:{number}: "{text[:20]}" is no date like 2026-12-25') from None
    return frozenset(found)


def _power(draft: Draft, *keys: str) -> PowerConfig | None:
    section = draft.sections.get(("power",))
    return section if isinstance(section, PowerConfig) and draft.sound("power", *keys) else None


def choice(draft: Draft) -> Iterator[Finding]:
    """A fixed price alone, or sources with a fallback at most; a market that has bounds."""
    section = _power(draft)
    written = draft.raw.get("power")
    if section is None or not isinstance(written, dict):
        return
    others = [name for name in ("schedule", "file", "http") if written.get(name)]
    if "usd_per_kwh" in written and others:
        yield Finding(
            ("power", "usd_per_kwh"),
            f"there is power.{others[0]} too: keep one of them; a price for when it knows none is fallback_usd_per_kwh",
        )
    if "fallback_usd_per_kwh" in written and not others:
        yield Finding(
            ("power", "fallback_usd_per_kwh"), "there is nothing to stand in for: write usd_per_kwh instead"
        )
    if section.market is not None and section.market not in BOUNDS_USD_PER_KWH:
        yield Finding(("power", "market"), _no_such(section.market, BOUNDS_USD_PER_KWH))
    if len(set(section.order)) < len(section.order):
        yield Finding(("power", "order"), "names a kind twice")
    yield from (
        Finding(("power", "order"), f'leaves out "{name}", of which there is one: add it')
        for name in others
        if draft.sound("power", "order") and name not in section.order
    )


def entries(draft: Draft) -> Iterator[Finding]:
    """Every entry of the tariffs can hold at some time, and of the schedule's one holds at any time."""
    section = _power(draft)
    if section is None:
        return
    for name in ("schedule", "adder"):
        found: tuple[PowerEntry, ...] = getattr(section, name)
        if not draft.sound("power", name) or not found:
            continue
        always = next((position for position, entry in enumerate(found) if _always(entry)), None)
        if always is not None and always < len(found) - 1:
            yield Finding(
                ("power", name, always + 1),
                f"never holds: the entry before it, power.{name}[{always + 1}], holds at any time; put that last",
            )
        if name == "schedule" and always is None:
            yield Finding(
                ("power", name, len(found) - 1),
                "no entry holds at all other times: add a last [[power.schedule]] with price_per_kwh only",
            )
        if not draft.sound("power", "zone", "holidays", "holidays_file"):
            continue
        if section.zone is None and not all(_always(entry) for entry in found):
            yield Finding(
                ("power", "zone"), f'is missing: whose clock power.{name} goes by, like "Europe/Berlin"'
            )
        named = [position for position, entry in enumerate(found) if _names_holidays(entry)]
        if named and not section.holidays and section.holidays_file is None:
            yield Finding(
                ("power", name, named[0], "weekdays"),
                f'"{HOLIDAY}" is no day as long as there are no [power] holidays, nor a holidays_file',
            )


def _always(entry: PowerEntry) -> bool:
    return not (entry.weekdays or entry.hours or entry.seasons)


def _names_holidays(entry: PowerEntry) -> bool:
    return any(weekdays_of(days) == weekdays_of(HOLIDAY) for days in entry.weekdays)


def _places(draft: Draft, *keys: str) -> Iterator[tuple[KeyPath, PowerConfig | PowerDayAheadConfig]]:
    """[power] and, where there is one, [power.day_ahead], each with its path; those where one of `keys` is bad are left out."""
    section = _power(draft, *keys)
    if section is not None:
        yield ("power",), section
    section = _power(draft, "day_ahead")
    if section is not None and section.day_ahead is not None:
        yield ("power", "day_ahead"), section.day_ahead


def files(draft: Draft) -> Iterator[Finding]:
    """Files that are to be read are there, and hold what they must."""
    for place, each in _places(draft):
        if each.file is not None:
            yield from readable_file((*place, "file", "path"), each.file.path)
            yield from _unit((*place, "file", "unit"), each.file.unit)
    section = _power(draft)
    if section is None:
        return
    if section.holidays_file is not None:
        problems = list(readable_file(("power", "holidays_file"), section.holidays_file))
        yield from problems
        try:
            if not problems:
                read_holidays(section.holidays_file)
        except (OSError, ValueError) as error:
            yield Finding(("power", "holidays_file"), str(error))


def feeds(draft: Draft) -> Iterator[Finding]:
    """Every [[power.http]] and [[power.day_ahead.http]] says what to ask and where the prices stand, under a name of its own."""
    for place, section in _places(draft, "http"):
        seen: dict[str, int] = {}
        for position, feed in enumerate(section.http):
            path: KeyPath = (*place, "http", position)
            preset = PRESETS.get(feed.preset or "")
            if preset is not None:
                yield from _preset(path, feed, preset)
            elif feed.preset is not None:
                yield Finding((*path, "preset"), _no_such(feed.preset, PRESETS))
            else:
                yield from _own(path, feed)
            yield from keys_stay_secret(draft, path, feed)
            name = label(feed)
            if name in seen:
                yield Finding(
                    (*path, "name") if feed.name else path,
                    f'{".".join(map(str, place))}.http[{seen[name]}] is called "{name}" too: give each a name of its own',
                )
            seen.setdefault(name, position + 1)


def day_ahead(draft: Draft) -> Iterator[Finding]:
    """[power.day_ahead] names a source, and each of them knows prices by interval, ahead of their time."""
    section = _power(draft, "day_ahead")
    if section is None or section.day_ahead is None:
        return
    path: KeyPath = ("power", "day_ahead")
    if not section.day_ahead.http and section.day_ahead.file is None:
        yield Finding(path, "says nothing: add [[power.day_ahead.http]] or [power.day_ahead.file]")
    for position, feed in enumerate(section.day_ahead.http):
        if is_of_the_moment(feed):
            yield Finding(
                (*path, "http", position, "preset" if feed.preset else "start"),
                f"{label(feed)} tells the price of the moment, not those to come: what you pay belongs into [[power.http]]",
            )


def is_of_the_moment(feed: PowerHttpConfig) -> bool:
    """Whether a feed tells the price of the moment, and not prices by interval."""
    preset = PRESETS.get(feed.preset or "")
    if preset is not None:
        return preset.every_s == REAL_TIME_S
    return feed.preset is None and feed.format == "json" and feed.start is None


def _preset(path: KeyPath, feed: PowerHttpConfig, preset: Preset) -> Iterator[Finding]:
    """A public feed: the place and the key it wants, and nothing that it knows by itself."""
    if preset.area and not feed.area and preset.area_default is None:
        yield Finding((*path, "area"), f"is missing: {feed.preset} wants its {preset.area}")
    if feed.area and not preset.area:
        yield Finding((*path, "area"), f"{feed.preset} has one place only: remove this line")
    if preset.token and feed.token_file is None:
        yield Finding((*path, "token_file"), f"is missing: {feed.preset} wants a {preset.token}")
    if feed.token_file is not None and not preset.token and feed.url is None:
        yield Finding((*path, "token_file"), f"{feed.preset} wants no key: remove this line")
    if feed.product and feed.preset != "octopus-agile":
        yield Finding((*path, "product"), f"{feed.preset} has none: remove this line")
    for key in (*PATHS, "unit", "interval_minutes"):
        if getattr(feed, key) is not None:
            yield Finding((*path, key), f"the preset {feed.preset} knows this by itself: remove one of them")


def _own(path: KeyPath, feed: PowerHttpConfig) -> Iterator[Finding]:
    """Any other server: its URL, and where in the answer the prices stand."""
    if feed.url is None:
        yield Finding(path, "says neither preset nor url: one of them tells what to ask")
    yield from (
        Finding((*path, key), "is for presets: write it into the url")
        for key in ("area", "product")
        if getattr(feed, key) is not None
    )
    yield from _unit((*path, "unit"), feed.unit)
    if feed.format == "csv":
        yield from (
            Finding((*path, key), 'is for format = "json": a table names its columns')
            for key in PATHS
            if getattr(feed, key) is not None
        )
        return
    if feed.price is None and feed.url is not None:
        yield Finding((*path, "price"), "is missing: the path to the price in the answer, like data[*].price")
    if feed.unit is None and feed.url is not None:
        yield Finding((*path, "unit"), "is missing: what the prices are in, like eur_per_mwh")
    for key in PATHS:
        try:
            parse(getattr(feed, key) or "$")
        except PathSyntaxError as error:
            yield Finding((*path, key), str(error))
    if feed.start is None and feed.end is not None:
        yield Finding((*path, "end"), "there is no start beside it: add the path to the starts")
    if feed.start is not None and feed.time is not None:
        yield Finding((*path, "time"), "is for a price of the moment; with start there are intervals")


def currencies(draft: Draft) -> Iterator[Finding]:
    """Every currency that prices are in has its rate."""
    section, market = _power(draft, "http"), draft.sections.get(("market",))
    if section is None or not isinstance(market, MarketConfig) or not draft.sound("market", "currency"):
        return
    used: list[tuple[KeyPath, str]] = []
    if section.schedule or section.adder or section.adder_per_kwh:
        used.append((("power", "currency"), section.currency))
    for place, each in _places(draft, "http"):
        if each.file is not None:
            used.append(((*place, "file", "unit"), _currency_of(each.file.unit)))
        for position, feed in enumerate(each.http):
            preset = PRESETS.get(feed.preset or "")
            key = "preset" if preset else "unit"
            currency = preset.currency if preset else _currency_of(feed.unit)
            used.append(((*place, "http", position, key), currency))
    for path, currency in used:
        if currency and currency not in {USD, *market.currency}:
            yield Finding(
                path,
                f"the rate of {currency} is missing: write [market.currency] {currency} = "
                '{ preset = "frankfurter" }, or a number',
            )


def _currency_of(unit: str | None) -> str:
    """The currency of a unit; empty where it is not known yet, or wrong, which is told elsewhere."""
    try:
        return price_unit(unit).currency if unit else ""
    except ValueError:
        return ""


def _unit(path: KeyPath, unit: str | None) -> Iterator[Finding]:
    if unit is not None:
        try:
            price_unit(unit)
        except ValueError as error:
            yield Finding(path, str(error))


def _no_such(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
    return f'"{name[:40]}" is unknown: {hint}'


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (
    choice,
    entries,
    files,
    feeds,
    day_ahead,
    currencies,
)
