"""Which kernel this machine hashes fastest with: measured once per CPU model, remembered, never guessed.

The measuring takes about a tenth of a second. Its result is kept in $XDG_CACHE_HOME/hashmill/kernels.json (else
below ~/.cache), under a key that holds everything it depends on; deleting the file is always safe, and a file that
cannot be read, makes no sense or names a kernel that is not right on this machine is as good as none.
"""

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

from miner import kernel
from miner.hashing.cpu import rolled_versions
from miner.work.job import DEFAULT_VERSION_MASK

log = logging.getLogger(__name__)

TRIAL_HASHES: Final = 4096
SLICE_S: Final = 0.002
ROUNDS: Final = 7
AS_GOOD: Final = 0.98
"""A kernel that reaches this part of the best rate is as good: among such the core's own order decides."""
MOST_REMEMBERED: Final = 32
_CPU_FIELDS: Final = (
    "model name",
    "cpu family",
    "model",
    "stepping",
    "CPU implementer",
    "CPU part",
    "CPU variant",
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel in use and how it came to be; `mh_s` are the rates of one thread that decided, best kernel first."""

    kernel: str
    source: Literal["forced", "cached", "measured"]
    mh_s: Mapping[str, float] = field(default_factory=dict)


Measure = Callable[[list[str], int], dict[str, float]]


def choose(versions: int, cache: Path | None = None, measure: Measure | None = None) -> Choice:
    """Put the fastest kernel for scans of `versions` header versions in use, and log it with the rates.

    `HASHMILL_KERNEL` goes before any measuring. Raises KernelError if it names a kernel that cannot be used here, or
    if every kernel is faulty.
    """
    path = cache_file() if cache is None else cache
    key = _key(versions)
    choice = _forced() or _remembered(path, key) or _measured(versions, measure or rates)
    if choice.source == "measured":
        _remember(path, key, choice)
    log.info(
        "kernel_chosen",
        extra={
            "kernel": choice.kernel,
            "source": choice.source,
            "mh_s": dict(choice.mh_s),
            "versions": versions,
        },
    )
    return choice


def cache_file() -> Path:
    """Where the results of earlier measuring are."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(configured) if configured else Path.home() / ".cache") / "hashmill" / "kernels.json"


def rates(names: list[str], versions: int) -> dict[str, float]:
    """Million hashes a second of one thread with each of these kernels: the best of short scans, taken in turns.

    The kernel in use afterwards is any of them.
    """
    rolled = rolled_versions(0x2000_0000, DEFAULT_VERSION_MASK, versions)
    job, stop = kernel.ScanJob(bytes(80), rolled, 0), kernel.StopWord()

    def seconds_per_hash(name: str, hashes: int) -> float:
        kernel.select(name)
        nonces = max(1, hashes // len(rolled))
        began_s = time.perf_counter()
        kernel.scan(job, 0, nonces, stop)
        return max(time.perf_counter() - began_s, 1e-9) / (nonces * len(rolled))

    best = {name: seconds_per_hash(name, TRIAL_HASHES) for name in names}
    for _ in range(ROUNDS):
        for name, before in best.items():
            best[name] = min(before, seconds_per_hash(name, int(SLICE_S / before)))
    return {name: 1e-6 / seconds for name, seconds in best.items()}


def _forced() -> Choice | None:
    return Choice(kernel.selected(), "forced") if os.environ.get(kernel.ENVIRONMENT) else None


def _measured(versions: int, measure: Measure) -> Choice:
    usable = [info.name for info in kernel.kernels() if info.supported and kernel.self_test(info.name)]
    if not usable:
        return Choice(kernel.selected(), "measured")  # raises, with the core's own words
    mh_s = measure(usable, versions) if len(usable) > 1 else {usable[0]: 0.0}
    enough = AS_GOOD * max(mh_s.values())
    name = next(name for name in usable if mh_s[name] >= enough)
    kernel.select(name)
    return Choice(name, "measured", dict(sorted(mh_s.items(), key=lambda item: -item[1])))


# ---- What is remembered --------------------------------------------------------------------------------------


def _key(versions: int) -> str:
    """Everything that the result depends on: the CPU, this release, its kernels that run here, the versions."""
    usable = ",".join(info.name for info in kernel.kernels() if info.supported)
    return f"{_cpu()} | hashmill {version('hashmill')} | {usable} | {versions}"


def _cpu() -> str:
    """What tells this CPU model from others; the same on all its cores."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except (OSError, ValueError):
        return "unknown CPU"
    fields = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())
    }
    return " ".join(fields[name] for name in _CPU_FIELDS if name in fields) or "unknown CPU"


def _remembered(path: Path, key: str) -> Choice | None:
    entry = _read(path).get(key)
    match entry:
        case {"kernel": str(name), "mh_s": dict(mh_s)} if all(
            isinstance(rate, int | float) for rate in mh_s.values()
        ):
            try:
                kernel.select(name)
            except kernel.KernelError as error:
                log.warning("kernel_cache_refused", extra={"path": str(path), "error": str(error)})
                return None
            return Choice(name, "cached", mh_s)
        case None:
            return None
        case _:
            log.warning("kernel_cache_refused", extra={"path": str(path), "error": "an entry makes no sense"})
            return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("kernel_cache_refused", extra={"path": str(path), "error": str(error)})
        return {}
    return content if isinstance(content, dict) else {}


def _remember(path: Path, key: str, choice: Choice) -> None:
    """Write the whole file anew and put it in place at once; a machine on which that fails measures at each start."""
    entries = {other: entry for other, entry in _read(path).items() if other != key}
    kept = dict(list(entries.items())[1 - MOST_REMEMBERED :])
    kept[key] = {
        "kernel": choice.kernel,
        "mh_s": {name: round(rate, 2) for name, rate in choice.mh_s.items()},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False
        ) as written:
            json.dump(kept, written, indent=2)
        Path(written.name).replace(path)
    except OSError as error:
        log.warning("kernel_cache_not_written", extra={"path": str(path), "error": str(error)})
