"""The controller's journal in the ledger: its ticks, decisions and outcomes as rows, and rows as its memory."""

import hashlib
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final, TypeVar

import controller
from controller.decisions import Decision, Outcome, Reason
from controller.inputs import Inputs, Part
from controller.overrides import Override
from controller.ports import AlreadyDecidedError
from controller.ticks import SIGNAL_PREFIX, Tick
from controller.units import UNKNOWN
from controller.validate import CLOCK_SKEW_S
from miner.ledger.reader import Reader
from miner.ledger.recorder import Recorder
from miner.ledger.rows import (
    DecisionRow,
    ExistsError,
    InputPartKind,
    InputPartRow,
    InputsRow,
    LedgerError,
    NoLedgerError,
    OutcomeRow,
    OverrideRow,
    PoolShareSums,
    TickRow,
)

T = TypeVar("T")

SIGNAL_MEMORY_S: Final = 86_400.0
"""Signals that ended this long ago are not gone back to: no ramp of theirs lasts longer."""


@cache
def program() -> str:
    """The code that decides, as inputs name it: the version, and a digest of all that may move a bit of a decision.

    That is the controller's source, its kernel, and the libraries and the kind of machine it computes with.
    """
    digest = hashlib.sha256()
    for folder in map(Path, controller.__path__):
        for file in sorted(path for kind in ("*.py", "*.so") for path in folder.rglob(kind)):
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    for library in ("numpy", "highspy"):
        digest.update(f"{library} {_version_of(library)}\0".encode())
    digest.update(platform.machine().encode())
    return f"{_version_of('hashmill')} {digest.hexdigest()[:12]}"


def _version_of(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "unknown"


class LedgerJournal:
    """The controller's journal in the ledger.

    What is later than `clock()` was decided before the clock was set back: it is not the last decision.
    """

    def __init__(self, ledger: Recorder, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock
        self._program = program()  # now, since a later one may be installed while this one runs
        # The parts that the inputs written last have: those are not written again.
        self._parts: dict[InputPartKind, str] = {}

    async def record_ticks(self, ticks: Sequence[Tick]) -> None:
        """Queue ticks to be written."""
        await self._ledger.add_ticks([TickRow(**asdict(tick)) for tick in ticks])

    async def record_decisions(self, decisions: Sequence[Decision], inputs: Inputs | None = None) -> None:
        """Write decisions and what they were made from, all or nothing; they are on the disk when this returns."""
        rows = [_decision_row(decision) for decision in decisions]
        if inputs is None:
            await _or_runtime_error(self._ledger.add_decisions(rows))
            return
        # A model is kept with the configuration that names it: both are written anew when either changes, so that both are of one age.
        given: dict[InputPartKind, tuple[Part, ...]] = {"config": _config_parts(inputs)}
        if inputs.series is not None:
            given["series"] = (inputs.series,)
        new = {kind: parts for kind, parts in given.items() if self._parts.get(kind) != _digests(parts)}
        parts = [InputPartRow(kind, part.digest, part.body) for kind, told in new.items() for part in told]
        try:
            await _or_runtime_error(
                self._ledger.add_decisions(rows, _inputs_row(inputs, self._program), parts)
            )
        except BaseException:
            self._parts.clear()  # what of it was written is not known
            raise
        self._parts |= {kind: _digests(told) for kind, told in new.items()}

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes; they are on the disk when this returns."""
        rows = [
            OutcomeRow(
                decision_id=outcome.decision_id,
                at=outcome.at,
                outcome=outcome.kind.value,
                detail=outcome.detail,
                mode_read=outcome.mode_read,
            )
            for outcome in outcomes
        ]
        await _or_runtime_error(self._ledger.add_outcomes(rows))

    async def last_decisions(self) -> Mapping[str, Decision]:
        """The last decision of every unit that has one."""
        return decisions_of(
            await _or_runtime_error(self._ledger.last_decisions(self._clock() + CLOCK_SKEW_S))
        )

    async def last_inputs(self) -> Inputs | None:
        """What the last tick was decided from; None where nothing is kept."""
        found = await _or_runtime_error(self._ledger.last_inputs(self._clock() + CLOCK_SKEW_S))
        return None if found is None else inputs_of(*found)

    async def record_signals(self, ticks: Sequence[Tick]) -> None:
        """Write windows of signals; they are on the disk when this returns."""
        await _or_runtime_error(self._ledger.add_windows([TickRow(**asdict(tick)) for tick in ticks]))

    async def signals(self, since: float) -> Sequence[Tick]:
        """Windows of signals that end after `since`, as they were told last, in the order they were written."""
        rows = await _or_runtime_error(self._ledger.last_windows(SIGNAL_PREFIX, since))
        return [_tick(row) for row in rows]

    async def record_override(self, override: Override) -> None:
        """Write what a person asked for; it is on the disk when this returns."""
        await _or_runtime_error(self._ledger.add_override(OverrideRow(**asdict(override))))

    async def overrides(self, now: float) -> Mapping[str, Override]:
        """By unit the override made last, where it is in force at `now` or later."""
        return _overrides(await _or_runtime_error(self._ledger.last_overrides(now)))


class Memory:
    """The journal of a preview: what the ledger remembers; a preview writes nothing, so what it is given goes nowhere."""

    def __init__(
        self,
        last: Mapping[str, Decision],
        inputs: Inputs | None = None,
        signals: Sequence[Tick] = (),
        overrides: Mapping[str, Override] | None = None,
    ) -> None:
        self._last = last
        self._inputs = inputs
        self._signals = tuple(signals)
        self._overrides = dict(overrides or {})

    async def record_ticks(self, _ticks: Sequence[Tick], /) -> None:
        """Refused."""
        raise RuntimeError("a preview records nothing")

    async def record_decisions(
        self, _decisions: Sequence[Decision], _inputs: Inputs | None = None, /
    ) -> None:
        """Refused."""
        raise RuntimeError("a preview records nothing")

    async def record_signals(self, _ticks: Sequence[Tick], /) -> None:
        """Refused."""
        raise RuntimeError("a preview records nothing")

    async def record_override(self, _override: Override, /) -> None:
        """Refused."""
        raise RuntimeError("a preview records nothing")

    async def record_outcomes(self, _outcomes: Sequence[Outcome], /) -> None:
        """Refused."""
        raise RuntimeError("a preview records nothing")

    async def last_decisions(self) -> Mapping[str, Decision]:
        """The last decision of every unit that has one."""
        return self._last

    async def last_inputs(self) -> Inputs | None:
        """What the last tick was decided from; None where nothing is kept."""
        return self._inputs

    async def signals(self, since: float) -> Sequence[Tick]:
        """Windows of signals that end after `since`."""
        return [tick for tick in self._signals if tick.valid_to > since]

    async def overrides(self, now: float) -> Mapping[str, Override]:
        """By unit the override made last, where it is in force at `now` or later."""
        return {unit_id: each for unit_id, each in self._overrides.items() if each.until > now}


async def _or_runtime_error(access: Awaitable[T]) -> T:
    """The ledger's answer; its failure as the loop expects one of its journal, which it outlives."""
    try:
        return await access
    except ExistsError as error:
        raise AlreadyDecidedError(f"ledger: {error}") from error
    except LedgerError as error:
        raise RuntimeError(f"ledger: {error}") from error


def _decision_row(decision: Decision) -> DecisionRow:
    return DecisionRow(
        id=decision.id,
        at=decision.at,
        unit_id=decision.unit_id,
        from_mode=None if decision.from_mode == UNKNOWN else decision.from_mode,
        to_mode=decision.to_mode,
        reason=decision.reason.value,
        numbers=decision.numbers,
        flip=decision.flip,
        dry_run=decision.dry_run,
    )


def _config_parts(inputs: Inputs) -> tuple[Part, ...]:
    """What was configured: the configuration itself, then the fitted model where one decides too."""
    return (inputs.config,) if inputs.model is None else (inputs.config, inputs.model)


def _digests(parts: Sequence[Part]) -> str:
    """The digests of parts as a row has them."""
    return " ".join(part.digest for part in parts)


def _inputs_row(inputs: Inputs, made_by: str) -> InputsRow:
    return InputsRow(
        at=inputs.at,
        format=inputs.format,
        program=inputs.program or made_by,
        config_digest=_digests(_config_parts(inputs)),
        series_digest="" if inputs.series is None else inputs.series.digest,
        body=inputs.body,
    )


def inputs_of(row: InputsRow, parts: Mapping[str, InputPartRow]) -> Inputs:
    """A row as the controller reads it; a part that is not kept is empty, and nobody can read it."""

    def part(digest: str) -> Part:
        return Part(digest, parts[digest].body if digest in parts else b"")

    config, *models = row.config_digest.split() or [""]
    return Inputs(
        at=row.at,
        config=part(config),
        model=part(models[0]) if models else None,
        series=part(row.series_digest) if row.series_digest else None,
        body=row.body,
        format=row.format,
        program=row.program,
    )


def _tick(row: TickRow) -> Tick:
    return Tick(**asdict(row))


def _overrides(rows: Sequence[OverrideRow]) -> dict[str, Override]:
    return {row.unit_id: Override(**asdict(row)) for row in rows}


def decisions_of(rows: Mapping[str, DecisionRow]) -> dict[str, Decision]:
    """Rows as decisions; one with a reason of another version says nothing to this one and is left out."""
    return {
        unit_id: Decision(
            id=row.id,
            at=row.at,
            unit_id=row.unit_id,
            from_mode=UNKNOWN if row.from_mode is None else row.from_mode,
            to_mode=row.to_mode,
            reason=Reason(row.reason),
            numbers={
                name: float(value) for name, value in row.numbers.items() if isinstance(value, int | float)
            },
            flip=row.flip,
            dry_run=row.dry_run,
        )
        for unit_id, row in rows.items()
        if row.reason in set(Reason)
    }


def remembered(url: str, site: str = "default") -> dict[str, Decision]:
    """The last decisions of a ledger, none where there is no ledger yet. Raises LedgerError."""
    try:
        with Reader.open(url, site=site) as reader:
            return decisions_of(reader.last_decisions())
    except NoLedgerError:
        return {}


def recalled(url: str, now: float, site: str = "default") -> Memory:
    """All that a ledger remembers, nothing where there is none yet. Raises LedgerError."""
    try:
        with Reader.open(url, site=site) as reader:
            found = reader.last_inputs(now + CLOCK_SKEW_S)
            return Memory(
                last=decisions_of(reader.last_decisions(now + CLOCK_SKEW_S)),
                inputs=None if found is None else inputs_of(*found),
                signals=[_tick(row) for row in reader.last_windows(SIGNAL_PREFIX, now - SIGNAL_MEMORY_S)],
                overrides=_overrides(reader.last_overrides(now)),
            )
    except NoLedgerError:
        return Memory({})


def pool_sums(url: str, site: str = "default", since: float = 0.0) -> dict[str, PoolShareSums]:
    """What became of the shares handed to pools since then (unix seconds), none where there is no ledger yet. Raises LedgerError."""
    try:
        with Reader.open(url, site=site) as reader:
            return reader.pool_share_sums(since)
    except NoLedgerError:
        return {}
