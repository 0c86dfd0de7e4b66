"""Tariffs by time of use, on the days too when clocks change."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.sources.power_intervals import Interval
from controller.sources.power_tariff import HOLIDAY, Hours, Season, Tariff, TariffRule

BERLIN, CHICAGO, LORD_HOWE = (
    ZoneInfo(name) for name in ("Europe/Berlin", "America/Chicago", "Australia/Lord_Howe")
)
WORKDAYS = frozenset(range(5))


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def clock(hours: str) -> Hours:
    start, end = ((int(part[:2]) * 60 + int(part[3:])) for part in hours.split("-"))
    return Hours(start, end)


def peak(zone: ZoneInfo = BERLIN, hours: str = "07:00-22:00", **more: object) -> Tariff:
    rule = TariffRule(0.3, hours=(clock(hours),), **more)  # type: ignore[arg-type]
    return Tariff(zone, [rule, TariffRule(0.1)])


def local(tariff: Tariff, found: tuple[Interval, ...]) -> list[str]:
    """Intervals by the clock on the wall, without the date."""
    return [
        f"{datetime.fromtimestamp(each.start, tariff.zone):%H:%M%z} {(each.end - each.start) / 3600:g}h {each.value}"
        for each in found
    ]


class TestRules:
    """What holds when."""

    def test_the_first_rule_that_holds_counts(self) -> None:
        rules = [
            TariffRule(1.0, hours=(clock("12:00-13:00"),)),
            TariffRule(2.0, hours=(clock("10:00-14:00"),)),
        ]
        tariff = Tariff(BERLIN, [*rules, TariffRule(3.0)])
        day = "2026-06-01T{}+02:00"
        assert [tariff.price_at(at(day.format(time))) for time in ("12:30", "11:59", "13:00", "14:00")] == [
            1,
            2,
            2,
            3,
        ]

    def test_hours_are_half_open_to_the_minute(self) -> None:
        tariff = peak()
        assert tariff.price_at(at("2026-06-01T07:00:00+02:00")) == 0.3
        assert tariff.price_at(at("2026-06-01T06:59:59.9+02:00")) == 0.1
        assert tariff.price_at(at("2026-06-01T21:59:59.9+02:00")) == 0.3
        assert tariff.price_at(at("2026-06-01T22:00:00+02:00")) == 0.1

    def test_hours_over_midnight_belong_to_the_day_they_begin_on(self) -> None:
        friday_night = peak(hours="22:00-06:00", weekdays=frozenset({4}))
        assert friday_night.price_at(at("2026-06-05T23:00+02:00")) == 0.3  # Friday
        assert friday_night.price_at(at("2026-06-06T05:59+02:00")) == 0.3  # Saturday morning
        assert friday_night.price_at(at("2026-06-06T23:00+02:00")) == 0.1  # Saturday night
        assert friday_night.price_at(at("2026-06-05T05:59+02:00")) == 0.1  # Friday morning

    def test_a_day_may_end_at_24_hours(self) -> None:
        late = peak(hours="18:00-24:00")
        assert late.price_at(at("2026-06-05T23:59+02:00")) == 0.3
        assert late.price_at(at("2026-06-06T00:00+02:00")) == 0.1

    def test_a_season_over_new_year_holds_on_both_sides_of_it(self) -> None:
        winter = Tariff(BERLIN, [TariffRule(0.3, seasons=(Season((11, 1), (3, 31)),)), TariffRule(0.1)])
        days = ["2026-11-01T00:00+01:00", "2027-01-01T12:00+01:00", "2027-03-31T23:59+02:00"]
        assert [winter.price_at(at(day)) for day in days] == [0.3] * 3
        assert winter.price_at(at("2027-04-01T00:00+02:00")) == 0.1
        assert winter.price_at(at("2026-10-31T23:59+01:00")) == 0.1

    def test_a_holiday_is_no_weekday(self) -> None:
        holidays = frozenset({date(2026, 12, 25)})  # a Friday
        rules = [
            TariffRule(0.3, weekdays=WORKDAYS),
            TariffRule(0.2, weekdays=frozenset({6, HOLIDAY})),
            TariffRule(0.1),
        ]
        tariff = Tariff(BERLIN, rules, holidays)
        assert tariff.price_at(at("2026-12-25T12:00+01:00")) == 0.2
        assert tariff.price_at(at("2026-12-24T12:00+01:00")) == 0.3
        assert tariff.price_at(at("2026-12-26T12:00+01:00")) == 0.1
        assert tariff.knows_holidays

    def test_where_no_rule_holds_no_price_is_made_up(self) -> None:
        tariff = Tariff(BERLIN, [TariffRule(0.3, hours=(clock("07:00-22:00"),))])
        start = at("2026-06-01T00:00+02:00")
        assert tariff.intervals(start, start + 86_400) == (
            Interval(start + 7 * 3600, start + 22 * 3600, 0.3),
        )
        assert Tariff(BERLIN, [], default=0.5).price_at(0) == 0.5

    def test_one_price_for_always_is_one_interval(self) -> None:
        assert Tariff(BERLIN, [TariffRule(0.1)]).intervals(0, 9e7) == (Interval(0, 9e7, 0.1),)

    @pytest.mark.parametrize(("start", "end"), [(-1, 5), (1440, 5), (5, 1441), (5, -1)])
    def test_minutes_on_no_clock_are_refused(self, start: int, end: int) -> None:
        with pytest.raises(ValueError, match="minutes of the day"):
            Hours(start, end)


class TestChangingClocks:
    """Days of 23, 25, 23.5 and 24.5 hours."""

    def test_a_day_of_23_hours_in_berlin(self) -> None:
        tariff = peak(hours="01:00-04:00")  # an hour of it does not come
        start, end = at("2026-03-29T00:00+01:00"), at("2026-03-30T00:00+02:00")
        assert end - start == 23 * 3600
        assert local(tariff, tariff.intervals(start, end)) == [
            "00:00+0100 1h 0.1",
            "01:00+0100 2h 0.3",
            "04:00+0200 20h 0.1",
        ]

    def test_a_day_of_25_hours_in_berlin(self) -> None:
        tariff = peak(hours="02:00-03:00")  # comes twice
        start, end = at("2026-10-25T00:00+02:00"), at("2026-10-26T00:00+01:00")
        assert end - start == 25 * 3600
        assert local(tariff, tariff.intervals(start, end)) == [
            "00:00+0200 2h 0.1",
            "02:00+0200 2h 0.3",
            "03:00+0100 21h 0.1",
        ]

    def test_a_border_within_the_hour_that_comes_twice_is_passed_twice(self) -> None:
        tariff = peak(hours="02:30-12:00")
        start = at("2026-10-25T00:00+02:00")
        assert local(tariff, tariff.intervals(start, start + 6 * 3600)) == [
            "00:00+0200 2.5h 0.1",
            "02:30+0200 0.5h 0.3",
            "02:00+0100 0.5h 0.1",
            "02:30+0100 2.5h 0.3",
        ]

    def test_a_border_within_the_hour_that_does_not_come_is_passed_when_the_clock_leaps(self) -> None:
        tariff = peak(hours="02:30-12:00")
        start = at("2026-03-29T00:00+01:00")
        assert local(tariff, tariff.intervals(start, start + 4 * 3600)) == [
            "00:00+0100 2h 0.1",
            "03:00+0200 2h 0.3",
        ]

    def test_chicago_changes_at_another_hour(self) -> None:
        tariff = peak(CHICAGO, hours="01:00-02:00")
        start = at("2026-11-01T00:00-05:00")
        assert local(tariff, tariff.intervals(start, start + 4 * 3600)) == [
            "00:00-0500 1h 0.1",
            "01:00-0500 2h 0.3",
            "02:00-0600 1h 0.1",
        ]

    def test_lord_howe_changes_by_half_an_hour(self) -> None:
        tariff = peak(LORD_HOWE, hours="01:45-03:00")
        start = at("2026-04-05T00:00+11:00")  # at 02:00 back to 01:30
        assert local(tariff, tariff.intervals(start, start + 4 * 3600)) == [
            "00:00+1100 1.75h 0.1",
            "01:45+1100 0.25h 0.3",
            "01:30+1030 0.25h 0.1",
            "01:45+1030 1.25h 0.3",
            "03:00+1030 0.5h 0.1",
        ]


minutes = st.integers(0, 95).map(lambda quarter: quarter * 15)
rules = st.lists(
    st.builds(
        TariffRule,
        price=st.sampled_from([0.1, 0.2, 0.3]),
        weekdays=st.frozensets(st.integers(0, 7), max_size=3),
        hours=st.lists(st.builds(Hours, minutes, minutes), max_size=2).map(tuple),
        seasons=st.sampled_from([(), (Season((3, 29), (10, 24)),), (Season((10, 25), (3, 28)),)]),
    ),
    max_size=3,
)
changes = st.sampled_from(
    [
        (BERLIN, "2026-03-28T20:00+00:00"),
        (BERLIN, "2026-10-24T20:00+00:00"),
        (CHICAGO, "2026-03-08T04:00+00:00"),
        (CHICAGO, "2026-11-01T02:00+00:00"),
        (LORD_HOWE, "2026-04-04T10:00+00:00"),
        (LORD_HOWE, "2026-10-03T12:00+00:00"),
        (BERLIN, "2026-12-31T12:00+00:00"),
    ]
)


@settings(max_examples=60, deadline=None)
@given(rules, changes, st.integers(0, 20))
@example([TariffRule(0.2, hours=(Hours(120, 150),))], (BERLIN, "2026-10-24T20:00+00:00"), 3)
def test_the_intervals_say_at_every_quarter_what_the_clock_on_the_wall_says(
    found: list[TariffRule], change: tuple[ZoneInfo, str], shift: int
) -> None:
    zone, text = change
    tariff = Tariff(zone, found, frozenset({date(2026, 10, 25), date(2026, 4, 5)}), default=0.9)
    start = at(text) + shift * 420.0
    end = start + 14 * 3600
    intervals = tariff.intervals(start, end)
    assert intervals[0].start == start
    assert intervals[-1].end == end
    assert all(a.end == b.start and a.value != b.value for a, b in pairwise(intervals))
    moment = datetime.fromtimestamp(start, UTC)
    while moment.timestamp() < end:
        now = moment.timestamp()
        assert next(each.value for each in intervals if each.start <= now < each.end) == tariff.price_at(now)
        moment += timedelta(minutes=15)
