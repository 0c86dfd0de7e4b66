"""How far a long command is, on standard error: a bar on a terminal, else a line for each thing that is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer


@contextmanager
def progress_told(command: str) -> Iterator[Callable[[float, str], None]]:
    """Gives what is to be called with the part that is done, from 0 to 1, and what is being done now."""
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, markup=False, highlight=False)
    if not console.is_terminal:
        last: list[str] = []

        def tell(_: float, doing: str) -> None:
            if doing and last[-1:] != [doing]:
                last.append(doing)
                typer.echo(f"{command}: {doing}", err=True)

        yield tell
        return
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def move(part: float, doing: str) -> None:
            bar.update(task, completed=part, description=doing)

        yield move
