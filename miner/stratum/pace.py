"""The difficulty of one session: what device, user, port and network want of it, and which one counts for which job."""

from typing import Final

from miner.stratum.levels import Level, Levels
from miner.stratum.rules import PortRules
from miner.stratum.v1 import wire_difficulty
from miner.work.vardiff import Vardiff, VardiffState

NETWORK_UNKNOWN: Final = float("inf")
"""The difficulty of a block while there is no job."""


class Pace:
    """Starts with wishes; from `start` on, vardiff follows the miner.

    What the user asks for in the password goes before what was learned in a resumed session, that before what the device suggests,
    and that before the port's start. A floor is only what somebody asked for by name: a password's `d=`, or
    minimum-difficulty; what a device suggests is a start, since most suggest the same whatever they can do.
    """

    __slots__ = (
        "_demand",
        "_floor",
        "_levels",
        "_resumed",
        "_rules",
        "_suggested",
        "_wanted",
        "network",
        "vardiff",
    )

    def __init__(self, rules: PortRules) -> None:
        self._rules = rules
        self._floor = 0.0
        self._demand: float | None = None
        self._suggested: float | None = None
        self._resumed: VardiffState | None = None
        self._wanted = rules.start_difficulty  # where nothing varies, as far as port and work allow it
        self._levels = Levels(wire_difficulty(rules.start_difficulty))
        self.network = NETWORK_UNKNOWN
        """A block's difficulty, or a pool's share's, as rounded for the wire: no share is asked to be harder."""
        self.vardiff: Vardiff | None = None
        """There is one from `start` on."""

    @property
    def newest(self) -> Level:
        """The level of the jobs sent from now on."""
        return self._levels.newest

    @property
    def kept(self) -> tuple[Level, ...]:
        """The levels that shares may still be judged by, the oldest first."""
        return self._levels.kept

    def of(self, serial: int, number: int | None) -> Level | None:
        """The level that a share is judged by; see Levels."""
        return self._levels.of(serial, number)

    # ---- Wishes: each returns the difficulty to be sent at once, None if nothing changes -----------------------

    def suggest(self, difficulty: float, now: float) -> float | None:
        """The device suggests a difficulty; the same one again, which some send to be heard of, is no news."""
        if difficulty == self._suggested:
            return None
        self._suggested = difficulty
        if self.vardiff is None or self._demand is not None or not self._rules.vardiff:
            return None
        return self.vardiff.suggest(difficulty, now)

    def demand(self, difficulty: float) -> None:
        """The user asks for a difficulty: where to start, and not to go below it. Counts before `start`."""
        self._demand = difficulty
        self._floor = max(self._floor, difficulty)

    def raise_floor(self, floor: float, now: float) -> float | None:
        """The device wants nothing easier."""
        if floor <= self._floor:
            return None
        self._floor = floor
        if self.vardiff is None:
            return None
        before = self.vardiff.difficulty
        self.vardiff = self._make(self.vardiff.difficulty, self.vardiff.state(), now)
        return None if self.vardiff.difficulty == before else self.vardiff.difficulty

    def resume(self, state: VardiffState, level: int) -> None:
        """The session was here before: go on with what it had learned. Counts before `start`."""
        self._resumed = state
        self._levels = Levels(wire_difficulty(state.difficulty), level)

    # ---- Mining ----------------------------------------------------------------------------------------------

    def start(self, network: float, now: float) -> Level:
        """The session begins to mine."""
        self.network = network
        state = self._resumed if self._demand is None else None
        wanted = self._demand or self._suggested or self._rules.start_difficulty
        self._wanted = wanted if state is None else state.difficulty
        self.vardiff = self._make(wanted, state, now)
        self._levels = Levels(wire_difficulty(self.vardiff.difficulty), self._levels.newest.number)
        return self._levels.newest

    def _make(self, wanted: float, state: VardiffState | None, now: float) -> Vardiff:
        floor, ceiling = self._rules.limits(self._floor, self.network)
        if not self._rules.vardiff:
            floor = min(max(wanted if state is None else state.difficulty, floor), ceiling)
            ceiling = floor
        vardiff = Vardiff(wanted, floor, ceiling, self._rules.target_shares_per_minute, now, state)
        vardiff.pending = False
        return vardiff

    def before_job(self, network: float, serial: int, now: float) -> Level | None:
        """The job `serial` is about to be sent: the new level it goes under, None if it is the same as before."""
        vardiff = self.vardiff
        if vardiff is None:
            return None
        if network != self.network:
            known_floor, _ = self._rules.limits(self._floor, self.network)
            floor, ceiling = self._rules.limits(self._floor, network)
            self.network = network
            if not self._rules.vardiff or floor != known_floor:
                # A pool's easy shares may have been below what the port wants: that holds again as soon as it can.
                state = vardiff.state() if self._rules.vardiff else None
                self.vardiff = self._make(self._wanted, state, now)
                return self.change(self.vardiff.difficulty, serial)
            vardiff.set_ceiling(ceiling)
        wanted = vardiff.next_job(now)
        return None if wanted is None else self.change(wanted, serial)

    def change(self, wanted: float, from_serial: int) -> Level | None:
        """Shares of the jobs from `from_serial` on must have the difficulty `wanted`; None if that is as it was."""
        difficulty = wire_difficulty(wanted)
        if difficulty == self.newest.difficulty:
            return None
        return self._levels.change(difficulty, from_serial)

    def renew(self, from_serial: int) -> Level:
        """The same difficulty under a new number, for a job that must have a new id."""
        return self._levels.change(self.newest.difficulty, from_serial)
