"""Which kernel is used: the table, the self-test, HASHMILL_KERNEL."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from miner import kernel
from miner.kernel import ScanJob, StopWord, scan

USABLE = [info for info in kernel.kernels() if info.supported]


@pytest.fixture(autouse=True)
def _same_kernel_afterwards() -> Iterator[None]:
    before = kernel.selected()
    yield
    kernel.select(before)


class AlteredCore:
    """The compiled core with some of its functions replaced."""

    def __init__(self, **functions: Any) -> None:
        self._functions = functions
        self._core = kernel.lib

    def __getattr__(self, name: str) -> Any:
        return self._functions.get(name) or getattr(self._core, name)


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )


def test_the_kernels_are_listed_with_the_portable_one_last_and_everywhere() -> None:
    names = [info.name for info in kernel.kernels()]
    assert len(set(names)) == len(names)
    assert kernel.kernels()[-1] == kernel.KernelInfo("portable", supported=True, lanes=1)


def test_every_kernel_of_this_machine_passes_its_self_test() -> None:
    assert all(kernel.self_test(info.name) for info in USABLE)
    assert kernel.faulty() == ()


@pytest.mark.parametrize("name", [info.name for info in USABLE])
def test_a_kernel_can_be_selected(name: str) -> None:
    kernel.select(name)
    assert kernel.selected() == name


def test_an_unknown_kernel_is_an_error_that_names_the_usable_ones() -> None:
    for use in (kernel.select, kernel.self_test):
        with pytest.raises(ValueError, match=r"no kernel 'warp'.*portable"):
            use("warp")


def test_an_unsupported_kernel_is_an_error_and_the_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = kernel.selected()
    unsupported = kernel.lib.HM_UNSUPPORTED
    monkeypatch.setattr(
        kernel,
        "lib",
        AlteredCore(hm_kernel_select=lambda _: unsupported, hm_kernel_self_test=lambda _: unsupported),
    )
    for use in (kernel.select, kernel.self_test):
        with pytest.raises(kernel.KernelUnsupportedError, match="cannot run the kernel 'portable'"):
            use("portable")
    assert kernel.selected() == before


def test_a_faulty_kernel_is_an_error_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = kernel.lib.HM_FAULT
    monkeypatch.setattr(
        kernel, "lib", AlteredCore(hm_kernel_select=lambda _: fault, hm_kernel_self_test=lambda _: fault)
    )
    with pytest.raises(kernel.KernelFaultError, match="'portable' failed its self-test"):
        kernel.select("portable")
    assert not kernel.self_test("portable")
    assert kernel.faulty() == tuple(info.name for info in USABLE)


def test_at_first_use_a_faulty_kernel_is_passed_over_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []

    def select(number: int) -> int:
        if number != len(kernel.kernels()) - 1:
            return core.HM_FAULT
        chosen.append(number)
        return core.HM_OK

    core = kernel.lib
    monkeypatch.delenv(kernel.ENVIRONMENT, raising=False)
    monkeypatch.setattr(
        kernel, "lib", AlteredCore(hm_kernel_selected=lambda: core.HM_INVALID, hm_kernel_select=select)
    )
    assert kernel.selected() == "portable"
    assert len(chosen) == 1


def test_a_machine_on_which_every_kernel_is_faulty_is_not_mined_with(monkeypatch: pytest.MonkeyPatch) -> None:
    core = kernel.lib
    monkeypatch.delenv(kernel.ENVIRONMENT, raising=False)
    monkeypatch.setattr(
        kernel,
        "lib",
        AlteredCore(hm_kernel_selected=lambda: core.HM_INVALID, hm_kernel_select=lambda _: core.HM_FAULT),
    )
    with pytest.raises(kernel.KernelFaultError, match="computes wrongly"):
        scan(ScanJob(bytes(80), [1], 0), 0, 1, StopWord())


@pytest.mark.parametrize("name", [info.name for info in USABLE])
def test_the_environment_forces_a_kernel(name: str) -> None:
    code = "from miner import kernel; print(kernel.selected())"
    assert run_python(code, HASHMILL_KERNEL=name).stdout.strip() == name


def test_without_the_environment_the_first_usable_kernel_is_taken() -> None:
    code = "from miner import kernel; print(kernel.selected())"
    assert run_python(code, HASHMILL_KERNEL="").stdout.strip() == USABLE[0].name


def test_a_wrong_name_in_the_environment_is_one_clear_error_at_the_first_use() -> None:
    code = "from miner import kernel\ntry: kernel.selected()\nexcept kernel.KernelError as e: print(e)"
    said = run_python(code, HASHMILL_KERNEL="warp").stdout
    assert said.startswith("HASHMILL_KERNEL: there is no kernel 'warp'; this machine can run ")
    assert "portable" in said


def test_a_buffer_that_the_core_cannot_count_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "lib", AlteredCore(hm_scan=lambda *_: -1))
    with pytest.raises(ValueError, match="refused"):
        scan(ScanJob(bytes(80), [1], 0), 0, 1, StopWord())
