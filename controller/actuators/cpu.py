"""The CPU unit of the node as a unit of the controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from controller.actuators.base import UnsupportedModeError
from controller.units import UnitState

if TYPE_CHECKING:
    from controller.units import Setpoint


@dataclass(frozen=True, slots=True)
class CpuReading:
    """What the hashing threads are doing: TH/s measured, W and degrees Celsius where known.

    `mode` is None while they go from one mode to another.
    """

    mode: str | None
    hashrate_th_s: float
    power_w: float | None = None
    temp_c: float | None = None


class CpuControl(Protocol):
    """The part of the CPU unit this actuator needs; both calls return at once."""

    def set_mode(self, name: str) -> None:
        """Run in that mode; raises KeyError or ValueError for a mode it does not have."""
        ...

    def read(self) -> CpuReading:
        """What the threads do now, not what they were told."""
        ...


class CpuActuator:
    """Sets and reads the mode of the CPU unit."""

    def __init__(self, unit_id: str, control: CpuControl) -> None:
        self._unit_id = unit_id
        self._control = control

    async def apply(self, setpoint: Setpoint, now: float) -> None:
        """Set the mode; UnsupportedModeError if the CPU unit does not know it."""
        del now  # threads need no time stamp
        try:
            self._control.set_mode(setpoint.mode)
        except (KeyError, ValueError) as error:
            raise UnsupportedModeError(f"the CPU unit has no mode {setpoint.mode!r}") from error

    async def read(self, now: float) -> UnitState:
        """The mode the threads are in."""
        reading = self._control.read()
        return UnitState(
            unit_id=self._unit_id,
            mode=reading.mode,
            hashrate_th_s=reading.hashrate_th_s,
            power_w=reading.power_w,
            temp_c=reading.temp_c,
            observed_at=now,
        )
