import asyncio
import math
import os
import threading
from pathlib import Path

import pytest

from controller.sources import signal_file
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


async def test_a_pipe_is_refused_at_once_and_what_was_said_before_holds(file: Path) -> None:
    os.mkfifo(file)
    source = SignalFile("dr", file, Reading())
    with pytest.raises(SourceError, match="signal: it is no regular file"):
        await source.read(NOW)
    remove(file)
    write(file, "on", NOW)
    assert await spans(source, NOW + 10) == [(NOW, math.inf)]
    remove(file)
    os.mkfifo(file)
    assert await spans(source, NOW + 20) == [(NOW, math.inf)]


async def test_a_file_that_hangs_costs_one_thread_and_what_it_said_before_holds(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SignalFile("dr", file, Reading())
    write(file, "on", NOW)
    before = await source.read(NOW)
    let_go = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(signal_file, "opened", lambda _: let_go.wait(30))
        with pytest.raises(TimeoutError):  # as the loop gives up
            async with asyncio.timeout(0.05):
                await source.read(NOW + 60)
        for tick in range(20):
            assert await source.read(NOW + 120 + tick * 60) == before
        assert [thread.name for thread in threading.enumerate()].count(source.name) == 1
        let_go.set()
    write(file, "off", NOW + 2000)
    async with asyncio.timeout(5):
        while await spans(source, NOW + 2100) == [(NOW, math.inf)]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert await spans(source, NOW + 2100) == [(NOW, NOW + 2100)]


async def test_after_the_clock_was_set_back_what_it_says_without_times_holds_and_times_are_as_they_are_named(
    file: Path,
) -> None:
    source = SignalFile("dr", file, Reading())
    write(file, "on", NOW)
    assert await spans(source, NOW + 60) == [(NOW, math.inf)]
    assert (NOW - 3600, math.inf) in await spans(source, NOW - 3600)
    named = SignalFile("dr", file, Reading())
    write(file, f'{{"start": {NOW - 100}, "until": {NOW + 900}}}', NOW)
    assert await spans(named, NOW) == [(NOW - 100, NOW + 900)]
    assert (await spans(named, NOW - 3600))[-1] == (NOW - 100, NOW + 900)
    assert [window.start for window in named._timeline.windows] == [NOW - 100]
