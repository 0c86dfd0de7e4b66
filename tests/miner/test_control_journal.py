"""The controller's memory in the ledger."""

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

import controller
from controller.deciding import DecidingConfig, RealTime
from controller.decisions import Outcome, OutcomeKind
from controller.inputs import Inputs, InputsReader, Scribe, recall
from controller.model import read_model
from controller.overrides import Override
from controller.policy import PolicyConfig
from controller.ports import AlreadyDecidedError
from controller.snapshot import Snapshot
from controller.ticks import POWER, UNITS, Tick, signal_series
from controller.units import UNKNOWN
from miner.control_journal import (
    LedgerJournal,
    Memory,
    decisions_of,
    inputs_of,
    program,
    recalled,
    remembered,
)
from miner.hashing.station import OFF, UNIT_ID
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerUnavailableError
from miner.ledger.store import Store
from tests.miner.control_harness import a_model
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

    async def test_a_time_that_has_other_decisions_is_told_and_a_later_one_is_free(
        self, recorder: Recorder
    ) -> None:
        journal = LedgerJournal(recorder)
        await journal.record_decisions([DECISION])
        await journal.record_decisions([DECISION])  # the same: only the answer was lost
        other = replace(DECISION, flip="another")
        with pytest.raises(AlreadyDecidedError, match="ledger: "):
            await journal.record_decisions([other])
        await journal.record_decisions([replace(other, id="0002", at=DECISION.at + 1e-5)])

    async def test_after_the_clock_was_set_back_the_last_decision_is_the_last_one_up_to_now(
        self, recorder: Recorder
    ) -> None:
        before, after = replace(DECISION, at=NOW + 3600), replace(DECISION, id="0002", at=NOW)
        for made in (before, after):
            await LedgerJournal(recorder).record_decisions([made])
        journal = LedgerJournal(recorder, lambda: NOW + 1)
        assert await journal.last_decisions() == {UNIT_ID: after}

    async def test_a_reason_of_another_version_says_nothing_to_this_one(
        self, recorder: Recorder, store: Store
    ) -> None:
        await LedgerJournal(recorder).record_decisions([DECISION])
        rows = store.last_decisions()
        assert decisions_of({UNIT_ID: replace(rows[UNIT_ID], reason="pause_full_moon")}) == {}

    async def test_a_ledger_that_fails_is_an_error_the_loop_outlives(self, recorder: Recorder) -> None:
        await recorder.aclose()
        with pytest.raises(RuntimeError, match="ledger: the ledger is closed"):
            await LedgerJournal(recorder).record_decisions([DECISION])


CONFIG = PolicyConfig()
QUIET = Override("cpu", "off", NOW, math.inf, "ann", "a fan is loud")


def window(start: float, stop: float, seen: float = NOW) -> Tick:
    return Tick(signal_series("dr"), 1.0, "1", start, stop, seen, "webhook")


def seen_at(at: float, prices: int = 1) -> Snapshot:
    ticks = tuple(
        Tick(POWER, 0.05, UNITS[POWER], NOW + 900 * n, NOW + 900 * (n + 1), at, "feed") for n in range(prices)
    )
    return Snapshot(at, {POWER: ticks}, (), {})


class TestInputs:
    """What decisions were made from is kept with them."""

    async def test_inputs_come_back_as_they_were_recorded_and_name_the_code_that_decided(
        self, recorder: Recorder
    ) -> None:
        journal = LedgerJournal(recorder)
        assert await journal.last_inputs() is None
        seen = seen_at(NOW, prices=100)
        inputs = Scribe().record(seen, {}, CONFIG, {POWER: "feed"})
        await journal.record_decisions([DECISION], inputs)
        found = await journal.last_inputs()
        assert found == replace(inputs, program=program())
        assert InputsReader().read(found).snapshot == seen
        assert recall(found).ticks == seen.ticks

    async def test_what_many_ticks_have_in_common_is_written_once(
        self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[list[str]] = []
        plain = recorder.add_decisions

        async def noted(rows: Any, inputs: Any = None, parts: Any = ()) -> None:
            written.append([part.kind for part in parts])
            await plain(rows, inputs, parts)

        monkeypatch.setattr(recorder, "add_decisions", noted)
        journal, scribe = LedgerJournal(recorder), Scribe()
        for number, prices in enumerate((100, 100, 1, 100, 50, 120)):
            seen = seen_at(NOW + number, prices)
            await journal.record_decisions([], scribe.record(seen, {}, CONFIG, {}))
        assert written == [["config", "series"], [], [], [], [], ["series"]]

    async def test_after_a_write_that_failed_what_is_in_common_is_written_again(
        self, recorder: Recorder, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        journal, scribe = LedgerJournal(recorder), Scribe()
        with monkeypatch.context() as patched:
            patched.setattr(
                recorder, "add_decisions", AsyncMock(side_effect=LedgerUnavailableError("disk full"))
            )
            with pytest.raises(RuntimeError, match="ledger: disk full"):
                await journal.record_decisions([], scribe.record(seen_at(NOW), {}, CONFIG, {}))
        await journal.record_decisions([], scribe.record(seen_at(NOW + 1), {}, CONFIG, {}))
        found = store.last_inputs()
        assert found is not None
        assert set(found[1]) == {found[0].config_digest}

    async def test_a_fitted_model_is_kept_once_beside_the_configuration_that_names_it(
        self, recorder: Recorder, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[list[int]] = []
        plain = recorder.add_decisions

        async def noted(rows: Any, inputs: Any = None, parts: Any = ()) -> None:
            written.append([len(part.body) for part in parts])
            await plain(rows, inputs, parts)

        monkeypatch.setattr(recorder, "add_decisions", noted)
        first, second = (RealTime(model=read_model(a_model(ratio))) for ratio in (0.25, 0.75))
        journal, scribe = LedgerJournal(recorder), Scribe()
        for number, real_time in enumerate((first, first, second, None)):
            config = DecidingConfig(real_time=real_time)
            for step in (0.0, 0.1):
                await journal.record_decisions(
                    [], scribe.record(seen_at(NOW + number + step), {}, config, {})
                )
            found = await journal.last_inputs()
            assert found is not None
            assert InputsReader().read(found).config == config
        assert [len(parts) for parts in written] == [2, 0, 0, 0, 2, 0, 1, 0]
        row, parts = store.last_inputs() or pytest.fail("nothing is kept")
        assert set(parts) == row.part_digests

    async def test_inputs_whose_parts_are_gone_are_found_but_cannot_be_read(
        self, recorder: Recorder, store: Store
    ) -> None:
        journal = LedgerJournal(recorder)
        inputs = Scribe().record(seen_at(NOW), {}, CONFIG, {})
        await journal.record_decisions([], inputs)
        row, _ = store.last_inputs() or pytest.fail("nothing is kept")
        with pytest.raises(ValueError, match="cannot be read"):
            InputsReader().read(inputs_of(row, {}))


def test_the_code_that_decides_has_a_name_that_any_change_of_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(Path(controller.__file__).parent, tmp_path / "controller")
    monkeypatch.setattr(controller, "__path__", [str(copied)])
    name = program.__wrapped__()
    assert re.fullmatch(r"\S+ [0-9a-f]{12}", name)
    assert program.__wrapped__() == name
    with (copied / "market.py").open("a") as file:
        file.write("# a word more\n")
    assert program.__wrapped__() != name


class TestOrders:
    """What people and grids asked for outlasts the daemon."""

    async def test_an_override_is_there_after_a_restart_until_it_is_taken_back(
        self, recorder: Recorder
    ) -> None:
        await LedgerJournal(recorder).record_override(QUIET)
        journal = LedgerJournal(recorder)
        assert await journal.overrides(NOW + 1e6) == {"cpu": QUIET}
        await journal.record_override(QUIET.ended(NOW + 60))
        assert await journal.overrides(NOW + 59) == {"cpu": QUIET.ended(NOW + 60)}
        assert await journal.overrides(NOW + 60) == {}

    async def test_signals_are_there_after_a_restart_as_they_were_told_last(self, recorder: Recorder) -> None:
        journal = LedgerJournal(recorder)
        await journal.record_signals([window(NOW, math.inf), window(NOW + 900, NOW + 950)])
        await journal.record_signals([window(NOW, NOW + 5, seen=NOW + 5)])
        assert await journal.signals(NOW + 60) == [window(NOW + 900, NOW + 950)]
        assert await journal.signals(NOW) == [
            window(NOW + 900, NOW + 950),
            window(NOW, NOW + 5, seen=NOW + 5),
        ]

    async def test_a_signal_that_cannot_be_recorded_is_an_error(self, recorder: Recorder) -> None:
        await recorder.aclose()
        with pytest.raises(RuntimeError, match="ledger: the ledger is closed"):
            await LedgerJournal(recorder).record_signals([window(NOW, math.inf)])


async def test_a_preview_goes_on_from_inputs_signals_and_overrides_too(
    recorder: Recorder, tmp_path: Path
) -> None:
    journal, url = LedgerJournal(recorder), f"sqlite:///{tmp_path / 'hashmill.db'}"
    inputs: Inputs = Scribe().record(seen_at(NOW), {}, CONFIG, {POWER: "feed"})
    await journal.record_decisions([DECISION], inputs)
    await journal.record_signals([window(NOW, NOW + 60), window(NOW - 9e5, NOW - 8e5)])
    await journal.record_override(QUIET)
    memory = recalled(url, NOW)
    assert await memory.last_decisions() == {UNIT_ID: DECISION}
    assert await memory.last_inputs() == replace(inputs, program=program())
    assert await memory.signals(0.0) == [window(NOW, NOW + 60)]
    assert await memory.overrides(NOW) == {"cpu": QUIET}
    for refused in (memory.record_signals([]), memory.record_override(QUIET)):
        with pytest.raises(RuntimeError, match="a preview records nothing"):
            await refused
    nothing = recalled(f"sqlite:///{tmp_path / 'none.db'}", NOW)
    assert (await nothing.last_decisions(), await nothing.last_inputs()) == ({}, None)


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
