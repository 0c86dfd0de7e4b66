from __future__ import annotations

from controller.actuators.base import Actuator, ActuatorError, UnsupportedModeError
from controller.actuators.cpu import CpuActuator, CpuReading


class Control:
    def set_mode(self, name: str) -> None:
        del name

    def read(self) -> CpuReading:
        return CpuReading("off", 0.0)


def test_a_mode_that_is_not_supported_is_an_actuator_error_of_its_own() -> None:
    assert issubclass(UnsupportedModeError, ActuatorError)


def test_the_cpu_is_an_actuator() -> None:
    assert isinstance(CpuActuator("cpu", Control()), Actuator)
