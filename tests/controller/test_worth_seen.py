"""What may be seen has a fixed length."""

from __future__ import annotations

import numpy as np
import pytest

from controller.recent import KEPT
from controller.worth_seen import AHEAD, Seen


def test_prices_of_another_length_are_refused() -> None:
    Seen(1, np.zeros(KEPT), np.zeros(1 + AHEAD))
    for recent, ahead in ((KEPT - 1, 1 + AHEAD), (KEPT, AHEAD)):
        with pytest.raises(ValueError, match="are looked at"):
            Seen(1, np.zeros(recent), np.zeros(ahead))
