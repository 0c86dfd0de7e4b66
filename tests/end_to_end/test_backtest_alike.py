"""A recorded day through the daemon's controller and through the backtest: the same decisions.

The one side is what `hashmill run` is made of: a configuration, the sources and settings made of it, files that grow as a market publishes
its prices, the controller's loop with its journal in a ledger, torn down and built anew on the way. Only the clock and the units are
simulated. The other side is what `hashmill backtest` is made of. They share no code but what both call.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from controller.backtest import Asked
from controller.backtest_live import decide_all, deciding_config
from controller.backtest_tape import Tape, recorded
from controller.loop import ControllerLoop
from controller.model import read_model
from controller.recorded import Series, utc
from controller.synthetic import synthetic_market
from controller.units import OFF, UnitState
from controller.worth import Sees
from miner.config import Config
from miner.control_journal import LedgerJournal, decisions_of
from miner.control_settings import loop_config, played_tape, units_of
from miner.control_sources import sources
from miner.control_verify import Verification
from miner.ledger.reader import Reader
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from tests.end_to_end.live_clock import Busy, BusyJournal, BusySource, SteppedTime
from tests.end_to_end.live_site import _running
from tests.miner.control_harness import a_model, silent_nodes

if TYPE_CHECKING:
    from pathlib import Path

    from controller.backtest import Recorded
    from controller.decisions import Decision
    from controller.units import Setpoint, Unit
    from controller.view import View

QUARTER_S: Final = 900.0
HOUR_S: Final = 3600.0
QUARTERS: Final = 120
MARKET: Final = synthetic_market(18, seed=12)
BEGINS: Final = float(MARKET.real_time.starts[0]) + 15 * 86_400.0
"""A day that begins with a shortage and is unquiet after it."""
PERIOD: Final = (BEGINS, BEGINS + QUARTERS * QUARTER_S)
RESTARTED: Final = BEGINS + 77 * QUARTER_S + 15.0
ZONE: Final = "America/Chicago"
ADDER_USD_PER_MWH: Final = 40.0
LADDER: Final = ((OFF, 0, 12), ("76", 76, 1850), ("92", 92, 2500), ("100", 100, 2970))
MODEL_A: Final = a_model(0.1, 0.9)
MODEL_B: Final = a_model(-0.5, 1.5)
"""What it is asked for is another thing where the price that begins is not known: it starts a unit above 1 and stops it below 0."""


def machines() -> list[dict[str, Any]]:
    """What the configuration says of the units: efficiencies from new to old, and one with a ladder of modes."""
    found: list[dict[str, Any]] = [
        {
            "id": f"u{j_per_th}",
            "worker": f"u{j_per_th}",
            "control": "gate",
            "restart_s": 600.0,
            "modes": [
                {"name": "off", "th_s": 0, "watts": 10},
                {"name": "on", "th_s": 100, "watts": 100 * j_per_th},
            ],
        }
        for j_per_th in (30, 35, 40)
    ]
    modes = [{"name": name, "th_s": th_s, "watts": watts} for name, th_s, watts in LADDER]
    ladder = {"id": "ladder", "worker": "l", "control": "gate", "restart_s": 300.0, "wear_usd": 0.02}
    return [*found, {**ladder, "modes": modes}]


def starts_with(series: Series, start: float) -> Series:
    """The rows from `start` on."""
    first = int(np.searchsorted(series.starts, start))
    return Series(series.starts[first:], series.values[first:], series.step_s)


PRICES: Final = starts_with(MARKET.real_time, BEGINS)
DAY_AHEAD: Final = MARKET.day_ahead
HASHPRICE: Final = starts_with(MARKET.hashprice, BEGINS)


def told_of_it() -> Recorded:
    """The day as a backtest has it."""
    return recorded(
        PRICES,
        DAY_AHEAD,
        HASHPRICE,
        adder_usd_per_mwh=ADDER_USD_PER_MWH,
        stop=PERIOD[1],
        zone=ZONE,
    )


def published_at(start: float) -> float:
    """When the day-ahead price of that hour is published: in the afternoon of the day before its own, by the market's clock."""
    day = datetime.fromtimestamp(start, ZoneInfo(ZONE)).date() - timedelta(days=1)
    return datetime.combine(day, time(13, 30), ZoneInfo(ZONE)).timestamp()


@dataclass
class Obedient:
    """A unit that does at once what it is told, and says so."""

    unit: Unit
    mode: str

    async def apply(self, setpoint: Setpoint, _now: float) -> None:
        self.mode = setpoint.mode

    async def read(self, now: float) -> UnitState:
        return UnitState(self.unit.id, self.mode, None, None, None, now)


class Publisher:
    """The market as it tells its prices: files that are written anew whenever there is something new to tell."""

    def __init__(self, folder: Path, sees: Sees) -> None:
        self._power, self._ahead = folder / "power.csv", folder / "ahead.csv"
        self._late = 1 if sees is Sees.B else 0

    def tell(self, now: float) -> None:
        """Write what is known at `now`: the price of the quarter hour that begins (A) or ended (B), and days ahead once published."""
        known = int(np.searchsorted(PRICES.starts, now, side="right")) - self._late
        rows = zip(
            PRICES.starts[max(known - 8, 0) : known], PRICES.values[max(known - 8, 0) : known], strict=True
        )
        self._write(self._power, list(rows), QUARTER_S)
        ahead = [
            (float(start), float(value))
            for start, value in zip(DAY_AHEAD.starts, DAY_AHEAD.values, strict=True)
            if now - 2 * HOUR_S < start < PERIOD[1] + 86_400 and published_at(float(start)) <= now
        ]
        self._write(self._ahead, ahead, HOUR_S)

    @staticmethod
    def _write(file: Path, rows: list[tuple[float, float]], step_s: float) -> None:
        lines = [
            f"{utc(start)},{utc(start + step_s)},{value!r}"
            for start, value in ((float(s), float(v)) for s, v in rows)
        ]
        text = "\n".join(["start_utc,end_utc,usd_per_mwh", *lines, ""])
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


class Daemon:
    """The controller as the daemon builds it from a configuration, on a clock that is stepped."""

    def __init__(self, folder: Path, sees: Sees, model: bytes | None) -> None:
        self._publisher = Publisher(folder, sees)
        real_time: dict[str, Any] = {"sees": sees.value}
        if model is not None:
            (folder / "market.model").write_bytes(model)
            real_time["model"] = str(folder / "market.model")
        (folder / "hashprice.csv").write_text(
            "start_utc,hashprice_usd_per_ph_day\n"
            + "".join(
                f"{utc(float(start))},{float(value)!r}\n"
                for start, value in zip(HASHPRICE.starts, HASHPRICE.values, strict=True)
            )
        )
        self.ledger_url = f"sqlite:///{folder / 'live.db'}"
        self.config = Config.model_validate(
            {
                "network": "main",
                "pool": [{"url": "stratum+tcp://127.0.0.1:1", "user": "site"}],
                "tape": {"file": str(folder / "hashprice.csv")},
                "power": {
                    "adder_per_kwh": ADDER_USD_PER_MWH / 1000,
                    "file": {"path": str(folder / "power.csv")},
                    "day_ahead": {"file": {"path": str(folder / "ahead.csv")}},
                },
                "unit": machines(),
                "controller": {
                    "dry_run": False,
                    "tick_s": QUARTER_S,
                    "time_zone": ZONE,
                    "pool_fee": 0.02,
                    "real_time": real_time,
                },
            }
        )
        self.units = units_of(self.config, ())
        self._actuators = {unit.id: Obedient(unit, unit.curve.full.name) for unit in self.units}
        self._time = SteppedTime(PERIOD[0])
        self._tape = played_tape(self.config, PERIOD[0])
        self._busy = Busy()
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        self._publisher.tell(self._time.now)
        self._stack = contextlib.AsyncExitStack()
        store = Store.open(self.ledger_url)
        self._stack.callback(store.close)
        journal = LedgerJournal(await self._stack.enter_async_context(Recorder(store)), self._time.clock)
        loop = ControllerLoop(
            units=self.units,
            sources=[
                BusySource(source, self._busy)
                for source in sources(self.config, silent_nodes(self.config), self._tape)
            ],
            actuators=dict(self._actuators),
            journal=BusyJournal(journal, self._busy),  # type: ignore[arg-type]
            config=loop_config(self.config),
            clock=self._time.clock,
            sleep=self._time.sleep,
        )
        await self._stack.enter_async_context(_running(loop.run()))
        await self._busy.settle()

    async def stop(self) -> None:
        await self._stack.aclose()

    async def live_until(self, until: float) -> None:
        while (due := self._time.next_at()) < until:
            self._publisher.tell(due)
            self._time.step_to(due)
            await self._busy.settle()
        self._time.step_to(until)

    def decisions(self) -> dict[float, dict[str, Decision]]:
        """What the ledger holds, by tick and unit."""
        with Reader.open(self.ledger_url) as reader:
            return {
                row.at: decisions_of({each.unit_id: each for each in reader.decisions_at(row.at)})
                for row in reader.inputs_after(0.0, PERIOD[1], 10_000)
            }


async def lived(daemon: Daemon) -> dict[float, dict[str, Decision]]:
    """The day, with a restart in the middle of a quarter hour."""
    try:
        await daemon.start()
        await daemon.live_until(RESTARTED)
        await daemon.stop()
        await daemon.start()
        await daemon.live_until(PERIOD[1])
    finally:
        await daemon.stop()
    return daemon.decisions()


def backtested(units: list[Unit], sees: Sees, model: bytes | None) -> list[View]:
    tape = Tape(told_of_it(), sees)
    asked = Asked(sees=sees, model=None if model is None else read_model(model), fee=0.02, zone=ZONE)
    views: list[View] = []
    decide_all(tape, units, deciding_config(asked), on_view=views.append)
    return views


def told(decision: Decision) -> tuple[str, str, str]:
    return decision.from_mode, decision.to_mode, decision.reason.value


@pytest.mark.parametrize(
    ("sees", "model", "method"),
    [(Sees.A, MODEL_A, "by_fitted"), (Sees.B, MODEL_B, "by_fitted"), (Sees.A, None, "by_band")],
    ids=["sees A", "sees B", "without a model"],
)
async def test_the_daemon_and_the_backtest_decide_alike(
    tmp_path: Path, sees: Sees, model: bytes | None, method: str
) -> None:
    daemon = Daemon(tmp_path, sees, model)
    live = await lived(daemon)
    views = backtested(daemon.units, sees, model)
    assert list(live) == [view.at for view in views]
    for view in views:
        assert {name: told(each) for name, each in live[view.at].items()} == {
            name: told(each) for name, each in view.decisions.items()
        }, f"{(view.at - PERIOD[0]) / QUARTER_S:g} quarter hours in"
    # It is a day on which something happens, and the method in question is what decides.
    modes = [[each.to_mode for each in decided.values()] for decided in live.values()]
    assert sum(before != after for before, after in pairwise(modes)) > 10
    methods = Counter(name for decided in live.values() for each in decided.values() for name in each.numbers)
    assert methods[method] > QUARTERS

    with Reader.open(daemon.ledger_url) as reader:
        report = Verification(reader).run(0.0, PERIOD[1])
    assert (report["ok"], report["same"], report["not_compared"]) == (True, len(live) * len(daemon.units), 0)
