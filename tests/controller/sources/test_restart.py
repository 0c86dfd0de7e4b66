"""A run that was restarted beside one that went on: the same prices, as old and as long."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.book import TickBook, current
from controller.sources.base import Restorable, Source, SourceError
from controller.sources.btc import BtcFeedSpec, BtcPrice
from controller.sources.fx import FxFeedSpec, Rates
from controller.sources.power import Adder, PowerFeed, PowerSource
from controller.sources.power_http import PowerHttpFeed
from controller.sources.power_paths import Paths
from controller.sources.power_presets import Ask
from controller.sources.power_schedule import FixedFeed
from controller.sources.power_tariff import Hours, Tariff, TariffRule
from controller.sources.power_terms import Terms, price_unit
from controller.ticks import BTC_USD, POWER
from controller.validate import MAINNET_RULES, rule_for, stale_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STEP = 300.0
"""From tick to tick, and from question to question."""
HOUR = 3600.0
NOW = 1_780_315_200.0  # 2026-06-01 12:00Z
AGE = MAINNET_RULES[POWER].max_age_s
UNIT = price_unit("eur_per_mwh")
BERLIN = ZoneInfo("Europe/Berlin")


@dataclass
class Web:
    """Every server there is: what each URL's host answers, None for one that is down."""

    pages: dict[str, Any] = field(default_factory=dict)

    def feed(self, url: str, **_: object) -> WebFeed:
        return WebFeed(self, url.removeprefix("http://").rstrip("/"))


@dataclass
class WebFeed:
    """Stands for HttpFeed and JsonFeed."""

    web: Web
    host: str

    async def get(self, _now: float) -> Any:
        page = self.web.pages.get(self.host)
        if page is None:
            raise SourceError(f"{self.host}: HTTP status 503")
        return page

    async def get_text(self, now: float) -> str:
        return json.dumps(await self.get(now))

    def forget(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    with (
        patch("controller.sources.power_http.HttpFeed", lambda url, **_: WEB[0].feed(url)),
        patch("controller.sources.fx.JsonFeed", lambda url, **_: WEB[0].feed(url)),
        patch("controller.sources.btc.JsonFeed", lambda url, **_: WEB[0].feed(url)),
    ):
        yield


WEB: list[Web] = [Web()]
"""The one that feeds made now are to ask."""


class Run:
    """Sources and a book, as the loop has them."""

    def __init__(self, make: Callable[[], Sequence[Source]]) -> None:
        self._make = make
        self._sources = make()
        self.book = TickBook(MAINNET_RULES)

    def tick(self, now: float) -> None:
        for rank, source in enumerate(self._sources):
            try:
                ticks = asyncio.run(source.read(now))
            except SourceError:
                continue
            self.book.admit(ticks, rank, now)

    def restart(self, now: float) -> None:
        """As the loop does: the book goes on, then the sources from what it holds."""
        old, self.book, self._sources = self.book, TickBook(MAINNET_RULES), self._make()
        names = [source.name for source in self._sources]
        self.book.restore(old.ticks(), old.refusals(), old.owners(names), names, now)
        for source in self._sources:
            if isinstance(source, Restorable):
                source.restore(chain.from_iterable(self.book.ticks().values()))

    def says(self, series: str, now: float) -> tuple[object, ...] | None:
        """The value at `now`, whose it is, when it is too old, and its end; None where none is known."""
        tick = current(self.book.ticks().get(series, ()), now)
        rule = rule_for(series, MAINNET_RULES)
        assert rule is not None
        if tick is None or now >= stale_at(tick, rule):
            return None
        return tick.value, tick.source, stale_at(tick, rule), tick.valid_to

    def ahead(self, now: float, hours: int = 14) -> list[float | None]:
        """The power price of every quarter hour to come, as it is known now."""
        ticks = self.book.ticks().get(POWER, ())
        found = []
        for quarter in range(hours * 4):
            at = now + 1 + quarter * 900
            tick = current(ticks, at)
            found.append(tick.value if tick is not None and at < tick.valid_to else None)
        return found


# --- power ----------------------------------------------------------------------------------------------


def day_ahead(now: float, hours: int) -> dict[str, Any]:
    """Prices of the hours from the one before `now` on; the same for the same hour."""
    first = int(now // HOUR) - 1
    rows = [
        {"from": (first + n) * HOUR, "to": (first + n + 1) * HOUR, "price": 10 + (first + n) * 7 % 90}
        for n in range(hours)
    ]
    return {"data": rows}


def spot(now: float, price: float, *, dated: bool) -> dict[str, Any]:
    return {"price": price, **({"time": now - 120} if dated else {})}


def power_site(
    order: Sequence[str], *, dated: bool = True, network: bool = True
) -> Callable[[], list[Source]]:
    """Makes the sources of a site with these feeds of power, in euros."""
    shapes = {
        "spot": Paths("price", UNIT, BERLIN, time="time" if dated else ""),
        "ahead": Paths("data[*].price", UNIT, BERLIN, start="data[*].from", end="data[*].to"),
    }
    hours = Tariff(BERLIN, [TariffRule(0.03, hours=(Hours(17 * 60, 20 * 60),))], default=0.0)

    def feed(name: str) -> PowerFeed:
        if name not in shapes:
            return FixedFeed(0.5, name=name)
        asks = [Ask(f"http://{name}/")]
        return PowerHttpFeed(lambda _: asks, shapes[name], every_s=STEP, name=name)

    def make() -> list[Source]:
        rates = Rates({"EUR": FxFeedSpec("http://fx/", "usd", "date", every_s=STEP)})
        power = PowerSource(
            [feed(name) for name in order],
            rate=rates.steady,
            terms=Terms(0.19, 0.05),
            adder=Adder("EUR", 0.01, hours if network else None),
            max_age_s=AGE,
        )
        return [power, rates]

    return make


def both(make: Callable[[], list[Source]], web: Web) -> tuple[Run, Run]:
    WEB[0] = web
    return Run(make), Run(make)


def compare(went_on: Run, restarted: Run, now: float) -> None:
    assert restarted.says(POWER, now) == went_on.says(POWER, now)
    if went_on.says(POWER, now) is not None:  # else nobody plans
        assert restarted.ahead(now) == went_on.ahead(now)
    assert restarted.says("usd_per_eur", now) == went_on.says("usd_per_eur", now)


up_or_down = st.lists(st.booleans(), min_size=14, max_size=14)


@settings(max_examples=40, deadline=None)
@given(
    order=st.sampled_from(
        [["ahead"], ["spot"], ["spot", "ahead"], ["ahead", "fallback"], ["spot", "ahead", "fallback"]]
    ),
    dated=st.booleans(),
    network=st.booleans(),
    restart=st.integers(1, 13),
    known_hours=st.sampled_from([3, 30]),
    prices=st.lists(st.sampled_from([20.0, 35.0, 35.0, -5.0]), min_size=14, max_size=14),
    spot_up=up_or_down,
    ahead_up=up_or_down,
    fx_up=up_or_down,
)
def test_whatever_fails_around_a_restart_the_power_price_is_that_of_the_run_that_went_on(
    order: list[str],
    dated: bool,  # noqa: FBT001 - drawn by name
    network: bool,  # noqa: FBT001 - drawn by name
    restart: int,
    known_hours: int,
    prices: list[float],
    spot_up: list[bool],
    ahead_up: list[bool],
    fx_up: list[bool],
) -> None:
    web = Web()
    went_on, restarted = both(power_site(order, dated=dated, network=network), web)
    for n in range(14):
        now = NOW + n * 2 * STEP
        web.pages = {
            "spot": spot(now, prices[n], dated=dated) if spot_up[n] or n == 0 else None,
            "ahead": day_ahead(now, known_hours) if ahead_up[n] or n == 0 else None,
            # Within one step of rates: what is not heard anew stays converted as it was.
            "fx": {"usd": 1.17 + n * 1e-6, "date": now - HOUR} if fx_up[n] or n == 0 else None,
        }
        if n == restart:
            restarted.restart(now)
        for run in (went_on, restarted):
            run.tick(now)
        compare(went_on, restarted, now)


def test_restored_day_ahead_prices_stand_while_their_server_is_down_though_a_fallback_answers() -> None:
    web = Web({"ahead": day_ahead(NOW, 6), "fx": {"usd": 1.17, "date": NOW}})
    went_on, restarted = both(power_site(["ahead", "fallback"]), web)
    went_on.tick(NOW)
    restarted.tick(NOW)
    known = went_on.ahead(NOW)
    web.pages.clear()
    restarted.restart(NOW + STEP)
    restarted.tick(NOW + STEP)
    assert restarted.ahead(NOW) == known
    restarted.tick(NOW + 5 * HOUR)
    assert restarted.says(POWER, NOW + 5 * HOUR) is not None
    assert restarted.ahead(NOW + 5 * HOUR, 1) != known[:4]  # theirs are over: the fallback's


def test_prices_that_a_first_answer_lacks_are_still_those_of_before() -> None:
    web = Web({"ahead": day_ahead(NOW, 30), "fx": {"usd": 1.17, "date": NOW}})
    went_on, restarted = both(power_site(["ahead"]), web)
    for run in (went_on, restarted):
        run.tick(NOW)
    restarted.restart(NOW + STEP)
    web.pages["ahead"] = day_ahead(NOW, 6)  # tomorrow's did not come this time
    for run in (went_on, restarted):
        run.tick(NOW + STEP)
        compare(went_on, run, NOW + STEP)
    assert None not in restarted.ahead(NOW)


def test_a_revised_price_stands_over_the_restored_one() -> None:
    web = Web({"ahead": day_ahead(NOW, 30), "fx": {"usd": 1.17, "date": NOW}})
    _, restarted = both(power_site(["ahead"]), web)
    restarted.tick(NOW)
    before = restarted.ahead(NOW)
    restarted.restart(NOW + STEP)
    web.pages["ahead"] = {"data": [{**row, "price": 500} for row in day_ahead(NOW, 6)["data"]]}
    restarted.tick(NOW + STEP)
    after = restarted.ahead(NOW)
    assert all(old != new for old, new in zip(before[:16], after[:16], strict=True))
    assert after[24:] == before[24:]


def test_a_spot_price_goes_on_through_a_restart_until_it_is_too_old() -> None:
    web = Web(
        {"ahead": day_ahead(NOW, 30), "spot": spot(NOW, 35.0, dated=True), "fx": {"usd": 1.17, "date": NOW}}
    )
    went_on, restarted = both(power_site(["spot", "ahead"]), web)
    for run in (went_on, restarted):
        run.tick(NOW)
    web.pages["spot"] = None
    restarted.restart(NOW + 120)
    for minute in range(5, 60, 5):
        now = NOW + minute * 60
        for run in (went_on, restarted):
            run.tick(now)
        compare(went_on, restarted, now)
        said = restarted.says(POWER, now)
        assert said is not None
        assert said[1] == ("spot" if minute < 15 else "ahead")


def test_an_answer_older_than_what_was_known_before_is_not_believed() -> None:
    web = Web({"spot": spot(NOW, 35.0, dated=True), "fx": {"usd": 1.17, "date": NOW}})
    went_on, restarted = both(power_site(["spot"]), web)
    for run in (went_on, restarted):
        run.tick(NOW)
    restarted.restart(NOW + STEP)
    web.pages["spot"] = spot(NOW - HOUR, 20.0, dated=True)
    for run in (went_on, restarted):
        run.tick(NOW + STEP)
    compare(went_on, restarted, NOW + STEP)


def test_a_price_known_ahead_is_not_old_when_its_time_comes_and_every_feed_is_silent() -> None:
    web = Web({"ahead": day_ahead(NOW, 30), "fx": {"usd": 1.17, "date": NOW}})
    run, _ = both(power_site(["ahead"]), web)
    run.tick(NOW)
    begins = NOW + 9 * HOUR
    assert run.says(POWER, begins + AGE - 1) is not None
    assert run.says(POWER, begins + AGE) is None  # a source that says nothing at all


def test_while_rates_creep_a_restart_converts_at_the_same_one() -> None:
    web = Web()
    went_on, restarted = both(power_site(["ahead"]), web)
    for n in range(24):
        now = NOW + n * STEP
        web.pages = {"ahead": day_ahead(now, 30), "fx": {"usd": 1.16 * 1.0001**n, "date": now}}
        if n % 5 == 4:
            restarted.restart(now)
        for run in (went_on, restarted):
            run.tick(now)
        compare(went_on, restarted, now)


def test_what_other_sources_said_is_passed_over() -> None:
    web = Web(
        {"ahead": day_ahead(NOW, 6), "spot": spot(NOW, 35.0, dated=True), "fx": {"usd": 1.17, "date": NOW}}
    )
    run, _ = both(power_site(["ahead"]), web)
    run.tick(NOW)
    power, rates = power_site(["spot"])()
    assert isinstance(power, Restorable)
    power.restore(chain.from_iterable(run.book.ticks().values()))
    web.pages.clear()
    with pytest.raises(SourceError, match=r"spot: .*503"):
        asyncio.run(power.read(NOW))
    assert isinstance(rates, Restorable)


# --- rates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dated", [True, False])
def test_a_rate_outlives_a_restart_for_as_long_as_it_would_have_held(dated: bool) -> None:  # noqa: FBT001 - a parameter
    web = Web()
    spec = FxFeedSpec("http://fx/", "usd", "date" if dated else "", every_s=HOUR)
    went_on, restarted = both(lambda: [Rates({"EUR": spec, "CHF": 1.1})], web)
    for n in range(10 * 24):
        now = NOW + n * HOUR
        # The same value for nine days, as of a currency that is tied to the dollar, then nothing.
        web.pages = {"fx": {"usd": 0.27, "date": now - now % 86_400.0} if n < 9 * 24 else None}
        for run in (went_on, restarted):
            run.tick(now)
    restarted.restart(NOW + 10 * 24 * HOUR)
    for n in range(10 * 24, 18 * 24, 6):
        now = NOW + n * HOUR
        rates = [_rate(run, now) for run in (went_on, restarted)]
        assert rates[0] == rates[1]
    assert rates[0].startswith("the exchange rate of EUR is")


def _rate(run: Run, now: float) -> str:
    (source,) = run._sources
    assert isinstance(source, Rates)
    try:
        return str(asyncio.run(source.rate("EUR", now)))
    except SourceError as error:
        return str(error).partition(";")[0]


def test_a_rate_read_after_a_restart_takes_the_place_of_the_one_restored() -> None:
    web = Web({"fx": {"usd": 1.17, "date": NOW}})
    run, _ = both(lambda: [Rates({"EUR": FxFeedSpec("http://fx/", "usd", "date")})], web)
    run.tick(NOW)
    run.restart(NOW + 60)
    web.pages = {"fx": {"usd": 1.16, "date": NOW - HOUR}}
    run.tick(NOW + 60)
    assert _rate(run, NOW + 60) == "1.16"


# --- the bitcoin price ----------------------------------------------------------------------------------


def btc_site(*names: str) -> Callable[[], list[Source]]:
    return lambda: [
        BtcPrice(
            [BtcFeedSpec(name, f"http://{name}/", "usd", time_path="at", every_s=STEP / 5) for name in names]
        )
    ]


@settings(max_examples=60, deadline=None)
@given(
    restart=st.integers(1, 19),
    steps=st.lists(st.sampled_from([0.95, 0.99, 1.0, 1.0, 1.01, 1.05]), min_size=20, max_size=20),
    up=st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_a_single_feed_through_a_restart_is_believed_as_without_one(
    restart: int, steps: list[float], up: list[bool]
) -> None:
    web = Web()
    went_on, restarted = both(btc_site("a"), web)
    price = 92_000.0
    for n in range(20):
        now = NOW + n * STEP
        price *= steps[n]
        web.pages = {"a": {"usd": price, "at": now - 10} if up[n] or n == 0 else None}
        if n == restart:
            restarted.restart(now)
        for run in (went_on, restarted):
            run.tick(now)
        assert restarted.says(BTC_USD, now) == went_on.says(BTC_USD, now)


def test_a_jump_right_after_a_restart_is_not_believed_at_once() -> None:
    web = Web({"a": {"usd": 92_000, "at": NOW}})
    went_on, restarted = both(btc_site("a"), web)
    for run in (went_on, restarted):
        run.tick(NOW)
    restarted.restart(NOW + 60)
    for seconds in (60, 120, 180, 240, 300, 360, 420):
        now = NOW + seconds
        web.pages["a"] = {"usd": 920, "at": now}
        if seconds > 240:
            web.pages["a"] = {"usd": 9_200, "at": now}
        for run in (went_on, restarted):
            run.tick(now)
        said = restarted.says(BTC_USD, now)
        assert said == went_on.says(BTC_USD, now)
        assert said is not None
        assert said[0] == 92_000


def test_of_two_feeds_that_differ_after_a_restart_the_one_near_the_last_price_counts() -> None:
    web = Web({name: {"usd": 92_000, "at": NOW} for name in "ab"})
    _, restarted = both(btc_site("a", "b"), web)
    restarted.tick(NOW)
    restarted.restart(NOW + 60)
    web.pages = {"a": {"usd": 92_100, "at": NOW + 60}, "b": {"usd": 150_000, "at": NOW + 60}}
    restarted.tick(NOW + 60)
    said = restarted.says(BTC_USD, NOW + 60)
    assert said is not None
    assert said[0] == 92_100


def test_a_price_nobody_believes_right_after_a_restart_leaves_the_last_good_one() -> None:
    web = Web(
        {"ahead": day_ahead(NOW, 30), "spot": spot(NOW, 35.0, dated=True), "fx": {"usd": 1.17, "date": NOW}}
    )
    went_on, restarted = both(power_site(["spot", "ahead"]), web)
    for run in (went_on, restarted):
        run.tick(NOW)
    restarted.restart(NOW + STEP)
    for n in range(1, 10):
        web.pages["spot"] = spot(NOW + STEP, 99_999.0, dated=True)
        for run in (went_on, restarted):
            run.tick(NOW + n * STEP)
        compare(went_on, restarted, NOW + n * STEP)
        assert restarted.says(POWER, NOW + n * STEP) is not None
