"""The section of the operator's cash, for the runway in `hashmill fleet`."""

from pydantic import Field, NonNegativeFloat

from miner.config_values import Section


class TreasuryConfig(Section):
    """Cash and fixed costs, from which `hashmill fleet` reckons how long the money lasts. Nothing is decided by it."""

    cash_usd: NonNegativeFloat | None = Field(
        default=None, description="Money at hand in USD; absent: no runway is told."
    )
    fixed_usd_per_day: NonNegativeFloat = Field(
        default=0.0,
        description="What the site costs each day whether or not it hashes: rent, staff, loans, in USD.",
    )
