"""The section of what a bitcoin is worth, and a currency."""

from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, Strict, model_validator

from miner.config_feeds import CurrencyCode, Every, FeedConfig
from miner.config_values import Section

Ratio = Annotated[float, Field(gt=0, lt=1)]


class BtcSourceConfig(FeedConfig):
    """A price of bitcoin over HTTP: a preset, or the `url` and `path` of any server that answers in JSON."""

    preset: str | None = Field(
        default=None,
        description="A public server: binance, bitfinex, bitstamp, blockchain, coinbase, coingecko, gemini, kraken, mempool or okx. "
        "binance and okx trade no dollars: their USD is Tether.",
    )
    path: str | None = Field(
        default=None,
        description="Where the price stands in the answer: names and positions, as in `data.0.price` or `result.*.c[0]`.",
    )
    time_path: str | None = Field(
        default=None,
        description="Where the answer says when that was so (unix seconds, milliseconds, or ISO 8601); absent: when it was asked.",
    )
    currency: CurrencyCode = Field(
        default="USD",
        description="What the price is in; others than USD need their rate in [market.currency].",
    )
    name: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        default=None, description="What it is called in logs; absent: its preset, or its URL's host."
    )
    every_s: Every = Field(default=60.0, description="Seconds between two questions.")


class CurrencyConfig(FeedConfig):
    """What one unit of a currency is worth in USD; `EUR = 1.08` is short for `EUR = { usd = 1.08 }`."""

    usd: PositiveFloat | None = Field(default=None, description="A fixed rate.")
    preset: str | None = Field(
        default=None,
        description="A public server: frankfurter (the European Central Bank's, one a working day), er-api or coinbase.",
    )
    path: str | None = Field(default=None, description="Where the rate stands in the answer.")
    time_path: str | None = Field(
        default=None,
        description="Where the answer says when the rate was published; absent: when it was asked.",
    )
    inverse: bool = Field(default=False, description="The answer says units per USD instead of USD per unit.")
    every_s: Every = Field(default=3600.0, description="Seconds between two questions.")
    max_age_s: PositiveFloat = Field(
        default=604800.0,
        description="An older rate is not used. Central banks publish none on weekends and holidays.",
    )

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"usd": float(value)}
        if not isinstance(value, dict):
            wanted = 'must be a number (USD per unit), or a table like { preset = "frankfurter" }'
            raise ValueError(wanted)  # noqa: TRY004 - pydantic turns ValueError into an error with a place
        return value


class MarketConfig(Section):
    """What a bitcoin is worth."""

    btc_usd: PositiveFloat | None = Field(
        default=None,
        description="Fixed price of one bitcoin in USD. A [tape] that brings btc_usd takes its place.",
    )
    quote_max_age_s: PositiveFloat = Field(
        default=900.0, description="A price of a [[market.btc_source]] older than this does not count."
    )
    outlier_ratio: Ratio = Field(
        default=0.05,
        description="Of three sources or more, one further than this from their median is left out; of two that differ by more, the one "
        "further from the last price believed.",
    )
    jump_ratio: Ratio = Field(
        default=0.15,
        description="A change of more than this that a single source says is not believed at once. Two sources that say the same are.",
    )
    jump_confirm_s: NonNegativeFloat = Field(
        default=300.0, description="How long such a jump must last to be believed."
    )
    btc_source: Annotated[tuple[BtcSourceConfig, ...], Strict(strict=False)] = Field(
        default=(), description="Prices over HTTP; the median of those that agree is the price."
    )
    currency: dict[str, CurrencyConfig] = Field(
        default_factory=dict,
        description='Exchange rates by currency, as EUR = 1.08 or GBP = { preset = "frankfurter" }.',
    )
