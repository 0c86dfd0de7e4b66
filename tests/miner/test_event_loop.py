import asyncio
import subprocess
import sys
from importlib.util import find_spec

from miner.event_loop import loop_factory


def test_the_loop_is_uvloop_wherever_it_is_installed() -> None:
    factory = loop_factory()
    assert (factory is not None) == (find_spec("uvloop") is not None)
    with asyncio.Runner(loop_factory=factory) as runner:
        assert (type(runner.get_loop()).__module__ == "uvloop") == (factory is not None)


def test_the_collector_keeps_away_from_what_was_there_before() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import gc; from miner.event_loop import spare_the_loop; spare_the_loop(); "
                "print(gc.isenabled(), gc.get_freeze_count() > 1000, gc.get_threshold()[0] > 10_000)"
            ),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.split() == ["True", "True", "True"]
