"""What the controller does is heard: alerts come and go."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from controller.decisions import Outcome, OutcomeKind
from miner.control_ears import Ears
from miner.control_gates import Gates
from miner.hashing.station import UNIT_ID
from miner.ledger.recorder import Recorder
from miner.metrics import Metrics
from tests.miner.control_harness import (
    CHEAP,
    config_of,
    nobody,
    room_of,
)
from tests.miner.harness import NOW


class TestAlerts:
    """Alerts begin with what is wrong and end with the same thing being right again."""

    @pytest.fixture
    def alerts(self) -> list[tuple[str, str]]:
        return []

    @pytest.fixture
    def ears(self, alerts: list[tuple[str, str]]) -> Ears:
        return Ears(
            Metrics("0", "portable"),
            lambda name, message: alerts.append((name, message)),
            Gates({}, nobody, time.time),
        )

    def test_a_unit_that_does_not_obey_is_an_alert_until_it_does(
        self, ears: Ears, alerts: list[tuple[str, str]]
    ) -> None:
        ears.on_alert(UNIT_ID, "not confirmed after 3 attempts")
        ears.on_outcome(Outcome("1", UNIT_ID, NOW, OutcomeKind.APPLIED))
        assert alerts == [("unit cpu", "not confirmed after 3 attempts")]
        ears.on_outcome(Outcome("2", UNIT_ID, NOW, OutcomeKind.CONFIRMED))
        assert alerts[-1] == ("unit cpu", "")

    async def test_a_tick_that_failed_is_an_alert_until_one_succeeds(
        self, recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
    ) -> None:
        async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP)), recorder) as room:
            room.control._loop._listener.on_alert(None, "tick failed: ledger")
            assert room.alerts["controller"] == "tick failed: ledger"
            await room.tick()
            assert room.alerts["controller"] == ""
