"""The controller's settings from the configuration: its units, its tape, how it decides and acts."""

from collections.abc import Collection, Sequence
from typing import Final, TypeAlias

from controller.actuation import ActuationConfig
from controller.hashprice import Earned
from controller.loop import LoopConfig
from controller.policy import PolicyConfig, SiteConfig
from controller.sources.tape import TapeError, TapeSource, load_tape
from controller.ticks import POWER
from controller.units import Mode, PowerCurve, Unit
from controller.validate import MAINNET_RULES, TEST_CHAIN_RULES, SeriesRule
from miner.config import Config
from miner.config_units import UnitConfig
from miner.control_power import power_bounds
from miner.control_real_time import real_time_of
from miner.control_refusals import TapeRefusedError
from miner.control_signals import signal_rules
from miner.hashing.station import UNIT_ID, StationMode
from miner.work.roster import HashingUnit, Roster

USUAL_CHANGE_S: Final = 120.0
"""What a change of mode costs where nobody measured it: ASICs are tuned anew within two minutes."""

PlayedTape: TypeAlias = TapeSource
"""A tape that is playing, for the daemon to hand from its start to its controller."""


def units_of(config: Config, modes: Sequence[StationMode]) -> list[Unit]:
    """What the controller can switch: the CPU unit on a machine that hashes, and every worker with a gate."""
    return _units(config, modes, {"gate"})


def fleet_units(config: Config, modes: Sequence[StationMode]) -> list[Unit]:
    """Every unit of which the modes are known, those that are only measured too."""
    return _units(config, modes, {"gate", "none"})


def _units(config: Config, modes: Sequence[StationMode], controls: Collection[str]) -> list[Unit]:
    units = []
    if modes:
        curve = PowerCurve(Mode(mode.name, mode.th_s, mode.watts) for mode in modes)
        units.append(_unit(config, config.unit_settings(UNIT_ID), curve))
    for own in config.unit:
        if own.control in controls and own.modes:
            curve = PowerCurve(Mode(mode.name, mode.th_s, mode.watts) for mode in own.resolved_modes())
            units.append(_unit(config, own, curve))
    return units


def _unit(config: Config, own: UnitConfig, curve: PowerCurve) -> Unit:
    """A unit with its own settings before the general ones."""
    general, restart_s = config.controller, own.restart_s or 0.0
    return Unit(
        id=own.id,
        curve=curve,
        min_on_s=general.min_on_s if own.min_on_s is None else own.min_on_s,
        min_off_s=general.min_off_s if own.min_off_s is None else own.min_off_s,
        restart_s=restart_s,
        wear_usd=own.wear_usd,
        # Were changes free, a slow start would look cheaper by way of the lowest mode.
        change_s=min(restart_s, USUAL_CHANGE_S) if own.change_s is None else own.change_s,
        starts_per_day=own.starts_per_day,
        max_temp_c=own.max_temp_c,
        safe_mode=own.safe_mode or general.safe_mode,
    )


def gated(config: Config, roster: Roster | None) -> dict[str, HashingUnit]:
    """Workers with a gate by unit id; without a server there is nobody to gate."""
    found = {own.id: roster.by_id(own.id) for own in config.unit if own.control == "gate"} if roster else {}
    return {unit_id: unit for unit_id, unit in found.items() if unit is not None}


def played_tape(config: Config, now: float) -> PlayedTape | None:
    """The configured tape, begun at `now`; None where there is none. Raises TapeRefusedError."""
    if config.tape is None:
        return None
    try:
        tape = load_tape(config.tape.file)
    except (TapeError, OSError) as error:
        raise TapeRefusedError(str(error)) from error
    real_time = config.controller.real_time
    if real_time is not None and real_time.sees == "B" and POWER in tape.series:
        raise TapeRefusedError(
            f'{config.tape.file}: a tape tells the power price of a quarter hour when it begins, and [controller.real_time] sees = "B" is for prices told '
            'when they are over: write sees = "A", or leave the price out of the tape'
        )
    try:
        return TapeSource(
            tape,
            now,
            speed=config.tape.speed,
            start_at_s=config.tape.start_at_s(tape.begins_at),
            loop=config.tape.at_end == "loop",
        )
    except ValueError as error:
        raise TapeRefusedError(f"{config.tape.file}: {error}") from error


def loop_config(config: Config) -> LoopConfig:
    """How the loop runs, and by which rules it decides. Raises SourceRefusedError for a model that cannot be used."""
    settings = config.controller
    base = MAINNET_RULES if config.network == "main" else TEST_CHAIN_RULES
    ages = settings.max_age_s.model_dump(exclude_none=True)
    bounds = settings.bounds.model_dump(exclude_none=True)
    bounds = {**power_bounds(config.power), **bounds}
    rules = {}
    for series, rule in base.items():
        low, high = bounds.get(series, (rule.low, rule.high))
        rules[series] = SeriesRule(low, high, ages.get(series, rule.max_age_s))
    return LoopConfig(
        policy=PolicyConfig(
            rules=rules,
            earned=Earned(pool_fee=settings.pool_fee, stale=settings.stale_ratio),
            dead_band=settings.dead_band_ratio,
            grace_s=settings.grace_s,
            unit_max_age_s=settings.unit_max_age_s,
            max_changes_per_minute=settings.max_changes_per_minute,
            dry_run=settings.dry_run,
            silent_after_s=settings.silent_after_s,
            site=SiteConfig(
                cap_kw=settings.site_cap_kw or None,
                signals=signal_rules(config.signal),
                zone=settings.time_zone,
            ),
        ),
        actuation=ActuationConfig(
            confirm_s=settings.confirm_s, attempts=settings.attempts, retry_after_s=settings.retry_after_s
        ),
        tick_s=settings.tick_s,
        horizon_hours=settings.horizon_hours,
        real_time=real_time_of(config),
    )
