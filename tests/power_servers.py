"""Answers of public power price feeds, in their shapes: made from intervals, for the servers of `price_servers`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from zoneinfo import ZoneInfo

from tests.price_servers import Answer, says, text

HOUR: Final = 3600.0
NEW_YORK: Final = ZoneInfo("America/New_York")
NEM: Final = timezone(timedelta(hours=10))

Hours = Sequence[float | None]
"""Prices per MWh (Octopus: pence per kWh) of consecutive intervals; None: the feed leaves it out."""


def at(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def utc(moment: float, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(form)


def spans(start: float, prices: Hours, step: float = HOUR) -> list[tuple[float, float, float]]:
    return [
        (start + n * step, start + (n + 1) * step, price)
        for n, price in enumerate(prices)
        if price is not None
    ]


def awattar(start: float, prices: Hours, unit: str = "Eur/MWh") -> Answer:
    data = [
        {"start_timestamp": int(a * 1000), "end_timestamp": int(b * 1000), "marketprice": price, "unit": unit}
        for a, b, price in spans(start, prices)
    ]
    return says({"object": "list", "data": data, "url": "/at/v1/marketdata"})


def octopus(start: float, pence: Hours, more: str | None = None) -> Answer:
    """Newest first, as Octopus does; `more` is the next page's URL."""
    results = [
        {
            "value_exc_vat": price,
            "value_inc_vat": price * 1.05,
            "valid_from": utc(a),
            "valid_to": utc(b),
            "payment_method": None,
        }
        for a, b, price in reversed(spans(start, pence, HOUR / 2))
    ]
    return says({"count": len(results), "next": more, "previous": None, "results": results})


def energy_charts(start: float, prices: Hours, unit: str = "EUR / MWh", step: float = HOUR) -> Answer:
    seconds = [int(start + n * step) for n in range(len(prices))]
    about = {"license_info": "CC BY 4.0", "deprecated": False}
    return says({**about, "unix_seconds": seconds, "price": list(prices), "unit": unit})


def tibber(
    start: float, today: Hours, tomorrow: Hours = (), currency: str = "NOK", home: str = "home-1"
) -> Answer:
    def rows(begin: float, prices: Hours) -> list[dict[str, Any]]:
        return [
            {
                "total": price,
                "startsAt": datetime.fromtimestamp(a, ZoneInfo("Europe/Oslo")).isoformat("T", "milliseconds"),
                "currency": currency,
            }
            for a, _, price in spans(begin, prices)
        ]

    info = {"today": rows(start, today), "tomorrow": rows(start + len(today) * HOUR, tomorrow)}
    homes = [
        {"id": home, "currentSubscription": {"priceInfo": info}},
        {"id": "cabin", "currentSubscription": None},
    ]
    return says({"data": {"viewer": {"homes": homes}}})


def nordpool(start: float, prices: Hours, area: str = "SE3", currency: str = "EUR") -> Answer:
    entries = [
        {"deliveryStart": utc(a), "deliveryEnd": utc(b), "entryPerArea": {area: price}}
        for a, b, price in spans(start, prices)
    ]
    return says({"market": "DayAhead", "version": 2, "currency": currency, "multiAreaEntries": entries})


def energyzero(start: float, prices_per_kwh: Hours) -> Answer:
    rows = [{"price": price, "readingDate": utc(a)} for a, _, price in spans(start, prices_per_kwh)]
    return says({"Prices": rows, "intervalType": 4, "average": 0.1})


def ercot(hours_start: float, day_ahead: Hours, quarters_start: float, real_time: Hours) -> Answer:
    """Both markets in one document; every row is named by its end."""

    def row(end: float, price: float) -> dict[str, Any]:
        stamp = datetime.fromtimestamp(end, ZoneInfo("America/Chicago")).strftime("%Y-%m-%d %H:%M:%S%z")
        return {
            "hbNorth": price,
            "lzWest": price + 1,
            "dstFlag": "N",
            "timestamp": stamp,
            "interval": int(end * 1000),
        }

    dam = [{"hourEnding": 1, **row(b, price)} for _, b, price in spans(hours_start, day_ahead)]
    rt = [{"intervalEnding": "x", **row(b, price)} for _, b, price in spans(quarters_start, real_time, 900)]
    return says({"lastUpdated": "2026-06-01 00:02:00-0500", "rtSppData": rt, "damSppData": dam})


def nyiso(
    start: float, prices: Hours, zone: str = "N.Y.C.", step: float = HOUR, *, ends: bool = False
) -> Answer:
    """New York's clock without offset: the hour that comes twice is written twice."""
    lines = [
        '"Time Stamp","Name","PTID","LBMP ($/MWHr)","Marginal Cost Losses ($/MWHr)","Marginal Cost Congestion ($/MWHr)"'
    ]
    form = "%m/%d/%Y %H:%M:%S" if ends else "%m/%d/%Y %H:%M"
    for a, b, price in spans(start, prices, step):
        stamp = datetime.fromtimestamp(b if ends else a, NEW_YORK).strftime(form)
        lines += [f'"{stamp}","CAPITL",61757,999,1,0', f'"{stamp}","{zone}",61761,{price},1.5,-0.2']
    return text("\r\n".join(lines) + "\r\n", "text/csv")


def aemo(interval_end: float, price: float, region: str = "NSW1") -> Answer:
    stamp = datetime.fromtimestamp(interval_end, NEM).strftime("%Y-%m-%dT%H:%M:%S")
    rows = [
        {"SETTLEMENTDATE": stamp, "REGIONID": name, "PRICE": value, "PRICE_STATUS": "FIRM"}
        for name, value in (("QLD1", 77.0), (region, price))
    ]
    return says({"ELEC_NEM_SUMMARY": rows})


def comed(start: float, cents: Hours) -> Answer:
    rows = [
        {"millisUTC": str(int(a * 1000)), "price": str(price)} for a, _, price in spans(start, cents, 300)
    ]
    return says(rows[::-1])


def pjm(start: float, prices: Hours) -> Answer:
    items = [
        {"datetime_beginning_utc": utc(a, "%Y-%m-%dT%H:%M:%S"), "pnode_id": 51288, "total_lmp_da": price}
        for a, _, price in spans(start, prices)
    ]
    return says({"links": [], "items": items, "totalRows": len(items)})


def entsoe_series(
    start: float,
    prices: Hours,
    *,
    minutes: int = 60,
    curve: str = "A03",
    currency: str = "EUR",
    sequence: int | None = 1,
    contract: str = "A01",
) -> str:
    points = "".join(
        f"<Point><position>{n}</position><price.amount>{price}</price.amount></Point>"
        for n, price in enumerate(prices, start=1)
        if price is not None
    )
    name = "classificationSequence_AttributeInstanceComponent.position"
    number = "" if sequence is None else f"<{name}>{sequence}</{name}>"
    form = "%Y-%m-%dT%H:%MZ"
    period = f"<start>{utc(start, form)}</start><end>{utc(start + len(prices) * minutes * 60, form)}</end>"
    return (
        f"<TimeSeries><mRID>1</mRID><contract_MarketAgreement.type>{contract}</contract_MarketAgreement.type>"
        f"<currency_Unit.name>{currency}</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name>"
        f"{number}<curveType>{curve}</curveType><Period><timeInterval>{period}</timeInterval>"
        f"<resolution>PT{minutes}M</resolution>{points}</Period></TimeSeries>"
    )


def entsoe(*series: str) -> Answer:
    return text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<Publication_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3">'
        f"<mRID>a</mRID><type>A44</type>{''.join(series)}</Publication_MarketDocument>",
        "application/xml",
    )


def entsoe_refuses(code: str = "999", why: str = "No matching data found") -> Answer:
    return text(
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0">'
        f"<mRID>b</mRID><Reason><code>{code}</code><text>{why}</text></Reason></Acknowledgement_MarketDocument>",
        "application/xml",
    )
