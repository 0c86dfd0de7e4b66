from html.parser import HTMLParser

import msgspec

from miner.web.page import ENDPOINTS, render_page
from miner.web.status import ControllerStatus, DecisionStatus, StatusDocument, UnitStatus, WorkStatus


class Page(HTMLParser):
    """The text of a page, its links and the tags left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.links: list[str | None] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_the_page_links_to_every_endpoint(status: StatusDocument) -> None:
    assert Page(render_page(status)).links == [path for path, _ in ENDPOINTS]


def test_the_page_says_what_is_being_done_and_why(status: StatusDocument) -> None:
    text = Page(render_page(status)).text
    for words in (
        "Hashmill 0.1.0 on regtest",
        "2023-11-14 22:13:20 UTC",
        "block 101, 50.00000000 BTC",
        "bcrt1qq",
        "3 found, 2 mature, 0 orphaned",
        "39.8 USD/PH/day",
        "unknown USD/kWh",
        "dry run",
        "4 logged in as 3 workers at 0.0.0.0:3333, 0.0.0.0:3334",
        "down: refused",
        "unprofitable; below 5.9 ct",
        "spare: refused",
    ):
        assert words in text


def test_names_from_outside_cannot_become_markup(status: StatusDocument) -> None:
    page = Page(render_page(status))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text


def test_a_daemon_without_work_says_so(status: StatusDocument) -> None:
    idle = msgspec.structs.replace(
        status,
        work=WorkStatus(serving=False),
        controller=ControllerStatus(enabled=False, dry_run=True),
        stratum=None,
        alerts=(),
    )
    text = Page(render_page(idle)).text
    assert "none is served" in text
    assert "no Stratum server" in text
    assert "dry run" not in text


def test_a_decision_without_a_flip_point_shows_its_reason_only(status: StatusDocument) -> None:
    unit = UnitStatus(id="cpu", last_decision=DecisionStatus(at=1.0, to_mode="all", reason="hold"))
    assert "hold;" not in render_page(msgspec.structs.replace(status, units=(unit,)))


def test_the_page_says_where_each_pool_stands(status: StatusDocument) -> None:
    page = render_page(status)
    for told in (
        "for main-pool",
        "main-pool (stratum+tls://pool.example:443)",
        "9 accepted, 1 rejected, 2 in doubt",
        "10.00%",
        "42 ms",
        "left_behind: 3",
        "waiting for work",
        "tls: the certificate has expired",
        "&lt;b&gt;spare&lt;/b&gt;",
    ):
        assert told in page


def test_without_pools_the_page_does_not_speak_of_them(status: StatusDocument) -> None:
    solo = msgspec.structs.replace(status, pools=(), work=msgspec.structs.replace(status.work, origin="solo"))
    page = render_page(solo)
    assert "<h2>Pools</h2>" not in page
    assert "BTC, solo" in page
