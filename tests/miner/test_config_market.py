from typing import Any

import pytest
from pydantic import ValidationError

from controller.sources.fx import EVERY_S, MAX_AGE_S
from controller.sources.presets import BTC_PRESETS, FX_PRESETS
from controller.sources.quotes import QuoteRules
from miner.config_market import BtcSourceConfig, CurrencyConfig, MarketConfig


def market(**values: Any) -> MarketConfig:
    return MarketConfig.model_validate(values)


def test_a_number_is_a_price_and_a_number_is_a_rate() -> None:
    section = market(btc_usd=92_000.0, currency={"EUR": 1.08, "GBP": 1, "CHF": {"usd": 1.1}})
    assert section.btc_usd == 92_000
    assert {code: rate.usd for code, rate in section.currency.items()} == {
        "EUR": 1.08,
        "GBP": 1.0,
        "CHF": 1.1,
    }


def test_sources_and_rates_may_be_asked_for() -> None:
    section = market(
        btc_source=[{"preset": "kraken", "currency": "EUR"}, {"url": "http://127.0.0.1/", "path": "a"}],
        currency={"EUR": {"preset": "frankfurter"}},
    )
    assert [source.preset for source in section.btc_source] == ["kraken", None]
    assert section.currency["EUR"].preset == "frankfurter"


@pytest.mark.parametrize("value", ["1.08", True, [], None])
def test_what_is_neither_number_nor_table_is_no_rate(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        market(currency={"EUR": value})
    (error,) = caught.value.errors()
    assert error["loc"] == ("currency", "EUR")
    assert str(error["ctx"]["error"]).startswith("must be a number (USD per unit), or a table like")


@pytest.mark.parametrize("value", [0, -1.0, {"usd": 0.0}])
def test_a_rate_is_above_zero(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        market(currency={"EUR": value})
    assert caught.value.errors()[0]["loc"] == ("currency", "EUR", "usd")


@pytest.mark.parametrize("code", ["eur", "EURO", "E1R", ""])
def test_a_price_is_in_a_currency(code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        market(btc_source=[{"preset": "kraken", "currency": code}])
    assert "is no currency: three capital letters, like EUR" in str(caught.value.errors()[0]["ctx"]["error"])


@pytest.mark.parametrize("key", ["outlier_ratio", "jump_ratio"])
@pytest.mark.parametrize("value", [0, -0.1, 1.0])
def test_a_ratio_lies_between_nothing_and_all(key: str, value: float) -> None:
    with pytest.raises(ValidationError):
        market(**{key: value})


def test_the_defaults_are_the_controllers() -> None:
    section, rules = market(), QuoteRules()
    assert section.quote_max_age_s == rules.max_age_s
    assert section.outlier_ratio == rules.outlier_ratio
    assert section.jump_ratio == rules.jump_ratio
    assert section.jump_confirm_s == rules.jump_confirm_s
    assert CurrencyConfig().every_s == EVERY_S
    assert CurrencyConfig().max_age_s == MAX_AGE_S


def test_the_reference_names_every_preset() -> None:
    for model, presets in ((BtcSourceConfig, BTC_PRESETS), (CurrencyConfig, FX_PRESETS)):
        text = model.model_fields["preset"].description or ""
        assert all(name in text for name in presets)
