from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from controller._plan import ffi

from controller import kernel
from controller.kernel import CLASS, Kernel, Tables

ALL = np.array([0], dtype=np.intp)


def tables(slots: int = 2, **changes: object) -> Tables:
    """One class of off (0 kW) and on (100 TH/s, 2 kW); hashprice 48, half-hour slots."""
    record = np.zeros(1, dtype=CLASS)
    record["modes"], record["on_rows"], record["off_rows"], record["levels"] = 2, 1, 1, 1
    record["allowed"] = record["worth"] = -1
    for name, value in changes.items():
        record[name] = value
    hours = np.full(slots, 0.5)
    per_hour = np.full(slots, 48 / 1000 / 24)
    return Tables(
        classes=record,
        hours=hours,
        usd_per_th=per_hour * hours,
        usd_per_th_hour=per_hour,
        usd_per_kwh=np.full(slots, 0.05),
        th_s=np.array([0.0, 100.0]),
        kw=np.array([0.0, 2.0]),
        locks=np.zeros(slots, dtype=np.uint32),
        days=np.full(slots, kernel.SAME_DAY, dtype=np.int32),
        allowed=np.zeros(0, dtype=np.uint8),
        mode_worth_usd=np.zeros(0),
    )


def with_worth(plain: Tables, slot: int, *usd: float) -> Tables:
    plain.classes["worth"] = 0
    return Tables(**{**vars(plain), "mode_worth_usd": np.array(usd), "worth_slot": slot})


def test_a_class_has_the_layout_that_c_has() -> None:
    fields = {name: field.offset for name, field in ffi.typeof("hm_plan_class").fields}
    assert CLASS.fields is not None
    assert {name: CLASS.fields[name][1] for name in CLASS.names or ()} == fields
    assert CLASS.itemsize == ffi.sizeof("hm_plan_class")


def test_a_path_earns_hashing_less_power_less_what_changes_cost() -> None:
    found = Kernel(tables(restart_h=0.25, wear_usd=0.001)).best(np.zeros(2), ALL)
    assert found.modes.tolist() == [[1, 1]]
    assert found.kw.tolist() == [[2.0, 2.0]]
    assert found.value_usd[0] == pytest.approx(2 * (0.1 - 0.05) - 0.05 - 0.001)


def test_prices_count_in_the_value_and_not_in_the_worth() -> None:
    found = Kernel(tables(standing=1)).best(np.array([0.04, 0.06]), ALL)
    assert found.modes.tolist() == [[1, 0]]
    assert found.value_usd[0] == pytest.approx(0.05 - 0.04)
    assert found.worth_usd[0] == pytest.approx(0.05)


def test_a_side_left_early_is_told() -> None:
    held = tables(standing=1, held=2, on_rows=3)
    must_stop = np.array([[True, True], [True, False]])
    found = Kernel(held).best(np.zeros(2), ALL, must_stop)
    assert found.modes.tolist() == [[1, 0]]
    assert found.early.tolist() == [[0, 1]]


def test_a_mode_is_worth_more_in_one_slot_alone() -> None:
    found = Kernel(with_worth(tables(3), 1, 0.07, 0.0)).best(np.array([0.0, 0.0, 0.06]), ALL)
    assert found.modes.tolist() == [[1, 0, 0]]
    assert found.value_usd[0] == found.worth_usd[0] == pytest.approx(0.05 + 0.07)


def test_tails_count_gains_and_costs_alone() -> None:
    bound = with_worth(tables(standing=1, restart_h=0.25, wear_usd=0.001, held=2, on_rows=3), 0, 9.0, 0.0)
    assert Kernel(bound).tails().tolist() == pytest.approx([0.1 - 0.05 - 0.001, 0.1])
    assert Kernel(tables(0)).tails().tolist() == [0.0, 0.0]


def test_classes_are_answered_in_the_order_asked_and_as_often() -> None:
    two = tables()
    records = np.concatenate([two.classes, two.classes])
    records["standing"] = [0, 1]
    records["restart_h"] = 0.25
    both = Kernel(Tables(**{**vars(two), "classes": records}))
    found = both.best(np.zeros(2), np.array([1, 0, 1]))
    assert found.worth_usd.tolist() == pytest.approx([0.1, 0.05, 0.1])
    assert both.best(np.zeros(2), np.zeros(0, dtype=np.intp)).modes.shape == (0, 2)


@pytest.mark.parametrize("prices", [np.zeros(1), np.zeros(3), np.zeros((2, 2)), np.array([0.0, np.nan])])
def test_prices_of_another_shape_or_no_numbers_are_refused(prices: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a finite price for each of the 2 slots"):
        Kernel(tables()).best(prices, ALL)


@pytest.mark.parametrize("index", [-1, 1, 2**40])
def test_a_class_that_there_is_not_is_refused(index: int) -> None:
    one = Kernel(tables())
    with pytest.raises(IndexError, match="there are 1 classes"):
        one.best(np.zeros(2), np.array([0, index]))
    with pytest.raises(IndexError, match="there are 1 classes"):
        one.worth(index, np.zeros(2, dtype=np.uint8))


def test_a_path_is_worth_the_same_whoever_asks() -> None:
    one = Kernel(tables(restart_h=0.25))
    found = one.best(np.zeros(2), ALL)
    assert one.worth(0, found.modes[0]) == found.worth_usd[0]
    assert one.worth(0, np.zeros(2, dtype=np.uint8)) == 0
    with pytest.raises(ValueError, match="a mode for each of the 2 slots"):
        one.worth(0, np.zeros(3, dtype=np.uint8))


def test_threads_may_share_a_kernel_and_find_the_same_bits() -> None:
    chance = random.Random(1)
    many = tables(400, restart_h=0.1)
    many.usd_per_kwh[:] = [chance.uniform(0, 0.15) for _ in range(400)]
    shared = Kernel(many)
    prices = [np.array([chance.uniform(0, 0.02) for _ in range(400)]) for _ in range(8)]
    alone = [shared.best(each, ALL) for each in prices]
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda each: shared.best(each, ALL), prices * 20))
    for number, found in enumerate(beside):
        assert found.value_usd.tobytes() == alone[number % 8].value_usd.tobytes()
        assert found.modes.tobytes() == alone[number % 8].modes.tobytes()
