import math
import os
from pathlib import Path

import pytest

from controller.sources.base import Source, SourceError
from controller.sources.signal_file import MAX_BYTES, SignalFile
from controller.sources.signal_text import Reading
from controller.sources.signal_windows import Restorable

NOW = 1_800_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "signal"


def write(file: Path, text: str, at: float) -> None:
    file.write_text(text)
    os.utime(file, (at, at))


def remove(file: Path) -> None:
    file.unlink()


def garble(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")


async def spans(source: SignalFile, now: float) -> list[tuple[float, float]]:
    return [(tick.valid_from, tick.valid_to) for tick in await source.read(now)]


async def test_a_file_says_on_and_off(file: Path) -> None:
    source = SignalFile("dr", file, Reading())
    assert isinstance(source, Source)
    assert isinstance(source, Restorable)
    write(file, "off\n", NOW)
    assert await spans(source, NOW + 5) == []
    write(file, "on\n", NOW + 10)
    assert await spans(source, NOW + 60) == [(NOW + 60, math.inf)]
    write(file, "off\n", NOW + 90)
    assert await spans(source, NOW + 120) == [(NOW + 60, NOW + 120)]


async def test_what_was_written_before_we_looked_holds_since_it_was_written(file: Path) -> None:
    write(file, "on", NOW - 500)
    (tick,) = await SignalFile("dr", file, Reading()).read(NOW)
    assert (tick.series, tick.valid_from, tick.observed_at) == ("signal:dr", NOW - 500, NOW)


async def test_a_file_dated_ahead_holds_from_now(file: Path) -> None:
    write(file, "on", NOW + 500)
    assert await spans(SignalFile("dr", file, Reading()), NOW) == [(NOW, math.inf)]


async def test_a_file_that_is_missing_at_first_is_named(file: Path) -> None:
    with pytest.raises(SourceError, match=r"signal: No such file"):
        await SignalFile("dr", file, Reading()).read(NOW)


@pytest.mark.parametrize("text", ['[{"start": 18', "", "x" * (MAX_BYTES + 1)])
async def test_a_half_written_file_changes_nothing_and_is_told_of_once(
    file: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    source = SignalFile("dr", file, Reading())
    write(file, f'[{{"until": {NOW + 900}}}]', NOW)
    before = await source.read(NOW)
    write(file, text, NOW + 10)
    assert await source.read(NOW + 20) == before
    assert await source.read(NOW + 30) == before
    assert [record.message for record in caplog.records] == ["signal_file_not_read"]
    remove(file)
    assert await source.read(NOW + 40) == before
    write(file, "[]", NOW + 50)
    assert await spans(source, NOW + 60) == [(NOW, NOW + 60)]


async def test_what_is_not_text_is_refused(file: Path) -> None:
    write(file, "on", NOW)
    garble(file)
    with pytest.raises(SourceError, match="signal: "):
        await SignalFile("dr", file, Reading()).read(NOW)


async def test_after_a_restart_what_was_taken_out_meanwhile_ends(file: Path) -> None:
    source = SignalFile("dr", file, Reading())
    write(file, "on", NOW)
    recorded = await source.read(NOW)
    again = SignalFile("dr", file, Reading())
    again.restore(recorded)
    write(file, "off", NOW + 10)
    assert await spans(again, NOW + 20) == [(NOW, NOW + 20)]
