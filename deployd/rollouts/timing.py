"""What people decide about time: schedules are made, cancelled and confirmed, environments frozen. No timer here.

A row is enough: whoever runs the clock finds it. The API and the command line that works alone call the same functions.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployd.domain.ask import Ask
from deployd.domain.cron import Cron
from deployd.domain.schedule import Freeze, Schedule, new_id
from deployd.domain.when import parse_moment, parse_zone
from deployd.errors import BusyError, NotFoundError, UsageError
from deployd.store import moments

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
    from deployd.domain.schedule import Missed, ScheduleKind
    from deployd.store import Store

_LONGEST = timedelta(days=3660)
_SAME = ("purpose", "kind", "ref", "release", "at", "cron", "timezone")
"""What two schedules of one environment have in common when they are the same one twice."""


def schedule(
    store: Store,
    *,
    kind: ScheduleKind,
    app: AppName,
    environment: EnvironmentName,
    who: str,
    timezone: str,
    at: str | None = None,
    within: float | None = None,
    cron: str | None = None,
    if_missed: Missed | None = None,
    ref: str | None = None,
    release: ReleaseId | None = None,
    message: str | None = None,
    now: datetime | None = None,
) -> Schedule:
    """Make a schedule: `at` a time, `within` seconds from now, or by `cron`. Raises UsageError that says what is wrong.

    What is missed runs once when it happens `at` a time, and is skipped when `cron` has another one coming.
    """
    moment = now or datetime.now(UTC)
    if sum(one is not None for one in (at, within, cron)) != 1:
        raise _usage(
            "a schedule needs one time: a moment, a while from now, or a cron expression", "--at, --in or --cron"
        )
    if kind == "release" and store.apps.find(app) is None:
        raise NotFoundError(
            f"{app} is not registered: the daemon would not know which repository to release",
            code="app-unknown",
            fix=f"deployd app add {app} --repository URL",
        )
    if kind == "promote" and release is None:
        raise _usage("a promote names the release that it promotes", "--release ID, of `deployd releases`")
    if release is not None:
        named = store.releases.get(release)
        if named.app != app:
            raise _usage(f"{release} is no release of {app}", "--release ID, of `deployd releases`")
        if kind == "rollback" and named.environment != environment:
            raise _usage(
                f"{release} is a release of {app} {named.environment}, not of {environment}",
                "--release ID, of `deployd releases`; `schedule promote` brings it to another environment",
            )
    runs_at = None if cron else moments.text_of(_moment(at, within, timezone=timezone, now=moment))
    made = Schedule(
        id=new_id("s"),
        app=app,
        environment=environment,
        kind=kind,
        ref=ref,
        release=release,
        at=runs_at,
        cron=_cron(cron).text if cron else None,
        timezone=_zone_name(timezone),
        if_missed=if_missed or ("skip" if cron else "run"),
        message=message,
        who=who,
        created=moments.text_of(moment),
        next_at=runs_at,
    )
    if cron:
        made = _with_next(made, moment)
    for other in store.schedules.active(app, environment):
        if all(getattr(other, name) == getattr(made, name) for name in _SAME):
            raise _usage(
                f"{other.id} is the same: {kind} of {app} {environment} at that time",
                f"keep it, or `deployd schedule cancel {other.id}` first; twice at once would go back twice",
            )
    store.schedules.add(made)
    return made


def describe(store: Store, schedule: Schedule, *, now: datetime | None = None) -> dict[str, Any]:
    """A schedule with its next three runs and what came of the last ones, as in `schedule list --json`."""
    moment = now or datetime.now(UTC)
    following: list[str] = []
    if schedule.state == "active" and schedule.next_at:
        first = datetime.fromisoformat(schedule.next_at)
        later = schedule.after(max(first, moment), count=2) if schedule.cron else ()
        following = [moments.text_of(run) for run in (first, *later)]
    runs = []
    for run in store.schedules.runs(schedule.id, limit=5):
        asked = store.queue.by_key(run.key) if run.key else None
        runs.append({**run.to_json(), "rollout": asked.id if asked else None})
    return {**schedule.to_json(), "next_runs": following, "runs": runs}


def cancel_schedule(store: Store, schedule_id: str, *, who: str) -> Schedule:
    """Cancel a schedule; raises when there is none, when it is over, or when its run has just begun."""
    found = store.schedules.get(schedule_id)
    if found.purpose == "unconfirmed":
        raise _usage(f"{schedule_id} is the way back of {found.rollout}", f"deployd confirm {found.rollout}")
    if not store.schedules.end(schedule_id, "cancelled", who=who):
        raise _over(store.schedules.get(schedule_id))
    return store.schedules.get(schedule_id)


def confirm(
    store: Store,
    rollout: RolloutId | None,
    app: AppName,
    environment: EnvironmentName,
    *,
    who: str,
) -> Schedule:
    """Keep what is live: the way back of `rollout` (or of the environment) is not taken."""
    found = [one for one in store.schedules.latest(app, environment) if one.purpose == "unconfirmed"]
    if rollout is not None:
        found = [one for one in found if one.rollout == rollout]
    waiting = [one for one in found if one.state == "active"]
    if not waiting:
        raise NotFoundError(
            f"rollout {rollout} waits for no confirmation"
            if rollout
            else f"nothing unconfirmed in {app} {environment}",
            code="nothing-unconfirmed",
            fix="`deployd status` says what waits; a release does when it was made with --confirm-within",
        )
    if not store.schedules.end(waiting[0].id, "confirmed", who=who):
        raise _over(store.schedules.get(waiting[0].id))
    return store.schedules.get(waiting[0].id)


def freeze(
    store: Store,
    app: AppName,
    environment: EnvironmentName,
    *,
    who: str,
    timezone: str,
    until: str | None = None,
    within: float | None = None,
    reason: str | None = None,
    now: datetime | None = None,
) -> Freeze:
    """Freeze an environment `until` a time, or for `within` seconds; raises UsageError."""
    moment = now or datetime.now(UTC)
    if (until is None) == (within is None):
        raise _usage("a freeze needs its end", "--until TIME or --for 2h")
    made = Freeze(
        id=new_id("f"),
        app=app,
        environment=environment,
        until=moments.text_of(_moment(until, within, timezone=timezone, now=moment)),
        reason=reason,
        who=who,
        created=moments.text_of(moment),
    )
    store.freezes.add(made)
    return made


def key_of(schedule: Schedule, planned: datetime) -> str:
    """The key of one run's ask: the same run asks once, whoever asks and however often."""
    return f"schedule:{schedule.id}:{moments.text_of(planned)}"


def ask_of(schedule: Schedule, planned: datetime, *, who: str | None = None, key: str | None = None) -> Ask:
    """The ask of one run. A release waits for freezes and pins, as those of pushes do; a way back never waits."""
    unconfirmed = schedule.purpose == "unconfirmed"
    return Ask(
        kind=schedule.kind,
        app=schedule.app,
        environment=schedule.environment,
        cause="unconfirmed" if unconfirmed else "schedule",
        who=who or (f"deployd (not confirmed, released by {schedule.who})" if unconfirmed else schedule.who),
        key=key or key_of(schedule, planned),
        ref=schedule.ref,
        release=schedule.release,
        automatic=who is None and schedule.kind != "rollback",
        message=schedule.message,
        details={"schedule": schedule.id, "planned": moments.text_of(planned)},
    )


def ask_now(schedule: Schedule, *, who: str) -> tuple[Ask, datetime]:
    """The ask of a person who wants a schedule's run at once, and its moment."""
    moment = datetime.now(UTC)
    return ask_of(schedule, moment, who=who, key=f"{key_of(schedule, moment)}:now"), moment


def why_not_back(store: Store, schedule: Schedule) -> str | None:
    """Why the way back of an unconfirmed release is not to be taken (something else is live), or None."""
    record = store.rollouts.find(schedule.rollout) if schedule.rollout else None
    if record is None:
        return "its rollout is not known"
    if record.finished is None:
        return None  # it hangs in its flip: going back ends it too
    if record.outcome != "live":
        return f"rollout {record.id} ended {record.outcome}"
    log = store.live_log.of(schedule.app, schedule.environment)
    if log and log[-1][0] != record.release:
        return f"{log[-1][0]} is live since"
    return None


def _moment(at: str | None, within: float | None, *, timezone: str, now: datetime) -> datetime:
    if at is None:
        if within is None or not 0 < within <= _LONGEST.total_seconds():
            raise _usage("that is no time to come", "write a duration such as 30m, 2h or 7d")
        return now + timedelta(seconds=within)
    try:
        found = parse_moment(at, zone=parse_zone(timezone), now=now)
    except ValueError as error:
        what, _, fix = str(error).partition(": ")
        raise UsageError(what, code="time-invalid", fix=fix) from error
    if found > now + _LONGEST:
        raise _usage(f"{at} is more than ten years away", "name an earlier time")
    return found


def _cron(text: str) -> Cron:
    try:
        return Cron.parse(text)
    except ValueError as error:
        what, _, fix = str(error).partition(": ")
        raise UsageError(what, code="cron-invalid", fix=fix) from error


def _zone_name(name: str) -> str:
    try:
        return parse_zone(name).key
    except ValueError as error:
        what, _, fix = str(error).partition(": ")
        raise UsageError(what, code="zone-unknown", fix=fix) from error


def _with_next(made: Schedule, moment: datetime) -> Schedule:
    from dataclasses import replace

    following = next(iter(made.after(moment)), None)
    if following is None:
        raise _usage(f"{made.cron} does not come in the next years", "see the fields of the cron expression")
    return replace(made, next_at=moments.text_of(following))


def _usage(what: str, fix: str) -> UsageError:
    return UsageError(what, code="schedule-invalid", fix=fix)


def _over(found: Schedule) -> BusyError:
    if found.firing:
        return BusyError(
            f"{found.id} runs at this moment",
            code="schedule-begun",
            live="unchanged",
            fix="see `deployd rollouts`; `deployd cancel ROLLOUT` stops what it began",
        )
    by = f" by {found.ended_by}" if found.ended_by else ""
    return BusyError(
        f"{found.id} is over: {found.state}{by}",
        code="schedule-over",
        live="unchanged",
        fix="`deployd schedule list` shows those that are to come",
    )
