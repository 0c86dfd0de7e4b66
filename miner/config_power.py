"""The section of what power costs: fixed, by the hour, from a file or from the web, and what comes on top."""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeFloat, Strict

from miner.config_feeds import CurrencyCode, Every, FeedConfig
from miner.config_values import FilePath, OptionalFilePath, Section, TimeZone

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = "holiday"

_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_SEASON = re.compile(r"(\d\d)-(\d\d)\.\.(\d\d)-(\d\d)", re.ASCII)
_LEAP_YEAR = 2024
_MIDNIGHT = 1440


def weekdays_of(value: str) -> frozenset[int]:
    """The days of "mon", "mon-fri", "fri-mon" or "holiday": 0 is Monday, 7 a holiday. Raises ValueError."""
    if value == HOLIDAY:
        return frozenset({len(DAYS)})
    first, dash, last = value.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError(f'"{value[:20]}" is no day: write mon, mon-fri, sat or {HOLIDAY}')
    start = DAYS.index(first)
    count = (DAYS.index(last) - start) % 7 if dash else 0
    return frozenset((start + step) % 7 for step in range(count + 1))


def hours_of(value: str) -> tuple[int, int]:
    """Minutes of the day from and to in "07:00-22:00"; 24:00 is the day's end. Raises ValueError."""
    match = _HOURS.fullmatch(value)
    parts = [int(part) for part in match.groups()] if match else []
    if not parts or parts[1] > 59 or parts[3] > 59:  # noqa: PLR2004 - minutes
        raise ValueError(f'"{value[:20]}" must look like 07:00-22:00, or 22:00-06:00 over midnight')
    start, end = parts[0] * 60 + parts[1], parts[2] * 60 + parts[3]
    if start >= _MIDNIGHT or end > _MIDNIGHT:
        raise ValueError(f'"{value}" is on no clock: hours go from 00:00 to 24:00')
    if start == end:
        raise ValueError(f'"{value}" is no time at all: leave hours out for the whole day')
    return start, end


def season_of(value: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first and the last (month, day) of "11-01..03-31". Raises ValueError."""
    match = _SEASON.fullmatch(value)
    if match is None:
        raise ValueError(f'"{value[:20]}" must look like 11-01..03-31: month-day, first and last')
    numbers = [int(part) for part in match.groups()]
    try:
        first, last = date(_LEAP_YEAR, *numbers[:2]), date(_LEAP_YEAR, *numbers[2:])
    except ValueError:
        raise ValueError(f'"{value}" holds a day that is in no calendar') from None
    return (first.month, first.day), (last.month, last.day)


def _checked(read: Any) -> Any:
    def check(value: str) -> str:
        read(value)
        return value

    return AfterValidator(check)


def _date(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError(f'"{value[:20]}" is no date like 2026-12-25') from None
    if type(value) is not date:  # a time is a date to Python
        raise ValueError("must be a date like 2026-12-25")
    return value


def _several(name: str) -> Any:
    def check(value: Any) -> Any:
        if isinstance(value, dict):
            wanted = f"there may be several: write [[power.{name}]] instead of [power.{name}]"
            raise ValueError(wanted)  # noqa: TRY004 - pydantic turns ValueError into an error with a place
        return value

    return BeforeValidator(check)


Weekdays = Annotated[str, _checked(weekdays_of)]
Hours = Annotated[str, _checked(hours_of)]
Season = Annotated[str, _checked(season_of)]
Day = Annotated[date, BeforeValidator(_date)]
Kind = Literal["http", "file", "schedule"]
UnitName = Annotated[str, Field(max_length=40)]


class PowerEntry(Section):
    """A price and when it holds, by the clock of `zone`. The first entry that holds counts."""

    price_per_kwh: float = Field(description="Price of a kWh in `currency`; may be negative.")
    weekdays: Annotated[tuple[Weekdays, ...], Strict(strict=False)] = Field(
        default=(),
        description='Days: ["mon-fri"], ["sat", "sun", "holiday"]; absent: every day. A holiday is no weekday.',
    )
    hours: Annotated[tuple[Hours, ...], Strict(strict=False)] = Field(
        default=(),
        description='Hours: ["07:00-22:00"], over midnight ["22:00-06:00"], which belong to the day they begin on; absent: all day.',
    )
    seasons: Annotated[tuple[Season, ...], Strict(strict=False)] = Field(
        default=(),
        description='Parts of the year, both days included: ["11-01..03-31"]; absent: all year.',
    )


class PowerFileConfig(Section):
    """A CSV or JSON file of prices by interval, read again when it changes. Columns, or keys of each object: `start_utc`, `end_utc` (absent: up to the next) and one price, named by its unit like `usd_per_mwh` or `eur_per_kwh`."""

    path: FilePath = Field(description="Where the file is.")
    unit: UnitName | None = Field(
        default=None, description='Unit of a column called "price", like eur_per_mwh.'
    )
    complete: bool = Field(default=False, description="Adders and taxes are in the prices already.")


class PowerHttpConfig(FeedConfig):
    """Prices over HTTP: a preset, or any server that answers in JSON or as a table; the first entry that knows the price counts."""

    preset: str | None = Field(
        default=None,
        description="A public feed. Day ahead: awattar-de, awattar-at, octopus-agile, energy-charts, tibber, entsoe, nordpool, energyzero, "
        "ercot-day-ahead, nyiso-day-ahead, pjm. Price of the moment: ercot-real-time, nyiso-real-time, aemo, comed.",
    )
    area: Annotated[str, Field(max_length=60)] | None = Field(
        default=None, description="Which place, where the preset has several: zone, region, hub."
    )
    product: Annotated[str, Field(max_length=60)] | None = Field(
        default=None, description="octopus-agile: code of the tariff's version; absent: AGILE-24-10-01."
    )
    name: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        default=None,
        description="What it is called in logs and ticks; absent: its preset, or its URL's host.",
    )
    format: Literal["json", "csv"] = Field(
        default="json",
        description='Without a preset: "csv" is a table as in [power.file].',
    )
    price: str | None = Field(
        default=None, description="Path to the price, or to all of them: `price` or `data[*].marketprice`."
    )
    start: str | None = Field(
        default=None, description="Path to their starts; absent: it is the price of the moment."
    )
    end: str | None = Field(default=None, description="Path to their ends; absent: each lasts to the next.")
    time: str | None = Field(
        default=None,
        description="Path to when a price of the moment was made; absent: when it was asked for.",
    )
    unit: UnitName | None = Field(
        default=None, description="Without a preset: unit of its prices, like eur_per_mwh or pence_per_kwh."
    )
    interval_minutes: Annotated[float, Field(gt=0, le=1440)] | None = Field(
        default=None, description="How long each price holds, where neither ends nor a next one say so."
    )
    every_s: Every | None = Field(
        default=None,
        description="Seconds between two questions; absent: 900 for prices by interval, 120 for those of the moment, and, with [controller.real_time], for those that your url tells by interval.",
    )
    accept_zero: bool = Field(
        default=False,
        description="Believe a price of the moment, or all prices of an answer, that are exactly zero: most often a server's fault.",
    )
    complete: bool | None = Field(
        default=None,
        description="Adders and taxes are in the prices already; absent: only those of tibber have them.",
    )


class PowerDayAheadConfig(Section):
    """What the market expected the day before, where the price of the moment is paid ([controller.real_time]): looked at, and never paid.

    Zone, currency, adders and taxes are those of [power]. While its sources are down decisions are a little worse, and made all the same.
    """

    file: PowerFileConfig | None = Field(default=None, description="Prices from a file.")
    http: Annotated[tuple[PowerHttpConfig, ...], Strict(strict=False), _several("day_ahead.http")] = Field(
        default=(), description="Prices over HTTP, in order of preference, before those of the file."
    )


class PowerConfig(Section):
    """What power costs. What a kWh costs in the end: (energy + adders) * (1 + tax_ratio) * (1 + overhead_ratio)."""

    usd_per_kwh: float | None = Field(
        default=None,
        description="Fixed price in USD per kWh; may be negative. A [tape] that brings the price takes the place of all of [power], and is "
        "taken as it is.",
    )
    fallback_usd_per_kwh: float | None = Field(
        default=None,
        description="Beside other sources: the price, adders and taxes included, while none of them knows one. Absent: none is made up, and "
        "[controller] safe_mode holds.",
    )
    market: str | None = Field(
        default=None,
        description="Whose lowest and highest price to believe: agile, caiso, epex, ercot, intraday-eu, iso-ne, miso, nem, nyiso, pjm or "
        "spp; absent: that of the preset. [controller.bounds] comes first.",
    )
    zone: TimeZone | None = Field(
        default=None,
        description="Time zone (IANA) of hours, days and seasons, and of a feed's times without offset.",
    )
    currency: CurrencyCode = Field(
        default="USD",
        description="Currency of schedule and adders; others than USD need their rate in [market.currency].",
    )
    order: Annotated[tuple[Kind, ...], Strict(strict=False)] = Field(
        default=("http", "file", "schedule"),
        description="Which kind of source comes first, where several know the price of the same time.",
    )
    schedule: Annotated[tuple[PowerEntry, ...], Strict(strict=False), _several("schedule")] = Field(
        default=(),
        description="A tariff by time of use; the last entry is a price only, for all other times.",
    )
    file: PowerFileConfig | None = Field(default=None, description="Prices from a file.")
    http: Annotated[tuple[PowerHttpConfig, ...], Strict(strict=False), _several("http")] = Field(
        default=(), description="Prices over HTTP, in order of preference."
    )
    adder_per_kwh: float = Field(
        default=0.0,
        description="What comes on top of each kWh at any time, in `currency`: network, levies, the retailer's margin.",
    )
    adder: Annotated[tuple[PowerEntry, ...], Strict(strict=False), _several("adder")] = Field(
        default=(), description="What comes on top by the hour besides; 0 where no entry holds."
    )
    tax_ratio: NonNegativeFloat = Field(default=0.0, description="Tax on all of that: 0.19 for 19 %.")
    overhead_ratio: NonNegativeFloat = Field(
        default=0.0,
        description="What cooling and losses draw for each kWh of the miners (PUE - 1): 0.05 for 5 %.",
    )
    holidays: Annotated[tuple[Day, ...], Strict(strict=False)] = Field(
        default=(), description='Days that are "holiday" and no weekday: [2026-12-25, 2026-12-26].'
    )
    holidays_file: OptionalFilePath = Field(
        default=None, description="More of them, one date a line; `#` begins a comment. Read at the start."
    )

    day_ahead: PowerDayAheadConfig | None = Field(
        default=None, description="Prices known a day ahead, where the price of the moment is paid."
    )

    @property
    def has_sources(self) -> bool:
        """Whether there is anything besides a fixed price."""
        return bool(self.schedule or self.http or self.file)
