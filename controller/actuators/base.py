"""What an actuator is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from controller.units import Setpoint, UnitState


class ActuatorError(Exception):
    """The unit did not take a setpoint, or did not answer; worth another try."""


class UnsupportedModeError(ActuatorError):
    """The unit cannot do this at all; trying again is no use."""


@runtime_checkable
class Actuator(Protocol):
    """Drives one unit. Both calls limit their own waits; the loop gives up on them after its confirm time."""

    async def apply(self, setpoint: Setpoint, now: float) -> None:
        """Tell the unit its mode. Returning only means that it was told.

        Raises ActuatorError, UnsupportedModeError, OSError or TimeoutError.
        """
        ...

    async def read(self, now: float) -> UnitState:
        """What the unit itself says it is doing. Same errors as `apply`."""
        ...
