"""What is due of a schedule, by a clock that the test sets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deployd.domain.due import GRACE, due
from deployd.domain.ids import AppName, EnvironmentName
from deployd.domain.schedule import Schedule

NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # a Monday


def text(moment: datetime) -> str:
    return moment.isoformat()


def once(**changes) -> Schedule:
    made = Schedule(
        id="s-aaaaaa", app=AppName("shop"), environment=EnvironmentName("production"), kind="rollback",
        at=text(NINE), next_at=text(NINE), who="ada", created=text(NINE - timedelta(days=1)),
    )  # fmt: skip
    return replace(made, **changes)


def weekdays(**changes) -> Schedule:
    return once(at=None, cron="0 9 * * 1-5", timezone="UTC", if_missed="skip", **changes)


def test_before_its_time_it_waits() -> None:
    found = due(once(), NINE - timedelta(seconds=1))
    assert found is not None
    assert (found.action, found.planned, found.next_at) == ("wait", NINE, NINE)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=2), GRACE])
@pytest.mark.parametrize("missed", ["run", "skip"])
def test_a_little_late_is_on_time(late: timedelta, missed: str) -> None:
    found = due(once(if_missed=missed), NINE + late)
    assert found is not None
    assert (found.action, found.planned, found.next_at, found.why) == ("run", NINE, None, None)


@pytest.mark.parametrize("missed", ["run", "skip"])
def test_a_run_that_was_missed_does_what_the_schedule_says(missed: str) -> None:
    found = due(once(if_missed=missed), NINE + timedelta(hours=3))
    assert found is not None
    assert (found.action, found.planned, found.next_at) == (missed, NINE, None)
    assert found.why == "missed by 3 h 00 m: no daemon ran"


def test_several_missed_runs_are_one_and_the_next_is_to_come() -> None:
    found = due(replace(weekdays(), if_missed="run"), NINE + timedelta(days=2, hours=1))
    assert found is not None
    assert (found.action, found.planned) == ("run", NINE)
    assert found.next_at == NINE + timedelta(days=3)
    assert found.why == "missed by 2 d 1 h, and 2 after it: no daemon ran"


def test_a_skipped_run_leaves_the_next_one() -> None:
    found = due(weekdays(), NINE + timedelta(days=4, hours=1))  # Friday ten: Monday comes
    assert found is not None
    assert (found.action, found.next_at) == ("skip", NINE + timedelta(days=7))


def test_what_had_begun_is_asked_again_however_late_and_whatever_it_says_of_missed_runs() -> None:
    found = due(weekdays(firing=text(NINE)), NINE + timedelta(hours=5))
    assert found is not None
    assert (found.action, found.planned, found.next_at) == ("run", NINE, NINE + timedelta(days=1))


@pytest.mark.parametrize("state", ["done", "cancelled", "confirmed"])
def test_what_is_over_is_not_due(state: str) -> None:
    assert due(once(state=state), NINE + timedelta(seconds=1)) is None


def test_the_night_that_clocks_go_back_has_one_run() -> None:
    night = once(at=None, cron="30 2 * * *", timezone="Europe/Berlin", next_at="2026-10-25T00:30:00+00:00")
    first = due(night, datetime(2026, 10, 25, 0, 30, 1, tzinfo=UTC))
    assert first is not None
    assert first.action == "run"
    assert first.next_at == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)  # not 01:30Z the same night
