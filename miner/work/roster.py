"""Who hashes: every worker name is a unit, with what it handed in since the daemon started.

Names come from strangers: how many are remembered is limited, a name costs a row of the ledger only once it has
handed in a good share, and one that never did makes room for the next when the roster is full.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final, NamedTuple

from miner.kernel import Tally
from miner.work.hashrate import TallyRate

IDLE_AFTER_S: Final = 300.0
"""A connected unit that handed in no share for this long is idle."""

FORGET_AFTER_S: Final = 30 * 86_400.0
"""A unit that is gone for this long is no longer shown; it keeps its number in the ledger."""

MAKE_ROOM_AFTER_S: Final = 3600.0
"""While the roster is full, one that is gone for this long need not be shown any longer: names with a share or two must not
keep others out for a month."""

FORGET_EVERY_S: Final = 60.0
"""While the roster is full, units that are long gone are looked for this often, not at every login."""

STRANGERS_TRIED: Final = 32
"""Names without a share that one login looks at for one that may go, so that a login costs the same when many hold on."""


class RosterError(Exception):
    """The name cannot be a unit; the message is for the miner."""


class RosterFullError(RosterError):
    """There are as many names as the roster may hold."""


class NameTakenError(RosterError):
    """The name is that of a unit of the house."""


class UnitPresence(StrEnum):
    """What a unit is seen to do; the values stay the same in API and metrics."""

    HASHING = auto()
    """Connected, and its shares come in."""
    IDLE = auto()
    """Connected, but no share came lately."""
    GATED = auto()
    """Given no work, since the controller closed its gate."""
    UNREACHABLE = auto()
    """Not connected: nobody knows what it does, and its power counts as drawn."""


class KnownUnit(NamedTuple):
    """A unit as the ledger knows it: its number there, its name, and when it first logged in (unix seconds)."""

    number: int
    name: str
    first_seen: float


@dataclass(slots=True, eq=False)
class HashingUnit:
    """One worker name; times are unix seconds.

    `id` is what API, metrics and controller call it, `name` the Stratum user name, `number` stands in share records.
    `gate_reason` tells why it gets no work; empty while it does. `difficulty` and `agent` are of its latest session.
    """

    number: int
    id: str
    name: str
    first_seen: float
    last_seen: float
    tally: Tally
    rate: TallyRate
    configured: bool = False
    sessions: int = 0
    gate_reason: str = ""
    agent: str = ""
    difficulty: float = 0.0

    def joined(self, now: float, agent: str = "") -> None:
        """A session logged in under its name."""
        self.sessions += 1
        self.last_seen = max(self.last_seen, now)
        self.agent = agent or self.agent

    def left(self, now: float) -> None:
        """A session that logged in under its name is gone. Raises ValueError where there was none."""
        if self.sessions <= 0:
            raise ValueError(f"unit {self.id!r} has no session that could leave")
        self.sessions -= 1
        self.last_seen = max(self.last_seen, now)

    @property
    def last_share_at(self) -> float | None:
        """When its last good share came; None before the first."""
        return self.tally.last_share_at if self.tally.accepted else None

    def state(self, now: float) -> UnitPresence:
        """What it is seen to do at `now`."""
        if self.gate_reason:
            return UnitPresence.GATED
        if not self.sessions:
            return UnitPresence.UNREACHABLE
        at = self.last_share_at
        if at is not None and now - at <= IDLE_AFTER_S:
            return UnitPresence.HASHING
        return UnitPresence.IDLE


class Roster:
    """Every unit, by worker name, id and number.

    `limit` counts the names that came by themselves. `configured` maps worker names to unit ids: those units are there from
    the start and always fit. `own` are ids of units of the house, which nobody may log in as. `known` are the units of
    the ledger; they keep their numbers, so that a name is the same unit after a restart.
    """

    def __init__(
        self,
        limit: int,
        *,
        now: float,
        configured: Mapping[str, str] | None = None,
        own: Iterable[str] = (),
        known: Iterable[KnownUnit | tuple[int, str, float]] = (),
        new_tally: Callable[[], Tally] = Tally,
        new_rate: Callable[[], TallyRate] = TallyRate,
    ) -> None:
        self._limit = limit
        self._new_tally = new_tally
        self._new_rate = new_rate
        self._configured = dict(configured or {})
        self._own = frozenset(own)
        self._reserved = self._own | frozenset(self._configured.values())
        self._units: dict[str, HashingUnit] = {}
        self._by_id: dict[str, HashingUnit] = {}
        self._by_number: dict[int, HashingUnit] = {}
        self._strangers: dict[
            str, HashingUnit
        ] = {}  # not in the ledger yet, since they never handed in a good share
        self._past = {row[1]: KnownUnit(*row) for row in known}  # in the ledger, and not shown
        self._next = 1 + max((row.number for row in self._past.values()), default=0)
        self._started_at = self._forgot_at = now
        for name in [*self._own, *self._configured, *self._past]:
            if name not in self._units:
                self._make(name, now)

    def __iter__(self) -> Iterator[HashingUnit]:
        return iter(self._units.values())

    def __len__(self) -> int:
        return len(self._units)

    def __contains__(self, name: object) -> bool:
        return name in self._units

    def named(self, name: str) -> HashingUnit | None:
        """The unit of that worker name."""
        return self._units.get(name)

    def by_id(self, unit_id: str) -> HashingUnit | None:
        """The unit of that id."""
        return self._by_id.get(unit_id)

    def numbered(self, number: int) -> HashingUnit | None:
        """The unit of that number in share records."""
        return self._by_number.get(number)

    def login(self, name: str, now: float) -> HashingUnit:
        """The unit of a worker whose login is granted: the one it was, or a new one.

        Call it only for logins that are not refused. Whoever holds the session then calls `joined` and `left` of the unit.
        Raises RosterFullError, NameTakenError.
        """
        if name in self._own:
            raise NameTakenError(f"{name} is a unit of this house: choose another worker name")
        unit = self._units.get(name)
        if unit is None:
            if self._strange() >= self._limit:
                self._make_room(now)
            unit = self._make(name, now)
        return unit

    def drain_new(self) -> list[KnownUnit]:
        """Units whose first good share has come since the last call: they belong into the ledger before their shares.

        Call it right after the share records were taken from their buffer, and write its rows with them.
        """
        fresh = [unit for unit in self._strangers.values() if unit.tally.accepted]
        for unit in fresh:
            del self._strangers[unit.name]
        return [KnownUnit(unit.number, unit.name, unit.first_seen) for unit in fresh]

    def sample(self, now: float) -> None:
        """Have every unit's hashrate follow its tally; call it about every 10 s."""
        for unit in self._units.values():
            unit.rate.sample(unit.tally, now)

    def forget(self, now: float) -> None:
        """Stop showing units that are gone for a month, and while there is no room a part of those gone for an hour.

        Configured ones stay; those that were seen longest ago go first.
        """
        self._forgot_at = now
        gone = sorted(
            (self._gone_s(unit, now), unit.number, unit)
            for unit in self._units.values()
            if not (unit.configured or unit.sessions) and self._gone_s(unit, now) > MAKE_ROOM_AFTER_S
        )
        crowded = self._strange() - self._limit + 1 + self._limit // 16
        for place, (gone_s, _, unit) in enumerate(reversed(gone)):
            if gone_s > FORGET_AFTER_S or place < crowded:
                self._remove(unit)

    def _gone_s(self, unit: HashingUnit, now: float) -> float:
        return now - max(unit.last_seen, unit.last_share_at or 0.0, self._started_at)

    def _strange(self) -> int:
        return len(self._units) - len(self._own) - len(self._configured)

    def _make_room(self, now: float) -> None:
        """Let a name go that never handed in a good share, or that is gone for long. Raises RosterFullError."""
        if now - self._forgot_at >= FORGET_EVERY_S:
            self.forget(now)
            if self._strange() < self._limit:
                return
        for name in list(self._first_strangers()):
            unit = self._strangers[name]
            if not (unit.configured or unit.sessions or unit.tally.accepted):
                self._remove(unit)
                return
            del self._strangers[name]
            self._strangers[name] = unit  # to the end of the queue
        raise RosterFullError(
            f"there are {self._limit} workers already: use a worker name that is known here"
        )

    def _first_strangers(self) -> Iterator[str]:
        return (name for _, name in zip(range(STRANGERS_TRIED), self._strangers, strict=False))

    def _make(self, name: str, now: float) -> HashingUnit:
        past = self._past.pop(name, None)
        stranger = past is None
        if past is None:
            past = KnownUnit(self._next, name, now)
            self._next += 1
        unit = HashingUnit(
            number=past.number,
            id=self._id_for(name),
            name=name,
            first_seen=past.first_seen,
            last_seen=past.first_seen,
            tally=self._new_tally(),
            rate=self._new_rate(),
            configured=name in self._configured or name in self._own,
        )
        self._units[name] = self._by_id[unit.id] = self._by_number[unit.number] = unit
        if stranger:
            self._strangers[name] = unit
        return unit

    def _id_for(self, name: str) -> str:
        """The configured id, else the name itself, marked where another unit is called so."""
        if name in self._configured:
            return self._configured[name]
        if name in self._own:
            return name
        unit_id = name
        while unit_id in self._reserved or unit_id in self._by_id:
            unit_id = f"worker:{unit_id}"
        return unit_id

    def _remove(self, unit: HashingUnit) -> None:
        del self._units[unit.name], self._by_id[unit.id], self._by_number[unit.number]
        if self._strangers.pop(unit.name, None) is None:
            self._past[unit.name] = KnownUnit(unit.number, unit.name, unit.first_seen)
