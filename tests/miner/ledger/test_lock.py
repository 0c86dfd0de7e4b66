import subprocess
import sys
from pathlib import Path

import pytest

from miner.ledger.lock import sole_writer
from miner.ledger.rows import LedgerError


def test_a_second_daemon_on_the_same_ledger_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hashmill.db"
    with sole_writer(file), pytest.raises(LedgerError, match="another hashmill runs"), sole_writer(file):
        pass


def test_the_lock_ends_with_its_holder_even_if_it_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "hashmill.db"
    script = (
        "import os, signal, sys; from pathlib import Path; from miner.ledger.lock import sole_writer\n"
        "with sole_writer(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(file)], check=False)
    with sole_writer(file):
        pass


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot lock the ledger"), sole_writer(tmp_path / "none" / "x.db"):
        pass
