import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from miner.ledger.rows import (
    BlockRow,
    LedgerError,
    LedgerUnavailableError,
    PoolShareSums,
    SchemaTooNewError,
    TransitionError,
    UnknownBlockError,
)


def test_a_block_begins_as_found_and_on_time(block: Callable[..., BlockRow]) -> None:
    row = block()
    assert (row.status, row.stale, row.submitted_at, row.confirmations) == ("found", False, None, 0)


def test_rows_cannot_be_changed_once_made(block: Callable[..., BlockRow]) -> None:
    with pytest.raises(FrozenInstanceError):
        block().status = "mature"


def test_rows_travel_between_processes(block: Callable[..., BlockRow]) -> None:
    row: BlockRow = block()
    assert pickle.loads(pickle.dumps(row)) == row


@pytest.mark.parametrize(
    "error", [LedgerUnavailableError, SchemaTooNewError, TransitionError, UnknownBlockError]
)
def test_every_error_of_the_ledger_is_caught_as_one(error: type[Exception]) -> None:
    assert issubclass(error, LedgerError)


def test_shares_handed_to_a_pool_add_up_and_the_rejected_part_of_the_work_is_known_once_there_is_any() -> (
    None
):
    assert (PoolShareSums().found, PoolShareSums().rejected_ratio) == (0, None)
    sums = PoolShareSums(5, 2, 1, 3, work_accepted=30.0, work_rejected=10.0)
    assert (sums.found, sums.rejected_ratio) == (11, 0.25)
