"""Decisions of the ledger made again from what is kept of them: `hashmill log decisions --verify`."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from controller.deciding import decide_tick
from controller.decisions import Decision
from controller.inputs import InputsError, InputsReader
from controller.recompute import Difference, MemoryLostError, differences, memory
from controller.snapshot import Snapshot
from miner.control_journal import decisions_of, inputs_of, program
from miner.ledger.reader import Reader
from miner.ledger.rows import InputsRow

TICKS_AT_ONCE: Final = 64
DIFFERENCES_TOLD: Final = 1000
"""All are counted, so many are told."""

Decide: TypeAlias = Callable[[Snapshot, Mapping[str, Decision], Any], Mapping[str, Decision]]
"""Decisions by unit, from a snapshot, the last decisions and the configuration."""


def decide_again(snapshot: Snapshot, last: Mapping[str, Decision], config: Any) -> Mapping[str, Decision]:
    """The decisions as the controller makes them."""
    return decide_tick(snapshot, last, config).decisions


class Verification:
    """Reads a ledger tick by tick, decides again and compares; `report` says what came of it."""

    def __init__(self, reader: Reader, *, unit: str | None = None, decide: Decide = decide_again) -> None:
        self._reader = reader
        self._unit = unit
        self._decide = decide
        self._inputs = InputsReader()
        self._kept: dict[float, dict[str, Decision]] = {}
        self._ticks = 0
        self._same = 0
        self._different: list[Difference] = []
        self._decisions_different = 0
        self._not_compared: Counter[str] = Counter()
        self._unreadable: Counter[str] = Counter()

    def run(self, since: float, until: float) -> dict[str, Any]:
        """Every decision of since <= time <= until (UTC unix seconds); the report as plain data. Raises LedgerError."""
        at = math.nextafter(since, -math.inf)
        while rows := self._reader.inputs_after(at, until, TICKS_AT_ONCE):
            for row in rows:
                self._tick(row)
            at = rows[-1].at
        alone = self._reader.decisions_without_inputs(since, until, unit=self._unit)
        if alone:
            self._not_compared["what they were made from is not kept"] += alone
        return self._report(since, until)

    def _report(self, since: float, until: float) -> dict[str, Any]:
        return {
            "since_s": since,
            "until_s": until,
            "program": program(),
            "ok": not (self._different or self._unreadable),
            "ticks": self._ticks,
            "same": self._same,
            "different": self._decisions_different,
            "unreadable": sum(self._unreadable.values()),
            "not_compared": sum(self._not_compared.values()),
            "differences": [asdict(each) for each in self._different],
            "unreadable_why": [{"why": why, "decisions": n} for why, n in self._unreadable.items()],
            "not_compared_why": [{"why": why, "decisions": n} for why, n in self._not_compared.items()],
        }

    def _tick(self, row: InputsRow) -> None:
        self._ticks += 1
        kept = self._chosen(self._decisions(row.at))
        foreign = "" if row.program == program() else f"made by hashmill {row.program or '(not named)'}"
        try:
            parts = self._reader.input_parts(row.part_digests)
            recorded = self._inputs.read(inputs_of(row, parts))
            last = memory(recorded, lambda unit, at: self._decisions(at).get(unit))
            made = self._chosen(self._decide(recorded.snapshot, last, recorded.config))
        except MemoryLostError as error:
            self._not_compared[str(error)] += len(kept)
            return
        except InputsError as error:
            whose = self._not_compared if foreign else self._unreadable
            whose[f"{foreign}, which this version cannot read" if foreign else str(error)] += len(kept)
            return
        except Exception as error:  # inputs of another version may be anything to this one's policy
            if not foreign:
                raise
            self._not_compared[f"{foreign}, whose inputs this version cannot decide from ({error})"] += len(
                kept
            )
            return
        found = differences(row.at, kept, made)
        units = {each.unit_id for each in found}
        self._same += len((kept.keys() | made.keys()) - units)
        if foreign and units:
            self._not_compared[f"{foreign}, which decided differently"] += len(units)
        elif units:
            self._decisions_different += len(units)
            self._different.extend(found[: DIFFERENCES_TOLD - len(self._different)])

    def _chosen(self, decisions: Mapping[str, Decision]) -> dict[str, Decision]:
        return {
            unit_id: each
            for unit_id, each in decisions.items()
            if self._unit is None or unit_id == self._unit
        }

    def _decisions(self, at: float) -> Mapping[str, Decision]:
        """The decisions kept of that time; of the last few times they are remembered."""
        if at not in self._kept:
            rows = {row.unit_id: row for row in self._reader.decisions_at(at)}
            while len(self._kept) >= 4:  # noqa: PLR2004 - the tick, the one before, and units that were away
                del self._kept[min(self._kept)]
            self._kept[at] = decisions_of(rows)
        return self._kept[at]
