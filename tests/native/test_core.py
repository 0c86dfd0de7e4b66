"""The C core under the sanitizers, and without a single warning."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
CORE = [
    path for path in sorted(NATIVE.glob("*.c")) if path.name != "plan.c"
]  # the planner's is tests/native/test_plan.py's
SOURCES = [*CORE, *sorted(Path(__file__).parent.glob("*.c"))]
SHIPPED = ("-O3", "-Wall", "-Wextra", "-Werror")
ARM_COMPILER, ARM_MACHINE = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
OLD_MACHINE = shutil.which("qemu-x86_64")
ARM_PACKAGES = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
COMPILERS = [compiler for compiler in ("cc", "clang") if shutil.which(compiler)]


def run(command: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=240, env=os.environ | environment
    )


def has_sanitizers(compiler: str, folder: Path) -> bool:
    """Debian has those of clang in a package of their own."""
    (folder / "empty.c").write_text("int main(void) { return 0; }")
    return (
        run([compiler, "-fsanitize=address,undefined", folder / "empty.c", "-o", folder / "empty"]).returncode
        == 0
    )


def build(compiler: str, program: Path, *flags: str) -> None:
    built = run([compiler, "-std=c11", "-g", *flags, f"-I{NATIVE}", *SOURCES, "-o", program])
    assert built.returncode == 0, built.stderr
    assert not built.stderr


def test_the_core_is_right_and_clean_under_address_and_undefined_behaviour_sanitizers(tmp_path: Path) -> None:
    # With the first compiler that can: both take more than a minute, and the fuzzing campaign runs clang's for hours.
    compiler = next((each for each in COMPILERS if has_sanitizers(each, tmp_path)), None)
    if compiler is None:
        pytest.skip("no compiler here has sanitizers: sudo apt-get install gcc")
    build(compiler, tmp_path / "core", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    # AddressSanitizer cannot look for leaks under ptrace, which some sandboxes use; the core has no heap.
    tested = run([tmp_path / "core"], ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1")
    assert tested.returncode == 0, tested.stderr
    assert tested.stdout.endswith("portable: good\n")


@pytest.mark.skipif(
    ARM_COMPILER is None or ARM_MACHINE is None,
    reason=f"for the ARMv8 kernel: sudo apt-get install {ARM_PACKAGES}",
)
def test_the_core_is_right_with_the_sha_instructions_of_armv8(tmp_path: Path) -> None:
    assert ARM_COMPILER is not None
    assert ARM_MACHINE is not None
    build(ARM_COMPILER, tmp_path / "core", "-O3", "-static", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    tested = run([ARM_MACHINE, tmp_path / "core"])
    assert tested.returncode == 0, tested.stderr
    assert tested.stdout == "armv8: good\nportable: good\n"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_core_and_its_tests_compile_without_a_warning_and_are_right_as_they_are_shipped(
    compiler: str, tmp_path: Path
) -> None:
    build(compiler, tmp_path / "core", *SHIPPED)
    tested = run([tmp_path / "core"])
    assert tested.returncode == 0, tested.stderr


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core's tests as one file, for machines without our libraries."""
    program = tmp_path_factory.mktemp("static") / "core"
    build(COMPILERS[0], program, "-O2", "-static")
    return program


@pytest.mark.skipif(
    platform.machine() != "x86_64" or OLD_MACHINE is None,
    reason="for old CPUs: sudo apt-get install qemu-user",
)
@pytest.mark.parametrize(
    ("cpu", "kernels"),
    [("Nehalem", ["sse2"]), ("max,-avx512f,-sha-ni", ["avx2", "sse2"])],
)
@pytest.mark.xdist_group("core for old CPUs")
def test_what_a_cpu_lacks_is_not_used(cpu: str, kernels: list[str], static: Path) -> None:
    assert OLD_MACHINE is not None
    tested = run([OLD_MACHINE, "-cpu", cpu, static])
    assert tested.returncode == 0, tested.stderr
    assert tested.stdout.splitlines() == [f"{name}: good" for name in (*kernels, "portable")]


def test_the_check_of_make_lint_passes() -> None:
    checked = run([sys.executable, NATIVE / "build.py", "check"])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 with warnings" in checked.stdout
