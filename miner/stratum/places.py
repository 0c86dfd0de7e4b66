"""Places of sessions: each has an extranonce1 of its own, which stays its for a while after its connection ended.

Times are seconds of a clock that nobody sets, but for what goes to another process.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from miner.stratum.house import Resumable, Subscription
from miner.work.extranonce import ExtranonceAllocator, ExtranonceExhaustedError
from miner.work.layout import Layout
from miner.work.vardiff import VardiffState

RESUME_S: Final = 600.0
"""How long a session can be taken up again."""
MOST_EXTRANONCE1: Final = 8
"""Bytes of the longest extranonce1 that another process's session may have."""


class Parked(msgspec.Struct, frozen=True):
    """A session without a connection, which can be taken up again until `until` (unix seconds in another process)."""

    session: Resumable
    until: float


class Guest(Protocol):
    """A connection as its place sees it."""

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

    Extranonces are as in `layout`, of those of `new_allocator(size)`, which is asked once for each size. Places given out before
    `set_layout` keep theirs until they `move`; a session can only be taken up again while the layout is that of its place,
    but its difficulty is known in any.
    """

    def __init__(
        self,
        layout: Layout,
        new_allocator: Callable[[int], ExtranonceAllocator],
        new_token: Callable[[], str],
        *,
        resume_s: float = RESUME_S,
        most_parked: int = 50_000,
    ) -> None:
        self._layout = layout
        self._new_allocator = new_allocator
        self._allocators: dict[int, ExtranonceAllocator] = {}  # by size of extranonce1
        self._new_token = new_token
        self._resume_s = resume_s
        self._most_parked = most_parked
        self._taken: dict[str, _Place] = {}
        self._parked: dict[str, Parked] = {}  # the one to be forgotten next comes first

    def set_layout(self, layout: Layout) -> None:
        """Places given out from now on are of this layout."""
        self._layout = layout

    def subscribe(self, guest: Guest, resume: str | None, now: float) -> Subscription:
        """A place for `guest`, that of the session `resume` if it can be had. Raises ExtranonceExhaustedError."""
        self.expire(now)
        session = None if resume is None else self._claim(guest, resume, now)
        if session is None:
            return self._seat(guest, self._new_token())
        if (len(session.extranonce1), session.extranonce2_size) == self._sizes:
            self._taken[session.session_id] = _Place(guest, session.extranonce1)
            return Subscription(
                session_id=session.session_id,
                extranonce1=session.extranonce1,
                extranonce2_size=session.extranonce2_size,
                resumed=session,
            )
        self._release(session.extranonce1)
        return self._seat(guest, self._new_token(), session.vardiff)

    def move(self, token: str, guest: Guest) -> Subscription:
        """Another place for `guest`, of the present layout, under its session id. Raises ExtranonceExhaustedError, KeyError."""
        before = self._taken[token]
        place = self._seat(guest, token)
        self._release(before.extranonce1)
        return place

    def leave(self, token: str, guest: Guest, now: float) -> None:
        """The connection of `guest` ended: its place waits for it, if there is a session to come back to."""
        place = self._taken.get(token)
        if place is None or place.guest is not guest:
            return  # somebody took it over
        del self._taken[token]
        session = guest.resumable()
        if session is None or self._resume_s <= 0:
            self._release(place.extranonce1)
        else:
            self._park(Parked(session, now + self._resume_s))

    def expire(self, now: float) -> None:
        """Forget sessions that nobody came back to in time."""
        while self._parked:
            token, parked = next(iter(self._parked.items()))
            if parked.until > now and len(self._parked) <= self._most_parked:
                return
            del self._parked[token]
            self._release(parked.session.extranonce1)

    def export(self, now: float, unix_now: float) -> list[Parked]:
        """Every session that another process could go on with, the living ones as if their connections ended now.

        Their times are unix seconds, of which it is `unix_now`.
        """
        sessions = [place.guest.resumable() for place in self._taken.values()]
        living = [Parked(session, unix_now + self._resume_s) for session in sessions if session is not None]
        parked = [
            Parked(each.session, unix_now + each.until - now)
            for each in self._parked.values()
            if each.until > now
        ]
        return [*parked, *living]

    def restore(self, exported: Iterable[Parked], now: float, unix_now: float) -> int:
        """Take over what another process exported, before the first connection; returns how many sessions it were.

        They may be of any layout: that of a pool is only known when it is connected.
        """
        count = 0
        for parked in sorted(exported, key=lambda parked: parked.until):
            session, left_s = parked.session, min(parked.until - unix_now, self._resume_s)
            if left_s <= 0 or session.session_id in self._parked:
                continue
            if not 1 <= len(session.extranonce1) <= MOST_EXTRANONCE1 or session.extranonce2_size < 1:
                continue
            try:
                self._allocator(len(session.extranonce1)).reserve(session.extranonce1)
            except ValueError:
                continue  # ours already
            self._park(Parked(session, now + left_s))
            count += 1
        self.expire(now)
        return count

    def _claim(self, guest: Guest, token: str, now: float) -> Resumable | None:
        """The session of that id, whoever has it: it is `guest`'s now."""
        place = self._taken.get(token)
        if place is not None and place.guest is not guest:
            previous = place.guest
            self.leave(token, previous, now)
            previous.drop("taken_over")
        parked = self._parked.pop(token, None)
        return None if parked is None else parked.session

    def _seat(self, guest: Guest, token: str, learned: VardiffState | None = None) -> Subscription:
        """A place with an extranonce1 that nobody had."""
        size = self._layout.extranonce1_size
        try:
            extranonce1 = self._allocator(size).allocate()
        except ExtranonceExhaustedError:
            # Who is there goes before who may come back: where there is one byte, 256 names come and gone would take all.
            self._forget_one(size)
            extranonce1 = self._allocator(size).allocate()
        self._taken[token] = _Place(guest, extranonce1)
        return Subscription(
            session_id=token,
            extranonce1=extranonce1,
            extranonce2_size=self._layout.extranonce2_size,
            learned=learned,
        )

    def _forget_one(self, size: int) -> None:
        """Let go of the session that would be forgotten next of those whose extranonce1 has this size, if there is one."""
        token = next(
            (token for token, each in self._parked.items() if len(each.session.extranonce1) == size), ""
        )
        if token:
            self._release(self._parked.pop(token).session.extranonce1)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self._layout.extranonce1_size, self._layout.extranonce2_size

    def _allocator(self, size: int) -> ExtranonceAllocator:
        allocator = self._allocators.get(size)
        if allocator is None:
            allocator = self._allocators[size] = self._new_allocator(size)
        return allocator

    def _release(self, extranonce1: bytes) -> None:
        self._allocator(len(extranonce1)).release(extranonce1)

    def _park(self, parked: Parked) -> None:
        self._parked[parked.session.session_id] = parked
