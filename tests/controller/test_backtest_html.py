"""The report: one page that is whole, says what was asked and earned, and keeps foreign text as text."""

import builtins
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from controller import backtest_html, backtest_plots
from controller.backtest import BacktestResult, Policy, PolicyResult, Settles
from controller.backtest_html import report_html
from controller.plots import PlotError
from controller.worth_seen import Sees
from tests.controller.backtested import backtested

RESULT = backtested(8)
VOID = {"meta", "br"}

pytestmark = pytest.mark.xdist_group("backtest pictures")
"""They take long to draw: one process draws them once, and not before they are asked for."""


@cache
def the_page() -> str:
    return report_html(RESULT)


class Page(HTMLParser):
    """What a page is made of; fails where elements do not close as they opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.unnamed: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.count[tag] += 1
        self.links += [given[key] or "" for key in ("src", "href", "xlink:href") if key in given]
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "svg" and not (given.get("role") == "img" and given.get("aria-label")):
            self.unnamed.append(str(given))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without their pictures, which take most of the time."""
    monkeypatch.setattr(backtest_plots, "_drawn", lambda *_: '<svg role="img" aria-label="a picture"></svg>')


def text_of(page: str) -> str:
    return " ".join(" ".join(Page(page).text).split())


def with_regret(result: BacktestResult, **changes: Any) -> BacktestResult:
    fleets = tuple(
        replace(each, policies={policy: replace(p, **changes) for policy, p in each.policies.items()})
        for each in result.fleets
    )
    return replace(result, fleets=fleets)


def test_the_page_is_well_made_and_whole() -> None:
    page = Page(the_page())
    assert page.count["html"] == page.count["head"] == page.count["body"] == page.count["h1"] == 1
    assert page.count["script"] == page.count["link"] == page.count["img"] == 0


def test_the_page_asks_for_nothing_else() -> None:
    page = Page(the_page())
    assert all(link.startswith("#") for link in page.links)
    assert "@import" not in the_page()
    assert "url(http" not in the_page()


def test_no_two_things_on_the_page_have_the_same_id_and_every_reference_leads_somewhere() -> None:
    page = Page(report_html(backtested(2, fleets=2)))
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_every_picture_says_what_it_shows() -> None:
    page = Page(the_page())
    assert page.unnamed == []
    assert page.count["svg"] == page.count["figcaption"] == 4


def test_the_same_backtest_gives_the_same_page() -> None:
    assert report_html(backtested(8)) == the_page()


def test_light_dark_and_paper_each_have_their_colours() -> None:
    assert "prefers-color-scheme:dark" in the_page()
    assert "@media print" in the_page()
    assert "color-scheme:light dark" in the_page()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("sees", "words"), [(Sees.A, "of the quarter hour that begins"), (Sees.B, "only prices up to")]
)
def test_what_decisions_saw_is_said_first(sees: Sees, words: str) -> None:
    text = text_of(report_html(replace(RESULT, sees=sees)))
    assert words in text[: text.index("Regret")]


@pytest.mark.usefixtures("undrawn")
def test_what_is_paid_is_said() -> None:
    assert "day-ahead price is paid" in text_of(report_html(replace(RESULT, settles=Settles.DAY_AHEAD)))
    assert "real-time price is paid" in text_of(the_page())


def test_money_regret_interval_starts_and_uptime_of_every_policy_are_in_the_table() -> None:
    text = text_of(the_page())
    for policy, p in RESULT.fleets[0].policies.items():
        assert policy.replace("_", " ") in text
        assert f"${p.usd:,.2f}" in text
        assert f"{100 * p.uptime:.1f}" in text
    ours = RESULT.fleets[0].policies[Policy.HASHMILL]
    assert ours.regret is not None
    assert f"{100 * ours.regret:.3f}"[:5] in text
    assert "how often" not in text


def test_how_the_controller_knew_is_told_in_shares() -> None:
    text = text_of(the_page())
    assert "fitted model 99.85 %, Markov chain 0.15 %" in text
    assert "plan over known prices" not in text


def test_settings_are_shown_and_foreign_text_stays_text() -> None:
    assert "a &lt;b&gt; &amp; c.csv" in the_page()
    assert "<b>" not in the_page()
    text = text_of(the_page())
    assert "--restart-minutes 10.0" in text
    assert "--model none" in text


@pytest.mark.usefixtures("undrawn")
def test_gaps_are_named_and_what_does_not_count_is_said() -> None:
    text = text_of(report_html(backtested(2, missing=50)))
    assert "nothing from x to y" in text
    assert "12.50 hours do not: a price is missing" in text
    assert "every quarter hour has its prices" in text_of(the_page())


@pytest.mark.usefixtures("undrawn")
def test_single_modes_are_compared_where_there_are_several() -> None:
    assert "for each mode of the machine" in text_of(report_html(backtested(2, ladder=True)))
    assert "for each mode of the machine" not in text_of(the_page())


@pytest.mark.usefixtures("undrawn")
def test_of_many_fleets_the_first_are_drawn_and_all_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest_html, "MOST_DRAWN", 1)
    result = backtested(3, fleets=3)
    page = report_html(result)
    assert Page(page).count["svg"] == 4
    assert all(f"{each.fleet.title}: what each policy earned" in page for each in result.fleets)


@pytest.mark.usefixtures("undrawn")
def test_fleets_under_one_cap_are_shown_together_first() -> None:
    one, other = backtested(2, fleets=2).fleets
    together = replace(one, fleet=replace(one.fleet, key="together", title="all together"))
    page = report_html(replace(backtested(2), fleets=(other,), together=together))
    assert page.index("<h2>all together") < page.index(f"<h2>{other.fleet.title}")


@pytest.mark.usefixtures("undrawn")
def test_a_regret_that_cannot_be_told_is_a_dash() -> None:
    page = report_html(with_regret(RESULT, regret=None, regret_low=None, regret_high=None))
    assert "&ndash;" in page
    assert ">None<" not in page
    assert "who knew all prices would have earned" in page


@pytest.mark.usefixtures("undrawn")
def test_intervals_that_are_not_known_are_left_out() -> None:
    page = report_html(with_regret(RESULT, regret_low=None, regret_high=None))
    assert "95 %:" not in page


@pytest.mark.usefixtures("undrawn")
def test_losses_and_large_sums_are_readable() -> None:
    changed = dict(RESULT.fleets[0].policies)
    changed[Policy.ALWAYS_ON] = replace(changed[Policy.ALWAYS_ON], usd=-12_345_678.9)
    text = text_of(report_html(replace(RESULT, fleets=(replace(RESULT.fleets[0], policies=changed),))))
    assert "-$12,345,679" in text


def test_a_period_in_which_nothing_counts_still_gives_a_page() -> None:
    page = Page(report_html(backtested(2, missing=192)))
    assert page.count["svg"] == 0


def test_a_day_is_enough() -> None:
    assert Page(report_html(backtested(1))).count["svg"] == 4


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PlotError, match="extra `report`"):
        report_html(RESULT)


def test_results_of_tests_are_as_backtests_have_them() -> None:
    p: PolicyResult = RESULT.fleets[0].policies[Policy.ORACLE]
    assert p.regret == pytest.approx(0.0)
    assert np.array_equal(RESULT.counts, np.isfinite(RESULT.power_usd_per_kwh))
