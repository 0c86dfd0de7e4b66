"""What may be asked of the controller over HTTP: signals and overrides, in the ledger before they count."""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from controller.overrides import Override
from controller.ports import Journal
from controller.signals import Action, Active, SignalRule, windows
from controller.sources.base import SourceError
from controller.sources.own_thread import OwnThread
from controller.sources.regular_file import first_line
from controller.sources.signal_inbox import SignalInbox
from controller.sources.signal_windows import Window
from controller.ticks import Tick
from controller.units import Unit
from miner.web.commands import (
    OverrideAnswer,
    OverrideState,
    OverrideWanted,
    ReadToken,
    Refusal,
    SignalAnswer,
    SignalState,
    SignalWanted,
    SignalWindow,
)

log = logging.getLogger(__name__)

Ticks = Mapping[str, Sequence[Tick]]
TOKEN_WAIT_S: Final = 2.0
NOT_RECORDED = "the ledger could not be written, so nothing was changed: try again"


class ControlCommands:
    """Carries out commands for the daemon's controller: `miner.web.commands.Commands`.

    `ticks()` are those of the last decision, for what other sources say of a signal; `wake()` makes the controller look at once.
    """

    def __init__(
        self,
        *,
        rules: Sequence[SignalRule],
        inbox: SignalInbox,
        units: Sequence[Unit],
        journal: Journal,
        ticks: Callable[[], Ticks],
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._inbox = inbox
        self._units = {unit.id: unit for unit in units}
        self._journal = journal
        self._ticks = ticks
        self._wake = wake
        self._clock = clock
        self._overrides: dict[str, Override] = {}
        self._changing = asyncio.Lock()

    async def recall(self) -> None:
        """Go on with the overrides of an earlier run. Raises RuntimeError."""
        self._overrides = dict(await self._journal.overrides(self._clock()))

    def in_force(self) -> Mapping[str, Override]:
        """The overrides that are not over, by unit: what the loop asks for on each tick.

        None of them was made later than now: where it says so, the clock was set back, and it holds as before.
        """
        now = self._clock()
        return {
            unit_id: each if each.since <= now else replace(each, since=now)
            for unit_id, each in self._overrides.items()
            if now < each.until
        }

    def now(self) -> float:
        """The daemon's clock, UTC unix seconds."""
        return self._clock()

    def signals(self) -> tuple[SignalState, ...]:
        """Every configured signal."""
        return tuple(self._state(rule) for rule in self._rules.values())

    def overrides(self) -> tuple[OverrideState, ...]:
        """The overrides in force, by unit."""
        found = sorted(self.in_force().items())
        return tuple(_override_state(override) for _, override in found)

    async def post_signal(self, wanted: SignalWanted) -> SignalAnswer:
        """Announce a signal; what it overlaps of what was posted of it before gives way."""
        rule = self._rules.get(wanted.name)
        if rule is None:
            return self._no_signal()
        if rule.action is not Action.CAP and wanted.cap_kw is not None:
            return Refusal("wrong", f"the signal's action is {rule.action.value}: it has no limit", "cap_kw")
        cap_kw = rule.cap_kw if wanted.cap_kw is None else wanted.cap_kw
        if rule.action is Action.CAP and cap_kw is None:
            return Refusal("wrong", "is needed: none is configured for this signal", "cap_kw")
        now = self._clock()
        start = max(wanted.start, now)
        try:
            await self._inbox.post(rule.name, Window(start, wanted.until, cap_kw), now)
        except ValueError as error:
            return Refusal("wrong", str(error), "until")
        except RuntimeError as error:
            return _not_recorded(error)
        log.info(
            "signal_posted",
            extra={
                "signal": rule.name,
                "from_s": start,
                "until_s": wanted.until,
                "cap_kw": cap_kw,
                "who": wanted.who,
            },
        )
        return self._state(rule)

    async def end_signal(self, name: str, who: str) -> SignalAnswer:
        """End what was posted of a signal, and take back what was announced; what its other sources say stays."""
        rule = self._rules.get(name)
        if rule is None:
            return self._no_signal()
        try:
            ended = await self._inbox.end(name, self._clock())
        except RuntimeError as error:
            return _not_recorded(error)
        if ended:
            log.info("signal_ended", extra={"signal": name, "who": who})
        return self._state(rule)

    async def override(self, wanted: OverrideWanted) -> OverrideAnswer:
        """Put a unit into a mode; it takes the place of an override there is."""
        unit = self._units.get(wanted.unit)
        if unit is None:
            return Refusal("unknown", "the controller switches no unit of this id")
        if wanted.mode not in unit.curve:
            known = ", ".join(mode.name for mode in unit.curve.modes)
            return Refusal("wrong", f"the unit has no such mode; it has {known}", "mode")
        now = self._clock()
        override = Override(unit.id, wanted.mode, now, max(wanted.until, now), wanted.who, wanted.why)
        refused = await self._keep(override)
        if refused is not None:
            return refused
        log.info(
            "override_made",
            extra={
                "unit": unit.id,
                "mode": override.mode,
                "until_s": override.until,
                "who": override.who,
                "why": override.why,
            },
        )
        return _override_state(override)

    async def end_override(self, unit: str, who: str) -> Refusal | None:
        """Take an override back."""
        override = self.in_force().get(unit)
        if override is None:
            return Refusal("unknown", "there is no override of this unit")
        refused = await self._keep(override.ended(self._clock()))
        if refused is None:
            log.info("override_ended", extra={"unit": unit, "who": who})
        return refused

    async def _keep(self, override: Override) -> Refusal | None:
        """Record an override, then let it count."""
        async with self._changing:
            try:
                await self._journal.record_override(override)
            except RuntimeError as error:
                return _not_recorded(error)
            self._overrides[override.unit_id] = override
        self._wake()
        return None

    def _no_signal(self) -> Refusal:
        known = ", ".join(self._rules) or "none: add a [[signal]]"
        return Refusal("unknown", f"there is no signal of this name; configured are {known}")

    def _state(self, rule: SignalRule) -> SignalState:
        now = self._clock()
        posted = tuple(
            Active(rule, window.start, window.stop, window.cap_kw)
            for window in self._inbox.windows(rule.name)
        )
        others = [tick for tick in self._ticks().get(rule.series, ()) if tick.source != self._inbox.name]
        by_source = [(self._inbox.name, posted)]
        for source in sorted({tick.source for tick in others}):
            told = {rule.series: [tick for tick in others if tick.source == source]}
            by_source.append((source, windows(told, [rule], now, math.inf)))
        coming = sorted(
            ((source, window) for source, found in by_source for window in found if window.stop > now),
            key=lambda each: (each[1].start, each[0]),
        )
        return SignalState(
            name=rule.name,
            action=rule.action.value,
            active=any(window.holds_at(now) for _, window in coming),
            windows=tuple(
                SignalWindow(window.start, _or_none(window.stop), window.cap_kw, source)
                for source, window in coming
            ),
            units=None if rule.units is None else tuple(sorted(rule.units)),
        )


def token_reader(file: Path | None) -> ReadToken | None:
    """What reads the token that commands need; None where no file is configured.

    Many requests may come at once, and the file may be on a share that hangs: one thread reads, and each waits its turn for a while.
    """
    if file is None:
        return None
    thread = OwnThread("token")
    turn = asyncio.Lock()

    async def read() -> str:
        try:
            async with asyncio.timeout(TOKEN_WAIT_S), turn:
                return await thread.call(partial(first_line, file))
        except SourceError as error:
            raise OSError(f"{file}: {error}") from error
        except TimeoutError as error:
            raise TimeoutError(f"{file}: not read within {TOKEN_WAIT_S:g} s") from error
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error

    return read


def _override_state(override: Override) -> OverrideState:
    return OverrideState(
        override.unit_id,
        override.mode,
        override.since,
        _or_none(override.until),
        override.who,
        override.why,
    )


def _or_none(at: float) -> float | None:
    return at if math.isfinite(at) else None


def _not_recorded(error: RuntimeError) -> Refusal:
    log.error("command_not_recorded", extra={"error": str(error)})
    return Refusal("unavailable", NOT_RECORDED)
