"""Curves as ladders of blocks, in columns, so that all blocks of a fleet are reckoned at once; pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from controller.economics import SECONDS_PER_HOUR, W_PER_KW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from controller.units import Mode, PowerCurve, Unit


class Kind(NamedTuple):
    """What the worth of a unit's modes depends on besides prices."""

    curve: PowerCurve
    restart_s: float
    wear_usd: float
    change_s: float


def kind_of(unit: Unit) -> Kind:
    """The kind of a unit."""
    return Kind(unit.curve, unit.restart_s, unit.wear_usd, unit.change_s)


@dataclass(frozen=True)
class Ladders:
    """The blocks of some kinds of units as columns, and their modes as tables [kinds, modes], filled up with zeros.

    `blocks` are the neighbours on each kind's hull; `place` says where a block stands in a table [kinds, blocks]. Mode m of a kind lies on its
    hull between points `low` and `high`, `part` of the way. `modes` is how many each kind has, `first` where its blocks begin.
    """

    rows: dict[Kind, int]
    blocks: tuple[tuple[tuple[Mode, Mode], ...], ...]
    modes: tuple[int, ...]
    first: tuple[int, ...]
    place: tuple[NDArray[np.intp], NDArray[np.intp]]
    shape: tuple[int, int]
    kw: NDArray[np.float64]
    th_s: NDArray[np.float64]
    lower_th_s: NDArray[np.float64]
    upper_th_s: NDArray[np.float64]
    lost_h: NDArray[np.float64]
    wear_usd: NDArray[np.float64]
    mode_th_s: NDArray[np.float64]
    mode_kw: NDArray[np.float64]
    low: tuple[NDArray[np.intp], NDArray[np.intp]]
    high: tuple[NDArray[np.intp], NDArray[np.intp]]
    part: NDArray[np.float64]


@lru_cache(maxsize=8)
def ladders_of(kinds: tuple[Kind, ...]) -> Ladders:
    """The ladders of these kinds; a fleet's are the same tick after tick."""
    steps = [_blocks_of(kind.curve) for kind in kinds]
    rows = [(row, at) for row, each in enumerate(steps) for at in range(len(each))]
    ends = np.cumsum([len(each) for each in steps], dtype=np.intp).tolist()
    flat = [(kinds[row], at, *steps[row][at]) for row, at in rows]
    most = max((len(kind.curve.modes) for kind in kinds), default=1)
    shape = (len(kinds), most)
    mode_th_s, mode_kw, part = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    low, high = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.intp)
    for row, (kind, each) in enumerate(zip(kinds, steps, strict=True)):
        watts = [kind.curve.off.watts, *(upper.watts for _, upper in each)]
        for at, mode in enumerate(kind.curve.modes):
            mode_th_s[row, at], mode_kw[row, at] = mode.th_s, mode.watts / W_PER_KW
            if each:
                top = min(next(n for n, w in enumerate(watts) if w >= mode.watts), len(each))
                low[row, at], high[row, at] = max(top - 1, 0), top
                gap = watts[top] - watts[max(top - 1, 0)]
                part[row, at] = (mode.watts - watts[max(top - 1, 0)]) / gap if gap > 0 else 0.0
    return Ladders(
        rows={kind: row for row, kind in enumerate(kinds)},
        blocks=tuple(steps),
        modes=tuple(len(kind.curve.modes) for kind in kinds),
        first=(0, *ends)[: len(kinds)],
        place=(
            np.array([row for row, _ in rows], dtype=np.intp),
            np.array([at for _, at in rows], dtype=np.intp),
        ),
        shape=(len(kinds), max(map(len, steps), default=0)),
        kw=np.array([(upper.watts - lower.watts) / W_PER_KW for _, _, lower, upper in flat]),
        th_s=np.array([upper.th_s - lower.th_s for _, _, lower, upper in flat]),
        lower_th_s=np.array([lower.th_s for _, _, lower, _ in flat]),
        upper_th_s=np.array([upper.th_s for _, _, _, upper in flat]),
        lost_h=np.array(
            [(kind.change_s if at else kind.restart_s) / SECONDS_PER_HOUR for kind, at, _, _ in flat]
        ),
        wear_usd=np.array([0.0 if at else kind.wear_usd for kind, at, _, _ in flat]),
        mode_th_s=mode_th_s,
        mode_kw=mode_kw,
        low=(np.arange(len(kinds))[:, None], low),
        high=(np.arange(len(kinds))[:, None], high),
        part=part,
    )


def _blocks_of(curve: PowerCurve) -> tuple[tuple[Mode, Mode], ...]:
    """Neighbours on the hull, from off on; none where a mode that hashes draws no more than off."""
    if curve.hull()[0] != curve.off:
        return ()
    return tuple((step.lower, step.upper) for step in curve.steps())
