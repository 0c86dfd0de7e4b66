from __future__ import annotations

import math

import pytest

from controller.sources.fixed import FixedSource
from controller.ticks import BTC_USD, POWER, Tick


async def test_a_fixed_number_never_grows_old_and_stays_one_fact() -> None:
    source = FixedSource({POWER: 0.06, BTC_USD: 90_000.0})
    first, later = await source.read(100.0), await source.read(500.0)
    assert first[0] == Tick(POWER, 0.06, "USD/kWh", 100.0, math.inf, 100.0, "fixed")
    assert later[0].observed_at == 500
    assert later[0].same_fact(first[0])
    assert [tick.series for tick in later] == [POWER, BTC_USD]


@pytest.mark.parametrize("values", [{"weather": 1.0}, {POWER: math.nan}, {BTC_USD: math.inf}])
def test_what_is_no_series_or_no_number_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"not known|finite"):
        FixedSource(values)
