"""Rules of [controller.real_time]: the model can be used, and what is paid is really the price of the moment."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from miner.config_controller import ControllerConfig, RealTimeConfig
from miner.config_power import PowerConfig
from miner.config_power_rules import is_of_the_moment, label
from miner.config_rules import Draft, Finding
from miner.config_tape import TapeConfig
from miner.config_toml import KeyPath

if TYPE_CHECKING:
    from controller.model import Model

REAL_TIME: KeyPath = ("controller", "real_time")
TO_FIT = "`hashmill fit --power CSV --out FILE` writes one; without this line a band decides"


class ModelRefusedError(Exception):
    """A model cannot be used; the message names its file, what is wrong, and what to do."""


def read_model_file(file: Path) -> "Model":
    """The model in a file. Raises ModelRefusedError."""
    from controller.model import LARGEST, ModelError, read_model  # noqa: PLC0415 - numpy is slow to import, and few have a model

    try:
        with file.open("rb") as opened:
            return read_model(opened.read(LARGEST + 1))
    except FileNotFoundError:
        raise ModelRefusedError(f"{file} does not exist: {TO_FIT}") from None
    except OSError as error:
        raise ModelRefusedError(f"{file} cannot be read: {error.strerror or error}") from error
    except ModelError as error:
        raise ModelRefusedError(f"{file}: {error}") from error


def _real_time(draft: Draft) -> RealTimeConfig | None:
    section = draft.sections.get(("controller",))
    if not isinstance(section, ControllerConfig) or not draft.sound("controller", "real_time"):
        return None
    return section.real_time


def model(draft: Draft) -> Iterator[Finding]:
    """The model's file is there and is a model of this version."""
    section = _real_time(draft)
    if section is not None and section.model is not None:
        try:
            read_model_file(section.model)
        except ModelRefusedError as error:
            yield Finding((*REAL_TIME, "model"), str(error))


def settles(draft: Draft) -> Iterator[Finding]:
    """Beside a price of the moment stands nothing that the plan would take for prices known ahead."""
    section = draft.sections.get(("power",))
    if _real_time(draft) is None or not isinstance(section, PowerConfig) or not draft.sound("power", "http"):
        return
    if not any(is_of_the_moment(feed) for feed in section.http):
        return
    for position, feed in enumerate(section.http):
        if feed.preset and not is_of_the_moment(feed):
            yield Finding(
                ("power", "http", position, "preset"),
                f"with [controller.real_time] the prices of {label(feed)} would count as the ones that are paid later: "
                "write it as [[power.day_ahead.http]]",
            )
    if section.schedule:
        yield Finding(
            ("power", "schedule"),
            "with [controller.real_time] it would count as what is paid later: for when the price of the moment is not known, "
            "write fallback_usd_per_kwh",
        )


def pace(draft: Draft) -> Iterator[Finding]:
    """A tape is played at the pace of the clock, whose quarter hours are those of the market."""
    tape = draft.sections.get(("tape",))
    if _real_time(draft) is None or not isinstance(tape, TapeConfig) or not draft.sound("tape", "speed"):
        return
    if tape.speed != 1:
        yield Finding(
            ("tape", "speed"),
            "with [controller.real_time] it must be 1: prices are reckoned with by quarter hours of the clock",
        )


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (model, settles, pace)
