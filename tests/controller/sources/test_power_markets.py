"""Bounds of markets."""

from controller.sources.power_markets import BOUNDS_USD_PER_KWH
from controller.sources.power_presets import PRESETS
from controller.validate import SeriesRule


def test_bounds_admit_what_the_markets_caps_admit_and_nothing_absurd() -> None:
    for low, high in BOUNDS_USD_PER_KWH.values():
        SeriesRule(low, high, 1.0)
        assert low < 0
        assert high > 1
    assert BOUNDS_USD_PER_KWH["ercot"][1] > 5.0
    assert BOUNDS_USD_PER_KWH["nem"][1] > 20.3 * 0.7


def test_every_preset_has_the_bounds_of_its_market() -> None:
    assert {preset.market for preset in PRESETS.values()} <= BOUNDS_USD_PER_KWH.keys()
