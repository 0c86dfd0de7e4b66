"""Build of the C code: the core as the extension module miner._native, the planner's kernel as controller._plan.

setup.py calls miner_ffi and plan_ffi through cffi's cffi_modules. `python native/build.py check` compiles the sources
alone with every C compiler that is installed, all warnings being errors.
"""

# ruff: noqa: INP001  a script beside the C files, no package

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cffi import FFI

HERE = Path(__file__ if "__file__" in globals() else "native/build.py").resolve().parent
SOURCES = (
    "sha256.c",
    "cpu.c",
    "scan.c",
    "scan_portable.c",
    "scan_sse2.c",
    "scan_avx2.c",
    "scan_avx512.c",
    "scan_shani.c",
    "scan_joint.c",
    "joint_steps.c",
    "scan_armv8.c",
    "selftest.c",
    "share.c",
    "seen.c",
    "submit.c",
    "send.c",
)
HEADERS = ("hashmill.h", "internal.h", "joint.h", "vector.h")
PLAN_SOURCES = ("plan.c",)
PLAN_HEADERS = ("plan.h",)
# One build runs everywhere: instruction sets are named at the functions that use them, never here.
OPTIMISE = ("-std=c11", "-O3")
# The planner's numbers are the same to the last bit wherever it runs: each product and sum is rounded by itself.
PLAN_OPTIMISE = (*OPTIMISE, "-ffp-contract=off")
WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
)


def declarations(header: str = "hashmill.h") -> str:
    """What a header declares, without its comments and preprocessor lines but for the constants."""
    text = re.sub(r"/\*.*?\*/", "", (HERE / header).read_text(encoding="utf-8"), flags=re.DOTALL)
    constants = re.findall(r"^#define (HM_\w+) +\(?(-?\d+)\)?", text, flags=re.MULTILINE)
    code = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    # Sizes of arrays must be numbers for cffi.
    for name, value in constants:
        code = re.sub(rf"\b{name}\b", value, code)
    return "".join(f"#define {name} {value}\n" for name, value in constants) + code


def miner_ffi() -> FFI:
    """The builder of miner._native, for cffi's cffi_modules; paths are relative to the repository."""
    ffi = FFI()
    ffi.cdef(declarations())
    ffi.set_source(
        "miner._native",
        '#include "hashmill.h"',
        sources=[f"native/{name}" for name in SOURCES],
        include_dirs=["native"],
        depends=[f"native/{name}" for name in HEADERS],
        extra_compile_args=list(OPTIMISE),
        py_limited_api=True,
    )
    return ffi


def plan_ffi() -> FFI:
    """The builder of controller._plan, likewise."""
    ffi = FFI()
    ffi.cdef(declarations("plan.h"))
    ffi.set_source(
        "controller._plan",
        '#include "plan.h"',
        sources=[f"native/{name}" for name in PLAN_SOURCES],
        include_dirs=["native"],
        depends=[f"native/{name}" for name in PLAN_HEADERS],
        extra_compile_args=list(PLAN_OPTIMISE),
        libraries=["m"],
        py_limited_api=True,
    )
    return ffi


def check() -> int:
    """Compile every source with cc, and with clang and for ARM where these are installed; returns the number of failures."""
    failures = 0
    compilers = [found for name in ("cc", "clang", "aarch64-linux-gnu-gcc") if (found := shutil.which(name))]
    with tempfile.TemporaryDirectory() as folder:
        for compiler in compilers:
            for name in SOURCES + PLAN_SOURCES:
                flags = PLAN_OPTIMISE if name in PLAN_SOURCES else OPTIMISE
                command = [compiler, *flags, *WARNINGS, "-c", str(HERE / name), "-o", f"{folder}/{name}.o"]
                failures += subprocess.run(command, check=False).returncode != 0  # noqa: S603  our own sources
    files = len(SOURCES + PLAN_SOURCES)
    print(f"native: {files} files, {' and '.join(compilers)}: {failures} with warnings or errors")  # noqa: T201  a command
    return failures if compilers else 1


if __name__ == "__main__":
    if sys.argv[1:] != ["check"]:
        sys.exit("usage: python native/build.py check")
    sys.exit(check() > 0)
