"""One target under atheris, in a process of its own, which libFuzzer ends: `python -m tests.fuzz.guided session [libFuzzer's arguments]`."""

import shlex
import sys

import atheris

INSTRUMENTED = [
    "miner.stratum",
    "miner.kernel_submit",
    "miner.desk",
    "miner.work.share",
    "miner.work.vardiff",
    "miner.work.job",
]

with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    target, *arguments = sys.argv[1:]
    run = TARGETS[target]

    def one_input(data: bytes) -> None:
        run(data)

    # To merge, libFuzzer has a shell call this command again.
    atheris.Setup([f"{shlex.quote(sys.executable)} -m tests.fuzz.guided {target}", *arguments], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
