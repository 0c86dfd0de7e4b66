"""The machine code of the joint kernel is what its generator writes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from miner import kernel

NATIVE = Path(__file__).resolve().parents[2] / "native"


def generator(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, NATIVE / "generate_joint.py", *arguments],
        check=False,
        capture_output=True,
        timeout=60,
    )


def test_the_committed_machine_code_is_what_its_generator_writes() -> None:
    assert generator("--check").returncode == 0, "run python native/generate_joint.py"


def test_the_check_sees_a_single_changed_instruction(tmp_path: Path) -> None:
    code = (NATIVE / "joint_steps.c").read_text()
    copy = tmp_path / "generate_joint.py"
    copy.write_text((NATIVE / "generate_joint.py").read_text())
    (tmp_path / "joint_steps.c").write_text(code.replace("vprord", "vprold", 1))
    checked = subprocess.run([sys.executable, copy, "--check"], check=False, capture_output=True, timeout=60)
    assert checked.returncode == 1


def test_rounds_and_schedules_use_vex_and_evex_forms_only_but_for_the_rounds_themselves() -> None:
    """An old form would wait for whatever was left in the upper halves of its registers."""
    names = re.findall(
        r'^    "(\w+) [^"]*[xyz]mm\d', (NATIVE / "joint_steps.c").read_text(), flags=re.MULTILINE
    )
    assert set(names) == {name for name in names if name.startswith("v")} | {"sha256rnds2"}


def test_each_hash_costs_sixty_rounds_instructions() -> None:
    """Thirty for each of its two halves; a step makes both for eight nonces."""
    first, second = (NATIVE / "joint_steps.c").read_text().split("hm_joint_step_scheduling:")
    assert first.count("sha256rnds2") == second.count("sha256rnds2") == 8 * 60


# One instruction of many, changed a little: text, replacement, and which of its occurrences.
FAULTS = [
    ("vprord", "vprold", 0),
    ("vprord", "vprold", -1),
    ("vpxor ", "vpor ", 50),
    ("vpxor ", "vpor ", -100),
    ("vpaddd", "vpsubd", 10),
    ("vpaddd", "vpsubd", -1),
    ("vpunpckhdq", "vpunpckldq", 7),
    ("vpunpckldq", "vpunpckhdq", -2),
    ("sha256rnds2 xmm2, xmm1", "sha256rnds2 xmm4, xmm1", 3),
    ("sha256rnds2 xmm1, xmm2", "sha256rnds2 xmm1, xmm4", -1),
    ("vmovq xmm0, qword ptr [rdx", "vmovq xmm0, qword ptr [8+rdx", 5),
    ("vmovq xmm0, qword ptr [rsi", "vmovq xmm0, qword ptr [8+rsi", -5),
    ("vmovdqa xmmword ptr [rdx", "vmovdqa xmmword ptr [16+rdx", 0),
    ("{k1}", "", 2),
]


@pytest.mark.skipif(
    not any(info.name == "joint" and info.supported for info in kernel.kernels()),
    reason="this CPU cannot run the joint kernel",
)
def test_a_fault_in_the_machine_code_is_caught_by_the_self_test(tmp_path: Path) -> None:
    """Each fault is built in by itself; the self-test at load refuses the kernel every time."""
    compiler = shutil.which("cc")
    assert compiler is not None
    program = tmp_path / "main.c"
    program.write_text(
        """
        #include <string.h>
        #include "hashmill.h"
        int main(void)
        {
            for (int i = 0; i < hm_kernel_count(); i++)
                if (strcmp(hm_kernel_name(i), "joint") == 0)
                    return hm_kernel_self_test(i) == HM_OK ? 0 : hm_kernel_self_test(i) == HM_FAULT ? 1 : 2;
            return 3;
        }
        """
    )
    others = [path for path in sorted(NATIVE.glob("*.c")) if path.name != "joint_steps.c"]
    subprocess.run(
        [compiler, "-c", "-O1", f"-I{NATIVE}", *others, program], check=True, cwd=tmp_path, timeout=240
    )
    objects = sorted(tmp_path.glob("*.o"))
    code = (NATIVE / "joint_steps.c").read_text()

    def result(altered: str) -> int:
        (tmp_path / "joint_steps.c").write_text(altered)
        command = [
            compiler,
            "-w",
            f"-I{NATIVE}",
            *objects,
            tmp_path / "joint_steps.c",
            "-o",
            tmp_path / "main",
        ]
        subprocess.run(command, check=True, timeout=60)
        return subprocess.run([tmp_path / "main"], check=False, timeout=60).returncode

    assert result(code) == 0
    for text, replacement, which in FAULTS:
        places = [match.start() for match in re.finditer(re.escape(text), code)]
        place = places[which]
        altered = code[:place] + replacement + code[place + len(text) :]
        assert result(altered) == 1, (text, replacement, which)
