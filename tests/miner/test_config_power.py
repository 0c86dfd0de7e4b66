"""The section of what power costs, key by key."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from miner.config_power import PowerConfig, hours_of, season_of, weekdays_of
from miner.config_toml import parse


def power(text: str, folder: Path = Path("/etc/hashmill")) -> PowerConfig:
    return PowerConfig.model_validate(parse(text).value, context={"folder": folder})


def test_nothing_is_made_up() -> None:
    section = power("")
    assert (section.usd_per_kwh, section.fallback_usd_per_kwh, section.has_sources) == (None, None, False)
    assert (section.tax_ratio, section.overhead_ratio, section.adder_per_kwh) == (0, 0, 0)
    assert section.order == ("http", "file", "schedule")


def test_a_tariff_with_everything() -> None:
    section = power("""
zone = "Europe/Berlin"
currency = "EUR"
holidays = [2026-12-25, "2026-12-26"]
holidays_file = "holidays.txt"
tax_ratio = 0.19
[[schedule]]
price_per_kwh = 0.31
weekdays = ["mon-fri"]
hours = ["07:00-12:00", "16:00-22:00"]
seasons = ["11-01..03-31"]
[[schedule]]
price_per_kwh = -0.01
""")
    assert section.holidays == (date(2026, 12, 25), date(2026, 12, 26))
    assert section.holidays_file == Path("/etc/hashmill/holidays.txt")
    assert section.schedule[0].hours == ("07:00-12:00", "16:00-22:00")
    assert section.has_sources


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon", {0}),
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("fri-mon", {4, 5, 6, 0}),
        ("sun-sun", {6}),
        ("holiday", {7}),
    ],
)
def test_days_are_named_alone_or_from_to(text: str, days: set[int]) -> None:
    assert weekdays_of(text) == days


def test_hours_and_seasons() -> None:
    assert hours_of("07:30-24:00") == (450, 1440)
    assert hours_of("22:00-06:00") == (1320, 360)
    assert season_of("11-01..02-29") == ((11, 1), (2, 29))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('zone = "Mars/Base"', "is no time zone"),
        ('currency = "eur"', "is no currency"),
        ("tax_ratio = -0.1", "greater than or equal to 0"),
        ("holidays = [2026-02-30]", None),
        ('holidays = ["Christmas"]', '"Christmas" is no date'),
        ("holidays = [2026-12-25T00:00:00Z]", "must be a date"),
        ('order = ["tape"]', "Input should be 'http', 'file' or 'schedule'"),
        ("schedule = [{}]", "price_per_kwh"),
        ('schedule = [{ price_per_kwh = 1, weekdays = ["Mon"] }]', '"Mon" is no day: write mon'),
        ('schedule = [{ price_per_kwh = 1, weekdays = ["mon-"] }]', '"mon-" is no day'),
        ('schedule = [{ price_per_kwh = 1, hours = ["7-22"] }]', "must look like 07:00-22:00"),
        ('schedule = [{ price_per_kwh = 1, hours = ["07:60-22:00"] }]', "must look like 07:00-22:00"),
        ('schedule = [{ price_per_kwh = 1, hours = ["24:00-06:00"] }]', "is on no clock"),
        ('schedule = [{ price_per_kwh = 1, hours = ["07:00-24:01"] }]', "is on no clock"),
        ('schedule = [{ price_per_kwh = 1, hours = ["07:00-07:00"] }]', "is no time at all"),
        ('schedule = [{ price_per_kwh = 1, seasons = ["winter"] }]', "must look like 11-01..03-31"),
        ('schedule = [{ price_per_kwh = 1, seasons = ["02-30..03-31"] }]', "is in no calendar"),
        ("[http]\npreset = 'comed'", "write [[power.http]] instead of [power.http]"),
        ("[schedule]\nprice_per_kwh = 1", "write [[power.schedule]] instead of [power.schedule]"),
        ("[adder]\nprice_per_kwh = 1", "write [[power.adder]] instead of [power.adder]"),
        ("[[http]]\nevery_s = 0", "greater than or equal to 1"),
        ("[[http]]\nurl = 'ftp://x/y'", "must be a URL"),
        ("[file]\n", "path"),
    ],
)
def test_what_is_wrong_is_told(text: str, wrong: str | None) -> None:
    with pytest.raises((ValidationError, ValueError)) as caught:
        power(text)
    assert wrong is None or wrong in str(caught.value)
