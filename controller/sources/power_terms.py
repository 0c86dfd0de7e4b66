"""What power costs in the end: units that prices come in, and the formula from the energy's price to the one paid; pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

_UNIT = re.compile(r"(?P<currency>[a-z]{3})(?P<cents>_cents)?_per_(?P<energy>kwh|mwh)", re.ASCII)
_ALIASES: Final = {"pence_per_kwh": "gbp_cents_per_kwh"}
_CENTS: Final = 0.01
_KWH: Final = {"kwh": 1.0, "mwh": 0.001}


@dataclass(frozen=True, slots=True)
class PriceUnit:
    """A price's currency (ISO 4217, upper case), and the factor from the number as written to that currency per kWh."""

    currency: str
    per_kwh: float


def price_unit(name: str) -> PriceUnit:
    """The unit of that name: usd_per_kwh, eur_per_mwh, gbp_cents_per_kwh (also pence_per_kwh). Raises ValueError."""
    match = _UNIT.fullmatch(_ALIASES.get(name, name))
    if match is None:
        raise ValueError(f'"{name[:40]}" is no unit of a price: write it like usd_per_kwh or eur_per_mwh')
    factor = _KWH[match["energy"]] * (_CENTS if match["cents"] else 1.0)
    return PriceUnit(match["currency"].upper(), factor)


@dataclass(frozen=True, slots=True)
class Terms:
    """What comes on top of energy and adders: `tax_ratio` of their sum, then `overhead_ratio` (PUE - 1) of all of it."""

    tax_ratio: float = 0.0
    overhead_ratio: float = 0.0

    def __post_init__(self) -> None:
        """Refuse terms that would turn a price around."""
        for name in ("tax_ratio", "overhead_ratio"):
            value: float = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0, not {value}")


def all_in(energy: float, adder: float, terms: Terms) -> float:
    """The price of a kWh that a miner draws: (energy + adder) * (1 + tax) * (1 + overhead), in the currency of the two.

    A negative sum stays negative and grows the same way: whoever is paid for drawing power is paid the tax too, and for the
    fans' power as well.
    """
    return (energy + adder) * (1 + terms.tax_ratio) * (1 + terms.overhead_ratio)
