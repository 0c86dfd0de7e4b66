"""Decisions and outcomes: what every unit was told, why, and what came of it; pure.

The reason codes are stable: dashboards, alerts and people's notes depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reason(StrEnum):
    """Why a unit is in the mode it is in; `REASON_TEXT` says each in a sentence."""

    START = "start"
    PAUSE = "pause_unprofitable"
    RESUME = "resume_profitable"
    STEP_UP = "step_up"
    STEP_DOWN = "step_down"
    RESTORE = "restore"
    SAFE_MODE = "safe_mode"
    THERMAL = "thermal"
    SIGNAL = "signal"
    OVERRIDE = "override"
    SITE_CAP = "site_cap"
    PLAN_AHEAD = "plan_ahead"
    PRICES_ALONE = "prices_alone"
    HOLD_ON = "hold_profitable"
    HOLD_OFF = "hold_unprofitable"
    DEAD_BAND = "hold_dead_band"
    MIN_ON = "hold_min_on"
    MIN_OFF = "hold_min_off"
    CONFIRMING = "hold_confirming"
    STALE = "hold_stale"
    NO_PLAN = "hold_no_plan"
    BATCH_LIMIT = "hold_batch_limit"
    HOLD_THERMAL = "hold_thermal"
    HOLD_SITE_CAP = "hold_site_cap"
    HOLD_CHANGE_COST = "hold_change_cost"
    HOLD_STARTS = "hold_starts_per_day"
    SETTLING = "hold_settling"
    UNREACHABLE = "unreachable"
    SILENT = "unit_silent"
    STILL_HASHING = "unit_still_hashing"

    @property
    def acts(self) -> bool:
        """Whether a decision with this reason may change the unit; all others only hold."""
        return self in _ACTING


_ACTING = frozenset(
    {
        Reason.START,
        Reason.PAUSE,
        Reason.RESUME,
        Reason.STEP_UP,
        Reason.STEP_DOWN,
        Reason.RESTORE,
        Reason.SAFE_MODE,
        Reason.THERMAL,
        Reason.SIGNAL,
        Reason.OVERRIDE,
        Reason.SITE_CAP,
        Reason.PLAN_AHEAD,
        Reason.PRICES_ALONE,
    }
)

REASON_TEXT: Mapping[Reason, str] = {
    Reason.START: "first decision for a unit whose mode was not known",
    Reason.PAUSE: "hashing costs more than it earns",
    Reason.RESUME: "hashing pays again",
    Reason.STEP_UP: "the next watts pay",
    Reason.STEP_DOWN: "the last watts do not pay",
    Reason.RESTORE: "the unit was found in another mode than decided",
    Reason.SAFE_MODE: "prices are not known, and no decision is left to hold",
    Reason.THERMAL: "too hot: one mode down, whatever it earns",
    Reason.SIGNAL: "a signal asks for it, and comes before profit",
    Reason.OVERRIDE: "a person asked for it",
    Reason.SITE_CAP: "the site's power is limited, and earns more in other units",
    Reason.PLAN_AHEAD: "acts now for prices or limits that are coming",
    Reason.PRICES_ALONE: "there has been no plan for the grace time; the prices of now alone decide",
    Reason.HOLD_ON: "this mode pays best",
    Reason.HOLD_OFF: "hashing would cost more than it earns",
    Reason.DEAD_BAND: "too close to breakeven to be worth a change",
    Reason.MIN_ON: "must run for its minimum time first",
    Reason.MIN_OFF: "must rest for its minimum time first",
    Reason.CONFIRMING: "hashing pays; waiting for the price to hold on the next tick",
    Reason.STALE: "prices are not known; the last decision is held for the grace time",
    Reason.NO_PLAN: "there is no plan to follow",
    Reason.BATCH_LIMIT: "enough units were turned up within this minute",
    Reason.HOLD_THERMAL: "more would pay; waiting for the unit to cool down",
    Reason.HOLD_SITE_CAP: "more would pay; the site's power limit leaves no room",
    Reason.HOLD_CHANGE_COST: "a change would cost more than it brings",
    Reason.HOLD_STARTS: "was started as often as allowed today",
    Reason.SETTLING: "was told its mode and needs time to get there",
    Reason.UNREACHABLE: "the unit does not answer; its power counts as drawn",
    Reason.SILENT: "says that it runs and hands in no work; its power counts as drawn",
    Reason.STILL_HASHING: "says that it is off and hands in work; its power counts as drawn",
}
"""Each reason in words."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one unit is told on one tick, `hold` included.

    `id` sorts by time. `from_mode` is "unknown" where it could not be read. `numbers` are what it was made from, named with
    their units, all finite; together with `to_mode` they are also all that the next decision needs to remember. `flip` says what
    would change it.
    """

    id: str
    at: float
    unit_id: str
    from_mode: str
    to_mode: str
    reason: Reason
    numbers: Mapping[str, float] = field(default_factory=dict)
    flip: str = ""
    dry_run: bool = True

    @property
    def changes(self) -> bool:
        """Whether the unit has to be told something."""
        return self.reason.acts and self.from_mode != self.to_mode


class OutcomeKind(StrEnum):
    """How applying a decision went: `applied` was accepted, only `confirmed` was read back from the unit.

    `superseded`: a newer decision for the unit came first; `interrupted`: the controller ended first.
    """

    APPLIED = "applied"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that happened while a decision was applied; `mode_read` is what the unit then said."""

    decision_id: str
    unit_id: str
    at: float
    kind: OutcomeKind
    detail: str = ""
    mode_read: str | None = None
