"""What is said of [power] and of what stands beside it."""

from pathlib import Path

import pytest

from miner.config_file import _judge, _problems
from miner.config_market import MarketConfig
from miner.config_power import PowerConfig, PowerHttpConfig
from miner.config_power_rules import RULES, label, read_holidays
from miner.config_rules import Draft
from miner.config_toml import parse


def said(folder: Path, text: str) -> list[str]:
    """What is wrong with a [power], as `line: key: message`; the first line of `text` is line 1."""
    file = folder / "hashmill.toml"
    file.write_text(text)
    file.chmod(0o600)
    document = parse(text)
    draft = Draft(file, document.value, {})
    found = []
    for name, model in (("power", PowerConfig), ("market", MarketConfig)):
        found += _judge(draft, (name,), model, draft.raw.get(name, {}), {"folder": folder})
    for rule in RULES:
        found += rule(draft)
    return [
        f"{problem.line}: {problem.key}: {problem.message}" for problem in _problems(file, document, found)
    ]


def secret(folder: Path, mode: int = 0o600) -> str:
    file = folder / "token"
    file.write_text("s3cret\n")
    file.chmod(mode)
    return "token"


GOOD = """\
[power]
market = "epex"
zone = "Europe/Berlin"
currency = "EUR"
fallback_usd_per_kwh = 0.35
adder_per_kwh = 0.11
tax_ratio = 0.19
overhead_ratio = 0.04
holidays = [2026-12-25]
[[power.http]]
preset = "awattar-de"
[[power.http]]
preset = "entsoe"
area = "10Y1001A1001A82H"
token_file = "token"
[[power.http]]
preset = "energy-charts"
area = "DE-LU"
[[power.http]]
name = "my supplier"
url = "https://prices.example.com/{today}.json"
price = "data[*].price"
start = "data[*].from"
unit = "eur_per_mwh"
[[power.schedule]]
price_per_kwh = 0.31
weekdays = ["mon-fri"]
hours = ["07:00-22:00"]
[[power.schedule]]
price_per_kwh = 0.21
weekdays = ["holiday"]
[[power.schedule]]
price_per_kwh = 0.25
[[power.adder]]
price_per_kwh = 0.04
hours = ["17:00-20:00"]
[power.file]
path = "prices.csv"
[market.currency]
EUR = 1.08
"""


def test_a_good_section_is_good(tmp_path: Path) -> None:
    secret(tmp_path)
    (tmp_path / "prices.csv").write_text("start_utc,eur_per_mwh\n")
    assert said(tmp_path, GOOD) == []
    assert said(tmp_path, "[power]\nusd_per_kwh = 0.06\n") == []
    assert said(tmp_path, "") == []
    assert said(tmp_path, "[[power.schedule]]\nprice_per_kwh = 0.06\n") == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("usd_per_kwh = 0.06\n[[power.http]]\npreset = 'comed'", "2: power.usd_per_kwh: there is power.http too"),
        ("fallback_usd_per_kwh = 0.06", "2: power.fallback_usd_per_kwh: there is nothing to stand in for"),
        ("market = 'ercott'", '2: power.market: "ercott" is unknown: did you mean ercot?'),
        ("market = 'x'", '2: power.market: "x" is unknown: there are agile, caiso, epex, ercot, '),
        ("order = ['file']\n[[power.http]]\npreset = 'comed'", '2: power.order: leaves out "http"'),
        ("order = ['file', 'http', 'file', 'schedule']", "2: power.order: names a kind twice"),
        ("[[power.schedule]]\nprice_per_kwh = 1\n[[power.schedule]]\nprice_per_kwh = 2",
         "4: power.schedule[2]: never holds: the entry before it, power.schedule[1], holds at any time"),
        ("zone = 'UTC'\n[[power.schedule]]\nprice_per_kwh = 1\nhours = ['07:00-22:00']",
         "3: power.schedule[1]: no entry holds at all other times: add a last [[power.schedule]]"),
        ("[[power.schedule]]\nprice_per_kwh = 1\nhours = ['07:00-22:00']\n[[power.schedule]]\nprice_per_kwh = 2",
         '1: power.zone: is missing: whose clock power.schedule goes by, like "Europe/Berlin"'),
        ("zone = 'UTC'\n[[power.adder]]\nprice_per_kwh = 1\nweekdays = ['mon', 'holiday']",
         '5: power.adder[1].weekdays: "holiday" is no day as long as there are no [power] holidays'),
        ("[power.file]\npath = 'none.csv'", "3: power.file.path: "),
        ("holidays_file = 'none.txt'", "2: power.holidays_file: "),
        ("[power.file]\npath = 'here.csv'\nunit = 'ct'", '4: power.file.unit: "ct" is no unit of a price'),
        ("[power.file]\npath = 'here.csv'\nunit = 'sek_per_mwh'", "4: power.file.unit: the rate of SEK is missing"),
        ("currency = 'EUR'\nadder_per_kwh = 0.1", "2: power.currency: the rate of EUR is missing: write [market.currency]"),
        ("[[power.http]]\npreset = 'awattar-de'", "3: power.http[1].preset: the rate of EUR is missing"),
        ("[[power.http]]\npreset = 'aemo'\narea = 'NSW1'", "3: power.http[1].preset: the rate of AUD is missing"),
        ("[[power.http]]\npreset = 'awatar-de'", '3: power.http[1].preset: "awatar-de" is unknown: did you mean awattar-de?'),
        ("[[power.http]]\npreset = 'ercot-real-time'", "2: power.http[1].area: is missing: ercot-real-time wants its settlement point"),
        ("[[power.http]]\npreset = 'comed'\narea = 'x'", "4: power.http[1].area: comed has one place only"),
        ("[[power.http]]\npreset = 'tibber'", "2: power.http[1].token_file: is missing: tibber wants a personal access token"),
        ("[[power.http]]\npreset = 'comed'\ntoken_file = 'token'", "4: power.http[1].token_file: comed wants no key"),
        ("[[power.http]]\npreset = 'comed'\nproduct = 'x'", "4: power.http[1].product: comed has none"),
        ("[[power.http]]\npreset = 'comed'\nprice = 'x'", "4: power.http[1].price: the preset comed knows this by itself"),
        ("[[power.http]]\npreset = 'comed'\nunit = 'usd_per_kwh'", "4: power.http[1].unit: the preset comed knows this by itself"),
        ("[[power.http]]\nprice = 'x'", "2: power.http[1]: says neither preset nor url"),
        ("[[power.http]]\nurl = 'https://x.example/'\nunit = 'usd_per_kwh'", "2: power.http[1].price: is missing: the path to the price"),
        ("[[power.http]]\nurl = 'https://x.example/'\nprice = 'p'", "2: power.http[1].unit: is missing: what the prices are in"),
        ("[[power.http]]\nurl = 'https://x.example/'\nprice = 'p'\nunit = 'cheap'", '5: power.http[1].unit: "cheap" is no unit'),
        ("[[power.http]]\nurl = 'https://x.example/'\nprice = 'a..b'\nunit = 'usd_per_kwh'", "4: power.http[1].price: "),
        ("[power.day_ahead]", "2: power.day_ahead: says nothing: add [[power.day_ahead.http]] or [power.day_ahead.file]"),
        ("[[power.day_ahead.http]]\npreset = 'ercot-real-time'\narea = 'HB_WEST'",
         "3: power.day_ahead.http[1].preset: ercot-real-time tells the price of the moment, not those to come"),
        ("[[power.day_ahead.http]]\nurl = 'https://x.example/'\nprice = 'p'\nunit = 'usd_per_kwh'",
         "2: power.day_ahead.http[1].start: x.example tells the price of the moment"),
        ("[[power.day_ahead.http]]\npreset = 'ercot-day-ahed'", '3: power.day_ahead.http[1].preset: "ercot-day-ahed" is unknown'),
        ("[[power.day_ahead.http]]\npreset = 'awattar-de'", "3: power.day_ahead.http[1].preset: the rate of EUR is missing"),
        ("[power.day_ahead.file]\npath = 'none.csv'", "3: power.day_ahead.file.path: "),
        ("[power.day_ahead.file]\npath = 'here.csv'\nunit = 'ct'", '4: power.day_ahead.file.unit: "ct" is no unit'),
        ("[[power.day_ahead.http]]\npreset = 'energyzero'\n[[power.day_ahead.http]]\npreset = 'energyzero'",
         '4: power.day_ahead.http[2]: power.day_ahead.http[1] is called "energyzero" too'),
        ("[[power.http]]\nurl = 'https://x.example/'\nprice = 'a'\nend = 'b'\nunit = 'usd_per_kwh'", "5: power.http[1].end: there is no start beside it"),
        ("[[power.http]]\nurl = 'https://x.example/'\nprice = 'a'\nstart = 'b'\ntime = 'c'\nunit = 'usd_per_kwh'", "6: power.http[1].time: is for a price of the moment"),
        ("[[power.http]]\nurl = 'https://x.example/'\nformat = 'csv'\nprice = 'a'", '5: power.http[1].price: is for format = "json"'),
        ("[[power.http]]\nurl = 'https://x.example/'\narea = 'a'\nprice = 'a'\nunit = 'usd_per_kwh'", "4: power.http[1].area: is for presets"),
        ("[[power.http]]\npreset = 'comed'\n[[power.http]]\npreset = 'comed'", '4: power.http[2]: power.http[1] is called "comed" too'),
        ("[[power.http]]\npreset = 'entsoe'\narea = 'x'\ntoken_file = 'token'\nurl = 'http://198.51.100.1/'", "6: power.http[1].url: would send token_file unencrypted"),
        ("schedules = []", "2: power.schedules: is unknown: did you mean schedule?"),
        ("[[power.http]]\npresets = 'comed'", "3: power.http[1].presets: is unknown: did you mean preset?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, wrong: str) -> None:
    secret(tmp_path)
    (tmp_path / "here.csv").write_text("start_utc,price\n")
    found = said(tmp_path, f"[power]\n{text}\n")
    assert any(line.startswith(wrong) for line in found), found


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret(tmp_path, 0o644)
    (found,) = said(tmp_path, "[[power.http]]\npreset = 'tibber'\ntoken_file = 'token'\n")
    assert "others can read" in found
    assert "s3cret" not in found


def test_a_csv_from_the_web_names_its_columns_itself(tmp_path: Path) -> None:
    assert said(tmp_path, "[[power.http]]\nurl = 'https://x.example/p.csv'\nformat = 'csv'\n") == []


def test_what_is_wrong_in_one_entry_hides_nothing_of_others(tmp_path: Path) -> None:
    found = said(tmp_path, "[power]\nmarket = 'x'\n[[power.schedule]]\nprice = 1\n")
    assert [line.split(": ")[1] for line in found] == [
        "power.market",
        "power.schedule[1].price_per_kwh",
        "power.schedule[1].price",
    ]


def test_holidays_are_read_a_date_a_line(tmp_path: Path) -> None:
    file = tmp_path / "days"
    file.write_text("# Bavaria\n2026-12-25  # Christmas\n\n2026-12-26\n")
    assert [f"{day}" for day in sorted(read_holidays(file))] == ["2026-12-25", "2026-12-26"]
    file.write_text("2026-12-25\nEaster\n")
    with pytest.raises(ValueError, match=r'days:2: "Easter" is no date'):
        read_holidays(file)
    assert any('"Easter" is no date' in line for line in said(tmp_path, "[power]\nholidays_file = 'days'\n"))


def test_a_source_is_called_by_its_name_its_preset_or_its_host() -> None:
    assert label(PowerHttpConfig(name="mine", preset="comed")) == "mine"
    assert label(PowerHttpConfig(preset="comed")) == "comed"
    assert label(PowerHttpConfig(url="https://x.example:8443/y")) == "x.example"
