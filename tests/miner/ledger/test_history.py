"""What is forgotten of decisions, in pieces; what the next decision needs stays."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from miner.ledger import history
from miner.ledger.history import Piece, next_piece, prune_decisions
from miner.ledger.recorder import Recorder
from miner.ledger.rows import DecisionRow, InputsRow, OutcomeRow, TickRow
from miner.ledger.store import Store

Make = Callable[..., DecisionRow]
Behind = Callable[[str], list[tuple[Any, ...]]]

#: By minute what was decided for the unit a; b only holds.
REASONS = ("start", "hold_min_on", "pause_unprofitable", "hold_unprofitable", "unreachable", "hold_stale")


@pytest.fixture
def ticks(decision: Make) -> Callable[..., list[DecisionRow]]:
    """Decisions of two units at 0 s, 60 s, ..."""

    def make(reasons: tuple[str, ...] = REASONS, begin: float = 0.0) -> list[DecisionRow]:
        rows = []
        for number, reason in enumerate(reasons):
            at = begin + 60.0 * number
            rows.append(decision(1, id=f"{at:09.0f}-a", at=at, unit_id="a", reason=reason))
            rows.append(decision(1, id=f"{at:09.0f}-b", at=at, unit_id="b", reason="hold_profitable"))
        return rows

    return make


def left(store: Store) -> list[tuple[float, str, str]]:
    return sorted((row.at, row.unit_id, row.reason) for row in store.decisions(1000))


def inputs(at: float) -> InputsRow:
    return InputsRow(at, 1, "0.1.0 abc", "c1", "", b"\x00")


def test_decisions_that_only_held_are_forgotten_first(
    store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    store.add_decisions(ticks())
    store.prune_history(-math.inf, holds_before=300.0)
    assert left(store) == [
        (0.0, "a", "start"),
        (120.0, "a", "pause_unprofitable"),
        (240.0, "a", "unreachable"),
        (300.0, "a", "hold_stale"),
        (300.0, "b", "hold_profitable"),
    ]
    store.prune_history(121.0, holds_before=300.0)
    assert [at for at, *_ in left(store)] == [240.0, 300.0, 300.0]


def test_a_hold_that_something_came_of_and_the_last_of_a_unit_stay(
    store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    rows = [row for row in ticks() if row.unit_id == "a" or row.at < 100]
    store.add_decisions(rows)
    store.add_outcomes([OutcomeRow("000000060-a", 61.0, "failed", "no answer")])
    for _ in range(2):
        store.prune_history(-math.inf, holds_before=math.inf)
        held = [(at, unit) for at, unit, reason in left(store) if reason.startswith("hold")]
        assert held == [(60.0, "a"), (60.0, "b"), (300.0, "a")]
    assert list(store.outcomes(["000000060-a"])) == ["000000060-a"]


def test_a_unit_that_comes_back_is_forgotten_like_the_others_after_the_next_start(
    url: str, store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    store.add_decisions(ticks(("hold_min_on", "start")))
    store.prune_history(-math.inf, holds_before=math.inf)
    store.add_decisions(ticks(("hold_min_on", "start"), begin=600.0))
    with Store.open(url) as again:
        again.prune_history(-math.inf, holds_before=math.inf)
    assert left(store) == [(60.0, "a", "start"), (660.0, "a", "start"), (660.0, "b", "hold_profitable")]


def test_a_clock_that_was_set_back_hides_no_decision_from_forgetting(
    store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    store.add_decisions(ticks(begin=90_000.0))
    store.prune_history(-math.inf, holds_before=80_000.0)
    store.add_decisions(ticks())
    store.prune_history(-math.inf, holds_before=0.0)
    store.prune_history(-math.inf, holds_before=300.0)
    assert [at for at, _, reason in left(store) if reason.startswith("hold") and at < 300] == []


def test_the_inputs_of_forgotten_decisions_go_with_them_but_never_the_last(
    store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    rows = ticks()
    for at in sorted({row.at for row in rows}):
        store.add_decisions([row for row in rows if row.at == at], inputs(at))
    store.prune_history(-math.inf, holds_before=180.0)
    assert [row.at for row in store.inputs_after(-1.0, 999.0, 9)] == [180.0, 240.0, 300.0]
    store.prune_history(240.0, holds_before=180.0)
    assert [row.at for row in store.inputs_after(-1.0, 999.0, 9)] == [240.0, 300.0]
    store.prune_history(math.inf, holds_before=math.inf)
    assert [row.at for row in store.inputs_after(-1.0, 999.0, 9)] == [300.0]


def test_nothing_is_forgotten_of_another_site(
    url: str, store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    store.add_decisions(ticks())
    with Store.open(url, site="north") as north:
        north.add_decisions(ticks())
        north.add_outcomes([OutcomeRow("000000180-a", 181.0, "failed")])
        north.prune_history(60.0, holds_before=math.inf)
        assert len(left(north)) == 5
    assert len(left(store)) == 12


def test_a_piece_is_made_of_whole_ticks_whatever_their_size(
    store: Store, ticks: Callable[..., list[DecisionRow]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_decisions(ticks())

    def pieces(rows: int) -> list[Piece]:
        monkeypatch.setattr(history, "PIECE_ROWS", rows)
        found: list[Piece] = []
        with store._reading() as connection:
            since = -math.inf
            while (
                piece := next_piece(connection, "default", since, 299.0, only_holds=False)
            ) is not None and since < 299.0:
                found.append(piece)
                since = piece.until
        return found

    whole = [(piece.since, piece.until) for piece in pieces(4)]
    assert whole == [(0.0, 120.0), (120.0, 240.0), (240.0, 299.0)]
    assert [piece.since for piece in pieces(1)] == [0.0, 60.0, 120.0, 180.0, 240.0]
    assert [piece.since for piece in pieces(5)] == [0.0, 120.0, 240.0]


def test_a_piece_that_could_not_be_written_is_the_next_one_again(
    store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    store.add_decisions(ticks())
    for _ in range(2):
        write = store.next_to_forget(-math.inf, 300.0)
        assert write is not None
    store.commit([write])
    assert store.next_to_forget(-math.inf, 300.0) is None


async def test_other_writes_get_their_turn_between_the_pieces(
    store: Store, ticks: Callable[..., list[DecisionRow]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PIECE_ROWS", 2)
    commits = []
    commit = store.commit
    monkeypatch.setattr(store, "commit", lambda group: (commits.append(len(group)), commit(group)))
    async with Recorder(store) as recorder:
        await recorder.add_decisions(ticks())
        await recorder.prune_history(61.0, holds_before=300.0)
        assert len(commits) > 5
        assert len(await asyncio.to_thread(left, store)) == 4


# --- what it costs ------------------------------------------------------------------------------------


@contextmanager
def statements(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """The statements about decisions that the store sends meanwhile, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if " decisions" in statement:
            sent.append((statement, parameters))

    event.listen(store._engine, "before_cursor_execute", note)
    yield sent
    event.remove(store._engine, "before_cursor_execute", note)


def test_no_statement_reads_all_decisions(
    url: str, store: Store, behind: Behind, ticks: Callable[..., list[DecisionRow]]
) -> None:
    store.add_decisions(ticks(REASONS * 300))
    is_sqlite = url.startswith("sqlite")
    if not is_sqlite:
        behind("ANALYZE")
    with statements(store) as sent:
        for before in (-math.inf, 9_000.0):
            write = store.next_to_forget(before, 30_000.0)
            assert write is not None
            store.commit([write])
    assert len(sent) == 8
    with store._engine.connect() as connection:
        for statement, parameters in sent:
            explain = f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{statement}"
            plan = [str(row[-1]) for row in connection.exec_driver_sql(explain, parameters)]
            assert not [line for line in plan if "SCAN decisions" in line or "Seq Scan on decisions" in line]
            assert any("ix_decisions_site_at" in line or "pk_decisions" in line for line in plan), plan


def test_what_was_looked_at_and_stays_is_not_looked_at_again(
    store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    store.add_decisions(ticks())
    store.prune_history(-math.inf, holds_before=240.0)
    with statements(store) as sent:
        assert store.next_to_forget(-math.inf, 245.0) is not None
    since = [
        240.0 in (parameters.values() if isinstance(parameters, dict) else parameters)
        for _, parameters in sent
    ]
    assert since == [False, True, True]


def test_a_piece_of_holds_is_forgotten_for_one_site(
    store: Store, ticks: Callable[..., list[DecisionRow]]
) -> None:
    store.add_decisions(ticks())
    store.commit(
        [lambda connection, site: prune_decisions(connection, site, Piece(60.0, 121.0, only_holds=True))]
    )
    assert [at for at, unit, _ in left(store) if unit == "b"] == [0.0, 180.0, 240.0, 300.0]


def test_a_signal_that_was_ended_does_not_come_back_when_the_word_that_ended_it_is_forgotten(
    store: Store,
) -> None:
    day = 86_400.0

    def window(start: float, until: float, seen: float) -> TickRow:
        return TickRow("signal:dr", 1.0, "1", start, until, seen, "webhook")

    store.add_ticks([window(1000.0, math.inf, 1000.0)])
    store.add_ticks([window(1000.0, 2000.0, 2000.0)])
    store.add_ticks([window(50 * day, 50 * day + 60, 50 * day)])
    store.prune_history(40 * day)
    assert store.last_windows("signal:", 99 * day) == []


def test_a_signal_without_an_end_outlives_all_forgetting(store: Store) -> None:
    on = TickRow("signal:dr", 1.0, "1", 1000.0, math.inf, 1000.0, "webhook")
    store.add_ticks([on])
    store.add_ticks([TickRow("signal:dr", 1.0, "1", 5e6, 5e6 + 60, 5e6, "webhook")])
    store.prune_history(4e6)
    assert on in store.last_windows("signal:", 9e6)
