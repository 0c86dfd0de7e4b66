"""Plots of a fleet are really drawn, and refusals say what to do."""

import builtins
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from controller.plan import Slot
from controller.plots import PlotError, plot_fleet
from controller.report import Fleet, Treasury, fleet_report
from controller.units import Mode, PowerCurve, Unit

REPORT = fleet_report(
    Fleet(
        units=(Unit("a", PowerCurve([Mode("eco", 76, 1850), Mode("full", 100, 2970)])),),
        hashprice_usd_per_ph_day=41.5,
        paid_ratio=0.98,
        slots=(Slot(0.0, 900.0, 41.5, 0.05),),
        treasury=Treasury(1000.0, 25.0),
    )
)


def test_a_fleet_is_drawn_as_svg_with_its_words_as_text_and_always_the_same(tmp_path: Path) -> None:
    for name in ("one.svg", "two.SVG"):
        plot_fleet(REPORT, tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    assert "now: $41.50" in text
    assert "fixed costs: $25 a day" in text
    assert text == (tmp_path / "two.SVG").read_text()


def test_a_fleet_is_drawn_as_png(tmp_path: Path) -> None:
    plot_fleet(REPORT, tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")


def test_a_fleet_without_units_has_a_plot_too(tmp_path: Path) -> None:
    empty = Fleet((), 41.5, 1.0, (Slot(0.0, 900.0, 41.5, 0.05),))
    plot_fleet(fleet_report(empty), tmp_path / "fleet.svg")
    assert (tmp_path / "fleet.svg").stat().st_size > 0


def test_other_formats_and_folders_that_are_not_there_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match=r"\.svg or \.png"):
        plot_fleet(REPORT, tmp_path / "fleet.pdf")
    with pytest.raises(PlotError, match="cannot be written: No such file"):
        plot_fleet(REPORT, tmp_path / "none" / "fleet.svg")


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PlotError, match="extra `report`"):
        plot_fleet(REPORT, tmp_path / "fleet.svg")
