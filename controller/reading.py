"""Reading all sources and all units at once: none of them holds up the others, and what fails is told and left out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.actuators.base import Actuator
    from controller.book import TickBook
    from controller.sources.base import Source
    from controller.ticks import Tick
    from controller.units import Unit, UnitState

log = logging.getLogger(__name__)

_AT_ONCE: Final = 200


class Reading:
    """Reads `sources`, ranked in their order, and those of the units that have an actuator."""

    def __init__(
        self, units: Sequence[Unit], sources: Sequence[Source], actuators: Mapping[str, Actuator]
    ) -> None:
        self._units = units
        self._sources = sources
        self._actuators = actuators

    async def sources(
        self, book: TickBook, now: float, limit_s: float, asked: Sequence[Source] | None = None
    ) -> list[Tick]:
        """Let the book take in what they give, each within `limit_s`, and return what is new; `asked`: only these of them."""
        ranked = [
            (rank, source) for rank, source in enumerate(self._sources) if asked is None or source in asked
        ]
        answers = await asyncio.gather(*(_ticks_of(source, now, limit_s) for _, source in ranked))
        news: list[Tick] = []
        for (rank, source), ticks in zip(ranked, answers, strict=True):
            fresh, refused = book.admit(ticks, rank, now)
            news.extend(fresh)
            for refusal in refused:
                log.warning(
                    "tick_refused",
                    extra={"source": source.name, "series": refusal.tick.series, "why": refusal.why},
                )
        return news

    async def units(self, now: float, limit_s: float) -> dict[str, UnitState]:
        """What each unit says of itself, by its id; one that does not answer within `limit_s` is missing."""
        reading: list[asyncio.Task[UnitState | None]] = []
        async with asyncio.TaskGroup() as group:
            for unit in self._units:
                if unit.id in self._actuators:
                    reading.append(group.create_task(self._state_of(unit.id, now, limit_s)))
                    if len(reading) % _AT_ONCE == 0:
                        await asyncio.sleep(0)  # whoever shares the event loop gets a turn
        states = [task.result() for task in reading]
        return {state.unit_id: state for state in states if state is not None}

    async def _state_of(self, unit_id: str, now: float, limit_s: float) -> UnitState | None:
        try:
            async with asyncio.timeout(limit_s):
                return await self._actuators[unit_id].read(now)
        except Exception as error:  # noqa: BLE001 - a unit that cannot be read is unreachable, whatever the cause
            log.warning("unit_unreadable", extra={"unit": unit_id, "error": words(error)})
            return None


async def _ticks_of(source: Source, now: float, limit_s: float) -> list[Tick]:
    try:
        async with asyncio.timeout(limit_s):
            return await source.read(now)
    except Exception as error:  # noqa: BLE001 - whatever a source does, the others and the fail-safe go on
        log.warning("source_failed", extra={"source": source.name, "error": words(error)})
        return []


def words(error: Exception) -> str:
    """What an error says; its kind where it says nothing."""
    return str(error) or type(error).__name__
