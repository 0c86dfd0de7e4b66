import sqlite3
from collections.abc import Callable

import pytest

from miner.ledger.engine import to_json
from miner.ledger.numbers import MARK, SHORT, decision_of, restored, stored
from miner.ledger.rows import DecisionRow
from miner.ledger.store import Store

Make = Callable[..., DecisionRow]


def test_every_short_name_belongs_to_one_name_and_is_shorter() -> None:
    assert len(set(SHORT.values())) == len(SHORT)
    assert all(len(short) == 2 < len(name) for name, short in SHORT.items())


@pytest.mark.parametrize(
    "numbers",
    [
        {name: number / 3 for number, name in enumerate(SHORT)},
        {"margin_usd_per_hour": 0.1 + 0.2, "someone_s_number": 1e-300},
        {"~hp": 1.0, "~~hp": 2.0, "hp": 3.0, "hashprice_usd_per_ph_day": 4.0, "~": 5.0, "": 6.0},
        {},
    ],
)
def test_numbers_come_back_under_their_names_whatever_these_are(numbers: dict[str, float]) -> None:
    kept = stored(numbers)
    assert restored(kept) == numbers
    assert list(restored(kept)) == list(numbers)


def test_numbers_under_whole_names_and_under_names_of_a_later_version_are_read_as_they_are() -> None:
    kept = {"power_usd_per_kwh": 0.05, "~zz": 1.0}
    assert restored(kept) == kept
    assert MARK + "zz" not in stored(dict.fromkeys(SHORT, 0.0))


def test_a_row_of_the_table_is_a_decision(decision: Make) -> None:
    row = decision(1)
    columns = {name: getattr(row, name) for name in DecisionRow.__slots__}
    assert decision_of({**columns, "numbers": {"~pw": 0.05}}) == decision(
        1, numbers={"power_usd_per_kwh": 0.05}
    )


def test_a_ledger_keeps_short_names_and_shows_whole_ones(store: Store, decision: Make) -> None:
    numbers = {name: -1 / (3 + number) for number, name in enumerate(SHORT)}
    store.add_decisions([decision(1, numbers=numbers)])
    assert store.decisions()[0].numbers == numbers
    assert store.last_decisions()["cpu"].numbers == numbers
    assert store.decisions_at(decision(1).at)[0].numbers == numbers


def test_names_are_no_longer_the_greater_part_of_a_row(sqlite_url: str, decision: Make) -> None:
    usual = [
        name for name in SHORT if name.endswith(("_day", "_kwh", "_hour", "_ratio", "since_s", "_kwh_s"))
    ]
    numbers = {name: -1 / (3 + number) for number, name in enumerate(usual)}
    with Store.open(sqlite_url) as store:
        store.add_decisions([decision(1, numbers=numbers)])
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as file:
        ((kept,),) = file.execute("SELECT numbers FROM decisions")
    assert len(kept) < 0.6 * len(to_json(numbers))
