"""A backtest in several processes: fleets that do not know of each other are dealt out, and give the same results to the bit.

Each process is begun afresh and told its part through a pipe; it answers with how far it is, and at last with its results.
"""

from __future__ import annotations

import gc
import multiprocessing
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Final

from controller.backtest_run import Judged, judge, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.backtest import Asked, BacktestResult, Fleet, FleetResult, Recorded

    Progress = Callable[[float, str], None]

_OBJECTS: Final = 100_000
"""So many new objects before the garbage collector looks."""
_STEPS: Final = 500
"""So often at most a process says how far it is."""
_GONE: Final = "a process of the backtest ended before it had results: was it killed?"


class WorkerError(Exception):
    """A process ended before it had results; says why."""


def backtest_in_parallel(
    recorded: Recorded,
    fleets: Sequence[Fleet],
    asked: Asked,
    settings: Mapping[str, object],
    progress: Progress,
    processes: int,
) -> BacktestResult:
    """All policies on all fleets, in so many processes at most; under a cap, or with one fleet, in this one.

    Raises what went wrong in a process, and WorkerError for one that was killed. None of them is left behind.
    """
    parts = [part for first in range(processes) if (part := fleets[first::processes])]
    if asked.cap_kw is not None or len(parts) < 2:  # noqa: PLR2004 - nothing to share out
        return result_of(recorded, asked, settings, judge(recorded, fleets, asked, progress))
    found = _run_all([(recorded, part, asked) for part in parts], progress)
    in_order: list[FleetResult | None] = [None] * len(fleets)
    for first, judged in enumerate(found):
        in_order[first::processes] = judged.fleets
    return result_of(recorded, asked, settings, Judged(tuple(each for each in in_order if each is not None)))


def _run_all(jobs: Sequence[tuple[Recorded, Sequence[Fleet], Asked]], progress: Progress) -> list[Judged]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of who calls
    pipes: list[Connection] = []
    workers = []
    try:
        for _ in jobs:
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs,), daemon=True)
            worker.start()
            theirs.close()
            pipes.append(ours)
            workers.append(worker)
        for pipe, job in zip(pipes, jobs, strict=True):
            _send(pipe, job)
        return _gathered(pipes, progress)
    finally:
        for pipe, worker in zip(pipes, workers, strict=True):
            pipe.close()
            worker.terminate()
            worker.join()


def _gathered(pipes: Sequence[Connection], progress: Progress) -> list[Judged]:
    """The results in the order of the pipes; what is done is what all of them have done, on average."""
    found: dict[int, Judged] = {}
    done = [0.0] * len(pipes)
    while len(found) < len(pipes):
        ready = wait([pipe for index, pipe in enumerate(pipes) if index not in found])
        for index in [index for index, pipe in enumerate(pipes) if pipe in ready]:
            message = _received(pipes[index])
            if isinstance(message, Exception):
                raise message
            if isinstance(message, Judged):
                found[index], done[index] = message, 1.0
            else:
                done[index], what = message
                progress(sum(done) / len(done), what)
    return [found[index] for index in range(len(pipes))]


def _send(pipe: Connection, job: object) -> None:
    try:
        pipe.send(job)
    except ConnectionError as error:
        raise WorkerError(_GONE) from error


def _received(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except (EOFError, ConnectionError) as error:
        raise WorkerError(_GONE) from error


def _work(pipe: Connection) -> None:
    """What a process does: one job, from the pipe and into it."""
    told = -1
    # Decisions leave no circles behind: looking for them among all that was imported took a twentieth of the time.
    gc.freeze()
    gc.set_threshold(_OBJECTS)

    def progress(done: float, what: str) -> None:
        nonlocal told
        if int(done * _STEPS) > told:
            told = int(done * _STEPS)
            pipe.send((done, what))

    try:
        recorded, fleets, asked = pipe.recv()
        pipe.send(judge(recorded, fleets, asked, progress))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # who asked is gone
    except Exception as error:  # noqa: BLE001 - it is raised where the results were wanted
        pipe.send(error)
    finally:
        pipe.close()
