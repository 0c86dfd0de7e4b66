"""Decisions of the ledger are made again from what was kept, and compared to the bit."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from controller.deciding import DecidingConfig
from controller.decisions import Decision
from controller.inputs import Scribe
from controller.limits import SiteConfig
from controller.loop import ControllerLoop, LoopConfig
from controller.policy import PolicyConfig
from controller.snapshot import Snapshot
from controller.sources.base import SourceError
from controller.ticks import HASHPRICE, POWER, UNITS, Tick
from controller.units import Mode, PowerCurve, Setpoint, Unit, UnitState
from controller.validate import MAINNET_RULES
from miner import control_verify
from miner.control_journal import LedgerJournal, decisions_of, program
from miner.control_verify import Verification, decide_again
from miner.ledger import history
from miner.ledger.recorder import Recorder
from miner.ledger.rows import DecisionRow
from miner.ledger.store import Store
from tests.miner.harness import Clock

if TYPE_CHECKING:
    from regtest.postgres import Postgres

NOW = 1_700_000_100.0
CURVE = PowerCurve([Mode("eco", 76, 1850), Mode("full", 100, 2970)])
FLEET = (Unit("a", CURVE, min_on_s=120.0), Unit("b", CURVE, restart_s=300.0))
CONFIG = DecidingConfig(PolicyConfig(dry_run=False), horizon_hours=2.0)
PRICES = (0.05, 0.05, 0.2, -0.01, 0.04, 0.041)


@pytest.fixture(params=["sqlite", "postgresql"])
def either_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A ledger of either kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("store")
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.new_database()
    with Store.open(url) as opened:
        yield opened
    postgres.give_back(url)


def tick(series: str, value: float, at: float) -> Tick:
    return Tick(series, value, UNITS[series], at, math.inf, at, "tape")


def snapshot(at: float, power: float, modes: Mapping[str, str]) -> Snapshot:
    return Snapshot(
        at=at,
        ticks={POWER: (tick(POWER, power, at),), HASHPRICE: (tick(HASHPRICE, 40.0 + power / 3, at),)},
        units=FLEET,
        states={unit: UnitState(unit, mode, None, None, None, at) for unit, mode in modes.items()},
    )


async def lived(store: Store, prices: tuple[float, ...] = PRICES, begin: float = NOW) -> None:
    """A controller that decided once a minute at these prices, its units doing what they were told."""
    async with Recorder(store) as recorder:
        journal, scribe = LedgerJournal(recorder), Scribe()
        last: Mapping[str, Decision] = await journal.last_decisions()
        for number, price in enumerate(prices):
            modes = {unit.id: last[unit.id].to_mode if unit.id in last else "off" for unit in FLEET}
            seen = snapshot(begin + 60 * number, price, modes)
            made = decide_again(seen, last, CONFIG)
            await journal.record_decisions(list(made.values()), scribe.record(seen, last, CONFIG, {}))
            last = {**last, **made}


def changed(store: Store, sql: str) -> None:
    store.commit([lambda connection, _site: connection.exec_driver_sql(sql)])  # type: ignore[list-item]


async def test_every_decision_kept_is_made_again_the_same_to_the_bit(either_store: Store) -> None:
    await lived(either_store)
    await lived(either_store, begin=NOW + 600)  # the daemon was restarted
    report = Verification(either_store).run(NOW, NOW + 9999)
    assert report["differences"] == []
    assert (report["ok"], report["ticks"], report["same"], report["not_compared"]) == (True, 12, 24, 0)
    kept = decisions_of({row.id: row for row in either_store.decisions()})
    assert len({each.reason for each in kept.values()}) > 3


async def test_a_window_and_a_unit_may_be_chosen(store: Store) -> None:
    await lived(store)
    report = Verification(store, unit="b").run(NOW + 60, NOW + 180)
    assert (report["ticks"], report["same"]) == (3, 3)


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [("flip", "'never'", "flip"), ("reason", "'start'", "reason"), ("numbers", "'{}'", "power_usd_per_kwh")],
)
async def test_a_decision_that_was_changed_in_the_ledger_is_found(
    store: Store, column: str, value: str, what: str
) -> None:
    await lived(store)
    changed(store, f"UPDATE decisions SET {column} = {value} WHERE unit_id = 'b' AND at = {NOW + 120!r}")
    report = Verification(store).run(NOW, NOW + 9999)
    assert not report["ok"]
    found = [each for each in report["differences"] if each["at"] == NOW + 120]
    assert {each["unit_id"] for each in found} == {"b"}
    assert what in {each["what"] for each in found}


async def test_the_last_bit_of_a_price_is_found(store: Store) -> None:
    await lived(store)

    def a_little_dearer(seen: Snapshot, last: Mapping[str, Decision], config: Any) -> Mapping[str, Decision]:
        (power,) = seen.ticks[POWER]
        ticks = {**seen.ticks, POWER: (replace(power, value=math.nextafter(power.value, 1)),)}
        return decide_again(replace(seen, ticks=ticks), last, config)

    report = Verification(store, decide=a_little_dearer).run(NOW, NOW + 9999)
    assert (report["different"], report["same"]) == (12, 0)
    assert "power_usd_per_kwh" in {each["what"] for each in report["differences"]}


async def test_a_decision_missing_from_the_ledger_is_found(store: Store) -> None:
    await lived(store)
    last = NOW + 60 * (len(PRICES) - 1)
    changed(store, f"DELETE FROM decisions WHERE unit_id = 'a' AND at = {last!r}")
    report = Verification(store).run(NOW, NOW + 9999)
    assert [(each["unit_id"], each["what"], each["kept"]) for each in report["differences"]] == [
        ("a", "decision", "nothing")
    ]


async def test_damaged_inputs_are_told_and_are_a_failure(store: Store) -> None:
    await lived(store)
    changed(store, f"UPDATE decision_inputs SET format = 99 WHERE at = {NOW + 60!r}")
    report = Verification(store).run(NOW, NOW + 9999)
    assert (report["ok"], report["unreadable"], report["same"]) == (False, 2, 10)
    assert "have layout 99, this version reads 1" in report["unreadable_why"][0]["why"]


def refuses(*_: object) -> Mapping[str, Decision]:
    raise KeyError("hashprice")


def decides_otherwise(*given: Any) -> Mapping[str, Decision]:
    return {unit_id: replace(each, flip="never") for unit_id, each in decide_again(*given).items()}


@pytest.mark.parametrize(
    ("decide", "why"),
    [
        (decides_otherwise, "made by hashmill 0.0.9 old, which decided differently"),
        (refuses, "made by hashmill 0.0.9 old, whose inputs this version cannot decide from ('hashprice')"),
    ],
)
async def test_what_another_version_decided_is_named_and_is_no_failure(
    store: Store, decide: Callable[..., Mapping[str, Decision]], why: str
) -> None:
    await lived(store)
    changed(store, "UPDATE decision_inputs SET program = '0.0.9 old'")
    assert Verification(store).run(NOW, NOW + 9999)["same"] == 12  # where it decided the same, that is said
    report = Verification(store, decide=decide).run(NOW, NOW + 9999)
    assert (report["ok"], report["same"], report["different"]) == (True, 0, 0)
    assert report["not_compared_why"] == [{"why": why, "decisions": 12}]


async def test_inputs_of_another_version_that_cannot_be_read_are_named(store: Store) -> None:
    await lived(store)
    changed(store, "UPDATE decision_inputs SET program = '9.0.0 new', format = 99")
    report = Verification(store).run(NOW, NOW + 9999)
    why = "made by hashmill 9.0.0 new, which this version cannot read"
    assert (report["ok"], report["not_compared_why"]) == (True, [{"why": why, "decisions": 12}])


async def test_a_fault_of_this_very_program_is_not_hidden(store: Store) -> None:
    await lived(store)
    with pytest.raises(KeyError):
        Verification(store, decide=refuses).run(NOW, NOW + 9999)


async def test_decisions_of_which_nothing_was_kept_are_counted(store: Store) -> None:
    store.add_decisions([DecisionRow("1", NOW, "a", None, "off", "start", {}, "", dry_run=True)])
    report = Verification(store).run(NOW, NOW + 9999)
    why = "what they were made from is not kept"
    assert (report["ok"], report["not_compared_why"]) == (True, [{"why": why, "decisions": 1}])


async def test_what_the_retention_took_is_named_and_the_rest_still_compared(either_store: Store) -> None:
    await lived(either_store)
    either_store.prune_history(NOW + 120)
    report = Verification(either_store).run(NOW, NOW + 9999)
    assert (report["ok"], report["ticks"], report["same"]) == (True, 4, 6)
    why = "the decision before is not kept, of a and 1 more"
    assert report["not_compared_why"] == [{"why": why, "decisions": 2}]


async def test_holds_that_the_retention_took_are_named_and_are_no_failure(either_store: Store) -> None:
    await lived(either_store, PRICES * 2)
    whole = either_store.decisions()
    begin = NOW + 60 * len(PRICES)
    either_store.prune_history(-math.inf, holds_before=begin)
    report = Verification(either_store).run(NOW, math.inf)
    old = [row for row in whole if row.at < begin and not row.reason.startswith("hold")]
    assert old
    assert [row for row in either_store.decisions() if row.at < begin] == old
    # Of the first tick that is whole the decisions before are gone, and the last before it were not all changes.
    assert report["not_compared_why"] == [
        {"why": "the decision before is not kept, of a and 1 more", "decisions": 2},
        {"why": "what they were made from is not kept", "decisions": len(old)},
    ]
    assert (report["ok"], report["ticks"], report["same"]) == (True, len(PRICES), 2 * len(PRICES) - 2)


async def test_a_ledger_may_be_verified_while_holds_are_being_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PIECE_ROWS", 4)
    await lived(store, PRICES * 2)
    pieces = 0
    while (write := store.next_to_forget(-math.inf, math.inf)) is not None:
        store.commit([write])
        report = Verification(store).run(NOW, math.inf)
        assert report["ok"], report["differences"]
        pieces += 1
    assert pieces > 3
    assert report["ticks"] == 1  # the last inputs stay


async def test_a_hold_that_somebody_took_is_found(store: Store) -> None:
    await lived(store, PRICES * 2)
    store.prune_history(-math.inf, holds_before=NOW + 60 * len(PRICES))
    held = [row for row in store.decisions() if row.reason.startswith("hold")]
    gone = min(row.at for row in held[:-2] if row.at > held[-1].at + 60)
    changed(store, f"DELETE FROM decisions WHERE at = {gone!r} AND reason LIKE 'hold%'")
    report = Verification(store).run(NOW, math.inf)
    assert not report["ok"]
    assert {each["at"] for each in report["differences"]} == {gone}


async def test_no_more_differences_are_told_than_anyone_reads_but_all_are_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(store)
    monkeypatch.setattr(control_verify, "DIFFERENCES_TOLD", 3)
    monkeypatch.setattr(control_verify, "TICKS_AT_ONCE", 2)
    report = Verification(store, decide=partial(decides_otherwise)).run(NOW, NOW + 9999)
    assert (report["different"], len(report["differences"])) == (12, 3)
    assert report["program"] == program()


# --- a restart in the middle --------------------------------------------------------------------------


class Scripted:
    """A source that says, at each tick, what the script holds for it; nothing, or an error."""

    def __init__(self, name: str, said: Callable[[float], list[Tick] | Exception]) -> None:
        self.name = name
        self._said = said

    async def read(self, now: float) -> list[Tick]:
        said = self._said(now)
        if isinstance(said, Exception):
            raise said
        return said


def minute(now: float) -> int:
    return round((now - NOW) / 60)


def auction(now: float) -> list[Tick] | Exception:
    """A day-ahead list that is known, then down for a while, then corrected."""
    number = minute(now)
    if number in {2, 3, *range(9, 16)}:
        return SourceError("down")
    dear = 0.3 if number < 20 else 0.01
    values = [0.05, dear, -0.02, 0.04]
    begin = NOW - 300
    return [
        Tick(POWER, value, UNITS[POWER], begin + 600 * n, begin + 600 * (n + 1), now, "auction")
        for n, value in enumerate(values)
    ]


def meter(now: float) -> list[Tick] | Exception:
    return [tick(POWER, 0.9 if minute(now) % 2 else 0.02, now), tick(HASHPRICE, 40.0 + minute(now) % 3, now)]


async def run(store: Store, ticks: range, modes: dict[str, str]) -> None:
    """One life of the daemon's controller over these minutes, on units that remember their modes themselves."""
    rules = {**MAINNET_RULES, POWER: replace(MAINNET_RULES[POWER], max_age_s=240.0)}
    policy = replace(CONFIG.policy, rules=rules, grace_s=120.0, site=SiteConfig(cap_kw=5.0))

    class Hand:
        def __init__(self, unit_id: str) -> None:
            self._unit_id = unit_id

        async def apply(self, setpoint: Setpoint, _now: float) -> None:
            modes[self._unit_id] = setpoint.mode

        async def read(self, now: float) -> UnitState:
            return UnitState(self._unit_id, modes[self._unit_id], None, None, None, now)

    async with Recorder(store) as recorder:
        clock = Clock(NOW)
        loop = ControllerLoop(
            units=FLEET,
            sources=[Scripted("auction", auction), Scripted("meter", meter)],
            actuators={unit.id: Hand(unit.id) for unit in FLEET},
            journal=LedgerJournal(recorder),
            config=LoopConfig(policy=policy, horizon_hours=1.0),
            clock=clock,
        )
        for number in ticks:
            clock.now = NOW + 60 * number
            await loop.tick()


async def test_a_restart_in_the_middle_changes_no_decision(tmp_path: Path) -> None:
    told = []
    for stops in (
        (0, 40),
        (0, 4, 11, 12, 18, 22, 40),
    ):  # also while the list is down, and after it was corrected
        with Store.open(f"sqlite:///{tmp_path / str(len(stops))}.db") as store:
            modes = {unit.id: "full" for unit in FLEET}
            for begin, end in pairwise(stops):
                await run(store, range(begin, end), modes)
            told.append(store.decisions(1000))
            report = Verification(store).run(0.0, math.inf)
            assert (report["ok"], report["same"]) == (True, 80)
    whole, interrupted = told
    assert interrupted == whole
    assert {"hold_stale", "pause_unprofitable", "safe_mode", "hold_site_cap"} <= {row.reason for row in whole}
