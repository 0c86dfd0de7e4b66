"""What the running controller needs from outside: a journal to remember in, and someone to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.decisions import Decision, Outcome
    from controller.ticks import Tick
    from controller.view import View


class Journal(Protocol):
    """Where the controller's memory lives; each call returns when its rows are durable."""

    async def record_ticks(self, ticks: Sequence[Tick]) -> None:
        """Keep ticks that say something new."""
        ...

    async def record_decisions(self, decisions: Sequence[Decision]) -> None:
        """Keep the decisions of one tick, all or none."""
        ...

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of decisions."""
        ...

    async def last_decisions(self) -> Mapping[str, Decision]:
        """The last decision of every unit that has one."""
        ...


class Listener:
    """Hears what the controller does, for metrics and live events; override what is of interest.

    Called from the loop: it must return at once and not raise.
    """

    def on_view(self, view: View) -> None:
        """A tick was decided and recorded."""

    def on_decision(self, decision: Decision) -> None:
        """A decision was recorded, `hold` included."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Something came of a decision."""

    def on_alert(self, unit_id: str | None, message: str) -> None:
        """A person should look: at this unit, or at the controller itself."""
