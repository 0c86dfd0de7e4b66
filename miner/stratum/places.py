"""Places of sessions: each has an extranonce1 of its own, which stays its for a while after its connection ended."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from miner.stratum.house import Resumable, Subscription
from miner.work.extranonce import ExtranonceAllocator

RESUME_S: Final = 600.0
"""How long a session can be taken up again."""


class Parked(msgspec.Struct, frozen=True):
    """A session without a connection, which can be taken up again until `until` (unix seconds)."""

    session: Resumable
    until: float


class Guest(Protocol):
    """A connection as its place sees it."""

    @property
    def extranonce2_size(self) -> int:
        """Bytes that its miner counts up."""
        ...

    def resumable(self) -> Resumable | None:
        """What another connection needs to go on with its session; None if there is nothing to go on with."""
        ...

    def drop(self, reason: str, /) -> None:
        """Close at once."""
        ...


@dataclass(frozen=True, slots=True)
class _Place:
    guest: Guest
    extranonce1: bytes


class Places:
    """Gives out places and takes them back; `new_token` makes session ids that nobody can guess.

    Whoever knows a session id gets its place, also while another connection has it: a device comes back before
    its old connection is found dead. At most `most_parked` sessions are kept for coming back, the oldest go first.
    """

    def __init__(
        self,
        extranonces: ExtranonceAllocator,
        new_token: Callable[[], str],
        *,
        resume_s: float = RESUME_S,
        most_parked: int = 50_000,
    ) -> None:
        self._extranonces = extranonces
        self._new_token = new_token
        self._resume_s = resume_s
        self._most_parked = most_parked
        self._taken: dict[str, _Place] = {}
        self._parked: dict[str, Parked] = {}  # the one to be forgotten next comes first

    def subscribe(self, guest: Guest, resume: str | None, now: float) -> Subscription:
        """A place for `guest`, that of the session `resume` if it can be had. Raises ExtranonceExhaustedError."""
        self.expire(now)
        resumed = None if resume is None else self._claim(guest, resume, now)
        if resumed is None or resume is None:
            token, extranonce1 = self._new_token(), self._extranonces.allocate()
        else:
            token, extranonce1 = resume, resumed.extranonce1
        self._taken[token] = _Place(guest, extranonce1)
        return Subscription(
            session_id=token,
            extranonce1=extranonce1,
            extranonce2_size=guest.extranonce2_size,
            resumed=resumed,
        )

    def leave(self, token: str, guest: Guest, now: float) -> None:
        """The connection of `guest` ended: its place waits for it, if there is a session to come back to."""
        place = self._taken.get(token)
        if place is None or place.guest is not guest:
            return  # somebody took it over
        del self._taken[token]
        session = guest.resumable()
        if session is None or self._resume_s <= 0:
            self._extranonces.release(place.extranonce1)
        else:
            self._park(Parked(session, now + self._resume_s))

    def expire(self, now: float) -> None:
        """Forget sessions that nobody came back to in time."""
        while self._parked:
            token, parked = next(iter(self._parked.items()))
            if parked.until > now and len(self._parked) <= self._most_parked:
                return
            del self._parked[token]
            self._extranonces.release(parked.session.extranonce1)

    def export(self, now: float) -> list[Parked]:
        """Every session that another process could go on with, the living ones as if their connections ended now."""
        sessions = [place.guest.resumable() for place in self._taken.values()]
        living = [Parked(session, now + self._resume_s) for session in sessions if session is not None]
        return [*(parked for parked in self._parked.values() if parked.until > now), *living]

    def restore(self, exported: Iterable[Parked], now: float) -> int:
        """Take over what another process exported, before the first connection; returns how many sessions it were."""
        count = 0
        for parked in sorted(exported, key=lambda parked: parked.until):
            if now < parked.until and parked.session.session_id not in self._parked:
                try:
                    self._extranonces.reserve(parked.session.extranonce1)
                except ValueError:
                    continue  # of another size than ours, or ours already
                self._park(parked)
                count += 1
        self.expire(now)
        return count

    def _claim(self, guest: Guest, token: str, now: float) -> Resumable | None:
        """The session of that id for `guest`, whoever has it."""
        place = self._taken.get(token)
        if place is not None and place.guest is not guest:
            previous = place.guest
            self.leave(token, previous, now)
            previous.drop("taken_over")
        parked = self._parked.get(token)
        if parked is None or parked.session.extranonce2_size != guest.extranonce2_size:
            return None
        del self._parked[token]
        return parked.session

    def _park(self, parked: Parked) -> None:
        self._parked[parked.session.session_id] = parked
