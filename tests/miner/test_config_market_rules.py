from pathlib import Path

import pytest

from miner.config_file import _judge, _problems
from miner.config_market import BtcSourceConfig, MarketConfig
from miner.config_market_rules import RULES, label
from miner.config_rules import Draft
from miner.config_toml import parse


def said(folder: Path, text: str) -> list[str]:
    """What is wrong with a [market], as `line: key: message`; the first line of `text` is line 1."""
    file = folder / "hashmill.toml"
    file.write_text(text)
    file.chmod(0o600)
    document = parse(text)
    draft = Draft(file, document.value, {})
    found = list(_judge(draft, ("market",), MarketConfig, draft.raw.get("market", {}), {"folder": folder}))
    for rule in RULES:
        found += rule(draft)
    return [
        f"{problem.line}: {problem.key}: {problem.message}" for problem in _problems(file, document, found)
    ]


GOOD = """\
[[market.btc_source]]
preset = "coinbase"
[[market.btc_source]]
preset = "kraken"
currency = "EUR"
[[market.btc_source]]
preset = "kraken"
[[market.btc_source]]
preset = "bitstamp"
url = "http://127.0.0.1:8099/mirror"
[[market.btc_source]]
url = "https://prices.example.com/btc"
path = "$.data[0]['last price']"
time_path = "data.0.at"
[market.currency]
EUR = { preset = "frankfurter" }
GBP = 1.31
PLN = { url = "https://prices.example.com/pln", path = "rate", inverse = true }
"""


def test_a_good_market_is_good(tmp_path: Path) -> None:
    assert said(tmp_path, GOOD) == []
    assert said(tmp_path, "[market]\nbtc_usd = 90000\n") == []
    assert said(tmp_path, "") == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ('preset = "mtgox"', ['2: market.btc_source[1].preset: there is no "mtgox": there are binance, ']),
        ("", ["1: market.btc_source[1]: whom to ask is missing: set preset (binance, "]),
        (
            'url = "https://h/x"',
            ["2: market.btc_source[1].url: path is missing beside it: where the number stands in the answer"],
        ),
        ('path = "a.b"', ["1: market.btc_source[1]: whom to ask is missing: "]),
        (
            'preset = "kraken"\npath = "a.b"',
            ['3: market.btc_source[1].path: the preset "kraken" has its own: leave it out'],
        ),
        (
            'url = "https://h/x"\npath = "a[0"\ntime_path = "b..c"',
            [
                '3: market.btc_source[1].path: "a[0" cannot be read from "[0" on: write it like data.0.price',
                '4: market.btc_source[1].time_path: "b..c" cannot be read from "..c" on',
            ],
        ),
        (
            'preset = "gemini"\ncurrency = "JPY"',
            ["3: market.btc_source[1].currency: gemini has USD, EUR, GBP, not JPY"],
        ),
        (
            'preset = "gemini"\ncurrency = "GBP"',
            ["3: market.btc_source[1].currency: the rate of GBP is missing: write [market.currency] GBP = "],
        ),
        (
            'preset = "gemini"\ncurrency = "dollars"',
            ['3: market.btc_source[1].currency: "dollars" is no currency: three capital letters, like EUR'],
        ),
        (
            'preset = "gemini"\n[[market.btc_source]]\npreset = "gemini"',
            ['3: market.btc_source[2].name: market.btc_source[1] is called "gemini" too: give each a name'],
        ),
        (
            'preset = "gemini"\ntoken_header = "X-Key"',
            ["3: market.btc_source[1].token_header: is of no use without a token_file"],
        ),
        (
            'preset = "gemini"\n[market]\nbtc_usd = 5',
            ["4: market.btc_usd: there are [[market.btc_source]] too: keep either the number or them"],
        ),
        ('preset = "gemini"\nurl = "gemini.com"', ["3: market.btc_source[1].url: must be a URL like"]),
    ],
)
def test_what_is_wrong_with_a_source_is_said_where_it_stands(
    tmp_path: Path, source: str, wrong: list[str]
) -> None:
    found = said(tmp_path, f"[[market.btc_source]]\n{source}\n")
    assert len(found) == len(wrong)
    for line, words in zip(found, wrong, strict=True):
        assert line.startswith(words)


@pytest.mark.parametrize(
    ("rate", "wrong"),
    [
        ("eur = 1.08", "2: market.currency.eur: is no currency: three capital letters, like EUR"),
        ("USD = 1.0", "2: market.currency.USD: all rates are in USD: leave this one out"),
        ("EUR = {}", "2: market.currency.EUR: whom to ask is missing: set preset (coinbase, er-api, "),
        (
            'EUR = { preset = "ecb" }',
            '2: market.currency.EUR.preset: there is no "ecb": there are coinbase, er-api, frankfurter',
        ),
        (
            'KZT = { preset = "frankfurter" }',
            "2: market.currency.KZT.preset: frankfurter has no rate of KZT: try coinbase or er-api",
        ),
        (
            'XXX = { preset = "frankfurter" }',
            "2: market.currency.XXX.preset: frankfurter has no rate of XXX: write a number, or url and path",
        ),
        (
            'EUR = { usd = 1.08, preset = "frankfurter" }',
            "2: market.currency.EUR.preset: there is a fixed rate (usd) too: keep one of them",
        ),
        ('EUR = { url = "https://h/x" }', "2: market.currency.EUR.url: path is missing beside it"),
        (
            'EUR = { url = "https://h/x", path = "[" }',
            '2: market.currency.EUR.path: "[" cannot be read from "[" on',
        ),
        ('EUR = "1.08"', "2: market.currency.EUR: must be a number (USD per unit), or a table like"),
        ("EUR = 0", "2: market.currency.EUR.usd: must be above 0, not 0"),
    ],
)
def test_what_is_wrong_with_a_rate_is_said_where_it_stands(tmp_path: Path, rate: str, wrong: str) -> None:
    (found,) = said(tmp_path, f"[market.currency]\n{rate}\n")
    assert found.startswith(wrong)


def test_a_source_is_called_as_it_says_or_by_whom_it_asks() -> None:
    assert label(BtcSourceConfig(preset="kraken")) == "kraken"
    assert label(BtcSourceConfig(preset="kraken", currency="EUR")) == "kraken EUR"
    assert label(BtcSourceConfig(url="https://prices.example.com/x")) == "prices.example.com"
    assert label(BtcSourceConfig(preset="kraken", name="mine")) == "mine"
