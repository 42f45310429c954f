"""Moments as people name them: `04:00`, `tomorrow 04:00`, an ISO time or `30m` come in, a moment in UTC goes out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from deployd.domain.cron import exists

if TYPE_CHECKING:
    from datetime import tzinfo

_CLOCK = re.compile(r"(?:(today|tomorrow)\s+)?([01]?\d|2[0-3]):([0-5]\d)", re.ASCII | re.IGNORECASE)
_FORMS = 'write "2026-11-22 04:00", "tomorrow 04:00", "04:00", or an ISO time with its offset'


def parse_moment(text: str, *, zone: tzinfo, now: datetime) -> datetime:
    """The moment in UTC; raises ValueError with a sentence, a colon, and how to write it.

    A clock time alone is the next such time. A time without an offset is one of `zone`; of the two times of the hour
    that clocks repeat in autumn the first is taken.
    """
    here = now.astimezone(zone)
    clock = _CLOCK.fullmatch(text.strip())
    if clock:
        day = here.date() + timedelta(days=1 if (clock[1] or "").lower() == "tomorrow" else 0)
        local = datetime.combine(day, time(int(clock[2]), int(clock[3])), tzinfo=zone)
        if not clock[1] and local.astimezone(UTC) <= now:
            local = datetime.combine(day + timedelta(days=1), local.time(), tzinfo=zone)
    else:
        try:
            local = datetime.fromisoformat(text.strip())
        except ValueError:
            msg = f"{text!r} is no time: {_FORMS}"
            raise ValueError(msg) from None
        if local.tzinfo is None:
            local = local.replace(tzinfo=zone)
    try:
        there, moment = exists(local), local.astimezone(UTC)
    except OverflowError:  # the first and the last day that a calendar of ours has
        msg = f"{text!r} is no time: {_FORMS}"
        raise ValueError(msg) from None
    if not there:
        msg = f"{text} does not exist in {zone}: clocks skip it that day, write an hour later"
        raise ValueError(msg)
    if moment <= now:
        msg = f"{text} is over (it is {here:%Y-%m-%d %H:%M} in {zone}): name a time that is still to come"
        raise ValueError(msg)
    return moment


def parse_zone(name: str) -> ZoneInfo:
    """A time zone by its name; raises ValueError with a sentence, a colon, and how to write it."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        msg = f'there is no time zone {name!r}: write a name such as "Europe/Berlin", "America/New_York" or "UTC"'
        raise ValueError(msg) from None
