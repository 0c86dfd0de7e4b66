"""From a plan to one decision per unit and tick; pure.

Everything remembered between ticks stands in the last decision of a unit, so a restart forgets nothing: the ledger's last decisions
are the memory. The first rule of `RULES` that has an answer decides; thermal limits belong before all of them, a grid signal and a
person's override between `_unreachable` and `_prices_unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from controller import case as cases
from controller.case import Case, Proposal, PolicyConfig, Snapshot
from controller.decisions import Decision, Reason
from controller.market import Market, MarketUnknown, read_market

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.planner import Plan
