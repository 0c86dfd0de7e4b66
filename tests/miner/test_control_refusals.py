import pytest

from miner.control_refusals import SourceRefusedError, TapeRefusedError
from miner.inquiries import CONFIGURATION_ERRORS


def test_a_refused_source_is_an_error_of_the_configuration_and_a_tape_is_one() -> None:
    with pytest.raises(CONFIGURATION_ERRORS):
        raise SourceRefusedError("the key's file is gone")
    assert issubclass(TapeRefusedError, SourceRefusedError)
