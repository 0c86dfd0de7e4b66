"""The controller's settings: what the configuration says is what it runs by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from controller.loop import LoopConfig
from controller.ticks import BTC_USD, DIFFICULTY
from controller.units import Unit
from miner.config import ControllerConfig
from miner.control_refusals import TapeRefusedError
from miner.control_settings import loop_config, played_tape, units_of
from miner.hashing.station import OFF, UNIT_ID
from tests.miner.control_harness import MODES, config_of
from tests.miner.harness import NOW


class TestConfiguration:
    """Every key that says how to control reaches what controls."""

    READ: ClassVar[dict[str, tuple[Any, Callable[[LoopConfig, Unit], Any]]]] = {
        "site_cap_kw": (2.5, lambda loop, _: loop.policy.site.cap_kw),
        "time_zone": ("Europe/Berlin", lambda loop, _: loop.policy.site.zone),
        "silent_after_s": (77.0, lambda loop, _: loop.policy.silent_after_s),
        "dry_run": (False, lambda loop, _: loop.policy.dry_run),
        "tick_s": (7.0, lambda loop, _: loop.tick_s),
        "horizon_hours": (5.0, lambda loop, _: loop.horizon_hours),
        "min_on_s": (11.0, lambda _, unit: unit.min_on_s),
        "min_off_s": (12.0, lambda _, unit: unit.min_off_s),
        "dead_band_ratio": (0.07, lambda loop, _: loop.policy.dead_band),
        "pool_fee": (0.01, lambda loop, _: loop.policy.earned.pool_fee),
        "stale_ratio": (0.03, lambda loop, _: loop.policy.earned.stale),
        "safe_mode": ("full", lambda _, unit: unit.safe_mode),
        "grace_s": (13.0, lambda loop, _: loop.policy.grace_s),
        "confirm_s": (1.5, lambda loop, _: loop.actuation.confirm_s),
        "attempts": (4, lambda loop, _: loop.actuation.attempts),
        "retry_after_s": (14.0, lambda loop, _: loop.actuation.retry_after_s),
        "unit_max_age_s": (15.0, lambda loop, _: loop.policy.unit_max_age_s),
        "max_changes_per_minute": (2, lambda loop, _: loop.policy.max_changes_per_minute),
        "max_age_s": ({"btc_usd": 16.0}, lambda loop, _: {"btc_usd": loop.policy.rules[BTC_USD].max_age_s}),
        "bounds": (
            {"btc_usd": [1.0, 2.0]},
            lambda loop, _: {"btc_usd": [loop.policy.rules[BTC_USD].low, loop.policy.rules[BTC_USD].high]},
        ),
    }

    @pytest.mark.parametrize("key", READ)
    def test_a_key_is_read(self, key: str) -> None:
        value, read = self.READ[key]
        config = config_of(controller={key: value})
        (unit,) = units_of(config, MODES)
        assert read(loop_config(config), unit) == value
        default = config_of()
        assert read(loop_config(default), units_of(default, MODES)[0]) != value

    def test_no_key_is_left_out(self) -> None:
        elsewhere = {
            "enabled",  # whether there is a controller at all
            "real_time",  # see test_control_real_time
        }
        assert set(self.READ) | elsewhere == set(ControllerConfig.model_fields)

    def test_a_unit_s_own_settings_go_before_the_general_ones(self) -> None:
        own = {"id": UNIT_ID, "min_on_s": 1.0, "min_off_s": 0.0, "restart_s": 3.0, "safe_mode": "full"}
        (unit,) = units_of(config_of(unit=[own], controller={"min_on_s": 9.0, "min_off_s": 9.0}), MODES)
        assert (unit.min_on_s, unit.min_off_s, unit.restart_s, unit.safe_mode) == (1.0, 0.0, 3.0, "full")

    def test_what_a_change_of_a_unit_costs_and_how_far_it_may_go_is_its_own(self) -> None:
        own = {"id": UNIT_ID, "wear_usd": 0.5, "change_s": 120.0, "starts_per_day": 3, "max_temp_c": 85.0}
        (unit,) = units_of(config_of(unit=[own]), MODES)
        assert (unit.wear_usd, unit.change_s, unit.starts_per_day, unit.max_temp_c) == (0.5, 120.0, 3, 85.0)

    def test_without_a_power_limit_the_site_has_none(self) -> None:
        assert loop_config(config_of()).policy.site.cap_kw is None

    def test_signals_are_part_of_what_decides(self) -> None:
        config = config_of(signal=[{"name": "dr", "action": "cap", "cap_kw": 4.0}])
        (rule,) = loop_config(config).policy.site.signals
        assert (rule.name, rule.cap_kw) == ("dr", 4.0)

    def test_the_unit_has_the_modes_of_the_station(self) -> None:
        (unit,) = units_of(config_of(), MODES)
        assert [(m.name, m.th_s, m.watts) for m in unit.curve.modes] == [(OFF, 0, 0), ("full", 4e-5, 15)]

    def test_a_machine_that_does_not_hash_has_no_unit(self) -> None:
        assert units_of(config_of(cpu={"threads": 0}), ()) == []

    def test_a_difficulty_near_zero_is_believed_on_test_chains_only(self) -> None:
        regtest, main = (
            loop_config(config_of(network=n)).policy.rules[DIFFICULTY] for n in ("regtest", "main")
        )
        assert regtest.low < 1e-9
        assert main.low > 1e10


class TestTapes:
    """A tape is read before anything is decided by it."""

    def test_a_tape_with_a_fault_is_refused_with_its_file_and_line(self, tmp_path: Path) -> None:
        file = tmp_path / "tape.csv"
        file.write_text("offset_s,usd_per_kwh\n0,0.1\n60,cheap\n")
        config = config_of(tape={"file": str(file)})
        with pytest.raises(TapeRefusedError, match=rf"{file}:3: .*'cheap' is not a number"):
            played_tape(config, NOW)

    def test_a_tape_with_prices_is_refused_where_they_are_seen_when_they_are_over(
        self, tmp_path: Path
    ) -> None:
        file, controller = tmp_path / "tape.csv", {"real_time": {"sees": "B"}}
        for column, refused in (("usd_per_kwh", True), ("hashprice_usd_per_ph_day", False)):
            file.write_text(f"offset_s,{column}\n0,50\n" if not refused else f"offset_s,{column}\n0,0.1\n")
            config = config_of(tape={"file": str(file)}, controller=controller)
            if refused:
                with pytest.raises(TapeRefusedError, match='write sees = "A", or leave the price out'):
                    played_tape(config, NOW)
            else:
                assert played_tape(config, NOW) is not None

    def test_a_tape_that_has_gone_is_refused(self, tape_of: Callable[..., dict[str, Any]]) -> None:
        config = config_of(tape=tape_of())
        Path(config.tape.file).unlink()  # type: ignore[union-attr]
        with pytest.raises(TapeRefusedError, match="No such file"):
            played_tape(config, NOW)

    @pytest.mark.parametrize("start", [1e9, "2026-01-12T00:00:00Z"])
    def test_a_start_that_is_not_on_the_tape_is_refused(self, tmp_path: Path, start: Any) -> None:
        file = tmp_path / "tape.csv"
        file.write_text("offset_s,usd_per_kwh\n0,0.1\n60,0.2\n")
        config = config_of(tape={"file": str(file), "start": start})
        with pytest.raises(TapeRefusedError, match=str(file)):
            played_tape(config, NOW)
