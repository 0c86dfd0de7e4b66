"""What is to be hashed for one connection to a pool: the place in the coinbase, difficulty and version bits in force, the job.

Each job bears what was in force when it came: a difficulty and an extranonce count for the jobs that follow. Only a mask of
version bits holds at once (BIP310).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import msgspec

from miner.stratum import pool_fields
from miner.stratum.pool_events import Work


class PoolWork:
    """The working half of a client's session: it hears of everything, and gives out jobs once it is `open`-ed.

    What reads the pool's words raises ProtocolError for those that cannot be understood, and then nothing has changed.
    `version_mask` are the bits that we can roll.
    """

    def __init__(self, version_mask: int) -> None:
        self._can_roll = version_mask
        self._difficulty = pool_fields.DIFFICULTY_1
        self._newest: Work | None = None
        self._early: list[Any] | None = None  # the newest job that came before the place it is hashed in
        self._is_open = False
        self.extranonces: pool_fields.Extranonces | None = None
        """The pool's part of the coinbase and the size of ours; None before mining.subscribe was answered."""
        self.mask: int | None = None
        """The version bits that may be rolled now; None while the pool has granted no rolling."""

    # ---- Login -----------------------------------------------------------------------------------------------

    def configured(self, result: Any, error: Any) -> None:
        """The answer to mining.configure; one that grants nothing leaves versions alone."""
        mask = pool_fields.granted_mask(result, error)
        self.mask = None if mask is None else mask & self._can_roll

    def subscribed(self, result: Any) -> None:
        """The answer to mining.subscribe."""
        self.extranonces = pool_fields.parse_subscription(result)

    def early_job(self) -> list[Any] | None:
        """The params of the newest job that came before the subscription, once."""
        early, self._early = self._early, None
        return early

    def open(self) -> Work | None:
        """Work may be given out from now on: that of a job which came already."""
        self._is_open = True
        if self._newest is not None:
            self._newest = replace(self._newest, version_mask=self.mask)
        return self._newest

    # ---- The pool's calls ------------------------------------------------------------------------------------

    def notify(self, params: list[Any]) -> Work | None:
        """A job. The first one of a connection ends whatever was hashed before."""
        if self.extranonces is None:
            self._early = params
            return None
        notify = pool_fields.parse_job(params)
        if self._newest is None or not self._is_open:
            notify = msgspec.structs.replace(notify, clean=True)
        return self._give(Work(notify, *self._difficulty, *self.extranonces, self.mask))

    def set_difficulty(self, params: list[Any]) -> None:
        """Another difficulty for the jobs that follow."""
        self._difficulty = pool_fields.parse_set_difficulty(params)

    def set_target(self, params: list[Any]) -> None:
        """The same, said as a target."""
        self._difficulty = pool_fields.parse_set_target(params)

    def set_extranonce(self, params: list[Any]) -> None:
        """Another place in the coinbase for the jobs that follow."""
        self.extranonces = pool_fields.parse_set_extranonce(params, self.extranonces)

    def set_version_mask(self, params: list[Any]) -> Work | None:
        """Other version bits. If some are taken from us the job ends as it was, and comes again without them."""
        mask = pool_fields.parse_set_version_mask(params) & self._can_roll
        if self._can_roll:
            self.mask = mask
        work = self._newest
        if work is None or not (work.version_mask or 0) & ~mask:
            return None
        notify = msgspec.structs.replace(work.notify, clean=True)
        return self._give(replace(work, notify=notify, version_mask=mask))

    def _give(self, work: Work) -> Work | None:
        self._newest = work
        return work if self._is_open else None


CALLS: Final[Mapping[str, Callable[[PoolWork, list[Any]], Work | None]]] = MappingProxyType(
    {
        "mining.notify": PoolWork.notify,
        "mining.set_difficulty": PoolWork.set_difficulty,
        "mining.set_target": PoolWork.set_target,
        "mining.set_extranonce": PoolWork.set_extranonce,
        "mining.set_version_mask": PoolWork.set_version_mask,
    }
)
"""The calls of a pool that are about work."""
