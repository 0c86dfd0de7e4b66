"""What a source of ticks is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from controller.ticks import Tick


class SourceError(Exception):
    """A source could not be read; its series keep their last good values and grow old."""


@runtime_checkable
class Source(Protocol):
    """Something that knows the present value, and perhaps coming ones, of some series."""

    @property
    def name(self) -> str:
        """Stands in every tick it gives; unique among the sources of a controller."""
        ...

    async def read(self, now: float) -> list[Tick]:
        """What is known at `now` (UTC unix seconds); an empty list says that there is nothing.

        Raises SourceError, OSError or TimeoutError when the source fails; the loop reads again on its next tick.
        """
        ...
