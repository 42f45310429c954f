"""`/v1/rollouts`: what was done and what waits, each step of one, its events as they happen, and how to cancel it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from deployd.daemon.api import streams
from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.shapes import App, Count, Environment, MarkBody, PlaceBody, Release, Rollout
from deployd.daemon.wiring import Daemon
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
from deployd.domain.release import Mark
from deployd.domain.rollout import RolloutRecord
from deployd.errors import NotFoundError
from deployd.rollouts.story import as_seen, story

router = APIRouter(prefix="/v1", tags=["rollouts"])
Reader = Annotated[Caller, Depends(require("read"))]
Releaser = Annotated[Caller, Depends(require("release"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
_LAST = 2**53  # an event's number: databases take no larger ones


@router.get("/rollouts")
def rollouts(
    caller: Reader,
    daemon: TheDaemon,
    app: App | None = None,
    environment: Environment | None = None,
    limit: Annotated[Count, Query()] = 20,
) -> dict[str, Any]:
    """What was done, newest first, and what waits in the queue, oldest first."""
    there = EnvironmentName(environment) if environment else None
    apps: list[AppName | None] = [AppName(one) for one in ((app,) if app else caller.apps)]
    found = [one for name in apps or [None] for one in daemon.store.rollouts.latest(name, there, limit=limit)]
    done = sorted(found, key=lambda one: one.created, reverse=True)[:limit] if len(apps) > 1 else found
    waiting = [
        one
        for one in daemon.store.queue.waiting()
        if caller.may(one.ask.app) and one.ask.app == (app or one.ask.app)
        and one.ask.environment == (environment or one.ask.environment)
    ]  # fmt: skip
    seen = [told(as_seen(daemon.store, one)) for one in done]
    return {"rollouts": seen, "waiting": [one.to_json() for one in waiting]}


@router.get("/rollouts/{rollout}")
def rollout_by_id(rollout: Rollout, caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """One rollout: its steps with hosts and durations, why it ended as it did, and the ask that it was."""
    wanted = RolloutId(rollout)
    _visible(daemon, caller, wanted)
    record, ask = daemon.store.rollouts.find(wanted), daemon.store.queue.find(wanted)
    steps = story(daemon.store.events.of(wanted)) if record else ()
    return {
        "rollout": told(as_seen(daemon.store, record)) if record else None,
        "steps": [step.to_json() for step in steps],
        "ask": ask.to_json() if ask else None,
    }


@router.get("/rollouts/{rollout}/events", response_class=StreamingResponse)
def events(
    rollout: Rollout,
    caller: Reader,
    daemon: TheDaemon,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
    after: Annotated[int, Query(ge=0, le=_LAST)] = 0,
) -> StreamingResponse:
    """Its events as they happen (text/event-stream), from `Last-Event-ID` on; the last one is `end`."""
    wanted = RolloutId(rollout)
    _visible(daemon, caller, wanted)
    given = last_event_id if last_event_id and last_event_id.isascii() and last_event_id.isdigit() else None
    seen = min(int(given), _LAST) if given else after
    return StreamingResponse(
        streams.follow(daemon, wanted, after=seen), media_type="text/event-stream", headers=streams.HEADERS
    )


@router.post("/rollouts/{rollout}/cancel", status_code=202)
def cancel(rollout: Rollout, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Take it out of the queue, or have it turn back what it started."""
    wanted = RolloutId(rollout)
    place = _visible(daemon, caller, wanted)
    request.state.audit = {"action": "cancel", "subject": str(wanted), "app": place[0], "environment": place[1]}
    if not daemon.dispatcher.cancel(wanted, who=caller.who):
        approval = daemon.store.approvals.find(wanted)
        if approval is not None and approval.state == "pending":
            raise NotFoundError(
                f"rollout {wanted} has prepared {approval.release}, which waits for a yes: nothing runs",
                code="nothing-runs",
                fix=f"deployd reject {wanted}",
            )
        raise _nothing_runs(f"rollout {wanted} is at its end already")
    return {"rollout": wanted}


@router.post("/cancel", status_code=202)
def cancel_place(body: PlaceBody, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Cancel what runs (or else what waits) for an app and environment."""
    caller.must(body.app)
    place = (AppName(body.app), EnvironmentName(body.environment))
    request.state.audit = {"action": "cancel", "app": body.app, "environment": body.environment}
    here = [one.id for one in daemon.store.rollouts.unfinished(*place)]
    queued = (*daemon.store.queue.running(), *daemon.store.queue.waiting())
    here += [one.id for one in queued if (one.ask.app, one.ask.environment) == place and one.id not in here]
    for wanted in here:
        if daemon.dispatcher.cancel(wanted, who=caller.who):
            return {"rollout": wanted}
    raise _nothing_runs("no rollout is running")


@router.get("/releases/{release}")
def release_by_id(release: Release, caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """One release."""
    return asdict(_release(daemon, caller, release))


@router.put("/releases/{release}/mark")
def mark(*, release: Release, body: MarkBody, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Say that a release is good or bad."""
    found = _release(daemon, caller, release)
    request.state.audit = {"action": f"mark {body.mark}", "subject": found.id, "app": found.app}
    daemon.store.marks.set(found.id, Mark(body.mark), who=caller.who)
    return {"release": found.id, "mark": body.mark}


def told(record: RolloutRecord) -> dict[str, Any]:
    """A rollout as the API tells it."""
    return {key: value for key, value in asdict(record).items() if key not in {"wish", "owner"}}


def _visible(daemon: Daemon, caller: Caller, rollout: RolloutId) -> tuple[str, str]:
    """Its app and environment; a rollout of an app that is not the caller's does not exist for them."""
    record, ask = daemon.store.rollouts.find(rollout), daemon.store.queue.find(rollout)
    place = (record.app, record.environment) if record else (ask.ask.app, ask.ask.environment) if ask else None
    if place is None or not caller.may(place[0]):
        raise NotFoundError(
            f"there is no rollout {rollout}", code="rollout-unknown", fix="deployd rollouts lists those there are"
        )
    return place


def _release(daemon: Daemon, caller: Caller, release: str) -> Any:
    found = daemon.store.releases.find(ReleaseId(release))
    if found is None or not caller.may(found.app):
        raise NotFoundError(
            f"there is no release {release}", code="release-unknown", fix="deployd releases lists those there are"
        )
    return found


def _nothing_runs(what: str) -> NotFoundError:
    return NotFoundError(
        what,
        code="nothing-runs",
        fix="`deployd rollouts` shows what was done; `deployd rollback` goes back from what is live",
    )
