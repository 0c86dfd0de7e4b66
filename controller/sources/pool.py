"""The jobs of the pool that is mined, as the source of difficulty, subsidy and fees where there is no node of our own.

A job says what its block would pay, not what the last ones did: the mean of fees is taken over the blocks that were seen being
made. Of the retarget nothing is known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from controller.hashprice import difficulty_of_bits, subsidy_sat
from controller.sources.base import SourceError
from controller.ticks import CHAIN_HEIGHT, DIFFICULTY, FEES, SUBSIDY, UNITS, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FEE_BLOCKS: Final = 144
"""Blocks that the mean of fees is taken over, about a day's."""


class JobFacts(Protocol):
    """What a pool's job says of the chain."""

    @property
    def height(self) -> int:
        """Height of the block to be found."""
        ...

    @property
    def bits(self) -> int:
        """Its target as the header holds it."""
        ...

    @property
    def reward_sat(self) -> int:
        """All that its coinbase pays, to whomever."""
        ...

    @property
    def at(self) -> float:
        """When the job came, unix seconds."""
        ...


class PoolSource:
    """Gives what `read_job` says of the chain; while that is None the last ticks stay as they are and grow old.

    `halving_blocks` is the chain's. The fees of a block are the most that any job offered for it; their mean is taken over the last
    `FEE_BLOCKS` blocks that were passed, or while there are none it is what the present one offers. Of blocks of an earlier run only
    their mean is known; it stands for those of them that are among the last `FEE_BLOCKS`.
    """

    def __init__(
        self, read_job: Callable[[], JobFacts | None], halving_blocks: int, name: str = "pool"
    ) -> None:
        self.name = name
        self._read_job = read_job
        self._halving_blocks = halving_blocks
        self._fees: dict[int, int] = {}
        """The most that was offered in fees, by height, the present one last."""
        self._ticks: list[Tick] = []
        self._earlier_mean = 0.0
        self._earlier_height = -FEE_BLOCKS
        """Of the last block that an earlier run did not pass any more."""

    def restore(self, ticks: Iterable[Tick]) -> None:
        """Go on from the mean of fees of an earlier run; a mean of nothing says nothing."""
        mine = {tick.series: tick.value for tick in ticks if tick.source == self.name}
        if mine.get(FEES, 0.0) > 0 and CHAIN_HEIGHT in mine:
            self._earlier_mean, self._earlier_height = mine[FEES], int(mine[CHAIN_HEIGHT]) + 1

    async def read(self, now: float) -> list[Tick]:
        """Four ticks, observed when the job came; SourceError for a job whose target is none."""
        job = self._read_job()
        if job is None:
            return list(self._ticks)
        try:
            difficulty = difficulty_of_bits(job.bits)
        except ValueError as error:
            raise SourceError(f"the pool's job: {error}") from error
        subsidy = subsidy_sat(job.height, self._halving_blocks)
        values = {
            DIFFICULTY: difficulty,
            SUBSIDY: float(subsidy),
            FEES: self._mean_fees(job.height, max(job.reward_sat - subsidy, 0)),
            CHAIN_HEIGHT: float(job.height - 1),
        }
        seen_at = min(job.at, now)
        self._ticks = [
            Tick(series, value, UNITS[series], seen_at, math.inf, seen_at, self.name)
            for series, value in values.items()
        ]
        return list(self._ticks)

    def _mean_fees(self, height: int, offered_sat: int) -> float:
        self._fees[height] = max(self._fees.pop(height, 0), offered_sat)
        while len(self._fees) > FEE_BLOCKS + 1:
            del self._fees[next(iter(self._fees))]
        passed = [fees for other, fees in self._fees.items() if other != height]
        earlier = min(max(FEE_BLOCKS - max(height - self._earlier_height, 0), 0), FEE_BLOCKS - len(passed))
        count = len(passed) + earlier
        return (sum(passed) + earlier * self._earlier_mean) / count if count else float(self._fees[height])
