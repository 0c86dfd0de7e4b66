"""The controller's journal in the ledger: its ticks, decisions and outcomes as rows, and rows as its memory."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

from controller.decisions import Decision, Outcome, Reason
from controller.ticks import Tick
from controller.units import UNKNOWN
from miner.ledger.reader import Reader
from miner.ledger.recorder import Recorder
from miner.ledger.rows import DecisionRow, LedgerError, NoLedgerError, OutcomeRow, PoolShareSums, TickRow

T = TypeVar("T")


class LedgerJournal:
    """The controller's journal in the ledger."""

    def __init__(self, ledger: Recorder) -> None:
        self._ledger = ledger

    async def record_ticks(self, ticks: Sequence[Tick]) -> None:
        """Queue ticks to be written."""
        await self._ledger.add_ticks([TickRow(**asdict(tick)) for tick in ticks])

    async def record_decisions(self, decisions: Sequence[Decision]) -> None:
        """Write decisions; they are on the disk when this returns."""
        rows = [
            DecisionRow(
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
            for decision in decisions
        ]
        await _or_runtime_error(self._ledger.add_decisions(rows))

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
        return _decisions(await _or_runtime_error(self._ledger.last_decisions()))


class Memory:
    """The journal of a preview: what the ledger remembers; a preview writes nothing, so what it is given goes nowhere."""

    def __init__(self, last: Mapping[str, Decision]) -> None:
        self._last = last

    async def record_ticks(self, _ticks: Sequence[Tick], /) -> None:
        """Refused."""
        raise RuntimeError("a preview records nothing")

    async def record_decisions(self, _decisions: Sequence[Decision], /) -> None:
        """Refused."""
        raise RuntimeError("a preview records nothing")

    async def record_outcomes(self, _outcomes: Sequence[Outcome], /) -> None:
        """Refused."""
        raise RuntimeError("a preview records nothing")

    async def last_decisions(self) -> Mapping[str, Decision]:
        """The last decision of every unit that has one."""
        return self._last


async def _or_runtime_error(access: Awaitable[T]) -> T:
    """The ledger's answer; its failure as the loop expects one of its journal, which it outlives."""
    try:
        return await access
    except LedgerError as error:
        raise RuntimeError(f"ledger: {error}") from error


def _decisions(rows: Mapping[str, DecisionRow]) -> dict[str, Decision]:
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
            return _decisions(reader.last_decisions())
    except NoLedgerError:
        return {}


def pool_sums(url: str, site: str = "default", since: float = 0.0) -> dict[str, PoolShareSums]:
    """What became of the shares handed to pools since then (unix seconds), none where there is no ledger yet. Raises LedgerError."""
    try:
        with Reader.open(url, site=site) as reader:
            return reader.pool_share_sums(since)
    except NoLedgerError:
        return {}
