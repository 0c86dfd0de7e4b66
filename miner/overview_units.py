"""Every unit as API, page and metrics are told of it: this machine's threads, and the workers of the Stratum server."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from miner.config import Config
from miner.config_units import UnitConfig
from miner.control import UnitWorth
from miner.hashing.station import OFF, UNIT_ID, CpuStation
from miner.metrics import Metrics
from miner.metrics_units import UnitCounts
from miner.web.status import ModeStatus, StratumStatus, UnitPage, UnitStatus
from miner.work.roster import HashingUnit, Roster, UnitPresence
from miner.work.share import Reason

TERAHASH: Final = 1e12
CONFIDENCE: Final = 0.95
MOST_AT_A_GLANCE: Final = 100
"""Units that the status document shows; `/api/v1/units` has all of them, page by page."""

REASONS: Final = tuple(reason.value for reason in Reason)
_INDICES: Final = range(len(REASONS))


class Units:
    """Tells of the units in `roster`; `station` is the CPU unit, if there is one, and `worth(id)` what the controller makes of one."""

    def __init__(
        self,
        config: Config,
        roster: Roster,
        *,
        station: CpuStation | None,
        worth: Callable[[str], UnitWorth],
        clock: Callable[[], float],
    ) -> None:
        self._configured = {unit.id: unit for unit in config.unit}
        self._roster = roster
        self._station = station
        self._worth = worth
        self._clock = clock

    # ---- For the API (see miner.web.app.UnitReader) ------------------------------------------------------------

    def page(self, limit: int, after: str) -> UnitPage:
        """The first `limit` units whose ids come after `after`."""
        ids = sorted(unit.id for unit in self._shown())
        start = bisect_right(ids, after) if after else 0
        chosen = ids[start : start + limit]
        return UnitPage(
            units=tuple(unit for unit_id in chosen if (unit := self.one(unit_id)) is not None),
            total=len(ids),
            next=chosen[-1] if start + limit < len(ids) else None,
        )

    def one(self, unit_id: str) -> UnitStatus | None:
        """The unit of that id; None if there is none."""
        unit = self._roster.by_id(unit_id)
        if unit is None:
            return None
        if unit_id == UNIT_ID:
            return None if self._station is None else self._cpu(unit, self._station)
        return self._worker(unit)

    def name_of(self, unit_id: str) -> str:
        """The name a unit has in the ledger; its id where it is not known here."""
        unit = self._roster.by_id(unit_id)
        return unit_id if unit is None else unit.name

    def id_of(self, name: str) -> str:
        """The id of the unit of that name in the ledger."""
        unit = self._roster.named(name)
        return name if unit is None else unit.id

    # ---- For the status document -------------------------------------------------------------------------------

    def at_a_glance(self) -> tuple[UnitStatus, ...]:
        """This machine's unit and the configured ones."""
        chosen = [unit.id for unit in self._shown() if unit.configured][:MOST_AT_A_GLANCE]
        return tuple(unit for unit_id in chosen if (unit := self.one(unit_id)) is not None)

    def stratum(self, listening: Sequence[str], connections: int) -> StratumStatus:
        """The Stratum server that listens at these host:port and has so many connections."""
        now = self._clock()
        workers = [unit for unit in self._roster if unit.id != UNIT_ID]
        return StratumStatus(
            listening=tuple(listening),
            connections=connections,
            sessions=sum(unit.sessions for unit in workers),
            units=len(workers),
            units_by_state=dict(Counter(unit.state(now).value for unit in workers)),
        )

    # ---- For the metrics ---------------------------------------------------------------------------------------

    def counts(self) -> Iterator[UnitCounts]:
        """What every unit handed in, configured ones first, then in the order in which they came."""
        now = self._clock()
        for unit in self._shown():
            tally = unit.tally
            own = unit.id == UNIT_ID
            yield UnitCounts(
                unit.id,
                # Threads count the hashes they do, which is shown of them when they are looked at.
                None if own else unit.rate.hashes_per_second(now),
                0 if own else unit.sessions,
                tally.accepted,
                _rejected(unit),
                tally.work,
                tally.best_difficulty,
            )

    def show(self, metrics: Metrics) -> None:
        """Put modes, power and worth of the units that can be switched into the metrics."""
        for unit in self.at_a_glance():
            metrics.unit_observed(
                unit.id,
                hashrate_hashes_per_second=None
                if unit.hashrate_th_s is None
                else unit.hashrate_th_s * TERAHASH,
                power_watts=unit.power_w,
                mode=unit.mode,
                modes=[mode.name for mode in unit.modes],
            )
            metrics.unit_valued(
                unit.id,
                breakeven_usd_per_kwh=unit.breakeven_usd_per_kwh,
                margin_usd_per_hour=unit.margin_usd_per_hour,
            )

    def _shown(self) -> Iterator[HashingUnit]:
        """All of the roster but this machine where it has no threads that hash."""
        return (unit for unit in self._roster if unit.id != UNIT_ID or self._station is not None)

    # ---- Each kind of unit -------------------------------------------------------------------------------------

    def _cpu(self, unit: HashingUnit, station: CpuStation) -> UnitStatus:
        reading, worth, rejected = station.read(), self._worth(UNIT_ID), _rejected(unit)
        return UnitStatus(
            id=UNIT_ID,
            state="off" if reading.mode == OFF else UnitPresence.HASHING.value,
            control="cpu",
            mode=reading.mode,
            wanted_mode=worth.wanted_mode,
            modes=tuple(
                ModeStatus(name=mode.name, th_s=mode.th_s, watts=mode.watts)
                for mode in station.modes.values()
            ),
            hashrate_th_s=reading.hashrate_th_s,
            power_w=reading.power_w,
            hashes=reading.hashes,
            shares_accepted=unit.tally.accepted,
            shares_rejected=sum(rejected.values()),
            rejected_by_reason=rejected,
            work_difficulty=unit.tally.work,
            best_difficulty=unit.tally.best_difficulty,
            first_seen=unit.first_seen,
            last_share_at=unit.last_share_at,
            margin_usd_per_hour=worth.margin_usd_per_hour,
            breakeven_usd_per_kwh=worth.breakeven_usd_per_kwh,
            last_decision=worth.last_decision,
        )

    def _worker(self, unit: HashingUnit) -> UnitStatus:
        now = self._clock()
        own = self._configured.get(unit.id)
        modes = {} if own is None else {mode.name: mode for mode in own.resolved_modes()}
        mode = _mode(unit, own)
        worth, rejected = self._worth(unit.id) if own is not None else UnitWorth(), _rejected(unit)
        low, high = unit.rate.interval(now, CONFIDENCE)
        return UnitStatus(
            id=unit.id,
            worker=unit.name,
            state=unit.state(now).value,
            control="none" if own is None else own.control,
            agent=unit.agent,
            sessions=unit.sessions,
            difficulty=unit.difficulty or None,
            mode=mode,
            wanted_mode=worth.wanted_mode,
            modes=tuple(
                ModeStatus(name=each.name, th_s=each.th_s, watts=each.watts) for each in modes.values()
            ),
            gate_reason=unit.gate_reason,
            hashrate_th_s=unit.rate.hashes_per_second(now) / TERAHASH,
            hashrate_low_th_s=low / TERAHASH,
            hashrate_high_th_s=high / TERAHASH,
            power_w=None if mode is None else modes[mode].watts,
            shares_accepted=unit.tally.accepted,
            shares_rejected=sum(rejected.values()),
            rejected_by_reason=rejected,
            work_difficulty=unit.tally.work,
            best_difficulty=unit.tally.best_difficulty,
            first_seen=unit.first_seen,
            last_seen=max(unit.last_seen, unit.last_share_at or 0.0),
            last_share_at=unit.last_share_at,
            margin_usd_per_hour=worth.margin_usd_per_hour,
            breakeven_usd_per_kwh=worth.breakeven_usd_per_kwh,
            last_decision=worth.last_decision,
        )


def _rejected(unit: HashingUnit) -> dict[str, int]:
    """Rejected shares by reason, without reasons that did not occur."""
    counts = tuple(map(unit.tally.rejected, _INDICES))
    return (
        {reason: count for reason, count in zip(REASONS, counts, strict=True) if count} if any(counts) else {}
    )


def _mode(unit: HashingUnit, own: UnitConfig | None) -> str | None:
    """The mode of a worker with a gate, as far as the server can tell; None of any other."""
    if own is None or own.control != "gate":
        return None
    if unit.gate_reason:
        return OFF
    return next((mode.name for mode in own.modes if mode.name != OFF), None) if unit.sessions else None
