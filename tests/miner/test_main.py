import subprocess
import sys


def test_python_m_miner_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "miner", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: hashmill ")
    assert "check" in done.stdout


def test_wrong_use_ends_with_two() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "miner", "mine-faster"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such command" in done.stderr
