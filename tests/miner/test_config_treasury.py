import pytest
from pydantic import ValidationError

from miner.config_treasury import TreasuryConfig


def test_without_the_section_no_cash_is_known_and_nothing_is_spent() -> None:
    treasury = TreasuryConfig()
    assert treasury.cash_usd is None
    assert treasury.fixed_usd_per_day == 0


@pytest.mark.parametrize("key", ["cash_usd", "fixed_usd_per_day"])
def test_less_than_nothing_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        TreasuryConfig.model_validate({key: -1.0})
