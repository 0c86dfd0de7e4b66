"""What the running controller needs from outside: a journal to remember in, and someone to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.decisions import Decision, Outcome
    from controller.inputs import Inputs
    from controller.overrides import Override
    from controller.ticks import Tick
    from controller.view import View


class AlreadyDecidedError(RuntimeError):
    """The journal has other decisions of this very time: the clock was set back. Nothing was written; a time a little later is free."""


class Journal(Protocol):
    """Where the controller's memory lives; each call returns when its rows are durable."""

    async def record_ticks(self, ticks: Sequence[Tick]) -> None:
        """Keep ticks that say something new."""
        ...

    async def record_decisions(self, decisions: Sequence[Decision], inputs: Inputs | None = None) -> None:
        """Keep the decisions of one tick and what they were made from, all or nothing. Raises AlreadyDecidedError."""
        ...

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of decisions."""
        ...

    async def last_decisions(self) -> Mapping[str, Decision]:
        """The last decision of every unit that has one."""
        ...

    async def last_inputs(self) -> Inputs | None:
        """What the last tick was decided from; None where nothing is kept. `inputs.recall` reads it."""
        ...

    async def record_signals(self, ticks: Sequence[Tick]) -> None:
        """Keep windows of signals; one of the same series, source and beginning, observed at the same time, is replaced."""
        ...

    async def signals(self, since: float) -> Sequence[Tick]:
        """Windows of signals that end after `since`, as they were told last, by series and beginning."""
        ...

    async def record_override(self, override: Override) -> None:
        """Keep what a person asked for; it replaces what was asked for that unit before. One that is taken back has ended."""
        ...

    async def overrides(self, now: float) -> Mapping[str, Override]:
        """By unit the override made last, where it is in force at `now` or later."""
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
