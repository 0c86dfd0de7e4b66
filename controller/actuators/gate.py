"""A worker that can only be given work, or none: for devices without an API of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from controller.actuators.base import UnsupportedModeError
from controller.units import OFF, Unit, UnitState

if TYPE_CHECKING:
    from controller.units import Setpoint

COMES_BACK_S: Final = 300.0
"""A device that was refused tries again within minutes; until then an open gate says all there is to know."""


@dataclass(frozen=True, slots=True)
class GateReading:
    """Whether the worker gets work, whether it is connected, and what its shares say, TH/s."""

    open: bool
    connected: bool
    hashrate_th_s: float


class GateControl(Protocol):
    """The part of the Stratum server this actuator needs; all calls return at once."""

    def open(self) -> None:
        """Give the worker work again when it comes."""
        ...

    def close(self) -> None:
        """Give the worker no work: its sessions are closed, and it is refused with the reason."""
        ...

    def read(self) -> GateReading:
        """What the server sees of the worker now."""
        ...


class GateActuator:
    """Opens and closes the gate of one worker: `off` is closed, the unit's one running mode open.

    Power is not measured: it is that of the mode. Behind an open gate a worker that is not connected is unreachable, since it may
    hash elsewhere or draw power all the same; for `comes_back_s` after its gate was opened it is still expected.
    """

    def __init__(self, unit: Unit, control: GateControl, comes_back_s: float = COMES_BACK_S) -> None:
        """ValueError for a unit with more than one running mode."""
        running = [mode for mode in unit.curve.modes if mode.name != OFF]
        if len(running) != 1:
            raise ValueError(
                f"unit {unit.id!r}: a gate is open or closed, it has no {len(running)} running modes"
            )
        self._unit = unit
        self._running = running[0]
        self._control = control
        self._comes_back_s = comes_back_s
        self._opened_at = -math.inf

    async def apply(self, setpoint: Setpoint, now: float) -> None:
        """Open or close the gate; UnsupportedModeError for a mode the unit does not have."""
        if setpoint.mode == OFF:
            self._control.close()
        elif setpoint.mode == self._running.name:
            self._control.open()
            self._opened_at = now
        else:
            raise UnsupportedModeError(f"a gate has no mode {setpoint.mode!r}")

    async def read(self, now: float) -> UnitState:
        """Closed is off at once; open is running while the worker is connected, or not yet missed."""
        reading = self._control.read()
        mode = self._running if reading.open else self._unit.curve.off
        here = reading.connected or not reading.open or 0 <= now - self._opened_at < self._comes_back_s
        return UnitState(
            unit_id=self._unit.id,
            mode=mode.name if here else None,
            hashrate_th_s=reading.hashrate_th_s if reading.open and reading.connected else 0.0,
            power_w=mode.watts if here else None,
            temp_c=None,
            observed_at=now,
            reachable=here,
        )
