"""How the numbers of a decision are stored: as they are, but under short names; pure.

Names as people read them were half of every row, and the rows of decisions are what a ledger grows by. Rows of earlier versions
have whole names, and are read as they are.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from sqlalchemy import RowMapping

from miner.ledger.rows import DecisionRow

Value = TypeVar("Value")

#: Begins every short name, and no other.
MARK: Final = "~"
SHORT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "hashprice_usd_per_ph_day": "hp",
        "power_usd_per_kwh": "pw",
        "gross_hashprice_usd_per_ph_day": "gh",
        "btc_usd": "bu",
        "pool_fee_ratio": "pf",
        "rejected_ratio": "rj",
        "paid_reward_ratio": "pr",
        "pool_work_ratio": "wk",
        "solo_stale_ratio": "ss",
        "uptime_ratio": "up",
        "age_hashprice_usd_per_ph_day_s": "ah",
        "age_power_usd_per_kwh_s": "ap",
        "age_btc_usd_s": "ab",
        "age_network_difficulty_s": "ad",
        "age_subsidy_sat_s": "as",
        "age_fees_sat_per_block_s": "af",
        "planned_margin_usd_per_hour": "pm",
        "margin_usd_per_hour": "mg",
        "marginal_margin_usd_per_hour": "mm",
        "breakeven_hashprice_usd_per_ph_day": "bh",
        "breakeven_power_usd_per_kwh": "bp",
        "cap_kw": "cp",
        "drawn_kw": "dr",
        "shadow_price_usd_per_kwh": "sp",
        "since_s": "si",
        "changed_s": "ch",
        "told_s": "to",
        "resume_wanted_s": "rw",
        "stale_since_s": "st",
        "contradicts_since_s": "cs",
        "starts_today": "sn",
        "starts_day": "sd",
    }
)
"""Short names by name. Ledgers have them: one may be added, none changed or given to another name."""
_WHOLE: Final = {short: name for name, short in SHORT.items()}


def stored(numbers: Mapping[str, Value]) -> dict[str, Value]:
    """The numbers under the names that a ledger keeps them under."""
    return {_stored_name(name): value for name, value in numbers.items()}


def restored(kept: Mapping[str, Value]) -> dict[str, Value]:
    """The numbers as they were before `stored`. A short name of a later version stays as it is."""
    return {_whole_name(name): value for name, value in kept.items()}


def decision_of(columns: RowMapping | Mapping[str, Any]) -> DecisionRow:
    """A row of the table as a decision."""
    return DecisionRow(**{**columns, "numbers": restored(columns["numbers"])})


def _stored_name(name: str) -> str:
    if name in SHORT:
        return MARK + SHORT[name]
    return MARK + name if name.startswith(MARK) else name


def _whole_name(kept: str) -> str:
    if not kept.startswith(MARK):
        return kept
    rest = kept.removeprefix(MARK)
    return rest if rest.startswith(MARK) else _WHOLE.get(rest, kept)
