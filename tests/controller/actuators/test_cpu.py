from __future__ import annotations

import pytest

from controller.actuators.base import UnsupportedModeError
from controller.actuators.cpu import CpuActuator, CpuReading
from controller.units import Setpoint, UnitState


class Control:
    def __init__(self, error: type[Exception] | None = None) -> None:
        self.mode = "off"
        self.error = error

    def set_mode(self, name: str) -> None:
        if self.error is not None:
            raise self.error(name)
        self.mode = name

    def read(self) -> CpuReading:
        return CpuReading(self.mode, 1.5e-5, 35.0, 61.0)


async def test_the_mode_is_set_and_read_back_from_the_threads() -> None:
    control = Control()
    actuator = CpuActuator("cpu", control)
    await actuator.apply(Setpoint("cpu", "full"), 10.0)
    assert await actuator.read(11.0) == UnitState("cpu", "full", 1.5e-5, 35.0, 61.0, 11.0)


@pytest.mark.parametrize("error", [KeyError, ValueError])
async def test_a_mode_the_threads_do_not_have_is_unsupported(error: type[Exception]) -> None:
    with pytest.raises(UnsupportedModeError, match="turbo"):
        await CpuActuator("cpu", Control(error)).apply(Setpoint("cpu", "turbo"), 0.0)
