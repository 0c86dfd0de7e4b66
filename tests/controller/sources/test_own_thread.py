import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from controller.sources.base import SourceError
from controller.sources.own_thread import OwnThread

NAME = "a thread of the test"

HANGS_AND_ENDS = """
import asyncio, sys, threading
from pathlib import Path
from controller.sources.base import SourceError
from controller.sources.own_thread import OwnThread

async def main():
    try:
        await OwnThread("hangs").call(Path(sys.argv[1]).read_text, 0.05)
    except SourceError as error:
        print(error, flush=True)

asyncio.run(main())
"""


def threads() -> int:
    return sum(thread.name == NAME for thread in threading.enumerate())


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A pipe that nobody writes to: whoever opens it hangs, until the test is over."""
    made = tmp_path / "pipe"
    os.mkfifo(made)
    yield made
    free(made)


def free(pipe: Path) -> None:
    """Let go of whoever hangs at the pipe."""
    os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))


async def gone() -> None:
    """Wait until no thread of ours is left."""
    async with asyncio.timeout(5):
        while threads():  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.01)


async def test_a_call_gives_what_it_gives_and_raises_what_it_raises() -> None:
    own = OwnThread(NAME)
    assert await own.call(threading.current_thread) is not threading.current_thread()
    assert await own.call(lambda: 7) == 7
    with pytest.raises(KeyError, match="x"):
        await own.call(partial({}.__getitem__, "x"))
    with pytest.raises(TimeoutError, match="its own"):
        await own.call(_times_out)
    assert await own.call(lambda: 8) == 8


def _times_out() -> None:
    raise TimeoutError("its own")


async def test_one_that_hangs_costs_one_thread_and_those_after_it_no_time(pipe: Path) -> None:
    own = OwnThread(NAME)
    with pytest.raises(SourceError, match=r"not read within 0\.05 s"):
        await own.call(pipe.read_text, 0.05)
    began = time.monotonic()
    for _ in range(50):
        with pytest.raises(SourceError, match="still reading"):
            await own.call(pipe.read_text, 60)
    assert time.monotonic() - began < 1
    assert threads() == 1
    # The pool that all others use is free.
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5) == 1
    free(pipe)
    await gone()
    assert await own.call(lambda: "well again") == "well again"


async def test_whoever_stops_waiting_does_not_make_room_for_a_second_one(pipe: Path) -> None:
    own = OwnThread(NAME)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await own.call(pipe.read_text, None)
    with pytest.raises(SourceError, match="still reading"):
        await own.call(pipe.read_text)
    assert threads() == 1


async def test_where_no_thread_can_be_started_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    own = OwnThread(NAME)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(SourceError, match="can't start new thread"):
            await own.call(lambda: 1)
    assert await own.call(lambda: 1) == 1


def test_a_call_that_hangs_does_not_hold_up_the_end_of_the_process(pipe: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGS_AND_ENDS, str(pipe)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "not read within 0.05 s" in ended.stdout
