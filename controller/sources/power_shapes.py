"""The shapes that public feeds of power prices answer in, read into intervals or a price of the moment; pure.

Every currency and unit is taken as the answer tells it; where it does not, it is that of the market. Times come out in UTC.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from controller.sources import jsonpath
from controller.sources.power_intervals import Interval, from_starts, tidy
from controller.sources.power_terms import PriceUnit, price_unit

NEM_TIME: Final = timezone(timedelta(hours=10))
"""The clock of Australia's National Electricity Market: no daylight saving."""
FIVE_MINUTES_S: Final = 300.0
HOUR_S: Final = 3600.0

_UNIT = re.compile(r"\s*(?P<currency>[A-Za-z]{3})\s*/\s*(?P<energy>[kKmM][wW][hH])\s*")
_USD_PER_MWH: Final = price_unit("usd_per_mwh")


class ShapeError(ValueError):
    """An answer that is not what the feed is known to answer; the words say what is missing."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one answer says: prices per kWh in `currency`, by interval or (`latest`) of the moment, seen at a time or just now.

    `more` is the URL of a further page.
    """

    currency: str
    intervals: tuple[Interval, ...] = ()
    latest: float | None = None
    seen_at: float | None = None
    more: str = ""


Shape: TypeAlias = Callable[[str, str], Said]
"""Reads (text, area); raises ShapeError."""


def document(text: str) -> Any:
    """An answer in JSON. Raises ShapeError."""
    stripped = text.strip()
    try:
        return msgspec.json.decode(stripped)
    except (msgspec.DecodeError, RecursionError) as error:
        if stripped[:1] == "<":
            raise ShapeError("it answered with a page of HTML or XML, not JSON") from error
        what = f"is not JSON, or cut off ({len(stripped)} characters)" if stripped else "is empty"
        raise ShapeError(f"the answer {what}") from error


def told_unit(text: object) -> PriceUnit:
    """A unit as feeds write it, "EUR / MWh" or "Eur/MWh". Raises ShapeError."""
    match = _UNIT.fullmatch(str(text))
    if match is None:
        raise ShapeError(f'its unit "{str(text)[:40]}" is not known')
    return price_unit(f"{match['currency']}_per_{match['energy']}".lower())


def awattar(text: str, _area: str) -> Said:
    """Hours of EPEX by aWATTar: milliseconds, and the unit in every row."""
    rows = _rows(document(text), "data")
    units = {told_unit(_get(row, "unit")) for row in rows}
    if len(units) > 1:
        raise ShapeError("its prices are in several units")
    per_kwh = next(iter(units)).per_kwh if units else 1.0
    found = [
        _interval(
            _get(row, "start_timestamp"), _get(row, "end_timestamp"), _number(row, "marketprice") * per_kwh
        )
        for row in rows
    ]
    return Said(next(iter(units)).currency if units else "EUR", tidy(found))


def octopus(text: str, _area: str) -> Said:
    """Unit rates of a tariff of Octopus Energy, before VAT, newest first and in pages; pence."""
    answer = document(text)
    unit = price_unit("pence_per_kwh")
    found = []
    for row in _rows(answer, "results"):
        if row.get("payment_method") == "NON_DIRECT_DEBIT":
            continue
        ends = row.get("valid_to")
        found.append(
            _interval(
                _get(row, "valid_from"),
                math.inf if ends is None else ends,
                _number(row, "value_exc_vat") * unit.per_kwh,
            )
        )
    more = answer.get("next")
    return Said(unit.currency, tidy(found), more=more if isinstance(more, str) else "")


def energy_charts(text: str, _area: str) -> Said:
    """Day-ahead prices of a bidding zone by Energy-Charts: two lists, and null where a price is not known."""
    answer = document(text)
    starts, prices = _list(answer, "unix_seconds"), _list(answer, "price")
    if len(starts) != len(prices):
        raise ShapeError(f"it has {len(starts)} times, but {len(prices)} prices")
    unit = told_unit(_get(answer, "unit"))
    points = [
        (_time(start), None if price is None else _value(price, "price") * unit.per_kwh)
        for start, price in zip(starts, prices, strict=True)
    ]
    return Said(unit.currency, _from_starts(points))


def tibber(text: str, area: str) -> Said:
    """Today's and tomorrow's prices of a home at Tibber, everything included; `area` is the home's id where there are several."""
    answer = document(text)
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if errors:
        raise ShapeError(f"it answered with an error: {str(errors)[:120]}")
    homes = [
        home
        for home in _found(answer, "data.viewer.homes[*]")
        if isinstance(home, dict) and home.get("currentSubscription") and (not area or home.get("id") == area)
    ]
    if len(homes) != 1:
        which = "no home with a subscription" if not homes else "several homes: name one by its id as area"
        raise ShapeError(f"the account has {which}")
    info = _get(homes[0]["currentSubscription"], "priceInfo")
    rows = [*_rows(info, "today"), *_rows(info, "tomorrow")]
    currencies = {str(_get(row, "currency")) for row in rows}
    if len(currencies) > 1:
        raise ShapeError("its prices are in several currencies")
    points = [(_time(_get(row, "startsAt")), _number(row, "total")) for row in rows]
    return Said(next(iter(currencies), "EUR"), _from_starts(points))


def nordpool(text: str, area: str) -> Said:
    """A day's prices of an area by Nord Pool's data portal."""
    answer = document(text)
    found = []
    for row in _rows(answer, "multiAreaEntries"):
        prices = _get(row, "entryPerArea")
        if not isinstance(prices, dict) or area not in prices:
            raise ShapeError(f'there is no area "{area}", only {", ".join(_keys(prices)[:8]) or "none"}')
        found.append(
            _interval(
                _get(row, "deliveryStart"), _get(row, "deliveryEnd"), _value(prices[area], area) * 0.001
            )
        )
    return Said(str(answer.get("currency") or "EUR"), tidy(found))


def energyzero(text: str, _area: str) -> Said:
    """Hours of the Dutch market by EnergyZero, EUR per kWh before VAT."""
    points = [
        (_time(_get(row, "readingDate")), _number(row, "price")) for row in _rows(document(text), "Prices")
    ]
    return Said("EUR", _from_starts(points, HOUR_S))


def ercot_day_ahead(text: str, area: str) -> Said:
    """ERCOT's day-ahead settlement prices of the day; each row is named by its end."""
    found = []
    for row in _rows(document(text), "damSppData"):
        end = _time(_get(row, "interval"))
        found.append(Interval(end - HOUR_S, end, _number(row, _point(row, area)) * _USD_PER_MWH.per_kwh))
    return Said("USD", tidy(found))


def ercot_real_time(text: str, area: str) -> Said:
    """ERCOT's last real-time settlement price: that of the quarter hour which just ended."""
    rows = _rows(document(text), "rtSppData")
    if not rows:
        raise ShapeError("it has no real-time price yet")
    row = max(rows, key=lambda each: _time(_get(each, "interval")))
    price = _number(row, _point(row, area)) * _USD_PER_MWH.per_kwh
    return Said("USD", latest=price, seen_at=_time(_get(row, "interval")))


def nyiso_day_ahead(text: str, area: str) -> Said:
    """NYISO's day-ahead prices of a zone: a day of New York's clock, the hour that comes twice written twice."""
    return Said("USD", _from_starts(_nyiso(text, area), HOUR_S))


def nyiso_real_time(text: str, area: str) -> Said:
    """NYISO's last real-time price of a zone; each row is named by its end."""
    at, price = max(_nyiso(text, area))
    return Said("USD", latest=price, seen_at=at)


def aemo(text: str, area: str) -> Said:
    """The price of the five minutes under way in a region of Australia's NEM; a row is named by its end."""
    for row in _rows(document(text), "ELEC_NEM_SUMMARY"):
        if row.get("REGIONID") == area:
            ends = local_time(_get(row, "SETTLEMENTDATE"), NEM_TIME)
            return Said("AUD", latest=_number(row, "PRICE") * 0.001, seen_at=ends - FIVE_MINUTES_S)
    raise ShapeError(f'there is no region "{area}": write NSW1, QLD1, SA1, TAS1 or VIC1')


def comed(text: str, _area: str) -> Said:
    """ComEd's last five-minute price, cents."""
    rows = document(text)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ShapeError("it has no prices")
    row = max(rows, key=lambda each: _time(_get(each, "millisUTC")))
    return Said("USD", latest=_number(row, "price") * 0.01, seen_at=_time(_get(row, "millisUTC")))


def pjm(text: str, _area: str) -> Said:
    """PJM's day-ahead prices of a node by Data Miner 2."""
    found = []
    for row in _rows(document(text), "items"):
        start = local_time(_get(row, "datetime_beginning_utc"), UTC)
        found.append(Interval(start, start + HOUR_S, _number(row, "total_lmp_da") * _USD_PER_MWH.per_kwh))
    return Said("USD", tidy(found))


def local_time(value: object, zone: tzinfo) -> float:
    """A time in ISO 8601, by the clock of `zone` where it names no offset. Raises ShapeError."""
    try:
        at = datetime.fromisoformat(str(value).strip().replace("/", "-"))
    except ValueError:
        raise ShapeError(f'"{str(value)[:40]}" is no time') from None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()


def _nyiso(text: str, area: str) -> list[tuple[float, float]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    if text.lstrip()[:1] == "<" or not rows or not {"Time Stamp", "Name", "LBMP ($/MWHr)"} <= rows[0].keys():
        raise ShapeError("it did not answer with a table of prices")
    mine = [row for row in rows if row["Name"] == area]
    if not mine:
        names = ", ".join(sorted({str(row["Name"]) for row in rows})[:8])
        raise ShapeError(f'there is no zone "{area}", only {names}')
    zone = ZoneInfo("America/New_York")
    seen: Counter[str] = Counter()
    found = []
    for row in mine:
        stamp = str(row["Time Stamp"])
        form = "%m/%d/%Y %H:%M:%S" if stamp.count(":") == 2 else "%m/%d/%Y %H:%M"  # noqa: PLR2004 - with seconds
        try:
            wall = datetime.strptime(stamp, form)  # noqa: DTZ007 - the zone's clock, put on below
        except ValueError:
            raise ShapeError(f'"{stamp[:40]}" is no time') from None
        at = wall.replace(tzinfo=zone, fold=min(seen[stamp], 1)).timestamp()
        seen[stamp] += 1
        found.append((at, _number(row, "LBMP ($/MWHr)") * _USD_PER_MWH.per_kwh))
    return found


def _point(row: Mapping[str, Any], area: str) -> str:
    """The key of a settlement point, written as ERCOT names it (HB_NORTH) or as the feed does (hbNorth)."""
    wanted = area.replace("_", "").lower()
    for key in row:
        if key.lower() == wanted:
            return key
    points = ", ".join(key for key in row if key.startswith(("hb", "lz")))
    raise ShapeError(f'there is no settlement point "{area}", only {points or "none"}')


def _rows(answer: Any, key: str) -> list[dict[str, Any]]:
    rows = _list(answer, key)
    if not all(isinstance(row, dict) for row in rows):
        raise ShapeError(f'"{key}" is not a list of objects')
    return rows


def _list(answer: Any, key: str) -> list[Any]:
    found = _get(answer, key)
    if not isinstance(found, list):
        raise ShapeError(f'"{key}" is not a list')
    return found


def _get(answer: Any, key: str) -> Any:
    if not isinstance(answer, dict) or key not in answer:
        raise ShapeError(f'the answer has no "{key}": is this the right address?')
    return answer[key]


def _keys(answer: Any) -> list[str]:
    return list(answer) if isinstance(answer, dict) else []


def _found(answer: Any, path: str) -> list[Any]:
    try:
        return jsonpath.find(answer, path)
    except jsonpath.PathError as error:
        raise ShapeError(str(error)) from error


def _number(row: Mapping[str, Any], key: str) -> float:
    return _value(_get(row, key), key)


def _value(value: Any, key: str) -> float:
    try:
        return jsonpath.number(value)
    except ValueError as error:
        raise ShapeError(f'"{key}": {error}') from error


def _time(value: Any) -> float:
    try:
        return jsonpath.time_of(value)
    except ValueError as error:
        raise ShapeError(str(error)) from error


def _interval(start: Any, end: Any, value: float) -> Interval:
    try:
        return Interval(_time(start), end if end == math.inf else _time(end), value)
    except ValueError as error:
        raise ShapeError(str(error)) from error


def _from_starts(
    points: Sequence[tuple[float, float | None]], step_s: float | None = None
) -> tuple[Interval, ...]:
    try:
        return from_starts(points, step_s)
    except ValueError as error:
        raise ShapeError(str(error)) from error
