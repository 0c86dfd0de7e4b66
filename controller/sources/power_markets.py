"""The lowest and the highest price that the rules of a power market let come about, USD per kWh; pure.

What lies outside is a fault of its source. Each is widened to what an all-in price can be: adders of up to 0.15 USD/kWh and taxes
come on top of the energy, and a currency may move by a quarter.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUNDS_USD_PER_KWH: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        # Real-time settlement is floored at -0.251 (offers at -250 USD/MWh); offers are capped at 5,000 USD/MWh, and shadow prices
        # of lines reach beyond them. The same for the day ahead. ERCOT Protocols, sections 4 and 6.
        "ercot": (-0.3, 9.5),
        # Energy offers 150 floor to 1,000 USD/MWh, up to 2,000 with cost justified (FERC Order 831); scarcity and congestion on top.
        "caiso": (-0.5, 3.5),
        # Offers to 2,000 USD/MWh (FERC Order 831) and reserve penalties of 850 USD/MWh and more on top.
        "pjm": (-0.5, 5.0),
        "nyiso": (-1.0, 5.0),
        "iso-ne": (-0.5, 5.0),
        "miso": (-0.5, 5.0),
        "spp": (-0.6, 5.0),
        # Harmonised limits of the European day-ahead auction: -500 to 4,000 EUR/MWh (ACER decision 01/2023), raised in steps after
        # prices near the upper one; intraday -9,999 to 9,999 EUR/MWh.
        "epex": (-0.8, 7.0),
        "intraday-eu": (-15.0, 15.0),
        # Octopus Agile is capped at 100 pence per kWh including VAT; there is no floor, the auction's is near -500 GBP/MWh.
        "agile": (-0.8, 2.0),
        # Market floor -1,000 AUD/MWh, market price cap 20,300 AUD/MWh in 2025-26, indexed each July (AEMC).
        "nem": (-1.0, 20.0),
    }
)
"""By the name that [power] market takes."""
