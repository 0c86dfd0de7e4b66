"""Who comes and goes, in the log: one line for each while they are few, one line a second when they are many."""

import logging
from collections import Counter
from typing import Final

log = logging.getLogger(__name__)

TOLD_ONE_BY_ONE: Final = 5
"""Comings and goings in one second that each get a line of their own."""
REFUSALS_APART: Final = 10
"""Seconds between two warnings of refused connections."""


class Traffic:
    """Tells of comings, goings and refused connections; `flush` is to be called every second.

    `in_all` counts by what happened and why, since the start.
    """

    def __init__(self) -> None:
        self._told = 0
        self._untold: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[str] = Counter()
        self._quiet = 0  # seconds until refused connections are told of again
        self.in_all: Counter[tuple[str, str]] = Counter()

    def came(self, address: str, unit: str, agent: str) -> None:
        """A miner logged in."""
        if self._tells("came", ""):
            log.info("miner_connected", extra={"unit": unit, "address": address, "agent": agent})

    def went(self, address: str, unit: str, reason: str) -> None:
        """A connection ended; `unit` is empty if nobody had logged in on it, which is worth a line only to the curious."""
        if not unit:
            self.in_all["went", reason] += 1
            log.debug("connection_closed", extra={"address": address, "reason": reason})
        elif self._tells("went", reason):
            log.info("miner_disconnected", extra={"unit": unit, "address": address, "reason": reason})

    def refused(self, address: str, reason: str) -> None:
        """A connection was not let in."""
        self.in_all["refused", reason] += 1
        self._refused[reason] += 1
        log.debug("connection_refused", extra={"address": address, "reason": reason})

    def refused_login(self, address: str, why: str) -> None:
        """A miner may not mine here; `why` is what it was told."""
        if self._tells("login_refused", ""):
            log.info("login_refused", extra={"address": address, "why": why})

    def flush(self) -> None:
        """A second has passed: tell in one line of all that was not told."""
        self._quiet = max(self._quiet - 1, 0)
        if self._refused and not self._quiet:
            for reason, count in self._refused.items():
                log.warning("connections_refused", extra={"count": count, "reason": reason})
            self._refused.clear()
            self._quiet = REFUSALS_APART
        if self._untold:
            went = {reason: count for (what, reason), count in self._untold.items() if what == "went"}
            log.info(
                "miners_came_and_went",
                extra={
                    "connected": self._untold["came", ""],
                    "refused": self._untold["login_refused", ""],
                    "disconnected": went,
                },
            )
        self._untold.clear()
        self._told = 0

    def _tells(self, what: str, reason: str) -> bool:
        self.in_all[what, reason] += 1
        self._told += 1
        if self._told <= TOLD_ONE_BY_ONE:
            return True
        self._untold[what, reason] += 1
        return False
