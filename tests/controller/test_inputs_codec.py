from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field, make_dataclass, replace
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import inputs_codec, ticks
from controller.decisions import Reason
from controller.hashprice import Earned
from controller.inputs_codec import CodecError, pack, pack_column, unpack, unpack_column
from controller.signals import Action, SignalRule
from controller.ticks import POWER, Tick
from controller.units import Mode, PowerCurve, Unit, UnitState
from controller.validate import MAINNET_RULES

CURVE = PowerCurve([Mode("eco", 76, 1850), Mode("full", 100.5, 2970)])


def there_and_back(value: Any) -> Any:
    return unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(pack(value))))


def column_there_and_back(values: list[Any]) -> list[Any]:
    return unpack_column(msgspec.msgpack.decode(msgspec.msgpack.encode(pack_column(values))))


def bits(values: list[float]) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63,
        0.1,
        math.inf,
        -math.inf,
        5e-324,
        "",
        "ä",
        b"\x00\xff",
        (),
        (1, 1.0, True, None),
        [(1.5, 2.5), (3.5, 4.5)],
        ((1, "a"), (2, "b"), (3, None)),
        ((1,), (1, 2)),
        ((), ()),
        ((1, (2, 3)), (4, (5, 6))),
        frozenset({"b", "a"}),
        {},
        {"b": 1, "a": {"x": math.inf}},
        {1.5: "a number is a key too"},
        Reason.START,
        Action.CAP,
        ZoneInfo("Europe/Berlin"),
        CURVE,
        Unit("rack1", CURVE, min_on_s=60.0, starts_per_day=4),
        SignalRule("dr", Action.CAP, cap_kw=12.5, ramp_s=600.0),
        Earned(pool_fee=0.01, stale=0.001),
    ],
)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


def test_mappings_keep_their_order_and_come_back_as_plain_ones() -> None:
    back = there_and_back(MAINNET_RULES)
    assert back == dict(MAINNET_RULES)
    assert list(back) == list(MAINNET_RULES)
    assert type(back) is dict
    assert there_and_back(MappingProxyType({"z": 1, "a": 2})) == {"z": 1, "a": 2}


def test_sets_are_told_in_order_whatever_order_they_have() -> None:
    names = [f"unit-{number}" for number in range(50)]
    assert pack(frozenset(names)) == pack(frozenset(reversed(names)))


def test_a_number_of_numpy_is_told_as_the_number_it_is() -> None:
    back = there_and_back((np.float64(0.1), 1.0))
    assert back == (0.1, 1.0)
    assert {type(value) for value in back} == {float}


@given(st.lists(st.floats(), max_size=40))
def test_floats_keep_every_bit(values: list[float]) -> None:
    assert bits(column_there_and_back(values)) == bits(values)


@given(st.floats(-1e9, 1e9), st.floats(-1e6, 1e6), st.integers(0, 60), st.lists(st.floats(-1, 1), max_size=3))
def test_even_steps_keep_every_bit(first: float, step: float, count: int, then: list[float]) -> None:
    values = [first + index * step for index in range(count)] + then
    assert bits(column_there_and_back(values)) == bits(values)


@given(st.lists(st.tuples(st.sampled_from([0.0, -0.0, 0.05, 0.31, math.inf]), st.integers(1, 30))))
def test_runs_keep_every_bit(runs: list[tuple[float, int]]) -> None:
    values = [value for value, length in runs for _ in range(length)]
    assert bits(column_there_and_back(values)) == bits(values)


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=2), st.floats())))
def test_mixed_columns_keep_values_and_their_kinds(values: list[Any]) -> None:
    back = column_there_and_back(values)
    assert list(map(repr, back)) == list(map(repr, values))


@given(
    st.lists(
        st.builds(
            UnitState,
            st.text(min_size=1, max_size=3),
            st.sampled_from(["off", "full", None]),
            st.one_of(st.none(), st.floats(0, 1e6)),
            st.none(),
            st.one_of(st.none(), st.floats(-50, 150)),
            st.floats(0, 2e9),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_rows_of_one_class_come_back_as_they_were(states: list[UnitState]) -> None:
    assert list(map(repr, column_there_and_back(states))) == list(map(repr, states))


def test_what_is_alike_is_told_shortly() -> None:
    quarters = [
        Tick(POWER, 0.05, "USD/kWh", 1_700_000_000.0 + 900 * n, 1_700_000_900.0 + 900 * n, 1.5, "feed")
        for n in range(1000)
    ]
    assert len(msgspec.msgpack.encode(pack_column(quarters))) < 250
    units = [Unit(f"rack-{number}", CURVE) for number in range(1000)]
    assert len(msgspec.msgpack.encode(pack_column(units))) < 15_000
    equal = [Unit(f"rack-{number}", PowerCurve(CURVE.modes)) for number in range(1000)]
    assert len(msgspec.msgpack.encode(pack_column(equal))) < 15_000


@dataclass(frozen=True)
class Foreign:
    x: int = 0


@pytest.mark.parametrize("value", [Foreign(), object(), {"deep": (1, [object()])}, abs])
def test_what_nobody_could_read_back_is_refused_when_it_is_written(value: Any) -> None:
    with pytest.raises(CodecError, match="cannot be kept"):
        pack(value)


@pytest.mark.parametrize(
    "plain",
    [
        [],
        ["?"],
        ["o"],
        ["o", "ticks.Tick", ["series"], ["btc_usd"]],
        ["o", "ticks.Ghost", [], []],
        ["o", "nowhere.Tick", [], []],
        ["o", "ticks.math", [], []],
        ["o", "decisions.Reason", [], []],
        ["e", "decisions.Reason", "full_moon"],
        ["e", "ticks.Tick", 1],
        ["z", "Atlantis/Capital"],
        ["u", ["t", "ticks.Tick", ["series"], [["v", ["a"]]]]],
        ["u", ["?", 1]],
        ["u", ["d", [1], b"\x05"]],
        ["m", ["v", [1, 2]], ["v", [1]]],
        ["c", ["v", [1]]],
        ["s", ["v", [["l", ["v", []]]]]],
        ["o", "units.Mode", ["name", "th_s", "watts"], ["off", 5.0, 0.0]],
    ],
)
def test_what_tells_no_value_of_this_program_is_an_error_that_names_it(plain: Any) -> None:
    with pytest.raises(CodecError, match=r"."):
        unpack(plain)


@pytest.mark.parametrize("changed", [["more"], []])
def test_a_class_that_has_other_fields_by_now_is_named(
    monkeypatch: pytest.MonkeyPatch, changed: list[str]
) -> None:
    told = pack((Tick(POWER, 1.0, "USD/kWh", 0.0, 1.0, 0.0, "feed"),))
    kept = ["series", "value", "unit", "valid_from", "valid_to", "observed_at"]
    other = make_dataclass("Tick", [*kept, "source", *changed] if changed else kept)
    other.__module__ = "controller.ticks"
    monkeypatch.setattr(ticks, "Tick", other)
    with pytest.raises(
        CodecError, match=r"controller\.ticks\.Tick has other fields in this version: (more|source)"
    ):
        unpack(told)


def test_a_new_field_of_a_class_is_kept_without_any_change_here() -> None:
    state = UnitState("a", "full", 1.0, None, None, 5.0)
    names = inputs_codec.field_names(UnitState)
    assert pack(state) == ["o", "units.UnitState", names, ["a", "full", 1.0, None, None, 5.0, True]]
    assert there_and_back(replace(state, reachable=False)).reachable is False


@dataclass(frozen=True)
class _Older:
    low: float


@dataclass(frozen=True)
class _Newer:
    low: float
    real: Any = field(default=None, metadata={inputs_codec.LATER: True})


def test_a_field_that_came_later_is_not_told_at_its_default_and_is_at_it_where_it_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inputs_codec, "_name_of", lambda _kind: "thing")
    monkeypatch.setattr(inputs_codec, "_class", lambda _name: _Newer)
    assert pack(_Newer(1.5)) == pack(_Older(1.5))
    assert there_and_back(_Older(1.5)) == _Newer(1.5)
    for value in (_Newer(1.5), _Newer(1.5, "x"), _Newer(1.5, 0.0)):
        assert there_and_back(value) == value
    assert column_there_and_back([_Newer(1.5), _Newer(2.5, "x")]) == [_Newer(1.5), _Newer(2.5, "x")]
    monkeypatch.setattr(inputs_codec, "_class", lambda _name: _Older)
    with pytest.raises(CodecError, match="other fields in this version: real"):
        unpack(pack(_Newer(1.5, "x")))
