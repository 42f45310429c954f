"""Schedules, freezes, approvals and confirmations over the API; a change wakes the clock."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field, StringConstraints

from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.shapes import App, Body, Environment, Ref, Release, Rollout, Text
from deployd.daemon.wiring import Daemon
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
from deployd.domain.schedule import ID
from deployd.rollouts import consent, gates, timing
from deployd.rollouts.wishes import wish_to_json

router = APIRouter(prefix="/v1", tags=["schedules"])
Reader = Annotated[Caller, Depends(require("read"))]
Releaser = Annotated[Caller, Depends(require("release"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
ScheduleId = Annotated[str, Path(pattern=f"^(?:{ID.pattern})$", max_length=40)]
Moment = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_+/-]+$")]
Seconds = Annotated[float, Field(gt=0, le=3660 * 86400)]
_PLACE = "/apps/{app}/environments/{environment}"


class ScheduleBody(Body):
    """A schedule to make: one of `at`, `within` (seconds) and `cron`; times are those of `timezone`."""

    kind: Literal["release", "rollback", "promote"]
    at: Moment | None = None
    within: Seconds | None = None
    cron: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None
    timezone: Zone = "UTC"
    if_missed: Literal["run", "skip"] | None = None
    ref: Ref | None = None
    release: Release | None = None
    message: Text | None = None


class FreezeBody(Body):
    """A freeze to make: one of `until` and `within` (seconds)."""

    until: Moment | None = None
    within: Seconds | None = None
    timezone: Zone = "UTC"
    reason: Text | None = None


class RolloutBody(Body):
    """Which rollout; without one the environment's newest that waits."""

    rollout: Rollout | None = None


class ApproveBody(RolloutBody):
    """What to approve, and whether although the environment is frozen."""

    during_freeze: bool = False


class RejectBody(RolloutBody):
    """What to reject, and why."""

    reason: Text | None = None


@router.get("/apps/{app}/schedules")
def schedules(
    *,
    app: App,
    _caller: Reader,
    daemon: TheDaemon,
    environment: Environment | None = None,
    every: Annotated[bool, Query()] = False,
) -> dict[str, Any]:
    """What is to come (with `every` what is over too), with the next runs and what came of the last ones."""
    store = daemon.store
    place = (AppName(app), EnvironmentName(environment) if environment else None)
    found = store.schedules.latest(*place) if every else store.schedules.active(*place)
    return {"schedules": [timing.describe(store, one) for one in found]}


@router.post(_PLACE + "/schedules", status_code=201)
def schedule(
    *, app: App, environment: Environment, body: ScheduleBody, request: Request, caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Schedule a release, a rollback or a promotion."""
    made = timing.schedule(
        daemon.store,
        kind=body.kind,
        app=AppName(app),
        environment=EnvironmentName(environment),
        who=caller.who,
        timezone=body.timezone,
        at=body.at,
        within=body.within,
        cron=body.cron,
        if_missed=body.if_missed,
        ref=body.ref,
        release=ReleaseId(body.release) if body.release else None,
        message=body.message,
    )
    _changed(request, daemon, "schedule", made.id, kind=made.kind, cron=made.cron, at=made.at)
    return timing.describe(daemon.store, made)


@router.delete("/schedules/{schedule}")
def cancel(schedule: ScheduleId, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Cancel a schedule."""
    found = daemon.store.schedules.get(schedule)
    caller.must(found.app)
    ended = timing.cancel_schedule(daemon.store, schedule, who=caller.who)
    _changed(request, daemon, "cancel schedule", schedule, app=found.app, environment=found.environment)
    return timing.describe(daemon.store, ended)


@router.post("/schedules/{schedule}/run", status_code=202)
def run(schedule: ScheduleId, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Do at once what a schedule does; it is the caller's own ask then, and its times stay as they are."""
    found = daemon.store.schedules.get(schedule)
    caller.must(found.app)
    ask, moment = timing.ask_now(found, who=caller.who)
    request.state.audit = None  # the queue's own entry says more
    rollout, _ = daemon.ask(ask, wish=found.wish, origin=caller.origin)
    daemon.store.schedules.add_run(found.id, moment, "asked", key=ask.key, why=f"run now by {caller.who}")
    return {"schedule": schedule, "rollout": rollout, "events": f"/v1/rollouts/{rollout}/events"}


@router.post(_PLACE + "/confirm")
def confirm(
    *, app: App, environment: Environment, body: RolloutBody, request: Request, caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Keep a release that goes back by itself otherwise."""
    found = timing.confirm(daemon.store, _rollout(body), AppName(app), EnvironmentName(environment), who=caller.who)
    _changed(request, daemon, "confirm", str(found.rollout))
    return found.to_json()


@router.get("/apps/{app}/freezes")
def freezes(app: App, _caller: Reader, daemon: TheDaemon, environment: Environment | None = None) -> dict[str, Any]:
    """Freezes in force."""
    found = daemon.store.freezes.active(AppName(app), EnvironmentName(environment) if environment else None)
    return {"freezes": [one.to_json() for one in found]}


@router.post(_PLACE + "/freezes", status_code=201)
def freeze(
    *, app: App, environment: Environment, body: FreezeBody, request: Request, caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Stop releases of an environment for a time; rollbacks are never stopped."""
    made = timing.freeze(
        daemon.store,
        AppName(app),
        EnvironmentName(environment),
        who=caller.who,
        timezone=body.timezone,
        until=body.until,
        within=body.within,
        reason=body.reason,
    )
    _changed(request, daemon, "freeze", made.id, until=made.until, reason=made.reason)
    return made.to_json()


@router.delete(_PLACE + "/freezes")
def unfreeze(
    *, app: App, environment: Environment, request: Request, caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """End the freezes of an environment; what waited goes on."""
    ended = daemon.store.freezes.end(AppName(app), EnvironmentName(environment), who=caller.who)
    _changed(request, daemon, "unfreeze", None, ended=ended)
    return {"ended": ended}


@router.get("/apps/{app}/approvals")
def approvals(
    *,
    app: App,
    _caller: Reader,
    daemon: TheDaemon,
    environment: Environment | None = None,
    every: Annotated[bool, Query()] = False,
) -> dict[str, Any]:
    """Releases that are prepared and wait for a yes (with `every` what was decided too)."""
    kept = daemon.store.approvals
    place = (AppName(app), EnvironmentName(environment) if environment else None)
    found = kept.latest(*place) if every else kept.pending(*place)
    return {"approvals": [one.to_json() for one in found]}


@router.post(_PLACE + "/approve", status_code=202)
def approve(
    *, app: App, environment: Environment, body: ApproveBody, request: Request, caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Say yes: a rollout brings the prepared release live. Its id comes back at once."""
    store, place = daemon.store, (AppName(app), EnvironmentName(environment))
    approval = consent.find(store, _rollout(body), *place)
    gates.refuse_frozen(store, *place, during_freeze=body.during_freeze)
    wish = consent.approve(store, approval, who=caller.who, during_freeze=body.during_freeze)
    ask = Ask(
        kind="release",
        app=approval.app,
        environment=approval.environment,
        cause="person",
        who=caller.who,
        key=f"approval:{approval.rollout}",
        release=approval.release,
        message=wish.message,
    )
    rollout, _ = daemon.ask(ask, wish=wish_to_json(wish), origin=caller.origin)
    store.approvals.set_activation(approval.rollout, rollout)
    _changed(request, daemon, "approve", str(approval.rollout), release=approval.release)
    return {"rollout": rollout, "events": f"/v1/rollouts/{rollout}/events"}


@router.post(_PLACE + "/reject")
def reject(
    *, app: App, environment: Environment, body: RejectBody, request: Request, caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Say no: what is live stays live."""
    approval = consent.find(daemon.store, _rollout(body), AppName(app), EnvironmentName(environment))
    found = consent.reject(daemon.store, approval, who=caller.who, reason=body.reason)
    _changed(request, daemon, "reject", str(found.rollout), reason=body.reason)
    return found.to_json()


def _rollout(body: RolloutBody) -> RolloutId | None:
    return RolloutId(body.rollout) if body.rollout else None


def _changed(request: Request, daemon: Daemon, action: str, subject: str | None, **said: Any) -> None:
    """Say what was done for the audit log, and have clock and dispatcher look."""
    place = {name: said.pop(name) for name in ("app", "environment") if name in said}
    details = {name: value for name, value in said.items() if value is not None}
    request.state.audit = {"action": action, "subject": subject, "details": details or None, **place}
    for part in daemon.parts:
        if part.name == "clock":
            part.wake()  # type: ignore[attr-defined]
    daemon.dispatcher.wake()
