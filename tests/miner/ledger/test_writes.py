from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import pytest

from miner.ledger import writes
from miner.ledger.rows import BlockRow, LedgerError
from miner.ledger.store import Store


def test_writes_of_a_group_are_made_in_their_order_and_all_together(
    store: Store, block: Callable[..., BlockRow]
) -> None:
    change = writes.StatusChange("accepted", confirmations=1)
    store.commit(
        [
            partial(writes.add_block, row=block()),
            partial(writes.set_block_status, block_hash=block().hash, change=change),
        ]
    )
    assert [(row.status, row.confirmations) for row in store.blocks()] == [("accepted", 1)]


def test_a_bad_write_undoes_its_whole_group(store: Store, block: Callable[..., BlockRow]) -> None:
    unknown = partial(writes.set_block_status, block_hash="ff", change=writes.StatusChange("accepted"))
    with pytest.raises(LedgerError, match="block ff is not in the ledger"):
        store.commit([partial(writes.add_block, row=block()), unknown])
    assert store.blocks() == []


def test_a_status_change_leaves_alone_what_it_does_not_name(
    store: Store, block: Callable[..., BlockRow]
) -> None:
    row = block(detail="kept", confirmations=3)
    store.commit(
        [
            partial(writes.add_block, row=row),
            partial(
                writes.set_block_status,
                block_hash=row.hash,
                change=writes.StatusChange("submitted", submitted_at=5.0),
            ),
        ]
    )
    written = store.block(row.hash)
    assert written is not None
    assert asdict(written) == {**asdict(row), "status": "submitted", "submitted_at": 5.0}


@pytest.mark.parametrize("write", [writes.add_decisions, writes.add_outcomes, writes.add_ticks])
def test_writing_no_rows_is_no_error(store: Store, write: Callable[..., None]) -> None:
    store.commit([partial(write, rows=())])


def test_an_empty_group_is_no_error(store: Store) -> None:
    store.commit([])
