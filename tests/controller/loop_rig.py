"""A loop with one CPU unit on a tape of power prices, a journal in memory, and a clock moved by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.actuation import ActuationConfig
from controller.actuators.cpu import CpuActuator, CpuReading
from controller.loop import ControllerLoop, LoopConfig
from controller.policy import PolicyConfig, SiteConfig
from controller.ports import AlreadyDecidedError, Listener
from controller.sources.fixed import FixedSource
from controller.sources.tape import TapeSource, load_tape
from controller.ticks import HASHPRICE, POWER, Tick
from controller.units import Mode, PowerCurve, Unit
from controller.validate import MAINNET_RULES, SeriesRule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from controller.decisions import Decision, Outcome
    from controller.earnings import Earnings
    from controller.inputs import Inputs
    from controller.overrides import Override
    from controller.sources.base import Source
    from controller.standing import RealTime

START = 1_700_000_000.0
CURVE = PowerCurve([Mode("off", 0, 12), Mode("full", 100, 2000)])  # 20 J/TH: at $48 it breaks even at 10 ct


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Cpu:
    """Stands for the CPU unit; `deaf` takes orders and does nothing."""

    mode: str = "full"
    deaf: bool = False
    told: list[str] = field(default_factory=list)

    def set_mode(self, name: str) -> None:
        self.told.append(name)
        if not self.deaf:
            self.mode = name

    def read(self) -> CpuReading:
        return CpuReading(self.mode, 100.0 if self.mode == "full" else 0.0)


@dataclass
class Memory:
    """A journal that keeps everything in lists, in the order in which it came."""

    ticks: list[Tick] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    inputs: list[Inputs] = field(default_factory=list)
    broken: bool = False

    async def record_ticks(self, ticks: Sequence[Tick]) -> None:
        self.ticks.extend(ticks)

    async def record_decisions(self, decisions: Sequence[Decision], inputs: Inputs | None = None) -> None:
        if self.broken:
            raise OSError("disk full")
        if {one.id for one in decisions} & {one.id for one in self.decisions}:
            raise AlreadyDecidedError("decisions of this time are there")
        self.decisions.extend(decisions)
        if inputs is not None:
            self.inputs.append(inputs)

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes.extend(outcomes)

    async def last_decisions(self) -> Mapping[str, Decision]:
        return {decision.unit_id: decision for decision in self.decisions}

    async def last_inputs(self) -> Inputs | None:
        return self.inputs[-1] if self.inputs else None

    async def record_signals(self, ticks: Sequence[Tick]) -> None:
        raise NotImplementedError

    async def signals(self, since: float) -> Sequence[Tick]:
        raise NotImplementedError

    async def record_override(self, override: Override) -> None:
        raise NotImplementedError

    async def overrides(self, now: float) -> Mapping[str, Override]:
        raise NotImplementedError


@dataclass
class Alerts(Listener):
    alerts: list[str] = field(default_factory=list)

    def on_alert(self, unit_id: str | None, message: str) -> None:
        self.alerts.append(f"{unit_id}: {message}")


@dataclass
class House:
    """A loop with one CPU unit on a tape of power prices, and a clock moved by hand."""

    loop: ControllerLoop
    cpu: Cpu
    journal: Memory
    clock: Clock
    alerts: Alerts

    async def at(self, seconds: float) -> Decision:
        self.clock.now = START + seconds
        view = await self.loop.tick()
        return view.decisions["cpu"]


def house(
    tmp_path: Path,
    tape: str,
    *,
    cpu: Cpu | None = None,
    journal: Memory | None = None,
    dry_run: bool = False,
    earnings: Callable[[], Earnings | None] = lambda: None,
    overrides: Mapping[str, Override] | None = None,
    sources: Sequence[Source] = (),
    site: SiteConfig | None = None,
    real_time: RealTime | None = None,
    **unit: float,
) -> House:
    file = tmp_path / "tape.csv"
    file.write_text(tape)
    cpu, journal, clock, alerts = cpu or Cpu(), journal or Memory(), Clock(), Alerts()

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        await asyncio.sleep(0)

    rules = {**MAINNET_RULES, POWER: SeriesRule(-1, 10, 60)}
    config = LoopConfig(
        policy=PolicyConfig(rules=rules, grace_s=120, dry_run=dry_run, site=site or SiteConfig()),
        actuation=ActuationConfig(confirm_s=1.0, attempts=2, retry_after_s=100),
        tick_s=10,
        horizon_hours=1,
        real_time=real_time,
    )
    loop = ControllerLoop(
        units=[Unit("cpu", CURVE, safe_mode="pause", **unit)],  # type: ignore[arg-type] # by name
        sources=[*sources, TapeSource(load_tape(file), START), FixedSource({HASHPRICE: 48.0})],
        actuators={"cpu": CpuActuator("cpu", cpu)},
        journal=journal,
        config=config,
        listener=alerts,
        earnings=earnings,
        overrides=lambda: {} if overrides is None else overrides,
        clock=clock,
        sleep=sleep,
    )
    return House(loop, cpu, journal, clock, alerts)


UP_AND_DOWN = "offset_s,usd_per_kwh\n0,0.05\n100,0.20\n200,0.05\n"
