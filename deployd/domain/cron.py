"""Cron expressions in a time zone: five fields and a zone come in, the moments (UTC) at which they match go out.

Weekdays count as cron counts them: 0 and 7 are Sunday, `1-5` is Monday to Friday. When clocks change, a fixed hour runs
exactly once a day: a time that does not exist runs as long after the change as it lies after it on the clock (02:30
runs at 03:30), a time that comes twice runs the first time. An hour field of `*` or `*/n` follows the time that really
passes: it runs in both of the doubled hours, and not in the missing one.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_NAMES = {"month": _MONTHS, "weekday": _WEEKDAYS}
_PART = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/([0-9]+))?", re.ASCII)
_SEARCHED = 8 * 366 + 1
"""Days to look ahead after a match: 29 February comes after at most eight years."""
_SHIFT = 2
"""Days by which a change of clocks can move a run past those of the next day (Samoa left out a whole one)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A parsed expression. `hourly` says that its hour is `*` or `*/n`; weekdays are 0 (Sunday) to 6."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    hourly: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read five fields; raises ValueError with a sentence, a colon, and how to write it."""
        fields = _SHORT.get(text.strip().lower(), text).lower().split()
        if len(fields) != len(_FIELDS):
            msg = f'{text!r} has {len(fields)} fields: write minute, hour, day, month and weekday, as in "0 4 * * 1-5"'
            raise ValueError(msg)
        minutes, hours, days, months, weekdays = (
            _parse_field(field, *limits) for field, limits in zip(fields, _FIELDS, strict=True)
        )
        if fields[2] != "*" and fields[4] != "*":
            msg = f"{text!r} names days and weekdays: set one of them to *, and write two schedules for both"
            raise ValueError(msg)
        made = cls(
            text=" ".join(fields),
            minutes=minutes,
            hours=hours,
            days=days,
            months=months,
            weekdays=frozenset(day % 7 for day in weekdays),
            hourly=fields[1].startswith("*"),
        )
        if not any(day in made.days for month in made.months for day in range(1, _longest(month) + 1)):
            msg = f"{text!r} never comes: no month that it names has such a day"
            raise ValueError(msg)
        return made

    def matches(self, day: date) -> bool:
        """Whether it runs on this day of the calendar."""
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays


def next_runs(cron: Cron, *, after: datetime, zone: tzinfo, count: int = 1) -> tuple[datetime, ...]:
    """The next `count` runs that are later than `after`, in UTC, ascending."""
    after = after.astimezone(UTC)
    first = after.astimezone(zone).date() - timedelta(days=_SHIFT)
    found: set[datetime] = set()
    enough_on: date | None = None
    day, searched = first, 0
    while searched < _SEARCHED and day.year < MAXYEAR:
        if enough_on is not None and day > enough_on + timedelta(days=_SHIFT):
            break
        searched += 1
        if cron.matches(day):
            found |= {run for run in _runs_on(cron, day, zone) if run > after}
            searched = 0
        if enough_on is None and len(found) >= count:
            enough_on = day
        day += timedelta(days=1)
    return tuple(sorted(found)[:count])


def _runs_on(cron: Cron, day: date, zone: tzinfo) -> Iterator[datetime]:
    for hour in cron.hours:
        for minute in cron.minutes:
            local = datetime.combine(day, time(hour, minute), tzinfo=zone)
            first = local.astimezone(UTC)  # in a gap: the offset from before it, and so later by the gap
            if not cron.hourly:
                yield first
            elif exists(local):
                yield first
                yield local.replace(fold=1).astimezone(UTC)


def exists(local: datetime) -> bool:
    """Whether clocks ever show this local time: they leave some out in spring."""
    return local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) == local.replace(tzinfo=None, fold=0)


def _parse_field(text: str, noun: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if not match:
            msg = (
                f"{part!r} is no {noun}: write *, a number, a list, a range such as {low}-{high}, or a step such as */2"
            )
            raise ValueError(msg)
        first, last, step = match.groups()
        if first == "*":
            begin, end = low, high if noun != "weekday" else 6
        else:
            begin = _number(first, noun, low, high)
            end = _number(last, noun, low, high) if last else high if step else begin
            if noun == "weekday" and last and end == 0 < begin:
                end = 7  # `sat-sun`: a range ends with the Sunday after it
        if (first == "*" and last) or end < begin:
            msg = f"{part!r} is no range of the {noun}: write the smaller one first"
            raise ValueError(msg)
        if step and int(step) < 1:
            msg = f"{part!r} has a step of 0: write */2 or leave it out"
            raise ValueError(msg)
        found.update(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, noun: str, low: int, high: int) -> int:
    number = _NAMES.get(noun, {}).get(text)
    if number is None and text.isdigit():
        number = int(text)
    if number is None or not low <= number <= high:
        msg = f"{text!r} is no {noun}: it goes from {low} to {high}"
        raise ValueError(msg)
    return number


def _longest(month: int) -> int:
    return 29 if month == 2 else calendar.monthrange(2001, month)[1]  # noqa: PLR2004 - February of a leap year
