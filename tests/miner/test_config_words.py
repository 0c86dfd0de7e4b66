from datetime import UTC, datetime

import pytest

from miner.config import Config, ControllerConfig, SoloConfig
from miner.config_market import BtcSourceConfig, CurrencyConfig, MarketConfig
from miner.config_words import WORDS, _is_secret, _model_at, shown, unknown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        (3, "3"),
        (1.5, "1.5"),
        (True, "true"),
        ({"a": 1}, "a table"),
        ([1], "an array"),
        (datetime(2026, 1, 1, tzinfo=UTC), "a time"),
    ],
)
def test_a_value_is_shown_as_in_the_file(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 1000)) < 70


def test_a_secret_is_never_shown() -> None:
    assert shown("hunter2", secret=True) == "this value"
    assert shown(4711, secret=True) == "this value"


def test_a_key_misspelt_is_recognized() -> None:
    assert unknown(("solo", "payout_adress"), SoloConfig) == "is unknown: did you mean payout_address?"
    assert unknown(("contoller",), Config) == "is unknown: did you mean controller?"


def test_a_key_in_the_wrong_section_is_sent_home() -> None:
    assert unknown(("solo", "tick_s"), SoloConfig) == "is unknown here: it belongs into [controller]"
    assert "[[bitcoind]]" in unknown(("solo", "zmq_hashblock"), SoloConfig)
    assert "top of the file" in unknown(("solo", "network"), SoloConfig)
    assert "section of its own" in unknown(("controller", "ledger"), ControllerConfig)


def test_a_key_below_a_name_of_the_operators_own_is_judged_as_that_tables() -> None:
    assert _model_at(MarketConfig, ("currency", "EUR")) is CurrencyConfig
    assert _model_at(MarketConfig, ("btc_source", 0)) is BtcSourceConfig
    assert _model_at(MarketConfig, ("btc_source", 0, "headers", "X-Key")) is BtcSourceConfig


def test_a_header_is_a_secret() -> None:
    assert _is_secret(("market", "btc_source", 0, "headers", "X-Key"))
    assert _is_secret(("bitcoind", 0, "rpc_password"))
    assert not _is_secret(("market", "btc_usd"))


def test_a_key_nobody_knows_gets_the_list_of_those_there_are() -> None:
    assert "payout_address, payout, share, coinbase_tag" in unknown(("solo", "zzz"), SoloConfig)


def test_every_wording_names_only_what_it_is_given() -> None:
    facts = dict.fromkeys(("gt", "ge", "lt", "le", "max_length"), 1)
    for wording in WORDS.values():
        assert "{" not in wording.format(**facts, shown="x", expected="y")
