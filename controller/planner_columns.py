"""Paths found so far, each kept once: what the master chooses from and what units are placed on; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from controller.program import Paths

FIRST_ROOM = 256


class Columns:
    """A growing table of paths: whose they are, what they are worth, their modes and what they draw.

    A column is named by its number, in the order of coming; the same path of the same class comes once.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._number: dict[tuple[int, bytes], int] = {}
        self._owner = np.zeros(FIRST_ROOM, dtype=np.intp)
        self._worth_usd = np.zeros(FIRST_ROOM)
        self._modes = np.zeros((FIRST_ROOM, slots), dtype=np.uint8)
        self._kw = np.zeros((FIRST_ROOM, slots))

    def __len__(self) -> int:
        return len(self._number)

    @property
    def owner(self) -> NDArray[np.intp]:
        """The class of each column."""
        return self._owner[: len(self)]

    @property
    def worth_usd(self) -> NDArray[np.float64]:
        """What one unit earns on each column."""
        return self._worth_usd[: len(self)]

    @property
    def modes(self) -> NDArray[np.uint8]:
        """The mode in each slot [columns, T]."""
        return self._modes[: len(self)]

    @property
    def kw(self) -> NDArray[np.float64]:
        """What one unit draws in each slot [columns, T]."""
        return self._kw[: len(self)]

    def add(self, paths: Paths, owners: NDArray[np.intp]) -> NDArray[np.intp]:
        """The numbers of these paths, new ones for those not seen before."""
        text, width = paths.modes.tobytes(), self._slots
        known, first = self._number, len(self)
        numbers: list[int] = []
        new: list[int] = []
        for at, owner in enumerate(owners.tolist()):
            number = known.setdefault((owner, text[at * width : (at + 1) * width]), len(known))
            numbers.append(number)
            if number == first + len(new):
                new.append(at)
        if new:
            self._append(paths, owners, first, np.array(new, dtype=np.intp))
        return np.array(numbers, dtype=np.intp)

    def _append(self, paths: Paths, owners: NDArray[np.intp], first: int, new: NDArray[np.intp]) -> None:
        after = first + len(new)
        if after > len(self._owner):
            self._grow(max(after, 2 * len(self._owner)))
        self._owner[first:after] = owners[new]
        self._worth_usd[first:after] = paths.worth_usd[new]
        self._modes[first:after] = paths.modes[new]
        self._kw[first:after] = paths.kw[new]

    def _grow(self, room: int) -> None:
        owner, worth_usd, modes, kw = self._owner, self._worth_usd, self._modes, self._kw
        self._owner = np.empty(room, dtype=np.intp)
        self._worth_usd = np.empty(room)
        self._modes = np.empty((room, self._slots), dtype=np.uint8)
        self._kw = np.empty((room, self._slots))
        filled = len(owner)
        self._owner[:filled], self._worth_usd[:filled] = owner, worth_usd
        self._modes[:filled], self._kw[:filled] = modes, kw
