from __future__ import annotations

from controller.sources.base import Source, SourceError
from controller.sources.fixed import FixedSource


def test_what_has_a_name_and_can_be_read_is_a_source() -> None:
    assert isinstance(FixedSource({}), Source)
    assert not isinstance(object(), Source)


def test_a_source_fails_with_an_error_of_its_own() -> None:
    assert issubclass(SourceError, Exception)
