from __future__ import annotations

import pytest

from controller.actuators.base import Actuator, UnsupportedModeError
from controller.actuators.gate import COMES_BACK_S, GateActuator, GateReading
from controller.units import Mode, PowerCurve, Setpoint, Unit, UnitState

UNIT = Unit("rack", PowerCurve([Mode("off", 0, 12.0), Mode("on", 200.0, 3500.0)]))
NOW = 1000.0


class Control:
    def __init__(self, *, connected: bool = True) -> None:
        self.is_open = True
        self.connected = connected

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = self.connected = False

    def read(self) -> GateReading:
        return GateReading(self.is_open, self.connected, 190.0 if self.connected else 0.0)


async def test_an_open_gate_with_its_worker_connected_is_the_running_mode_with_the_hashrate_of_its_shares() -> (
    None
):
    actuator: Actuator = GateActuator(UNIT, Control())
    assert await actuator.read(NOW) == UnitState("rack", "on", 190.0, 3500.0, None, NOW)


async def test_a_closed_gate_is_off_at_once_and_draws_what_it_draws_without_work() -> None:
    control = Control()
    actuator = GateActuator(UNIT, control)
    await actuator.apply(Setpoint("rack", "off"), NOW)
    assert not control.is_open
    assert await actuator.read(NOW) == UnitState("rack", "off", 0.0, 12.0, None, NOW)


async def test_an_open_gate_without_its_worker_is_unreachable_not_off() -> None:
    state = await GateActuator(UNIT, Control(connected=False)).read(NOW)
    assert (state.reachable, state.mode, state.power_w, state.hashrate_th_s) == (False, None, None, 0.0)


async def test_a_worker_whose_gate_was_just_opened_is_expected_and_then_missed() -> None:
    control = Control()
    actuator = GateActuator(UNIT, control)
    await actuator.apply(Setpoint("rack", "off"), NOW)
    await actuator.apply(Setpoint("rack", "on"), NOW)
    expected = await actuator.read(NOW + COMES_BACK_S - 1)
    assert (expected.reachable, expected.mode, expected.hashrate_th_s) == (True, "on", 0.0)
    missed = await actuator.read(NOW + COMES_BACK_S)
    assert not missed.reachable
    control.connected = True
    assert (await actuator.read(NOW + COMES_BACK_S)).mode == "on"


async def test_a_mode_between_open_and_closed_is_unsupported() -> None:
    with pytest.raises(UnsupportedModeError, match="eco"):
        await GateActuator(UNIT, Control()).apply(Setpoint("rack", "eco"), NOW)


def test_a_unit_with_two_running_modes_has_no_gate() -> None:
    ladder = Unit("rack", PowerCurve([Mode("eco", 76, 1850), Mode("full", 100, 2970)]))
    with pytest.raises(ValueError, match="no 2 running modes"):
        GateActuator(ladder, Control())
