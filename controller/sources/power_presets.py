"""Public feeds of power prices by name: what each is asked, how it answers, and which market's bounds fit; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias
from zoneinfo import ZoneInfo

from controller.sources import power_shapes as shapes
from controller.sources.power_entsoe import entsoe

if TYPE_CHECKING:
    from controller.sources.power_shapes import Shape

HOUR_S: Final = 3600.0
DAY_AHEAD_S: Final = 900.0
"""Day-ahead prices are looked for this often: tomorrow's come at some time after noon."""
REAL_TIME_S: Final = 120.0
AHEAD_S: Final = 48 * HOUR_S

_TIBBER: Final = (
    "{viewer{homes{id currentSubscription{priceInfo(resolution:QUARTER_HOURLY)"
    "{today{total startsAt currency} tomorrow{total startsAt currency}}}}}}"
)
_OCTOPUS_PRODUCT: Final = "AGILE-24-10-01"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. An `optional` one may fail: tomorrow's prices that are not published yet."""

    url: str
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    optional: bool = False

    def with_headers(self, headers: tuple[tuple[str, str], ...]) -> Ask:
        """The same with more headers."""
        return replace(self, headers=(*self.headers, *headers))


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What a preset is told: the place it is asked for, a key, a product; `base` is another server that speaks the same."""

    area: str = ""
    token: str = ""
    product: str = ""
    base: str = ""


Asks: TypeAlias = Callable[[str, FeedSettings, float], list[Ask]]
"""What to ask at (base, settings, now)."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A public feed. `area` says what its area is, empty where it has none; `token` what its key is, empty where it needs none.

    `complete`: its prices have adders and taxes in them. `market` names its bounds in `power_markets`. `currency` is what it usually
    answers in, empty where that depends on the account.
    """

    base: str
    asks: Asks
    shape: Shape
    market: str
    currency: str
    area: str = ""
    area_default: str | None = None
    token: str = ""
    every_s: float = DAY_AHEAD_S
    complete: bool = False

    def requests(self, settings: FeedSettings, now: float) -> list[Ask]:
        """What to ask now."""
        return self.asks((settings.base or self.base).rstrip("/"), settings, now)


def iso(at: float) -> str:
    """A time in UTC as URLs take it."""
    return f"{datetime.fromtimestamp(at, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


def day(at: float, zone: tzinfo, ahead: int = 0, form: str = "%Y-%m-%d") -> str:
    """The date in `zone` at `at`, or so many days later."""
    return (datetime.fromtimestamp(at, tz=zone).date() + timedelta(days=ahead)).strftime(form)


def window(now: float) -> tuple[float, float]:
    """From the hour before to two days ahead, at whole hours."""
    hour = now // HOUR_S * HOUR_S
    return hour - HOUR_S, hour + AHEAD_S


def filled(url: str, now: float, zone: tzinfo) -> str:
    """A URL with its fields filled in: {from}, {to} (ISO 8601, also _s and _ms), {today} and {tomorrow} (dates in `zone`)."""
    start, end = window(now)
    values = {"today": day(now, zone), "tomorrow": day(now, zone, 1)}
    for name, at in (("from", start), ("to", end)):
        values |= {name: iso(at), f"{name}_s": f"{at:.0f}", f"{name}_ms": f"{at * 1000:.0f}"}
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), url)


def _awattar(base: str, _settings: FeedSettings, now: float) -> list[Ask]:
    start, end = window(now)
    return [Ask(f"{base}/v1/marketdata", (("start", f"{start * 1000:.0f}"), ("end", f"{end * 1000:.0f}")))]


def _octopus(base: str, settings: FeedSettings, now: float) -> list[Ask]:
    start, end = window(now)
    product = settings.product or _OCTOPUS_PRODUCT
    tariff = f"E-1R-{product}-{settings.area.upper()}"
    path = f"/v1/products/{product}/electricity-tariffs/{tariff}/standard-unit-rates/"
    return [Ask(base + path, (("period_from", iso(start)), ("period_to", iso(end))))]


def _energy_charts(base: str, settings: FeedSettings, now: float) -> list[Ask]:
    params = (("bzn", settings.area), ("start", day(now, UTC, -1)), ("end", day(now, UTC, 2)))
    return [Ask(f"{base}/price", params)]


def _tibber(base: str, settings: FeedSettings, _now: float) -> list[Ask]:
    headers = (("Authorization", f"Bearer {settings.token}"),)
    return [Ask(f"{base}/v1-beta/gql", headers=headers, body=json.dumps({"query": _TIBBER}).encode())]


def _entsoe(base: str, settings: FeedSettings, now: float) -> list[Ask]:
    def stamp(ahead: int) -> str:
        return day(now, UTC, ahead, "%Y%m%d0000")

    params = {
        "documentType": "A44",
        "in_Domain": settings.area,
        "out_Domain": settings.area,
        "periodStart": stamp(-1),
        "periodEnd": stamp(3),
        "securityToken": settings.token,
    }
    return [Ask(f"{base}/api", tuple(params.items()))]


def _nordpool(base: str, settings: FeedSettings, now: float) -> list[Ask]:
    zone = ZoneInfo("Europe/Oslo")
    common = (("market", "DayAhead"), ("deliveryArea", settings.area), ("currency", "EUR"))
    return [
        Ask(f"{base}/api/DayAheadPrices", (("date", day(now, zone, ahead)), *common), optional=ahead > 0)
        for ahead in (0, 1)
    ]


def _energyzero(base: str, _settings: FeedSettings, now: float) -> list[Ask]:
    start, end = window(now)
    params = {
        "fromDate": iso(start),
        "tillDate": iso(end),
        "interval": "4",
        "usageType": "1",
        "inclBtw": "false",
    }
    return [Ask(f"{base}/v1/energyprices", tuple(params.items()))]


def _ercot(base: str, _settings: FeedSettings, _now: float) -> list[Ask]:
    return [Ask(f"{base}/api/1/services/read/dashboards/systemWidePrices.json")]


def _nyiso_day_ahead(base: str, _settings: FeedSettings, now: float) -> list[Ask]:
    zone = ZoneInfo("America/New_York")
    path = f"{base}/public/csv/damlbmp"
    return [
        Ask(f"{path}/{day(now, zone, ahead, '%Y%m%d')}damlbmp_zone.csv", optional=ahead > 0)
        for ahead in (0, 1)
    ]


def _nyiso_real_time(base: str, _settings: FeedSettings, _now: float) -> list[Ask]:
    return [Ask(f"{base}/public/realtime/realtime_zone_lbmp.csv")]


def _aemo(base: str, _settings: FeedSettings, _now: float) -> list[Ask]:
    return [Ask(f"{base}/aemo/apps/api/report/ELEC_NEM_SUMMARY")]


def _comed(base: str, _settings: FeedSettings, _now: float) -> list[Ask]:
    return [Ask(f"{base}/api", (("type", "5minutefeed"), ("format", "json")))]


def _pjm(base: str, settings: FeedSettings, now: float) -> list[Ask]:
    zone = ZoneInfo("America/New_York")
    params = {
        "rowCount": "100",
        "startRow": "1",
        "pnode_id": settings.area,
        "row_is_current": "TRUE",
        "datetime_beginning_ept": f"{day(now, zone)} 00:00to{day(now, zone, 1)} 23:00",
    }
    headers = (("Ocp-Apim-Subscription-Key", settings.token),)
    return [Ask(f"{base}/api/v1/da_hrl_lmps", tuple(params.items()), headers)]


_ERCOT_POINT: Final = "settlement point, like HB_NORTH or LZ_WEST"
_NYISO_ZONE: Final = 'zone, like "N.Y.C." or WEST'

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "awattar-de": Preset("https://api.awattar.de", _awattar, shapes.awattar, "epex", "EUR"),
        "awattar-at": Preset("https://api.awattar.at", _awattar, shapes.awattar, "epex", "EUR"),
        "octopus-agile": Preset(
            "https://api.octopus.energy",
            _octopus,
            shapes.octopus,
            "agile",
            "GBP",
            area="region's letter, A to P, like C for London",
        ),
        "energy-charts": Preset(
            "https://api.energy-charts.info",
            _energy_charts,
            shapes.energy_charts,
            "epex",
            "EUR",
            area="bidding zone, like DE-LU or FR",
        ),
        "tibber": Preset(
            "https://api.tibber.com",
            _tibber,
            shapes.tibber,
            "epex",
            "",
            area="home's id, needed only where the account has several",
            area_default="",
            token="personal access token",  # noqa: S106 - a description
            complete=True,
        ),
        "entsoe": Preset(
            "https://web-api.tp.entsoe.eu",
            _entsoe,
            entsoe,
            "epex",
            "EUR",
            area="EIC code of the bidding zone, like 10Y1001A1001A82H for DE-LU",
            token="security token of the Transparency Platform",  # noqa: S106 - a description
        ),
        "nordpool": Preset(
            "https://dataportal-api.nordpoolgroup.com",
            _nordpool,
            shapes.nordpool,
            "epex",
            "EUR",
            area="delivery area, like NO2, SE3 or FI",
        ),
        "energyzero": Preset("https://api.energyzero.nl", _energyzero, shapes.energyzero, "epex", "EUR"),
        "ercot-day-ahead": Preset(
            "https://www.ercot.com", _ercot, shapes.ercot_day_ahead, "ercot", "USD", area=_ERCOT_POINT
        ),
        "ercot-real-time": Preset(
            "https://www.ercot.com",
            _ercot,
            shapes.ercot_real_time,
            "ercot",
            "USD",
            area=_ERCOT_POINT,
            every_s=REAL_TIME_S,
        ),
        "nyiso-day-ahead": Preset(
            "https://mis.nyiso.com",
            _nyiso_day_ahead,
            shapes.nyiso_day_ahead,
            "nyiso",
            "USD",
            area=_NYISO_ZONE,
        ),
        "nyiso-real-time": Preset(
            "https://mis.nyiso.com",
            _nyiso_real_time,
            shapes.nyiso_real_time,
            "nyiso",
            "USD",
            area=_NYISO_ZONE,
            every_s=REAL_TIME_S,
        ),
        "aemo": Preset(
            "https://visualisations.aemo.com.au",
            _aemo,
            shapes.aemo,
            "nem",
            "AUD",
            area="region: NSW1, QLD1, SA1, TAS1 or VIC1",
            every_s=REAL_TIME_S,
        ),
        "comed": Preset(
            "https://hourlypricing.comed.com", _comed, shapes.comed, "pjm", "USD", every_s=REAL_TIME_S
        ),
        "pjm": Preset(
            "https://api.pjm.com",
            _pjm,
            shapes.pjm,
            "pjm",
            "USD",
            area="pnode_id, like 51288 for the Western Hub",
            token="subscription key of Data Miner 2",  # noqa: S106 - a description
        ),
    }
)
