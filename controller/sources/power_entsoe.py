"""ENTSO-E's day-ahead prices (document A44, XML) read into intervals; pure."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from controller.sources.power_intervals import Interval, tidy
from controller.sources.power_shapes import Said, ShapeError, local_time, told_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_DATA: Final = "999"
DAY_AHEAD: Final = "A01"
FIXED_BLOCKS: Final = "A01"
"""The curve whose every position is written; in any other a position left out repeats the one before."""
MOST_POSITIONS: Final = 10_000

_RESOLUTION = re.compile(r"PT(?P<minutes>\d{1,4})M|PT(?P<hours>\d{1,3})H", re.ASCII)


def entsoe(text: str, _area: str) -> Said:
    """The prices of the day-ahead auction; where a zone has several auctions, of the one numbered first."""
    root = _parsed(text)
    if _name(root) == "Acknowledgement_MarketDocument":
        code = _text(root, "Reason/code")
        why = _text(root, "Reason/text")
        said = "it has no prices for this zone and time" if code == NO_DATA else "it refused the question"
        raise ShapeError(f"{said}: {why[:120]}" if why else said)
    if _name(root) != "Publication_MarketDocument":
        raise ShapeError(f"the answer is no list of prices but <{_name(root)[:40]}>")
    series = [each for each in _all(root, "TimeSeries") if _is_day_ahead(each)]
    first = min((_sequence(each) for each in series), default=0)
    chosen = [each for each in series if _sequence(each) == first]
    units = {
        told_unit(f"{_text(s, 'currency_Unit.name')}/{_text(s, 'price_Measure_Unit.name')}") for s in chosen
    }
    if len(units) > 1:
        raise ShapeError("its prices are in several units")
    found = [interval for each in chosen for interval in _intervals(each)]
    if not units:
        return Said("EUR")
    unit = units.pop()
    # Where hours and quarters are given for the same time, the shorter ones come last and win.
    found.sort(key=lambda each: each.start - each.end)
    return Said(
        unit.currency, tidy([Interval(each.start, each.end, each.value * unit.per_kwh) for each in found])
    )


def _parsed(text: str) -> ET.Element:
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise ShapeError("it answered with a page of HTML, or XML with declarations")
    try:
        return ET.fromstring(text.strip())  # noqa: S314 - without declarations there is nothing to expand or fetch
    except ET.ParseError as error:
        raise ShapeError("the answer is not XML, or cut off") from error


def _is_day_ahead(series: ET.Element) -> bool:
    return _text(series, "contract_MarketAgreement.type") in {DAY_AHEAD, ""}


def _sequence(series: ET.Element) -> int:
    text = _text(series, "classificationSequence_AttributeInstanceComponent.position")
    return int(text) if text.isdecimal() else 1


def _intervals(series: ET.Element) -> Iterator[Interval]:
    repeats = _text(series, "curveType") not in {FIXED_BLOCKS, ""}
    for period in _all(series, "Period"):
        start = local_time(_text(period, "timeInterval/start"), UTC)
        end = local_time(_text(period, "timeInterval/end"), UTC)
        step = _step(_text(period, "resolution"))
        if not step * MOST_POSITIONS >= end - start > 0:
            raise ShapeError("a period of it has no sensible length")
        prices = {_position(point): _price(point) for point in _all(period, "Point")}
        known = sorted(prices)
        for position, following in zip(known, [*known[1:], round((end - start) / step) + 1], strict=True):
            last = following if repeats else position + 1
            left, right = start + (position - 1) * step, min(start + (last - 1) * step, end)
            if left < right:
                yield Interval(left, right, prices[position])


def _position(point: ET.Element) -> int:
    text = _text(point, "position")
    if not text.isdecimal() or not 1 <= int(text) <= MOST_POSITIONS:
        raise ShapeError(f'"{text[:20]}" is no position')
    return int(text)


def _price(point: ET.Element) -> float:
    text = _text(point, "price.amount")
    try:
        return float(text)
    except ValueError:
        raise ShapeError(f'"{text[:20]}" is no price') from None


def _step(resolution: str) -> float:
    match = _RESOLUTION.fullmatch(resolution)
    step = 0 if match is None else int(match["minutes"] or 0) * 60 + int(match["hours"] or 0) * 3600
    if not step:
        raise ShapeError(f'its resolution "{resolution[:20]}" is not known')
    return step


def _name(element: ET.Element) -> str:
    """The name without its namespace, which changes from version to version."""
    return element.tag.rpartition("}")[2]


def _all(element: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in element if _name(each) == name]


def _text(element: ET.Element, path: str) -> str:
    """The text at a path of names below `element`; empty where there is none."""
    for name in path.split("/"):
        below = _all(element, name)
        if not below:
            return ""
        element = below[0]
    return (element.text or "").strip()
