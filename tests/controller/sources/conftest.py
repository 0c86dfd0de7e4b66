"""A real MQTT broker for the tests that want one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from regtest.mosquitto import Mosquitto, NoMosquittoError, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def mosquitto_factory() -> Iterator[Callable[..., Mosquitto]]:
    """Starts a broker with the arguments of `Mosquitto`, as often as asked; all are stopped at the end.

    Where there is none its tests are skipped, unless the environment says that they must run.
    """
    try:
        program()
    except NoMosquittoError as error:
        if os.environ.get("HASHMILL_REQUIRE_MOSQUITTO"):
            raise
        pytest.skip(str(error))
    with contextlib.ExitStack() as brokers:

        def start(**options: Any) -> Mosquitto:
            return brokers.enter_context(Mosquitto(**options))

        yield start


@pytest.fixture
def mosquitto(mosquitto_factory: Callable[..., Mosquitto]) -> Mosquitto:
    """A fresh broker that takes everybody."""
    return mosquitto_factory()
