"""What the controller does is heard: alerts come and go."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.deciding import RealTime
from controller.decisions import Outcome, OutcomeKind
from controller.model import read_model
from miner.control_ears import Ears, WorthEar
from miner.control_gates import Gates
from miner.hashing.station import UNIT_ID
from miner.ledger.recorder import Recorder
from miner.metrics import Metrics
from tests.miner.control_harness import (
    CHEAP,
    a_model,
    config_of,
    nobody,
    room_of,
    view_of,
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


class TestModel:
    """When the fitted model is left is told once, and once when it is back."""

    @staticmethod
    def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, Any]]]:
        return [
            (
                record.levelname,
                record.message,
                {"method": getattr(record, "method", ""), "why": getattr(record, "why", "")},
            )
            for record in caplog.records
        ]

    def test_leaving_and_coming_back_are_told_once_each(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        ear = WorthEar(Metrics("0", "portable"), RealTime(model=read_model(a_model())))
        for method, why in (
            ("fitted", ""),
            ("band", "too few prices"),
            ("markov", "a spike"),
            ("fitted", ""),
            ("fitted", ""),
        ):
            ear.hear(view_of({"a": method}, why))
        assert self.told(caplog) == [
            ("WARNING", "model_left", {"method": "band", "why": "too few prices"}),
            ("INFO", "model_back", {"method": "", "why": ""}),
        ]

    def test_ticks_that_do_not_ask_it_say_nothing_of_the_model(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        ear = WorthEar(Metrics("0", "portable"), RealTime(model=read_model(a_model())))
        ear.hear(view_of({"a": "band"}, asked=False))
        ear.hear(view_of({"a": ""}))
        assert caplog.records == []

    def test_without_a_model_the_band_is_no_news(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        metrics = Metrics("0", "portable")
        WorthEar(metrics, RealTime()).hear(view_of({"a": "band", "b": "band"}))
        assert caplog.records == []
        text = metrics.render().decode()
        assert 'hashmill_worth_method{method="band"} 2.0' in text
        assert 'hashmill_worth_method{method="fitted"} 0.0' in text
        assert "\nhashmill_worth_model_age_seconds" not in text

    def test_the_model_s_age_is_a_metric(self) -> None:
        metrics = Metrics("0", "portable", clock=lambda: 1_735_689_600.0 + 60)
        WorthEar(metrics, RealTime(model=read_model(a_model())))
        assert "hashmill_worth_model_age_seconds 60.0" in metrics.render().decode()

    async def test_a_controller_with_a_model_tells_how_many_units_it_decides_by_it(
        self, recorder: Recorder, tape_of: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        (tmp_path / "market").write_bytes(a_model())
        config = config_of(
            tape=tape_of(usd_per_kwh=CHEAP),
            controller={"real_time": {"model": str(tmp_path / "market")}},
            unit=[{"id": UNIT_ID, "restart_s": 600.0}],
        )
        async with room_of(config, recorder) as room:
            await room.tick()
            text = room.metrics.render().decode()
        assert 'hashmill_worth_method{method="band"} 1.0' in text, (
            "one price was seen, and a model needs those of hours"
        )
        assert "hashmill_worth_model_age_seconds" in text
