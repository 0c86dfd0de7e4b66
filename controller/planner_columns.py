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
        modes = np.ascontiguousarray(paths.modes)
        text, width = modes.tobytes(), self._slots
        numbers = np.empty(len(owners), dtype=np.intp)
        for at, owner in enumerate(owners.tolist()):
            key = (owner, text[at * width : (at + 1) * width])
            number = self._number.get(key)
            if number is None:
                number = self._append(owner, paths, at)
                self._number[key] = number
            numbers[at] = number
        return numbers

    def _append(self, owner: int, paths: Paths, at: int) -> int:
        number = len(self._number)
        if number == len(self._owner):
            self._grow()
        self._owner[number] = owner
        self._worth_usd[number] = paths.worth_usd[at]
        self._modes[number] = paths.modes[at]
        self._kw[number] = paths.kw[at]
        return number

    def _grow(self) -> None:
        self._owner = np.concatenate([self._owner, np.zeros_like(self._owner)])
        self._worth_usd = np.concatenate([self._worth_usd, np.zeros_like(self._worth_usd)])
        self._modes = np.concatenate([self._modes, np.zeros_like(self._modes)])
        self._kw = np.concatenate([self._kw, np.zeros_like(self._kw)])
