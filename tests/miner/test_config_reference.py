import subprocess
import sys
from pathlib import Path

from miner.config import ARRAYS, TABLES
from miner.config_reference import reference

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_the_committed_reference_is_the_generated_one() -> None:
    assert COMMITTED.read_text() == reference(), (
        "run: .venv/bin/python -m miner.config_reference > docs/configuration.md"
    )


def test_the_command_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "miner.config_reference"], capture_output=True, text=True, check=True
    )
    assert done.stdout == reference()


def test_every_key_is_there_with_what_it_means() -> None:
    text = reference()
    for model in [*TABLES.values(), *ARRAYS.values()]:
        for name, info in model.model_fields.items():
            assert info.description, name
            assert f"| `{name}` | " in text


def test_types_limits_and_defaults_are_told() -> None:
    text = reference()
    assert "| `versions` | whole number, at least 1, at most 16 | `8` | " in text
    assert '| `threads` | whole number or `"auto"` | `0` | ' in text
    assert "| `dry_run` | true or false | `true` | " in text
    assert '| `at_end` | `"hold"`, `"loop"` | `"hold"` | ' in text
    assert "| `payout_address` | text | required | " in text
    assert "| `cookie_file` | path |  | " in text
    assert "| `btc_usd` | [number, number] |  | " in text
    assert "| `max_age_s` | table |  | " in text
    assert "| `payees` | array of texts |  | " in text
    assert "## [[pool]]" in text
    assert "### Entries of cpu.modes" in text
    assert "### Entries of unit.modes" in text
    assert "### [[stratum.listener]]" in text
    assert "### [controller.bounds]" in text
