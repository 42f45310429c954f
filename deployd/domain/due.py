"""What is to be done about a schedule at a moment: a schedule and the time come in, a decision goes out. No clock here.

A run that is late by no more than `GRACE` is on time: the daemon was restarted, or busy. One that is later was missed:
it runs once, however many were missed, or is skipped, as the schedule says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from deployd.domain.quantity import format_duration

if TYPE_CHECKING:
    from deployd.domain.schedule import Schedule

GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """`planned` is when the run was to be, `next_at` the one after it (None: there is none), `why` for people."""

    action: Literal["wait", "run", "skip"]
    planned: datetime
    next_at: datetime | None
    why: str | None = None


def due(schedule: Schedule, now: datetime) -> Due | None:
    """What to do at `now`; None when nothing is to come."""
    if schedule.firing:  # it had begun: whoever was killed may have asked or not, and asking twice is once
        planned = datetime.fromisoformat(schedule.firing)
        return Due(action="run", planned=planned, next_at=_next(schedule, planned, now), why="begun before")
    if schedule.state != "active" or schedule.next_at is None:
        return None
    planned = datetime.fromisoformat(schedule.next_at)
    if planned > now:
        return Due(action="wait", planned=planned, next_at=planned)
    late = now - planned
    following = _next(schedule, planned, now)
    if late <= GRACE:
        return Due(action="run", planned=planned, next_at=following)
    missed = len([run for run in schedule.after(planned, count=100) if run <= now]) + 1 if schedule.cron else 1
    times = "" if missed == 1 else f", and {missed - 1 if missed <= 100 else 'many'} after it"  # noqa: PLR2004
    why = f"missed by {format_duration(late.total_seconds())}{times}: no daemon ran"
    return Due(action=schedule.if_missed, planned=planned, next_at=following, why=why)


def _next(schedule: Schedule, planned: datetime, now: datetime) -> datetime | None:
    if not schedule.cron:
        return None
    return next(iter(schedule.after(max(planned, now))), None)
