from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from controller.snapshot import Snapshot


def test_a_snapshot_does_not_change() -> None:
    snapshot = Snapshot(1.0, {}, (), {})
    with pytest.raises(FrozenInstanceError):
        snapshot.at = 2.0  # type: ignore[misc] # that is the point
