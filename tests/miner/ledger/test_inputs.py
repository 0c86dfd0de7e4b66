import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from miner.ledger.recorder import Recorder
from miner.ledger.rows import DecisionRow, ExistsError, InputPartRow, InputsRow, LedgerError
from miner.ledger.store import Store

Make = Callable[..., DecisionRow]


def inputs(at: float, config: str = "c1", series: str = "") -> InputsRow:
    return InputsRow(at, 1, "0.1.0 abc", config, series, bytes([0, 255]) + str(at).encode())


def part(digest: str) -> InputPartRow:
    return InputPartRow("series" if digest.startswith("s") else "config", digest, b"\x00" + digest.encode())


def digests(store: Store) -> list[str]:
    return sorted(store.input_parts([f"{kind}{number}" for kind in "cs" for number in range(9)]))


def test_what_a_tick_was_decided_from_comes_back_with_its_parts(store: Store, decision: Make) -> None:
    assert store.last_inputs() is None
    row = inputs(1_700_000_001.25, series="s1")
    store.add_decisions([decision(1, at=row.at)], row, [part("c1"), part("s1")])
    assert store.last_inputs() == (row, {"c1": part("c1"), "s1": part("s1")})
    assert [each.id for each in store.decisions_at(row.at)] == [decision(1).id]
    assert store.decisions_at(row.at + 1) == []


def test_decisions_and_inputs_are_written_both_or_neither(store: Store, decision: Make) -> None:
    bad = InputPartRow("weather", "w1", b"")  # type: ignore[arg-type]
    with pytest.raises(LedgerError, match="ck_input_parts_kind"):
        store.add_decisions([decision(1)], inputs(1.0), [bad])
    assert store.decisions() == []
    assert store.last_inputs() is None


def test_inputs_written_again_since_the_answer_was_lost_are_there_once(store: Store) -> None:
    for _ in range(2):
        store.add_decisions([], inputs(1.0), [part("c1")])
    assert store.inputs_after(0.0, 10.0, 5) == [inputs(1.0)]


def test_inputs_are_read_in_pieces_oldest_first(store: Store) -> None:
    for at in (3.0, 1.0, 2.0, 4.0):
        store.add_decisions([], inputs(at))
    assert [row.at for row in store.inputs_after(0.0, 3.5, 2)] == [1.0, 2.0]
    assert [row.at for row in store.inputs_after(2.0, 3.5, 2)] == [3.0]
    assert store.inputs_after(3.0, 3.5, 2) == []


def test_sites_do_not_see_each_other_s_inputs(url: str, store: Store) -> None:
    store.add_decisions([], inputs(1.0), [part("c1")])
    with Store.open(url, site="north") as north:
        assert north.last_inputs() is None
        assert north.input_parts(["c1"]) == {}
        north.add_decisions([], inputs(2.0), [part("c1")])
        north.prune_history(100.0)
    assert store.last_inputs() == (inputs(1.0), {"c1": part("c1")})


def test_decisions_whose_inputs_are_not_kept_are_counted(store: Store, decision: Make) -> None:
    store.add_decisions([decision(n, at=float(n), unit_id=f"u{n % 2}") for n in range(1, 6)], inputs(2.0))
    assert store.decisions_without_inputs(0.0, 10.0) == 4
    assert store.decisions_without_inputs(3.0, 4.0) == 2
    assert store.decisions_without_inputs(0.0, 10.0, unit="u0") == 1


def test_old_inputs_are_forgotten_with_parts_that_no_other_needs(store: Store) -> None:
    used = [(10, "c1", "s1"), (20, "c1", "s2"), (30, "c2", "s3"), (40, "c2", "s3"), (50, "c2", "s4")]
    known: set[str] = set()
    for at, config, series in used:
        new = [part(each) for each in (config, series) if each not in known]
        known |= {config, series}
        store.add_decisions([], inputs(float(at), config, series), new)
    store.prune_history(20.0)
    assert [row.at for row in store.inputs_after(0.0, 99.0, 9)] == [20.0, 30.0, 40.0, 50.0]
    assert digests(store) == ["c1", "c2", "s2", "s3", "s4"]
    store.prune_history(45.0)
    assert digests(store) == ["c2", "s3", "s4"]  # s3 may still be in use at 45
    store.prune_history(float("inf"))
    assert store.last_inputs() == (inputs(50.0, "c2", "s4"), {"c2": part("c2"), "s4": part("s4")})


def test_a_part_that_comes_into_use_again_is_not_forgotten_by_its_age(store: Store) -> None:
    for at, config in ((10.0, "c1"), (20.0, "c2"), (30.0, "c1")):
        store.add_decisions([], inputs(at, config), [part(config)])
    store.prune_history(35.0)
    found = store.last_inputs()
    assert found is not None
    assert found[1] == {"c1": part("c1")}


def test_a_clock_that_was_set_back_has_no_part_forgotten_that_is_in_use(store: Store) -> None:
    for at, config in ((1000.0, "c1"), (500.0, "c2")):
        store.add_decisions([], inputs(at, config), [part(config)])
    store.prune_history(1001.0)
    assert digests(store) == ["c1", "c2"]


async def test_the_recorder_writes_and_reads_inputs(store: Store, decision: Make) -> None:
    async with Recorder(store) as recorder:
        await recorder.add_decisions([decision(1)], inputs(1.0), [part("c1")])
        assert await recorder.last_inputs() == (inputs(1.0), {"c1": part("c1")})
        assert await asyncio.to_thread(store.decisions) == [decision(1)]


def test_decisions_of_a_time_that_has_others_are_refused_and_nothing_is_written(
    store: Store, decision: Make
) -> None:
    """The clock was set back: the same time comes again."""
    row, ours = inputs(5.0), decision(1, at=5.0)
    store.add_decisions([ours], row, [part("c1")])
    for others, made_from in (
        ([replace(ours, to_mode="elsewhere")], row),
        ([decision(2, at=5.0), replace(ours, reason="hold_dwell")], None),
        ([replace(ours, flip="another")], inputs(6.0)),
        ([ours], replace(row, body=b"another")),
        ([], replace(row, body=b"another")),
    ):
        with pytest.raises(ExistsError):
            store.add_decisions(others, made_from, [part("c2")])
    assert store.decisions() == [ours]
    assert store.inputs_after(0.0, 10.0, 5) == [row]
    assert digests(store) == ["c1"]


def test_decisions_written_again_since_the_answer_was_lost_are_there_once(
    store: Store, decision: Make
) -> None:
    rows = [decision(n, at=5.0, unit_id=f"u{n}", numbers={"x": math.inf, "y": -0.0}) for n in range(600)]
    for _ in range(2):
        store.add_decisions(rows, inputs(5.0), [part("c1")])
    assert len(store.decisions(1000)) == 600


def test_what_is_later_than_now_is_not_the_last_unless_there_is_nothing_else(
    store: Store, decision: Make
) -> None:
    rows = [decision(n, at=float(n), unit_id="new" if n == 4 else "old") for n in range(1, 6)]
    for row in rows:
        store.add_decisions([row], inputs(row.at))
    last = store.last_decisions(3.5)
    assert {unit: row.at for unit, row in last.items()} == {"old": 3.0, "new": 4.0}
    assert {unit: row.at for unit, row in store.last_decisions().items()} == {"old": 5.0, "new": 4.0}
    for until, at in ((3.5, 3.0), (0.5, 5.0), (math.inf, 5.0)):
        found = store.last_inputs(until)
        assert found is not None
        assert found[0].at == at
