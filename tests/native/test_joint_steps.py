"""The machine code of the joint kernel is what its generator writes."""

import re
import subprocess
import sys
from pathlib import Path

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
