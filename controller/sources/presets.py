"""Public feeds of bitcoin prices and exchange rates, by the name a configuration calls them: URL, path and currencies; pure.

All of these are free and need no key, and are written down here as those who run them document them. `{code}` in a URL or path stands
for how that server spells the currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Preset:
    """A public feed. `codes`: how it spells each currency that it knows; `time_path`: where it says when its number was so."""

    url: str
    path: str
    codes: Mapping[str, str]
    time_path: str = ""

    def url_of(self, currency: str) -> str:
        """What to ask for that currency, one of `codes`."""
        return self.url.replace("{code}", self.codes[currency])

    def path_of(self, currency: str) -> str:
        """Where its number stands in the answer."""
        return self.path.replace("{code}", self.codes[currency])


def _upper(codes: str) -> Mapping[str, str]:
    return MappingProxyType({code: code for code in codes.split()})


def _lower(codes: str) -> Mapping[str, str]:
    return MappingProxyType({code: code.lower() for code in codes.split()})


_TRADED = "USD EUR GBP CAD AUD CHF JPY"

BTC_PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        # Trades no dollars: its price in Tether or in euros. Tether has stood within 1 % of the dollar but for hours.
        "binance": Preset(
            "https://api.binance.com/api/v3/ticker/price?symbol=BTC{code}",
            "price",
            MappingProxyType({"USD": "USDT", "EUR": "EUR"}),
        ),
        "bitfinex": Preset(
            "https://api-pub.bitfinex.com/v2/ticker/tBTC{code}", "$[6]", _upper("USD EUR GBP JPY")
        ),
        "bitstamp": Preset(
            "https://www.bitstamp.net/api/v2/ticker/btc{code}/", "last", _lower("USD EUR GBP"), "timestamp"
        ),
        "blockchain": Preset("https://blockchain.info/ticker", "{code}.last", _upper(_TRADED)),
        "coinbase": Preset(
            "https://api.coinbase.com/v2/prices/BTC-{code}/spot", "data.amount", _upper(_TRADED)
        ),
        "coingecko": Preset(
            "https://api.coingecko.com/api/v3/simple/price"
            "?ids=bitcoin&vs_currencies={code}&include_last_updated_at=true",
            "bitcoin.{code}",
            _lower(_TRADED),
            "bitcoin.last_updated_at",
        ),
        "gemini": Preset("https://api.gemini.com/v1/pubticker/btc{code}", "last", _lower("USD EUR GBP")),
        # The pair's name in the answer is not the one asked for: there is only one.
        "kraken": Preset(
            "https://api.kraken.com/0/public/Ticker?pair=XBT{code}", "result.*.c[0]", _upper(_TRADED)
        ),
        # What it does not know is -1, which is no price.
        "mempool": Preset("https://mempool.space/api/v1/prices", "{code}", _upper(_TRADED), "time"),
        "okx": Preset(
            "https://www.okx.com/api/v5/market/ticker?instId=BTC-{code}",
            "data[0].last",
            MappingProxyType({"USD": "USDT", "EUR": "EUR"}),
            "data[0].ts",
        ),
    }
)
"""Bitcoin prices in a currency."""

# Those that the European Central Bank publishes rates of.
_ECB = "EUR AUD BRL CAD CHF CNY CZK DKK GBP HKD HUF IDR ILS INR ISK JPY KRW MXN MYR NOK NZD PHP PLN RON SEK SGD THB TRY ZAR"
_MORE = "AED ARS CLP COP EGP GEL KES KGS KWD KZT NGN OMR PKR PYG QAR SAR UAH UYU UZS VND"

FX_PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "coinbase": Preset(
            "https://api.coinbase.com/v2/exchange-rates?currency={code}",
            "data.rates.USD",
            _upper(f"{_ECB} {_MORE}"),
        ),
        "er-api": Preset(
            "https://open.er-api.com/v6/latest/{code}",
            "rates.USD",
            _upper(f"{_ECB} {_MORE}"),
            "time_last_update_unix",
        ),
        # The European Central Bank's, one a working day.
        "frankfurter": Preset(
            "https://api.frankfurter.dev/v1/latest?base={code}&symbols=USD", "rates.USD", _upper(_ECB), "date"
        ),
    }
)
"""USD per unit of a currency."""
