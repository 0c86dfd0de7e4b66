"""What decides when to hash: limits of its keys, and defaults that touch nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from miner.config_controller import ControllerConfig


def test_a_new_configuration_decides_and_touches_nothing() -> None:
    config = ControllerConfig()
    assert config.enabled
    assert config.dry_run
    assert config.site_cap_kw == 0
    assert config.safe_mode == "pause"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tick_s", 0.0, "greater than or equal to 0.1"),
        ("horizon_hours", 0.0, "greater than 0"),
        ("site_cap_kw", -1.0, "greater than or equal to 0"),
        ("dead_band_ratio", 1.0, "less than 1"),
        ("max_changes_per_minute", 0, "greater than or equal to 1"),
        ("time_zone", "Mars/Olympus", "is no time zone"),
        ("time_zone", "../../etc/passwd", "is no time zone"),
        ("bounds", {"btc_usd": [2.0, 1.0]}, "the lowest first"),
        ("max_age_s", {"btc_usd": 0.0}, "greater than 0"),
    ],
)
def test_what_could_never_decide_sensibly_is_refused(key: str, value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ControllerConfig.model_validate({key: value})


def test_a_time_zone_is_an_iana_name() -> None:
    assert ControllerConfig(time_zone="America/Chicago").time_zone == "America/Chicago"
