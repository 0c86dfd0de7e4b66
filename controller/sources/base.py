"""What a source of ticks is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable

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


@runtime_checkable
class Closing(Protocol):
    """A source that holds something open, a connection or a file, until it is closed."""

    async def close(self) -> None:
        """Let go of it; nothing is read afterwards."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """A source that remembers what it said, and goes on from there after a restart."""

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from ticks of an earlier run, in the order they were recorded; those of other sources are passed over.

        Called before anything is read. What is heard anew stands over what is restored.
        """
        ...


async def close_all(sources: Iterable[object]) -> None:
    """Close those of the sources that hold something open, all of them even if one fails; then raises what the first one raised."""
    errors: list[Exception] = []
    for source in sources:
        if isinstance(source, Closing):
            try:
                await source.close()
            except (OSError, RuntimeError, SourceError, TimeoutError) as error:
                errors.append(error)
    if errors:
        raise errors[0]
