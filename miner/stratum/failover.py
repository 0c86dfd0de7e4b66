"""Which of several pools is mined for, and when one that failed is tried again: rules without sockets or clocks.

Pools stand in the operator's order of preference. Times are seconds of any clock that only goes forward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RETURN_S: Final = 60.0
"""How long a better pool must have been well without a break before it is returned to."""
GRACE_S: Final = 5.0
"""How long after the start the first pools in the list are waited for while others are well already."""
FIRST_WAIT_S: Final = 1.0
MOST_WAIT_S: Final = 60.0
"""Waits between tries to reach a pool double from the first to the most."""
STEADY_S: Final = 10.0
"""A pool that was well for so long is tried again quickly when it fails; one that was not has its waits go on growing."""
MOST_PROBATION_S: Final = 3600.0
FORGIVEN_AFTER_S: Final = 3600.0
"""Bad work is forgotten after so long a time of good work."""


@dataclass(slots=True)
class _Pool:
    well_since: float | None = None
    was_tried: bool = False
    next_wait_s: float = FIRST_WAIT_S
    condemnations: int = 0
    probation_s: float = 0.0  # of health that it owes before it is mined for at all
    active_since: float = 0.0

    def is_well_for(self, span_s: float, now: float) -> bool:
        """Whether it has been well without a break for that long."""
        return self.well_since is not None and now - self.well_since >= max(span_s, self.probation_s)


class Failover:
    """The health of each pool, and the one to be mined for.

    A pool is left at once when it is no longer well, for the first in the list that is. A better one is returned to after
    `return_s` of unbroken health. One that was condemned for bad work owes `return_s` of health before it is mined for
    again, doubled each time until it has worked well for an hour. At the start the first in the list are waited for
    `grace_s`, unless they have failed.
    """

    def __init__(
        self, names: Sequence[str], now: float, *, return_s: float = RETURN_S, grace_s: float = GRACE_S
    ) -> None:
        self._pools = {name: _Pool() for name in names}
        self._return_s = return_s
        self._start_until: float | None = now + grace_s  # None once a pool was chosen
        self._active: str | None = None

    @property
    def active(self) -> str | None:
        """The pool that was chosen last; None while none is well."""
        return self._active

    def is_starting(self, now: float) -> bool:
        """Whether none was chosen yet, and it is too early to complain of that."""
        return self._start_until is not None and now < self._start_until

    def well(self, name: str, now: float) -> None:
        """The pool serves work; to be told as often as it does."""
        pool = self._pools[name]
        pool.was_tried = True
        if pool.well_since is None:
            pool.well_since = now

    def gone(self, name: str) -> None:
        """The connection to the pool ended, and it is not to blame: it asked us to connect elsewhere."""
        self._pools[name].well_since = None

    def failed(self, name: str, now: float, jitter: float) -> float:
        """The pool failed: seconds to wait before it is tried again.

        The wait is shortened by up to a third, by how much `jitter` (0 to 1, by chance) says, so that many clients of one pool do
        not come back in step.
        """
        pool = self._pools[name]
        if pool.is_well_for(STEADY_S, now):
            pool.next_wait_s = FIRST_WAIT_S
        pool.was_tried, pool.well_since = True, None
        wait_s = pool.next_wait_s
        pool.next_wait_s = min(wait_s * 2, MOST_WAIT_S)
        return wait_s * (1 - jitter / 3)

    def condemn(self, name: str, now: float) -> None:
        """The pool's work is bad, however well its connection is."""
        pool = self._pools[name]
        if self._active == name and now - pool.active_since >= FORGIVEN_AFTER_S:
            pool.condemnations = 0
        pool.probation_s = min(self._return_s * 2**pool.condemnations, MOST_PROBATION_S)
        pool.condemnations = min(pool.condemnations + 1, 32)
        pool.well_since = None

    def choose(self, now: float) -> str | None:
        """The pool to be mined for at `now`, which becomes the active one; None if none is well."""
        chosen = self._best(now)
        if chosen is not None:
            self._start_until = None
            pool = self._pools[chosen]
            if chosen != self._active or pool.probation_s > 0:
                pool.active_since, pool.probation_s = now, 0.0
        self._active = chosen
        return chosen

    def _best(self, now: float) -> str | None:
        present = None if self._active is None else self._pools[self._active]
        may_stay = present is not None and present.well_since is not None and present.probation_s == 0
        for name, pool in self._pools.items():
            if may_stay and pool is present:
                return name
            if pool.is_well_for(self._return_s if may_stay else 0.0, now):
                return name
            if not pool.was_tried and self.is_starting(now):
                return None  # it may still be well in time
        return None
