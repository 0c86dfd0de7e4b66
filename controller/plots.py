"""A fleet's report as a picture, SVG or PNG by the file's name; needs matplotlib (the extra `report`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMATS: Final = (".svg", ".png")

_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "hashmill",  # the same report gives the same file
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 9,
}
_SIZE_INCHES: Final = (9.0, 7.0)


class PlotError(Exception):
    """The picture could not be made; the message says why and what to do."""


def plot_fleet(report: Mapping[str, Any], file: Path) -> None:
    """Draw merit order and survival of a `controller.report.fleet_report` into `file`.

    Raises PlotError for a name that ends in none of `FORMATS`, without matplotlib, and where the file cannot be written.
    """
    if file.suffix.lower() not in FORMATS:
        raise PlotError(f"{file}: a plot is written as {' or '.join(FORMATS)}, by the file's name")
    try:
        import matplotlib as mpl  # noqa: PLC0415 - slow to import, and an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise PlotError("plots need matplotlib: install hashmill with the extra `report`") from error
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        order, money = figure.subplots(2, 1)
        _draw_order(order, report)
        _draw_money(money, report)
        try:
            figure.savefig(file, metadata={"Date": None} if file.suffix.lower() == ".svg" else None)
        except OSError as error:
            raise PlotError(f"{file} cannot be written: {error.strerror or error}") from error


def _draw_order(axes: Any, report: Mapping[str, Any]) -> None:
    """PH/s that pay while hashprice falls, from the right to the left."""
    rows = report["merit_order"]
    breakevens = [row["breakeven_hashprice_usd_per_ph_day"] for row in rows]
    online = [row["online_ph_s"] for row in rows]
    now = report["hashprice_usd_per_ph_day"]
    most = 1.1 * max([now, *breakevens])
    axes.step([0.0, *breakevens, most], [0.0, *online, online[-1] if online else 0.0], where="post")
    axes.axvline(now, linestyle="--", color="tab:red", label=f"now: ${now:,.2f}")
    axes.set_xlim(most, 0.0)
    axes.set_xlabel("hashprice, USD per PH/s and day")
    axes.set_ylabel("PH/s that pay")
    axes.set_title("Merit order: what stays online while hashprice falls")
    axes.legend(loc="best")


def _draw_money(axes: Any, report: Mapping[str, Any]) -> None:
    """What is left each day after power at the hashprices of the survival table, and the fixed costs beside it."""
    rows = report["survival"]
    hashprices = [row["hashprice_usd_per_ph_day"] for row in rows]
    axes.plot(hashprices, [row["margin_usd_per_day"] for row in rows], marker="o", label="margin after power")
    fixed = report["cash"]["fixed_usd_per_day"]
    if fixed:
        axes.axhline(fixed, linestyle="--", color="tab:red", label=f"fixed costs: ${fixed:,.0f} a day")
    axes.set_xlim(max(hashprices), min(hashprices))
    axes.set_xlabel("hashprice, USD per PH/s and day")
    axes.set_ylabel("USD a day")
    axes.set_title("Survival")
    axes.legend(loc="best")
