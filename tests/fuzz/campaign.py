"""A long run of the fuzzers: `python -m tests.fuzz.campaign --seconds 3600 --target session`.

The time is shared out among the targets: `codec`, `session` and `pool` under atheris, `submit` (the C core, with sanitizers) under
libFuzzer, `scripts` under hypothesis. What is new goes into the kept corpus, as little of it as reaches the same code. The
kept inputs are run again by test_fuzz.py. Exit status 1: something was found, and lies in the work folder.
"""

import argparse
import itertools
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha1
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings

ROOT: Final = Path(__file__).resolve().parents[2]
NATIVE: Final = ROOT / "native"
HERE: Final = Path(__file__).resolve().parent
CORPUS: Final = HERE / "corpus"
WORDS: Final = HERE / "stratum.dict"

GUIDED: Final = ("codec", "session", "pool")
TARGETS: Final = (*GUIDED, "submit", "scripts")
MOST_FILES: Final = {"codec": 60, "session": 140, "pool": 80, "submit": 95}
MOST_BYTES: Final = 95_000
"""Kept of one target."""
LONGEST: Final = {"codec": 6000, "session": 6000, "pool": 6000, "submit": 4096}
MOST_MEGABYTES: Final = 1500
"""A process that comes to hold more is a finding."""
SLOWEST_S: Final = 60
"""So is an input that takes longer, on a machine that does something else."""
BATCH: Final = 500
"""Scripts that hypothesis makes of one seed."""
FUZZED: Final = ("seen.c", "sha256.c", "share.c", "submit.c")
EMPTY: Final = """#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return size > 9 && data[9] == 9; }
"""
MERGING: Final = ("-merge=1", "-use_counters=0", "-use_cmp=0")
"""Without counters: there are too many inputs that reach some line more often than others do."""
SANITIZED: Final = os.environ | {
    # AddressSanitizer cannot look for leaks under ptrace, which some sandboxes use; the core has no heap.
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def build_submit(folder: Path) -> str:
    """Build the fuzzer of the C core, `fuzz_submit`, in this folder; returns why it cannot be had, "" if it was built."""
    clang = shutil.which("clang")
    if clang is None:
        return "clang is missing: sudo apt-get install clang"
    fuzzer = [
        clang,
        "-std=c11",
        "-O1",
        "-g",
        "-fsanitize=fuzzer,address,undefined",
        "-fno-sanitize-recover=all",
    ]
    (folder / "empty.c").write_text(EMPTY)
    empty = subprocess.run([*fuzzer, "empty.c", "-o", "empty"], cwd=folder, check=False, capture_output=True)
    if empty.returncode:
        return "clang's sanitizers are missing: sudo apt-get install libclang-rt-14-dev (or of its version)"
    # The kernels have tests of their own; with sanitizers they take half a minute to build.
    kernels = [path for path in sorted(NATIVE.glob("*.c")) if path.name not in FUZZED]
    subprocess.run([clang, "-std=c11", "-O1", "-c", *kernels], cwd=folder, check=True)
    objects = [path.with_suffix(".o").name for path in kernels]
    sources = [*(NATIVE / name for name in FUZZED), HERE / "fuzz_submit.c"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [*fuzzer, *warnings, f"-I{NATIVE}", *sources, *objects, "-o", "fuzz_submit"], cwd=folder, check=True
    )
    return ""


def command(target: str, folder: Path) -> list[str]:
    """What runs a target, to be followed by libFuzzer's arguments."""
    if target in GUIDED:
        return [sys.executable, "-m", "tests.fuzz.guided", target]
    why = build_submit(folder)
    if why:
        sys.exit(f"submit: {why}")
    return [str(folder / "fuzz_submit")]


def run(target: str, seconds: int, work: Path) -> bool:
    """Fuzz a target for so long, then keep what is new; False if something was found."""
    folder = work / target
    folder.mkdir(parents=True, exist_ok=True)
    start = command(target, work)
    for kept in (CORPUS / target).iterdir():
        shutil.copy(kept, folder)
    log = work / f"{target}.log"
    with log.open("wb") as output:
        status = subprocess.run(
            [
                *start,
                str(folder),
                f"-dict={WORDS}",
                f"-max_total_time={seconds}",
                f"-max_len={LONGEST[target]}",
                f"-rss_limit_mb={MOST_MEGABYTES}",
                f"-timeout={SLOWEST_S}",
                f"-artifact_prefix={work}/found-{target}-",
                "-print_final_stats=1",
            ],
            cwd=ROOT, env=SANITIZED, check=False, stdout=output, stderr=subprocess.STDOUT,
        ).returncode  # fmt: skip
    said = log.read_text(errors="replace")
    runs, coverage, size, megabytes = (
        (re.findall(pattern, said) or ["?"])[-1]
        for pattern in (
            r"number_of_executed_units: (\d+)",
            r"cov: (\d+)",
            r"corp: (\S+)",
            r"peak_rss_mb: +(\d+)",
        )
    )
    print(f"{target}: {runs} executions, coverage {coverage}, corpus {size}, {megabytes} MB at most")
    if status:
        print(f"{target}: FOUND, see {log} and {work}/found-{target}-*")
        return False
    merge(target, start, folder, work)
    return True


def merge(target: str, start: list[str], folder: Path, work: Path) -> None:
    """Keep what reaches code that nothing kept reached before; when that becomes too much, choose again from all."""
    fresh = work / f"kept-{target}"
    for begin in (CORPUS / target, None):
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir() if begin is None else shutil.copytree(begin, fresh)
        subprocess.run(
            [*start, *MERGING, f"-max_len={LONGEST[target]}", str(fresh), str(folder)],
            cwd=ROOT, env=SANITIZED, check=True, capture_output=True,
        )  # fmt: skip
        kept = sorted((path.read_bytes() for path in fresh.iterdir()), key=lambda data: (len(data), data))
        if len(kept) <= MOST_FILES[target] and sum(map(len, kept)) <= MOST_BYTES:
            break
    sizes = itertools.accumulate(map(len, kept))
    chosen = [data for data, size in zip(kept, sizes, strict=True) if size <= MOST_BYTES][
        : MOST_FILES[target]
    ]
    shutil.rmtree(CORPUS / target)
    (CORPUS / target).mkdir()
    for data in chosen:
        (CORPUS / target / sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    print(f"{target}: {len(chosen)} of {len(kept)} inputs kept, {sum(map(len, chosen))} bytes")


def run_scripts(seconds: int, work: Path) -> bool:
    """Play scripts that hypothesis makes, batch after batch, each from a seed of its own; False if something was found."""
    from tests.fuzz.scripts import scripts  # noqa: PLC0415  slow to import, and not wanted by the other targets
    from tests.fuzz.targets import session  # noqa: PLC0415  likewise

    played: Counter[str] = Counter()

    def play(script: bytes) -> None:
        summary = session(script)
        played.update(scripts=1, lines=summary.lines, shares=summary.credited)

    end, number = time.monotonic() + seconds, time.time_ns()
    rules = settings(
        max_examples=BATCH, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    found = ""
    while time.monotonic() < end and not found:
        number += 1
        try:
            seed(number)(rules(given(scripts)(play)))()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            found = "".join([f"seed {number}: {error!r}\n", *getattr(error, "__notes__", [])])
            (work / "found-scripts.txt").write_text(found)
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        if megabytes > MOST_MEGABYTES:
            found = f"{megabytes} MB of memory after seed {number}\n"
    print(f"scripts: {dict(played)}, {megabytes} MB at most{', FOUND: ' + found if found else ''}")
    return not found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument(
        "--target", action="append", choices=TARGETS, help="may be given several times; default: all"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "fuzz", help="folder of logs, corpora and findings"
    )
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    targets = chosen.target or TARGETS
    share = math.ceil(chosen.seconds / len(targets))
    good = [
        run_scripts(share, work) if target == "scripts" else run(target, share, work) for target in targets
    ]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
