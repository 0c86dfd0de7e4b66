"""The planner's kernel against every path there is, under the sanitizers and as it is shipped."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[2] / "native"
CHECK = Path(__file__).parent / "plan" / "check.c"
ARM_COMPILER, ARM_MACHINE = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
ARM_PACKAGES = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
COMPILERS = [compiler for compiler in ("cc", "clang") if shutil.which(compiler)]


def run(command: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


def outcome(compiler: str, folder: Path, *flags: str, under: tuple[str, ...] = ()) -> str:
    """What the checks print: that all is well, and a digest of every bit that was found."""
    program = folder / "plan"
    warnings = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
    sources = (NATIVE / "plan.c", CHECK)
    built = run(
        [
            compiler,
            "-std=c11",
            "-ffp-contract=off",
            *warnings,
            *flags,
            f"-I{NATIVE}",
            *sources,
            "-o",
            program,
            "-lm",
        ]
    )
    assert built.returncode == 0, built.stderr
    # AddressSanitizer cannot look for leaks under ptrace, which some sandboxes use.
    tested = run([*under, program, "3000"], ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1")
    assert tested.returncode == 0, tested.stderr
    assert tested.stdout.startswith("plan: good ")
    return tested.stdout


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> str:
    return outcome(COMPILERS[0], tmp_path_factory.mktemp("shipped"), "-O3")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_kernel_finds_the_best_of_all_paths_to_the_same_bit(
    compiler: str, shipped: str, tmp_path: Path
) -> None:
    assert outcome(compiler, tmp_path, "-O1") == shipped


def test_the_kernel_is_clean_under_address_and_undefined_behaviour_sanitizers(
    shipped: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }")
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    able = [
        compiler
        for compiler in COMPILERS
        if run([compiler, *flags, tmp_path / "empty.c", "-o", tmp_path / "empty"]).returncode == 0
    ]
    if not able:
        pytest.skip("no compiler here has sanitizers: sudo apt-get install gcc")
    assert outcome(able[0], tmp_path, "-g", "-O0", *flags) == shipped


@pytest.mark.skipif(
    ARM_COMPILER is None or ARM_MACHINE is None,
    reason=f"for the ARM build: sudo apt-get install {ARM_PACKAGES}",
)
def test_an_armv8_machine_finds_the_same_bits(shipped: str, tmp_path: Path) -> None:
    assert ARM_COMPILER is not None
    assert ARM_MACHINE is not None
    assert outcome(ARM_COMPILER, tmp_path, "-O3", "-static", under=(ARM_MACHINE,)) == shipped
