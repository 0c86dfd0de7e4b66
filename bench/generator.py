"""The load generator of bench/load/, compiled when it is first needed and run as a process of its own.

It speaks one JSON object a line on standard output; bench/load/main.c says its options. Times in its events are nanoseconds
of the real-time clock (`time.time_ns`).
"""

from __future__ import annotations

import hashlib
import json
import queue
import subprocess  # the generator is a program
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from regtest.fetch import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

SOURCES: Final = Path(__file__).resolve().parent / "load"
FLAGS: Final = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-g")
WARNINGS: Final = (
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
)
COMPILE_LIMIT_S: Final = 120.0
EVENT_LIMIT_S: Final = 120.0
END_LIMIT_S: Final = 30.0

Event = dict[str, Any]


class GeneratorError(Exception):
    """The generator could not be built, or did not do what was asked of it."""


def compile_to(program: Path, *flags: str, compiler: str = "cc") -> None:
    """Compile the generator. Raises GeneratorError with the compiler's words."""
    sources = sorted(SOURCES.glob("*.c"))
    command = [compiler, *FLAGS, *flags, *map(str, sources), "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S, check=False)
    if done.returncode != 0:
        raise GeneratorError(f"{compiler} cannot build the load generator: {done.stderr}")


def generator() -> Path:
    """The compiled generator in the cache folder; its name holds what it was made of. Raises GeneratorError."""
    made_of = hashlib.sha256(repr(FLAGS).encode())
    for source in sorted(SOURCES.iterdir()):
        made_of.update(source.name.encode() + b"\0" + source.read_bytes())
    program = cache_folder() / f"stratum-load-{made_of.hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        # Two benches may build it at once: each its own, and the last one in place is as good as the first.
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            compile_to(Path(folder) / "stratum-load")
            (Path(folder) / "stratum-load").replace(program)
    return program


class Load:
    """A running generator; a context manager that ends it. `options` by the names of the command line, `-` as `_`.

    A value of True is an option without an argument, False or None is none at all.
    """

    def __init__(
        self, port: int, *, host: str = "127.0.0.1", program: Path | None = None, **options: Any
    ) -> None:
        words = [str(program or generator())]
        for name, value in options.items():
            if value is not None and value is not False:
                words.append(f"--{name.replace('_', '-')}")
                words += [] if value is True else [str(value)]
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.passed: list[Event] = []
        """Every event that was waited for or passed over, in order."""
        self._process = subprocess.Popen(
            [*words, host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_for(self, *kinds: str, limit_s: float = EVENT_LIMIT_S) -> Event:
        """The next event of one of these kinds; others are passed over.

        Raises GeneratorError if the generator ends before, or says nothing for so long.
        """
        deadline_s = time.monotonic() + limit_s
        while True:
            try:
                event = self._events.get(timeout=max(deadline_s - time.monotonic(), 0.0))
            except queue.Empty:
                raise GeneratorError(f"no {' or '.join(kinds)} in {limit_s:g} s") from None
            if event is None:
                raise GeneratorError(f"it ended before {' or '.join(kinds)}: {self.passed[-1:]}")
            self.passed.append(event)
            if event["event"] in kinds:
                return event

    def until(self, condition: Callable[[Event], bool], limit_s: float = EVENT_LIMIT_S) -> Event:
        """The next event that meets the condition; errors as of `wait_for`."""
        deadline_s = time.monotonic() + limit_s
        while True:
            event = self.wait_for(
                "ready",
                "lost",
                "tip",
                "measuring",
                "measured",
                "result",
                limit_s=deadline_s - time.monotonic(),
            )
            if condition(event):
                return event

    def stop(self) -> None:
        """Have it send no more, wait for its answers and end; its result can be waited for."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def result(self, limit_s: float = EVENT_LIMIT_S) -> Event:
        """What it measured, once it has ended by itself or after `stop`; the program may tell of a `failure` in it."""
        event = self.wait_for("result", limit_s=limit_s)
        self._process.wait(END_LIMIT_S)
        return event

    def close(self) -> None:
        """End it, whatever it does."""
        self.stop()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(END_LIMIT_S)
        self._reader.join(END_LIMIT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)


def assert_every_answer_right(result: Event, *, codes: frozenset[str] = frozenset()) -> None:
    """Raise AssertionError unless each share got exactly one answer, and none was rejected but with these codes."""
    total = result["total"]
    rejected = sum(total["rejected"].values())
    told = json.dumps(result)
    assert "failure" not in result, told
    assert result["malformed"] == result["unexpected"] == 0, told
    assert result["unanswered"] == result["lost"] == result["disconnects"] == 0, told
    assert total["sent"] == total["accepted"] + rejected, told
    assert set(total["rejected"]) <= codes | ({"22"} if result["duplicates"]["sent"] else frozenset()), told
    assert result["duplicates"]["accepted"] == 0, told
