"""A file of prices that others write."""

import asyncio
import os
import threading
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import pytest

from controller.sources import power_file
from controller.sources.base import SourceError
from controller.sources.power_file import FileFeed
from controller.sources.power_timeline import Quotes
from controller.sources.regular_file import RegularFile, opened

T0 = datetime.fromisoformat("2026-01-01T00:00Z").timestamp()
HEAD = "start_utc,eur_per_mwh\n"


def row(hour: int, price: float) -> str:
    return f"2026-01-01T{hour:02}:00:00Z,{price}\n"


def write(file: Path, text: str, at: float) -> None:
    """As if it was written at that time."""
    file.write_text(text)
    os.utime(file, (at, at))


def prices(said: Quotes) -> list[float]:
    return [round(each.value * 1000, 6) for each in said.settled]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "prices.csv"
    write(made, HEAD + row(0, 10) + row(1, -20), T0 - 600)
    return made


async def test_the_prices_of_the_file_are_given(file: Path) -> None:
    said = await FileFeed(file).quotes(T0)
    assert (said.currency, prices(said), said.problem, said.complete) == ("EUR", [10, -20], "", False)


async def test_it_is_read_again_only_when_it_changes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = FileFeed(file)
    await feed.quotes(T0)
    with monkeypatch.context() as patch:
        patch.setattr(power_file, "read_table", None)
        await feed.quotes(T0 + 60)
    write(file, HEAD + row(0, 10) + row(1, 30), T0 + 61)
    assert prices(await feed.quotes(T0 + 120)) == [10, 30]


async def test_while_it_is_being_written_the_last_good_one_stays(file: Path) -> None:
    feed = FileFeed(file)
    await feed.quotes(T0)
    write(file, HEAD + row(0, 11), T0 + 59.5)  # a whole line so far, more to come
    assert prices(await feed.quotes(T0 + 60)) == [10, -20]
    write(file, HEAD + row(0, 11) + row(1, 12), T0 + 60)
    assert prices(await feed.quotes(T0 + 63)) == [11, 12]


@pytest.mark.parametrize(
    "text", ["", HEAD, HEAD + row(0, 10) + "2026-01-01T0", "<html>", HEAD + row(0, 10).replace("10", "x")]
)
async def test_a_file_that_cannot_be_used_is_told_and_the_last_good_one_stays(file: Path, text: str) -> None:
    feed = FileFeed(file)
    await feed.quotes(T0)
    write(file, text, T0 + 10)
    for now in (T0 + 60, T0 + 120):
        said = await feed.quotes(now)
        assert prices(said) == [10, -20]
        assert "what it said before still counts" in said.problem
        assert str(file) in said.problem
    write(file, HEAD + row(0, 7) + row(1, 8), T0 + 130)
    assert not (await feed.quotes(T0 + 180)).problem


async def test_a_file_that_is_gone_is_told_and_what_it_said_still_counts(file: Path) -> None:
    feed = FileFeed(file)
    await feed.quotes(T0)
    os.remove(file)  # noqa: PTH107 - a path would be asked whether it may block
    said = await feed.quotes(T0 + 60)
    assert prices(said) == [10, -20]
    assert "cannot be read: No such file" in said.problem


async def test_a_file_that_never_was_good_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        await FileFeed(tmp_path / "none.csv").quotes(T0)
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="no text in UTF-8"):
        await FileFeed(bad).quotes(T0)


async def test_a_file_replaced_by_another_of_the_same_time_and_size_is_read(file: Path) -> None:
    feed = FileFeed(file)
    await feed.quotes(T0)
    other = file.with_suffix(".new")
    write(other, HEAD + row(0, 99) + row(1, -20), T0 - 600)
    other.rename(file)
    assert prices(await feed.quotes(T0 + 60)) == [99, -20]


async def test_gaps_ahead_are_named_and_prices_of_the_past_are_told(file: Path) -> None:
    write(file, HEAD + row(0, 1) + row(1, 2) + row(2, 3) + row(6, 4), T0 - 600)
    feed = FileFeed(file)
    said = await feed.quotes(T0)
    assert said.problem == "no price is known from 2026-01-01 03:00Z to 2026-01-01 06:00Z"
    assert "all of its prices are of the past" in (await feed.quotes(T0 + 86_400)).problem


async def test_a_huge_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power_file, "LARGEST", 10)
    with pytest.raises(SourceError, match="larger than 10 bytes"):
        await FileFeed(file).quotes(T0)


async def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SourceError, match="pipe: cannot be read: it is no regular file"):
        await FileFeed(pipe).quotes(T0)


async def test_a_file_that_hangs_costs_one_thread_and_what_it_said_before_counts(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = FileFeed(file)
    await feed.quotes(T0)
    write(file, HEAD + row(0, 11) + row(1, 12), T0 + 10)
    let_go = threading.Event()

    def hang(path: Path) -> AbstractContextManager[RegularFile]:
        let_go.wait(30)
        return opened(path)

    monkeypatch.setattr(power_file, "opened", hang)
    with pytest.raises(TimeoutError):  # as the loop gives up
        async with asyncio.timeout(0.05):
            await feed.quotes(T0 + 60)
    for tick in range(20):
        said = await feed.quotes(T0 + 120 + tick)
        assert prices(said) == [10, -20]
        assert "prices.csv: still reading" in said.problem
        assert "what it said before still counts" in said.problem
    assert [thread.name for thread in threading.enumerate()].count("file prices.csv") == 1
    let_go.set()
    async with asyncio.timeout(5):
        while (said := await feed.quotes(T0 + 180)).problem:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert prices(said) == [11, 12]


async def test_prices_that_are_over_are_given_for_as_long_as_asked(file: Path) -> None:
    late = T0 + 2 * 3600 + 600
    said = await FileFeed(file, late=True).quotes(late)
    assert (prices(said)[-1:], said.problem) == ([-20], "")
    assert prices(await FileFeed(file, late=True).quotes(late + 2 * 3600)) == []
    said = await FileFeed(file).quotes(late)
    assert (prices(said), said.problem) == ([], f"{file}: all of its prices are of the past")
