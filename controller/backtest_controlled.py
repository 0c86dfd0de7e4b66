"""What the controller earns with whole fleets: with all their modes, and with each mode alone; pure.

Where no cap binds them, one unit stands for all of its kind, and everything is decided in one go. Whoever has one mode alone comes from full
hashrate too, and pays for that change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from controller.backtest_live import decide_all, deciding_config
from controller.backtest_money import earned
from controller.backtest_tape import Tape
from controller.units import PowerCurve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from controller.backtest import Asked, Fleet, Recorded
    from controller.backtest_live import Decided
    from controller.backtest_money import Earned, Prices
    from controller.units import Unit

    Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Controlled:
    """What the controller earned with each fleet: `own` with all its modes, `single` with the best mode alone, `alone_usd` with each of them.

    `methods` counts by which method the worth of being on was known.
    """

    own: tuple[Earned, ...]
    single: tuple[Earned, ...]
    alone_usd: tuple[Mapping[str, float], ...]
    methods: tuple[Mapping[str, int], ...]


def each_alone(
    recorded: Recorded, fleets: Sequence[Fleet], asked: Asked, prices: Prices, progress: Progress
) -> Controlled:
    """Fleets that do not know of each other. Of one mode, the mode alone is the whole fleet."""
    kinds = [_kinds(fleet.unit) for fleet in fleets]
    units = [
        replace(unit, id=f"{index} {name}") for index, kind in enumerate(kinds) for name, unit in kind.items()
    ]
    decided = _decided(recorded, units, asked, progress)
    rows = iter(range(len(units)))
    found: list[dict[str, Earned]] = []
    methods = []
    for fleet, kind in zip(fleets, kinds, strict=True):
        places = {name: next(rows) for name in kind}
        methods.append(decided.methods[places[""]])
        found.append(
            {
                name: _earned(fleet, kind[name], decided.modes[row : row + 1], prices)
                for name, row in places.items()
            }
        )
    alone = [
        {name: one for name, one in each.items() if name} or {_full(fleet): each[""]}
        for fleet, each in zip(fleets, found, strict=True)
    ]
    return Controlled(
        own=tuple(each[""] for each in found),
        single=tuple(max(each.values(), key=lambda one: one.usd) for each in alone),
        alone_usd=tuple({name: one.usd for name, one in each.items()} for each in alone),
        methods=tuple(methods),
    )


def one_site(
    recorded: Recorded, fleets: Sequence[Fleet], asked: Asked, prices: Prices, progress: Progress
) -> Controlled:
    """Fleets under one cap, every unit by itself. Alone means that all fleets have their mode of the same rank, or their greatest."""
    most = max(len(fleet.unit.curve.modes) for fleet in fleets) - 1
    ways = [list(fleets)]
    if most > 1:
        ways += [[_ranked(fleet, rank) for fleet in fleets] for rank in range(1, most + 1)]
    runs: list[tuple[Earned, ...]] = []
    methods: tuple[Mapping[str, int], ...] = ()
    for number, way in enumerate(ways):
        units = [
            replace(fleet.unit, id=f"{index:04d} {each:06d}")
            for index, fleet in enumerate(way)
            for each in range(fleet.count)
        ]
        decided = _decided(recorded, units, asked, partial(_step, progress, number, len(ways)))
        ends = np.cumsum([fleet.count for fleet in way])
        parts = np.split(decided.modes, ends[:-1])
        runs.append(tuple(earned(fleet.unit, part, prices) for fleet, part in zip(way, parts, strict=True)))
        methods = methods or tuple(decided.methods[end - 1] for end in ends)
    alone = list(zip(ways, runs, strict=True))[1:] or [(ways[0], runs[0])]
    return Controlled(
        own=runs[0],
        single=max((run for _, run in alone), key=lambda run: sum(one.usd for one in run)),
        alone_usd=tuple(
            {_full(way[index]): run[index].usd for way, run in alone} for index in range(len(fleets))
        ),
        methods=methods,
    )


def _decided(recorded: Recorded, units: Sequence[Unit], asked: Asked, progress: Progress) -> Decided:
    return decide_all(
        Tape(recorded, asked.sees), units, deciding_config(asked), warm_up=recorded.warm_up, progress=progress
    )


def _step(progress: Progress, number: int, count: int, done: float) -> None:
    progress((number + done) / count)


def _earned(fleet: Fleet, decided: Unit, modes: NDArray[np.uint8], prices: Prices) -> Earned:
    """What a fleet earns whose units, [1, T] or [count, T], were decided on as such a unit, with one of their modes or all."""
    if decided.curve != fleet.unit.curve:
        modes = modes * np.uint8(fleet.unit.curve.modes.index(decided.curve.full))
    return earned(fleet.unit, np.broadcast_to(modes, (fleet.count, modes.shape[1])), prices)


def _kinds(unit: Unit) -> dict[str, Unit]:
    """The unit itself under an empty name and, where it has several running modes, with each of them alone."""
    kinds = {"": unit}
    if len(unit.curve.modes) > 2:  # noqa: PLR2004 - off and one more
        for mode in unit.curve.modes[1:]:
            kinds[mode.name] = _with_mode(unit, mode.name)
    return kinds


def _with_mode(unit: Unit, name: str) -> Unit:
    """The unit with that running mode alone; its safe mode is that, or off as before."""
    curve = unit.curve
    safe = "pause" if unit.safe is curve.off else "run"
    return replace(unit, curve=PowerCurve((curve.off, curve.mode(name))), safe_mode=safe)


def _ranked(fleet: Fleet, rank: int) -> Fleet:
    modes = fleet.unit.curve.modes
    return replace(fleet, unit=_with_mode(fleet.unit, modes[min(rank, len(modes) - 1)].name))


def _full(fleet: Fleet) -> str:
    return fleet.unit.curve.full.name
