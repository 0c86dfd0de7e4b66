from datetime import UTC, datetime
from pathlib import Path

import pytest

from miner.config_tape import TapeConfig

BEGINS_AT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def test_a_replay_begins_at_its_first_row_unless_told_otherwise() -> None:
    assert TapeConfig(file=Path("t.csv")).start_at_s(BEGINS_AT) == 0


def test_a_replay_begins_so_many_seconds_or_at_a_date_into_the_tape() -> None:
    assert TapeConfig(file=Path("t.csv"), start=90.0).start_at_s(None) == 90
    date = datetime(2026, 1, 2, tzinfo=UTC)
    assert TapeConfig(file=Path("t.csv"), start=date).start_at_s(BEGINS_AT) == 86_400


def test_a_tape_of_offsets_knows_no_dates() -> None:
    config = TapeConfig(file=Path("t.csv"), start=datetime(2026, 1, 2, tzinfo=UTC))
    with pytest.raises(ValueError, match="give start in seconds"):
        config.start_at_s(None)
