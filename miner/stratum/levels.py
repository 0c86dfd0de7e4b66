"""The difficulties that a session was given one after the other, and which of them a share is judged by."""

from typing import Final, NamedTuple

from miner.chain.difficulty import difficulty_of_target, target_of_difficulty

KEPT_LEVELS: Final = 8
"""Difficulties remembered; a share that names an older one is judged by the oldest of these."""


class Level(NamedTuple):
    """One difficulty: its number in the session, the serial of the first job it holds for, and its target.

    `difficulty` is as sent to the miner, `credit` what a share that meets the target is worth.
    """

    number: int
    from_serial: int
    difficulty: float
    target: int
    credit: float


class Levels:
    """The difficulties of one session. The one that counted when a job was sent counts for its shares."""

    __slots__ = ("_kept",)

    def __init__(self, difficulty: float, number: int = 0) -> None:
        self._kept = [_level(number, 0, difficulty)]

    @property
    def newest(self) -> Level:
        """The level of the jobs sent from now on."""
        return self._kept[-1]

    @property
    def kept(self) -> tuple[Level, ...]:
        """Those remembered, the oldest first."""
        return tuple(self._kept)

    def change(self, difficulty: float, from_serial: int) -> Level:
        """From the job `from_serial` on, shares must have `difficulty`; jobs sent before keep theirs."""
        level = _level(self.newest.number + 1, from_serial, difficulty)
        self._kept = [*self._kept[1 - KEPT_LEVELS :], level]
        return level

    def of(self, serial: int, number: int | None) -> Level | None:
        """The level of a share: the newest that its job was sent under first, or a later one that its job id names.

        An older one is never taken: who may choose a level knowing the hash is credited with more than was worked. None
        for a number that was never given out.
        """
        sent = next((level for level in reversed(self._kept) if level.from_serial <= serial), self._kept[0])
        if number is None:
            return sent
        newer = number - self.newest.number
        if newer > 0:
            return None
        return max(sent, self._kept[max(newer - 1, -len(self._kept))], key=lambda level: level.number)


def _level(number: int, from_serial: int, difficulty: float) -> Level:
    target = target_of_difficulty(difficulty)
    return Level(number, from_serial, difficulty, target, difficulty_of_target(target))
