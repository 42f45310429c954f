"""When a cron expression runs: against a walk through every minute of real time zones, and where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployd.domain.cron import Cron, exists, next_runs
from deployd.domain.when import parse_moment, parse_zone

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Cairo"]


def runs(text: str, after: str, zone: str = "Europe/Berlin", count: int = 3) -> list[str]:
    """The next runs, as the clock on the wall in that zone shows them, with their offset."""
    tz = ZoneInfo(zone)
    moment = datetime.fromisoformat(after).replace(tzinfo=tz)
    found = next_runs(Cron.parse(text), after=moment, zone=tz, count=count)
    return [run.astimezone(tz).strftime("%a %Y-%m-%d %H:%M%z") for run in found]


def test_one_to_five_is_monday_to_friday() -> None:
    assert [run[:3] for run in runs("0 4 * * 1-5", "2026-11-21T00:00", count=6)] == [
        "Mon", "Tue", "Wed", "Thu", "Fri", "Mon",
    ]  # fmt: skip


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN"])
def test_sunday_has_three_names(sunday: str) -> None:
    assert [run[:3] for run in runs(f"0 4 * * {sunday}", "2026-11-21T00:00")] == ["Sun"] * 3


def test_names_ranges_lists_and_steps() -> None:
    assert Cron.parse("*/20 8-18/5 * jan,mar-apr *").minutes == {0, 20, 40}
    assert Cron.parse("*/20 8-18/5 * jan,mar-apr *").hours == {8, 13, 18}
    assert Cron.parse("*/20 8-18/5 * jan,mar-apr *").months == {1, 3, 4}
    assert Cron.parse("0 0 * * fri-7").weekdays == {5, 6, 0}
    assert Cron.parse("0 0 * * sat-sun").weekdays == {6, 0}
    assert Cron.parse("0 0 * * sun-tue").weekdays == {0, 1, 2}
    assert Cron.parse("@weekly") == Cron.parse("0 0 * * 0")
    assert Cron.parse("50/5 0 * * *").minutes == {50, 55}
    assert Cron.parse("0 0 * * *").weekdays == set(range(7))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 4 * *", "4 fields"),
        ("@reboot", "1 fields"),
        ("60 4 * * *", "'60' is no minute"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 4 0 * *", "'0' is no day of month"),
        ("0 4 * 13 *", "'13' is no month"),
        ("0 4 * * 8", "'8' is no weekday"),
        ("0 4 * * mo", "'mo' is no weekday"),
        ("0 4 * * fri-mon", "no range"),
        ("0 4 *-3 * *", "no range"),
        ("*/0 4 * * *", "step of 0"),
        ("0 4 13 * 5", "days and weekdays"),
        ("0 4 31 2,4 *", "never comes"),
        ("0 4 ؁ * *", "is no day of month"),
        ("-1 4 * * *", "is no minute"),
    ],
)
def test_a_mistake_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Cron.parse(text)


def test_in_spring_a_time_that_does_not_exist_runs_once_an_hour_later() -> None:
    assert runs("30 2 * * *", "2026-03-28T12:00") == [
        "Sun 2026-03-29 03:30+0200", "Mon 2026-03-30 02:30+0200", "Tue 2026-03-31 02:30+0200",
    ]  # fmt: skip


def test_in_spring_two_names_of_one_moment_are_one_run() -> None:
    assert runs("30 2,3 * * *", "2026-03-28T12:00", count=2) == [
        "Sun 2026-03-29 03:30+0200", "Mon 2026-03-30 02:30+0200",
    ]  # fmt: skip


def test_in_autumn_a_time_that_comes_twice_runs_once() -> None:
    assert runs("30 2 * * *", "2026-10-24T12:00") == [
        "Sun 2026-10-25 02:30+0200", "Mon 2026-10-26 02:30+0100", "Tue 2026-10-27 02:30+0100",
    ]  # fmt: skip


def test_between_the_two_the_second_one_is_not_taken_for_the_first() -> None:
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)  # 02:45 for the first time
    assert next_runs(Cron.parse("30 2 * * *"), after=between, zone=BERLIN) == (
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
    )


def test_every_hour_follows_the_time_that_passes() -> None:
    assert runs("30 * * * *", "2026-10-25T01:00", count=4) == [
        "Sun 2026-10-25 01:30+0200", "Sun 2026-10-25 02:30+0200",
        "Sun 2026-10-25 02:30+0100", "Sun 2026-10-25 03:30+0100",
    ]  # fmt: skip
    assert runs("30 * * * *", "2026-03-29T01:00", count=2) == [
        "Sun 2026-03-29 01:30+0100", "Sun 2026-03-29 03:30+0200",
    ]  # fmt: skip


def test_a_day_that_an_island_left_out_runs_on_the_next_once() -> None:
    assert runs("30 2 * * *", "2011-12-28T12:00", "Pacific/Apia") == [
        "Thu 2011-12-29 02:30-1000", "Sat 2011-12-31 02:30+1400", "Sun 2012-01-01 02:30+1400",
    ]  # fmt: skip


def test_a_leap_day_is_found() -> None:
    assert runs("0 0 29 2 *", "2097-01-01T00:00", "UTC", count=1) == ["Fri 2104-02-29 00:00+0000"]


def naive(*parts: int) -> datetime:
    return datetime(*parts)  # noqa: DTZ001 - hypothesis draws naive ones


@settings(max_examples=60, deadline=None)
@given(
    minute=st.sampled_from(["0", "30", "*/20", "59", "1-58/19"]),
    hour=st.one_of(st.just("*"), st.just("*/3"), st.sampled_from(["0", "1", "2", "2,3", "23", "1-3"])),
    weekday=st.sampled_from(["*", "0", "1-5", "7"]),
    zone=st.sampled_from(ZONES),
    start=st.datetimes(min_value=naive(2026, 1, 1), max_value=naive(2026, 12, 25)),
)
@example(minute="30", hour="2", weekday="*", zone="Europe/Berlin", start=naive(2026, 3, 28, 3, 7))
@example(minute="30", hour="2", weekday="*", zone="Europe/Berlin", start=naive(2026, 10, 24, 3, 7))
@example(minute="*/20", hour="*", weekday="*", zone="Australia/Lord_Howe", start=naive(2026, 4, 4, 0, 0))
@example(minute="0", hour="0", weekday="*", zone="Africa/Cairo", start=naive(2026, 4, 23, 0, 0))
def test_as_a_walk_through_every_minute_says(minute: str, hour: str, weekday: str, zone: str, start: datetime) -> None:
    """Where clocks do not change, a run is a minute whose local time matches; where they do, see the rule."""
    cron, tz = Cron.parse(f"{minute} {hour} * * {weekday}"), ZoneInfo(zone)
    begin = start.replace(second=0, microsecond=0, tzinfo=UTC)
    end = begin + timedelta(days=3)
    matching: list[datetime] = []
    seen: set[datetime] = set()
    for offset in range(-24 * 60, 3 * 24 * 60 + 1):
        moment = begin + timedelta(minutes=offset)
        local = moment.astimezone(tz)
        if not (local.minute in cron.minutes and local.hour in cron.hours and cron.matches(local.date())):
            continue
        wall = local.replace(tzinfo=None)
        if cron.hourly or wall not in seen:  # a fixed hour: the second time that clocks show it does not count
            matching.append(moment)
        seen.add(wall)
    walked = {moment for moment in matching if begin < moment <= end}
    found = next_runs(cron, after=begin, zone=tz, count=3 * 24 * 60)
    within = {moment for moment in found if moment <= end}
    assert list(found) == sorted(set(found))
    if cron.hourly:
        assert within == walked
        return
    assert walked <= within
    for extra in within - walked:  # only what a gap moved: the clock was put forward in the hours before it
        before, after = (extra - timedelta(hours=3)).astimezone(tz), extra.astimezone(tz)
        assert after.utcoffset() > before.utcoffset(), extra  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("04:00", "2026-11-22T03:00:00+00:00"),
        ("16:00", "2026-11-21T15:00:00+00:00"),
        ("today 16:00", "2026-11-21T15:00:00+00:00"),
        ("tomorrow 04:00", "2026-11-22T03:00:00+00:00"),
        ("2026-11-22 04:00", "2026-11-22T03:00:00+00:00"),
        ("2026-11-22T04:00:30", "2026-11-22T03:00:30+00:00"),
        ("2026-11-22T04:00+05:30", "2026-11-21T22:30:00+00:00"),
        ("2027-10-31 02:30", "2027-10-31T00:30:00+00:00"),
    ],
)
def test_moments_as_people_name_them(text: str, moment: str) -> None:
    now = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)
    assert parse_moment(text, zone=BERLIN, now=now).isoformat() == moment


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("today 04:00", "is over"),
        ("2026-11-21", "is over"),
        ("2020-01-01 00:00", "is over"),
        ("soon", "is no time"),
        ("25:00", "is no time"),
        ("2027-03-28 02:30", "does not exist in Europe/Berlin"),
    ],
)
def test_a_moment_that_is_none(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_moment(text, zone=BERLIN, now=datetime(2026, 11, 21, 14, 30, tzinfo=UTC))


@pytest.mark.parametrize("name", ["Europe/Bonn", "", "../../etc/passwd", "/etc/passwd", "CET+25"])
def test_a_zone_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        parse_zone(name)


def test_what_exists() -> None:
    assert exists(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1))
    assert not exists(datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN))
