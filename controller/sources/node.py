"""The operator's own node as the source of difficulty, subsidy, fees and the epoch so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from controller.ticks import (
    CHAIN_HEIGHT,
    DIFFICULTY,
    EPOCH_START,
    FEES,
    SUBSIDY,
    TIP_TIME,
    UNITS,
    Tick,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DEFAULT_REFRESH_S: Final = 60.0
NEVER_RETARGETS: Final = "regtest"
"""The chain whose difficulty stays as it is: a projected retarget there would be a lie."""


class ChainFacts(Protocol):
    """What the node says of its best chain; times are those in block headers, unix seconds."""

    @property
    def chain(self) -> str:
        """The chain's name as bitcoind says it."""
        ...

    @property
    def height(self) -> int:
        """Height of the tip."""
        ...

    @property
    def difficulty(self) -> float:
        """Difficulty in force for the next block."""
        ...

    @property
    def subsidy_sat(self) -> int:
        """Subsidy of the next block."""
        ...

    @property
    def fees_sat_mean_144(self) -> float:
        """Mean fees per block over the last 144 blocks."""
        ...

    @property
    def epoch_start_time_s(self) -> float:
        """Time of the first block of the tip's retarget epoch."""
        ...

    @property
    def tip_time_s(self) -> float:
        """Time of the tip."""
        ...


class NodeSource:
    """Reads the chain at most every `refresh_s` seconds and gives what it saw last in between.

    Between reads the ticks keep the time they were observed at, so that a node that is down shows as growing age. A read that
    fails raises what the reader raised, and is not tried again before `refresh_s` is over.
    """

    def __init__(
        self,
        read_facts: Callable[[], Awaitable[ChainFacts]],
        refresh_s: float = DEFAULT_REFRESH_S,
        name: str = "node",
    ) -> None:
        self.name = name
        self._read_facts = read_facts
        self._refresh_s = refresh_s
        self._tried_at = -math.inf
        self._ticks: list[Tick] = []

    async def read(self, now: float) -> list[Tick]:
        """Six ticks of the chain, from memory while they are young; no epoch's where difficulty never changes."""
        if self._tried_at <= now < self._tried_at + self._refresh_s:
            return list(self._ticks)
        self._tried_at = now
        facts = await self._read_facts()
        values: dict[str, float] = {
            DIFFICULTY: facts.difficulty,
            SUBSIDY: float(facts.subsidy_sat),
            FEES: facts.fees_sat_mean_144,
            CHAIN_HEIGHT: float(facts.height),
        }
        if facts.chain != NEVER_RETARGETS:
            values[EPOCH_START] = float(facts.epoch_start_time_s)
            values[TIP_TIME] = float(facts.tip_time_s)
        self._ticks = [
            Tick(series, value, UNITS[series], now, math.inf, now, self.name)
            for series, value in values.items()
        ]
        return list(self._ticks)
