"""Gates: workers that the controller gives work or none, as its actuators want them."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.actuators.gate import COMES_BACK_S, GateActuator, GateReading
from controller.decisions import Decision
from controller.flip import paused_text
from controller.units import OFF, Unit
from miner.work.roster import HashingUnit

log = logging.getLogger(__name__)

Heard = Callable[[HashingUnit, str], None]
"""`on_gate(unit, reason)`: a gate was closed for this reason, or (empty) opened."""

TERAHASH: Final = 1e12


@dataclass(slots=True)
class _Gate:
    """The hand on one gate. `opened_at` is when it was last opened, until its worker is seen again."""

    unit: HashingUnit
    on_gate: Heard
    clock: Callable[[], float]
    last: Decision | None = None
    opened_at: float | None = None

    def open(self) -> None:
        if self.unit.gate_reason:
            self.unit.gate_reason = ""
            self.opened_at = self.clock()
            log.info("gate_opened", extra={"unit": self.unit.id})
            self.on_gate(self.unit, "")

    def close(self) -> None:
        if not self.unit.gate_reason:
            self.unit.gate_reason = paused_text(self.last)
            self.opened_at = None
            log.info("gate_closed", extra={"unit": self.unit.id, "reason": self.unit.gate_reason})
            self.on_gate(self.unit, self.unit.gate_reason)

    def read(self) -> GateReading:
        unit = self.unit
        if unit.sessions:
            self.opened_at = None
        return GateReading(
            open=not unit.gate_reason,
            connected=unit.sessions > 0,
            hashrate_th_s=unit.rate.hashes_per_second(self.clock()) / TERAHASH,
        )


class Gates:
    """The gates of every unit that has one, by unit id."""

    def __init__(self, units: Mapping[str, HashingUnit], on_gate: Heard, clock: Callable[[], float]) -> None:
        self._gates = {unit_id: _Gate(unit, on_gate, clock) for unit_id, unit in units.items()}

    def __contains__(self, unit_id: object) -> bool:
        return unit_id in self._gates

    def actuators(self, units: Sequence[Unit]) -> dict[str, GateActuator]:
        """An actuator for each of the controller's units that has a gate."""
        return {unit.id: GateActuator(unit, self._gates[unit.id]) for unit in units if unit.id in self._gates}

    def is_closed(self, unit_id: str) -> bool:
        """Whether the unit gets no work."""
        return bool(self._gates[unit_id].unit.gate_reason)

    def recall(self, decisions: Mapping[str, Decision]) -> None:
        """Close the gates that were closed when the daemon ended: a restart pays for nothing that was not worth it."""
        for unit_id, gate in self._gates.items():
            decision = decisions.get(unit_id)
            if decision is not None and decision.to_mode == OFF and not decision.dry_run:
                gate.last = decision
                gate.close()

    def heard(self, decision: Decision) -> None:
        """A decision was made: a closed gate gives its numbers as the reason from now on."""
        gate = self._gates.get(decision.unit_id)
        if gate is None:
            return
        gate.last = decision
        if gate.unit.gate_reason:
            gate.unit.gate_reason = paused_text(decision)

    def missing(self, now: float) -> Iterator[tuple[str, float]]:
        """Units that were given work again and did not come for it, with the seconds since."""
        for unit_id, gate in self._gates.items():
            if gate.opened_at is not None and not gate.unit.sessions and now - gate.opened_at > COMES_BACK_S:
                yield unit_id, now - gate.opened_at
