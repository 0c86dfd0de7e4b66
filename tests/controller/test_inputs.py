from __future__ import annotations

import math
import zlib
from dataclasses import fields, make_dataclass, replace
from hashlib import blake2b
from typing import Any

import msgspec
import pytest

from controller import inputs as module
from controller.deciding import DecidingConfig, RealTime, Sees
from controller.decisions import Decision, Reason
from controller.earnings import Earnings, Scheme
from controller.forecast import QUARTERS, TypicalDay, learn
from controller.inputs import (
    LONG,
    Inputs,
    InputsError,
    InputsReader,
    Part,
    Scribe,
    recall,
)
from controller.inputs_example import EXAMPLE
from controller.model import Model
from controller.overrides import Override
from controller.policy import PolicyConfig
from controller.recent import Recent, remember
from controller.snapshot import Snapshot
from controller.ticks import BTC_USD, POWER, UNITS, Tick
from controller.units import Mode, PowerCurve, Unit, UnitState

NOW = 1_700_000_040.0
CURVE = PowerCurve([Mode("eco", 76, 1850), Mode("full", 100, 2970)])
UNITS_HERE = (Unit("a", CURVE, min_on_s=600.0), Unit("b", CURVE), Unit("c", PowerCurve(CURVE.modes)))
CONFIG = PolicyConfig(dead_band=0.03)
OWNERS = {POWER: "feed", BTC_USD: "fixed"}
A_DAY = TypicalDay(
    "Europe/Berlin",
    tuple(0.06 + 0.03 * math.sin(n / 7) for n in range(QUARTERS)),
    tuple(n % 3 for n in range(QUARTERS)),
    1_888_888,
    0.055,
)
LATELY = Recent(1_888_888, (0.05, None, -0.0, *(0.01 * n for n in range(90))))


def price(value: float, start: float, end: float = math.inf, seen: float = NOW) -> Tick:
    return Tick(POWER, value, UNITS[POWER], start, end, seen, "feed")


def day_ahead(count: int, first: int = 0, seen: float = NOW) -> tuple[Tick, ...]:
    begin = NOW - 40
    return tuple(
        price(0.05 + 0.001 * (n % 7), begin + 900 * n, begin + 900 * (n + 1), seen)
        for n in range(first, first + count)
    )


def state(unit_id: str, mode: str | None = "full", **changes: Any) -> UnitState:
    return replace(UnitState(unit_id, mode, 99.25, 2970.0, None, NOW), **changes)


def snapshot(**changes: Any) -> Snapshot:
    btc = Tick(BTC_USD, 91_234.5, UNITS[BTC_USD], NOW - 600, math.inf, NOW, "fixed")
    made = Snapshot(
        at=NOW,
        ticks={POWER: (price(0.06, NOW - 60),), BTC_USD: (btc,)},
        units=UNITS_HERE,
        states={unit.id: state(unit.id) for unit in UNITS_HERE},
        refused={POWER: "99 USD/kWh is outside -1 .. 10"},
        earnings=Earnings(Scheme.PPLNS, 0.01, None, 0.75, "main"),
        overrides={"b": Override("b", "off", NOW - 5, math.inf, "ann", "a fan is loud")},
        starting_prices=((NOW, 0.0), (NOW + 900, 0.0125)),
    )
    return replace(made, **changes)


def decision(unit_id: str, at: float) -> Decision:
    return Decision(f"{round(at * 1e6):016d}-{unit_id}", at, unit_id, "off", "full", Reason.RESUME)


def recorded(seen: Snapshot, last: dict[str, Decision] | None = None, scribe: Scribe | None = None) -> Inputs:
    return (scribe or Scribe()).record(seen, last or {}, CONFIG, OWNERS)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ticks": {}},
        {"ticks": {POWER: day_ahead(LONG)}},
        {"ticks": {POWER: day_ahead(LONG + 1)}},
        {"ticks": {BTC_USD: (), POWER: day_ahead(200)}},
        {"states": {}},
        {"states": {"b": state("b", None, reachable=False)}},
        {"states": {"c": state("c"), "a": state("a", "off", hashrate_th_s=0.0, power_w=None)}},
        {"states": {"a": state("somebody else"), "b": state("b")}},
        {"units": ()},
        {"earnings": None, "overrides": {}, "starting_prices": ()},
        {"typical_day": A_DAY},
        {"typical_day": TypicalDay("UTC", quarter=1_888_888, price_usd_per_kwh=-0.01)},
        {"typical_day": A_DAY, "ticks": {POWER: day_ahead(200)}},
        {"recent": LATELY},
        {"recent": LATELY, "typical_day": A_DAY, "ticks": {POWER: day_ahead(200)}},
    ],
)
def test_what_was_seen_is_read_back_as_it_was(changes: dict[str, Any]) -> None:
    seen = snapshot(**changes)
    back = InputsReader().read(recorded(seen))
    assert back.snapshot == seen
    assert repr(back.snapshot.ticks) == repr(seen.ticks)
    assert list(back.snapshot.states) == list(seen.states)
    assert back.config == CONFIG


def test_the_decisions_remembered_are_noted_by_their_time() -> None:
    last = {"a": decision("a", NOW - 60), "c": decision("c", NOW - 120), "gone": decision("gone", NOW - 60)}
    back = InputsReader().read(recorded(snapshot(), last))
    assert back.last_at == {"a": NOW - 60, "c": NOW - 120}


def test_what_stays_the_same_is_kept_once() -> None:
    scribe, first_day = Scribe(), day_ahead(96)
    one = recorded(snapshot(ticks={POWER: first_day}), scribe=scribe)
    # Seen again later, when some quarters have passed.
    later = tuple(replace(tick, observed_at=NOW + 1800) for tick in first_day[2:])
    seen = snapshot(at=NOW + 1800, ticks={POWER: later})
    two = recorded(seen, scribe=scribe)
    assert one.series is not None
    assert (two.config, two.series) == (one.config, one.series)
    assert InputsReader().read(two).snapshot == seen
    three = recorded(snapshot(ticks={POWER: (*later, *day_ahead(96, first=96))}), scribe=scribe)
    assert three.series != one.series


def test_the_typical_day_is_kept_once_until_it_changes() -> None:
    scribe, reader = Scribe(), InputsReader()
    changed = learn(A_DAY, 0.07, 1_888_889 * 900.0, A_DAY.zone)
    days = [TypicalDay(), A_DAY, A_DAY, changed, changed, TypicalDay()]
    seen = [snapshot(at=NOW + 60 * n, typical_day=day) for n, day in enumerate(days)]
    kept = [recorded(each, scribe=scribe) for each in seen]
    assert [reader.read(each).snapshot for each in kept] == seen
    assert [recall(each).typical_day for each in kept] == days
    parts = [each.series for each in kept]
    assert (parts[0], parts[5]) == (None, None)
    assert parts[1] is parts[2]
    assert parts[3] is parts[4]
    assert parts[2] != parts[3]
    sizes = [len(each.body) for each in kept]
    assert max(sizes) - min(sizes) <= 4


def test_a_typical_day_stands_beside_long_series_and_each_may_change() -> None:
    scribe, reader = Scribe(), InputsReader()
    for ticks, day in (
        (day_ahead(96), A_DAY),
        (day_ahead(96)[2:], A_DAY),
        (day_ahead(96)[2:], replace(A_DAY, quarter=1_888_889)),
        ((price(0.06, NOW - 60),), replace(A_DAY, quarter=1_888_889)),
        (day_ahead(96)[3:], TypicalDay()),
    ):
        seen = snapshot(ticks={POWER: tuple(ticks)}, typical_day=day)
        inputs = recorded(seen, scribe=scribe)
        assert reader.read(inputs).snapshot == seen
        assert (recall(inputs).ticks, recall(inputs).typical_day) == (seen.ticks, day)


def test_the_last_prices_are_kept_once_until_a_quarter_hour_begins() -> None:
    scribe, reader = Scribe(), InputsReader()
    later = remember(LATELY, 0.07, 1_888_889 * 900.0)
    steps = (Recent(), LATELY, LATELY, later, later)
    kept = [recorded(snapshot(at=NOW + n, recent=each), scribe=scribe) for n, each in enumerate(steps)]
    assert [repr(reader.read(each).snapshot.recent) for each in kept] == list(map(repr, steps))
    assert [recall(each).recent for each in kept] == list(steps)
    assert kept[0].series is None
    assert kept[1].series is kept[2].series
    assert kept[3].series is kept[4].series
    assert kept[2].series != kept[3].series
    assert len(kept[4].series.body) < 700  # type: ignore[union-attr] # there is one


def test_a_fitted_model_is_a_part_of_its_own_kept_once() -> None:
    model, other = Model(b"many numbers" * 1000), Model(b"others")
    scribe, reader = Scribe(), InputsReader()
    configs = [
        DecidingConfig(CONFIG),
        DecidingConfig(CONFIG, real_time=RealTime(Sees.B)),
        DecidingConfig(CONFIG, real_time=RealTime(Sees.A, model)),
        DecidingConfig(CONFIG, 12.0, real_time=RealTime(Sees.B, Model(model.data))),
        DecidingConfig(CONFIG, real_time=RealTime(Sees.A, other)),
        DecidingConfig(CONFIG, real_time=RealTime()),
    ]
    kept = [scribe.record(snapshot(), {}, config, OWNERS) for config in configs]
    assert [reader.read(each).config for each in kept] == configs
    parts = [each.model for each in kept]
    assert parts[0] is parts[1] is parts[5] is None
    assert parts[2] is parts[3]
    assert parts[4] not in {None, parts[2]}
    assert len(kept[2].config.body) < 2000
    assert recall(kept[2]).ticks == snapshot().ticks
    for damaged_part in (Part(parts[2].digest, b""), Part(parts[2].digest, parts[4].body)):  # type: ignore[union-attr] # there are
        with pytest.raises(InputsError, match="cannot be read"):
            InputsReader().read(replace(kept[2], model=damaged_part))


def test_without_a_real_time_market_a_configuration_is_told_as_before_there_was_any() -> None:
    told = msgspec.msgpack.decode(
        zlib.decompress(Scribe().record(snapshot(), {}, DecidingConfig(CONFIG), {}).config.body)
    )
    assert told["config"][:3] == [
        "o",
        "deciding.DecidingConfig",
        ["policy", "horizon_hours", "slot_s", "lasting"],
    ]


def test_a_part_whose_last_prices_are_something_else_is_damaged() -> None:
    raw = msgspec.msgpack.encode({"recent": 7})
    part = Part(blake2b(raw, digest_size=8).hexdigest(), zlib.compress(raw))
    inputs = replace(recorded(snapshot()), series=part)
    for read in (InputsReader().read, recall):
        with pytest.raises(InputsError, match="its recent is no Recent"):
            read(inputs)


def test_a_part_whose_typical_day_is_something_else_is_damaged() -> None:
    raw = msgspec.msgpack.encode({"typical_day": 7})
    part = Part(blake2b(raw, digest_size=8).hexdigest(), zlib.compress(raw))
    inputs = replace(recorded(snapshot()), series=part)
    for read in (InputsReader().read, recall):
        with pytest.raises(InputsError, match="its typical_day is no TypicalDay"):
            read(inputs)


def test_a_typical_day_takes_less_than_a_kilobyte_and_that_of_a_fixed_price_nearly_nothing() -> None:
    varied = recorded(snapshot(typical_day=A_DAY))
    flat = recorded(snapshot(typical_day=replace(A_DAY, prices_usd_per_kwh=(0.05,) * 96, days=(7,) * 96)))
    assert varied.series is not None
    assert flat.series is not None
    assert len(varied.series.body) < 1000
    assert len(flat.series.body) < 200


@pytest.mark.parametrize(("before", "after"), [(0.05, 0.5), (0.0, -0.0)])
def test_a_corrected_price_makes_another_part(before: float, after: float) -> None:
    scribe, feed = Scribe(), day_ahead(96)
    told = [(*feed[:5], replace(feed[5], value=value), *feed[6:]) for value in (before, after)]
    kept = [recorded(snapshot(ticks={POWER: ticks}), scribe=scribe) for ticks in told]
    assert kept[0].series != kept[1].series
    reader = InputsReader()
    assert [repr(reader.read(each).snapshot.ticks[POWER]) for each in kept] == list(map(repr, told))


def test_another_configuration_or_other_units_make_another_part() -> None:
    scribe = Scribe()
    one = scribe.record(snapshot(), {}, CONFIG, OWNERS)
    two = scribe.record(snapshot(), {}, replace(CONFIG, grace_s=1.0), OWNERS)
    three = scribe.record(snapshot(units=UNITS_HERE[:2]), {}, CONFIG, OWNERS)
    again = scribe.record(snapshot(), {}, replace(CONFIG), OWNERS)
    assert len({one.config.digest, two.config.digest, three.config.digest}) == 3
    assert again.config == one.config


def test_a_part_is_understood_once_for_many_ticks() -> None:
    scribe, reader = Scribe(), InputsReader()
    first, second = (reader.read(recorded(snapshot(at=at), scribe=scribe)) for at in (NOW, NOW + 60))
    assert first.snapshot.units is second.snapshot.units
    assert first.config is second.config


def test_a_start_goes_on_from_ticks_refusals_owners_and_prices() -> None:
    seen = snapshot(ticks={POWER: day_ahead(50)})
    back = recall(recorded(seen))
    assert (back.at, back.ticks, back.refused) == (NOW, seen.ticks, seen.refused)
    assert (back.owners, back.starting_prices) == (OWNERS, seen.starting_prices)


def test_a_start_goes_on_from_the_prices_of_the_last_plan_not_from_those_it_began_with() -> None:
    after = ((NOW + 900, 0.02), (NOW + 1800, 0.0))
    inputs = Scribe().record(snapshot(), {}, CONFIG, OWNERS, after)
    assert recall(inputs).starting_prices == after
    assert InputsReader().read(inputs).snapshot == snapshot()
    assert recall(Scribe().record(snapshot(), {}, CONFIG, OWNERS, ())).starting_prices == ()


def test_a_start_goes_on_though_units_and_configuration_mean_nothing_any_more() -> None:
    inputs = replace(recorded(snapshot()), config=Part("gone", b""))
    assert recall(inputs).ticks == snapshot().ticks
    with pytest.raises(InputsError, match="cannot be read"):
        InputsReader().read(inputs)


def test_another_layout_is_named_and_not_guessed_at() -> None:
    newer = replace(recorded(snapshot()), format=module.FORMAT + 1)
    for read in (InputsReader().read, recall):
        with pytest.raises(InputsError, match=r"have layout 2, this version reads 1"):
            read(newer)


def packed(plain: object, example: bytes = EXAMPLE) -> bytes:
    packer = zlib.compressobj(zdict=example)
    return packer.compress(msgspec.msgpack.encode(plain)) + packer.flush()


def damaged(inputs: Inputs) -> list[Inputs]:
    told = msgspec.msgpack.decode(zlib.decompressobj(zdict=EXAMPLE).decompress(inputs.body))
    without = {name: value for name, value in told.items() if name != "ticks"}
    assert inputs.series is not None
    return [
        replace(inputs, body=inputs.body[:-1]),
        replace(inputs, body=b"no zlib"),
        replace(inputs, body=packed([1])),
        replace(inputs, body=packed(told, b"another example")),
        replace(inputs, body=packed(without)),
        replace(inputs, series=None),
        replace(inputs, series=Part(inputs.series.digest, inputs.config.body)),
        replace(inputs, series=Part(inputs.series.digest, b"")),
    ]


@pytest.mark.parametrize("index", range(8))
def test_a_damaged_document_is_an_error_that_names_the_tick(index: int) -> None:
    inputs = damaged(recorded(snapshot(ticks={POWER: day_ahead(50)})))[index]
    for read in (InputsReader().read, recall):
        with pytest.raises(InputsError, match=str(NOW)):
            read(inputs)


@pytest.mark.parametrize("there", ["earlier", "later"])
def test_a_snapshot_with_other_fields_by_now_is_named(monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    names = [field.name for field in fields(Snapshot)]
    inputs = recorded(snapshot())
    missing = "weather" if there == "later" else "starting_prices"
    other = make_dataclass("Snapshot", [*names, missing] if there == "later" else set(names) - {missing})
    monkeypatch.setattr(module, "Snapshot", other)
    with pytest.raises(InputsError, match=f"a snapshot has other fields in this version: {missing}"):
        InputsReader().read(inputs)


def test_inputs_of_a_fleet_stay_small() -> None:
    units = tuple(Unit(f"rack{n // 50}-{n % 50:02}", CURVE) for n in range(1000))
    states = {unit.id: state(unit.id, hashrate_th_s=100 * (1 + math.sin(n))) for n, unit in enumerate(units)}
    seen = snapshot(units=units, states=states, overrides={})
    last = {unit.id: decision(unit.id, NOW - 60) for unit in units}
    inputs = recorded(seen, last)
    assert len(inputs.body) < 9000  # 8 bytes are the measured hashrate of each
    assert InputsReader().read(inputs).snapshot == seen
