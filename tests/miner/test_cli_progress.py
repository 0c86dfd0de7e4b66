"""How far a long command is."""

import io

import pytest
from rich import console as consoles

from miner.cli_progress import progress_told


def test_without_a_terminal_each_thing_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_told("backtest") as progress:
        for part, doing in ((0.1, "hashmill"), (0.2, "hashmill"), (0.9, "oracle"), (1.0, "")):
            progress(part, doing)
    assert capsys.readouterr().err == "backtest: hashmill\nbacktest: oracle\n"


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()

    class Terminal(consoles.Console):
        def __init__(self, **_: object) -> None:
            super().__init__(file=written, force_terminal=True, width=80)

    monkeypatch.setattr(consoles, "Console", Terminal)
    with progress_told("backtest") as progress:
        progress(0.5, "hashmill")
    assert "50%" in written.getvalue()
    assert "hashmill" in written.getvalue()
