import subprocess
import sys
from pathlib import Path

from controller.ticks import UNITS
from miner.metrics import Metrics
from miner.metrics_reference import LABELS, RESULTS, reference
from miner.work.sanity import Suspicion
from miner.work.share import Reason

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
CATALOGUE = Metrics("", "").catalogue


def test_the_committed_reference_is_the_generated_one() -> None:
    assert COMMITTED.read_text() == reference(), (
        "run: .venv/bin/python -m miner.metrics_reference > docs/metrics.md"
    )


def test_the_command_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "miner.metrics_reference"], capture_output=True, text=True, check=True
    )
    assert done.stdout == reference()


def test_every_metric_and_every_label_is_explained() -> None:
    assert all(f"| `{info.name}` | {info.kind} |" in reference() for info in CATALOGUE)
    used = {label for info in CATALOGUE for label in info.labels}
    assert used - {"result"} == set(LABELS)
    assert {info.name for info in CATALOGUE if "result" in info.labels} == set(RESULTS)


def test_values_of_labels_are_those_there_are() -> None:
    assert all(f"`{series}`" in LABELS["series"] for series in UNITS)
    assert all(f"`{reason.value}`" in RESULTS["hashmill_shares_total"] for reason in Reason)
    assert all(f"`{kind.value}`" in LABELS["kind"] for kind in Suspicion)
