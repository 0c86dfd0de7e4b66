"""The controller's memory in the ledger."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from controller.decisions import Outcome, OutcomeKind
from controller.ticks import POWER, Tick
from controller.units import UNKNOWN
from miner.control_journal import LedgerJournal, Memory, _decisions, remembered
from miner.hashing.station import OFF, UNIT_ID
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from tests.miner.harness import DECISION, NOW


class TestJournal:
    """The controller's memory is the ledger."""

    @pytest.mark.parametrize("from_mode", [OFF, UNKNOWN])
    async def test_a_decision_comes_back_as_it_was_made(self, recorder: Recorder, from_mode: str) -> None:
        journal = LedgerJournal(recorder)
        made = replace(DECISION, from_mode=from_mode)
        await journal.record_decisions([made])
        assert await journal.last_decisions() == {UNIT_ID: made}

    async def test_a_mode_nobody_could_read_is_none_in_the_ledger(
        self, recorder: Recorder, store: Store
    ) -> None:
        await LedgerJournal(recorder).record_decisions([replace(DECISION, from_mode=UNKNOWN)])
        (row,) = store.decisions()
        assert row.from_mode is None

    async def test_outcomes_and_ticks_are_kept_as_they_were(self, recorder: Recorder, store: Store) -> None:
        journal = LedgerJournal(recorder)
        await journal.record_decisions([DECISION])
        await journal.record_outcomes(
            [Outcome(DECISION.id, UNIT_ID, NOW + 1, OutcomeKind.CONFIRMED, "at once", "full")]
        )
        await journal.record_ticks([Tick(POWER, 0.05, "USD/kWh", NOW, math.inf, NOW, "tape")])
        await recorder.aclose()
        ((outcome,),) = store.outcomes([DECISION.id]).values()
        assert (outcome.outcome, outcome.detail, outcome.mode_read) == ("confirmed", "at once", "full")
        tick = store.latest_ticks()[POWER]
        assert (tick.value, tick.valid_to, tick.source) == (0.05, math.inf, "tape")

    async def test_a_reason_of_another_version_says_nothing_to_this_one(
        self, recorder: Recorder, store: Store
    ) -> None:
        await LedgerJournal(recorder).record_decisions([DECISION])
        rows = store.last_decisions()
        assert _decisions({UNIT_ID: replace(rows[UNIT_ID], reason="pause_full_moon")}) == {}

    async def test_a_ledger_that_fails_is_an_error_the_loop_outlives(self, recorder: Recorder) -> None:
        await recorder.aclose()
        with pytest.raises(RuntimeError, match="ledger: the ledger is closed"):
            await LedgerJournal(recorder).record_decisions([DECISION])


async def test_a_preview_remembers_what_the_ledger_does_and_writes_nothing(
    recorder: Recorder, store: Store, tmp_path: Path
) -> None:
    await LedgerJournal(recorder).record_decisions([DECISION])
    file = tmp_path / "hashmill.db"
    memory = Memory(remembered(f"sqlite:///{file}"))
    assert await memory.last_decisions() == {UNIT_ID: DECISION}
    with pytest.raises(RuntimeError, match="a preview records nothing"):
        await memory.record_decisions([replace(DECISION, id="0002")])
    assert len(store.decisions()) == 1


def test_where_there_is_no_ledger_yet_nothing_is_remembered_and_none_is_made(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    assert remembered(f"sqlite:///{file}") == {}
    assert not file.exists()
