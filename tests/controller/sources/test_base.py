from __future__ import annotations

import pytest

from controller.sources.base import Closing, Restorable, Source, SourceError, close_all
from controller.sources.btc import BtcFeedSpec, BtcPrice
from controller.sources.fixed import FixedSource
from controller.sources.fx import Rates


class Open:
    """Holds something open until it is closed; `error` comes out of it then."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = False

    async def close(self) -> None:
        self.closed = True
        if self.error is not None:
            raise self.error


def test_what_has_a_name_and_can_be_read_is_a_source() -> None:
    assert isinstance(FixedSource({}), Source)
    assert not isinstance(object(), Source)


def test_a_source_fails_with_an_error_of_its_own() -> None:
    assert issubclass(SourceError, Exception)


def test_only_what_holds_something_open_is_closed() -> None:
    assert not isinstance(FixedSource({}), Closing)
    assert isinstance(Rates({}), Closing)
    assert isinstance(BtcPrice([BtcFeedSpec("a", "http://h/", "p")]), Closing)


def test_what_remembers_can_be_restored() -> None:
    assert not isinstance(FixedSource({}), Restorable)
    assert isinstance(Rates({}), Restorable)
    assert isinstance(BtcPrice([BtcFeedSpec("a", "http://h/", "p")]), Restorable)


async def test_all_are_closed_even_if_one_fails_and_its_error_is_not_lost() -> None:
    first, second = Open(OSError("first")), Open(OSError("second"))
    last = Open()
    with pytest.raises(OSError, match="first"):
        await close_all([first, FixedSource({}), second, last])
    assert first.closed
    assert second.closed
    assert last.closed
    await close_all([last])
