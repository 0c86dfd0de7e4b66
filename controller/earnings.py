"""What of hashprice is really paid: by a pool's scheme, after its fee and the work it refuses; pure.

All ratios are fractions: 0.02 is two per cent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.hashprice import Earned

GROSS: Final = "gross_hashprice_usd_per_ph_day"
"""In a decision's numbers: hashprice before anything was taken off."""


class Scheme(StrEnum):
    """How a pool pays for shares; the values stay the same in configuration and reports."""

    FPPS = "fpps"
    PPS = "pps"
    PPS_PLUS = "pps+"
    PPLNS = "pplns"
    TIDES = "tides"
    SOLO = "solo"
    OTHER = "other"

    @property
    def pays_fees(self) -> bool:
        """Whether transaction fees are paid on, at once or with the pool's blocks; plain PPS pays the subsidy only."""
        return self is not Scheme.PPS


@dataclass(frozen=True, slots=True)
class Earnings:
    """What the pool that is mined at pays: its scheme, its fee, and the part of the work handed in that it does not pay.

    `rejected_ratio` is None while nothing is known of it. `pool_work_ratio` is the part of all work that goes to the pool; the rest
    is mined solo, without a fee. As long as units can be moved between the two, a unit more or less leaves that part as it is, so
    the mix is what the next watt earns too. `pool` is its name. Raises ValueError for what is no fraction.
    """

    scheme: Scheme
    fee: float = 0.0
    rejected_ratio: float | None = None
    pool_work_ratio: float = 1.0
    pool: str = ""

    def __post_init__(self) -> None:
        """Refuse anything that is no fraction."""
        if not 0 <= self.fee < 1:
            raise ValueError(f"fee must be from 0 to below 1, not {self.fee}")
        for name in ("rejected_ratio", "pool_work_ratio"):
            value: float | None = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {value}")

    @classmethod
    def of_numbers(cls, numbers: Mapping[str, float]) -> Earnings:
        """The earnings that make a decision with these numbers again, under the same configuration; no name is kept."""
        really = Paid.of_numbers(numbers)
        scheme = Scheme.OTHER if really.reward == 1 else Scheme.PPS
        return cls(scheme, really.pool_fee, really.rejected, really.pool_work)


@dataclass(frozen=True, slots=True)
class Paid:
    """The part of hashprice that reaches the operator, with all that it is made of.

    Work at the pool (`pool_work` of all) is paid after its fee and without what it rejects, and only `reward` of a block's reward
    where the scheme keeps the fees. Work mined solo loses what is stale. `uptime` is the part of the time a unit that is on hashes.
    """

    pool_fee: float = 0.0
    rejected: float = 0.0
    reward: float = 1.0
    pool_work: float = 1.0
    solo_stale: float = 0.0
    uptime: float = 1.0

    @property
    def ratio(self) -> float:
        """The factor from gross to net."""
        at_the_pool = (1 - self.pool_fee) * (1 - self.rejected) * self.reward
        solo = 1 - self.solo_stale
        return (self.pool_work * at_the_pool + (1 - self.pool_work) * solo) * self.uptime

    def numbers(self) -> dict[str, float]:
        """What a decision keeps of it, so that it can be made again: fee and rejected part, and what is not as usual."""
        kept = {"pool_fee_ratio": self.pool_fee, "rejected_ratio": self.rejected}
        unusual = {
            "paid_reward_ratio": self.reward,
            "pool_work_ratio": self.pool_work,
            "uptime_ratio": self.uptime,
        }
        kept.update({name: value for name, value in unusual.items() if value != 1})
        if self.pool_work < 1:
            kept["solo_stale_ratio"] = self.solo_stale
        return kept

    @classmethod
    def of_numbers(cls, numbers: Mapping[str, float]) -> Paid:
        """What a decision with these numbers reckoned with."""
        return cls(
            pool_fee=numbers.get("pool_fee_ratio", 0.0),
            rejected=numbers.get("rejected_ratio", 0.0),
            reward=numbers.get("paid_reward_ratio", 1.0),
            pool_work=numbers.get("pool_work_ratio", 1.0),
            solo_stale=numbers.get("solo_stale_ratio", 0.0),
            uptime=numbers.get("uptime_ratio", 1.0),
        )


def paid(configured: Earned, earnings: Earnings | None, subsidy_ratio: float) -> Paid:
    """What is paid now: by the pool as far as that is known, else as configured.

    `subsidy_ratio` is the subsidy's part of a block's reward, 1 where that is not known.
    """
    if earnings is None:
        return Paid(configured.pool_fee, configured.stale, uptime=configured.uptime)
    measured = earnings.rejected_ratio
    return Paid(
        pool_fee=earnings.fee,
        rejected=configured.stale if measured is None else measured,
        reward=1.0 if earnings.scheme.pays_fees else subsidy_ratio,
        pool_work=earnings.pool_work_ratio,
        solo_stale=configured.stale,
        uptime=configured.uptime,
    )
