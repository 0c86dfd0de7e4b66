from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

WHOLE = [(0.0, "on"), (1_000.0, "off"), (5_000.0, "on")]


@pytest.fixture
def live_day(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """As a command finds it: with its own folder on the path."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "bench")
    import live_day as module  # noqa: PLC0415 - its folder is on the path only now

    return module


def test_changes_some_ticks_apart_are_alike(live_day: ModuleType) -> None:
    moved = [(60.0, "on"), (880.0, "off"), (5_180.0, "on")]
    assert live_day.unlike(WHOLE, WHOLE, []) == []
    assert live_day.unlike(WHOLE, moved, []) == []


@pytest.mark.parametrize(
    "killed",
    [
        [(0.0, "on"), (1_300.0, "off"), (5_000.0, "on")],
        [(0.0, "on"), (1_000.0, "eco"), (5_000.0, "on")],
        [(0.0, "on"), (1_000.0, "off")],
        [*WHOLE, (6_000.0, "off")],
        [],
    ],
)
def test_a_change_too_late_of_another_mode_missing_or_too_many_is_told(
    live_day: ModuleType, killed: list[tuple[float, str]]
) -> None:
    assert live_day.unlike(WHOLE, killed, []) != []


def test_what_was_due_while_the_daemon_was_down_may_come_when_it_is_back(live_day: ModuleType) -> None:
    late = [(0.0, "on"), (1_400.0, "off"), (5_000.0, "on")]
    assert live_day.unlike(WHOLE, late, [(990.0, 1_300.0)]) == []
    assert live_day.unlike(WHOLE, late, [(990.0, 1_100.0)]) != []


def test_what_was_over_before_the_daemon_came_back_need_not_have_been(live_day: ModuleType) -> None:
    whole = [(0.0, "on"), (1_000.0, "off"), (1_200.0, "on"), (5_000.0, "off")]
    killed = [(0.0, "on"), (5_000.0, "off")]
    assert live_day.unlike(whole, killed, [(950.0, 1_400.0)]) == []
    assert live_day.unlike(whole, killed, [(950.0, 1_010.0)]) != []


def test_it_says_what_it_needs_where_there_is_no_made_clock(
    live_day: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(live_day, "LIBRARIES", ())
    monkeypatch.setattr("sys.argv", ["live_day.py", "--quick"])
    assert live_day.main() == 2
    assert "apt-get install faketime" in capsys.readouterr().err
