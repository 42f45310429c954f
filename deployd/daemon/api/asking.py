"""`POST /v1/releases`, `/rollbacks`, `/promotes`: an ask goes into the queue, its rollout's id comes back at once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.places import hosts_of
from deployd.daemon.api.shapes import FinishAsk, PromoteAsk, ReleaseAsk, RollbackAsk, WishAsk
from deployd.daemon.wiring import Daemon
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
from deployd.errors import NotAllowedError, NotFoundError, UsageError
from deployd.rollouts import kept
from deployd.rollouts.wishes import ActivateWish, Wish, kind_of, wish_from_json, wish_to_json

router = APIRouter(prefix="/v1", tags=["asks"])
Releaser = Annotated[Caller, Depends(require("release"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]


@router.post("/releases", status_code=202)
def release(body: ReleaseAsk, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Release a commit, branch or tag of the registered app's repository."""
    caller.must(body.app)
    daemon.store.apps.get(AppName(body.app))
    ask = Ask(
        kind="release",
        app=AppName(body.app),
        environment=EnvironmentName(body.environment),
        cause="person",
        who=caller.who,
        key=_key("release", body),
        ref=body.ref,
        commit=body.commit,
        activate=body.activate,
        confirm_within=body.confirm_within,
        during_freeze=body.during_freeze,
        message=body.message,
    )
    return _asked(request, daemon, caller, ask)


@router.post("/rollbacks", status_code=202)
def rollback(body: RollbackAsk, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Go back. What runs for the same app and environment is told to turn back."""
    caller.must(body.app)
    if daemon.store.apps.find(AppName(body.app)) is None:
        hosts_of(daemon, AppName(body.app), EnvironmentName(body.environment), None)  # raises when nothing was there
    ask = Ask(
        kind="rollback",
        app=AppName(body.app),
        environment=EnvironmentName(body.environment),
        cause="person",
        who=caller.who,
        key=_key("rollback", body),
        release=ReleaseId(body.release) if body.release else None,
    )
    return _asked(request, daemon, caller, ask)


@router.post("/promotes", status_code=202)
def promote(body: PromoteAsk, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Bring the artifact of a release live in another environment, with that environment's variables."""
    caller.must(body.app)
    found = daemon.store.releases.find(ReleaseId(body.release))
    if found is None or not caller.may(found.app):  # another app's releases are not there for who is bound to this one
        raise NotFoundError(
            f"there is no release {body.release}", code="release-unknown", fix="deployd releases lists those there are"
        )
    if found.app != body.app:
        raise UsageError(
            f"{found.id} is a release of {found.app}, not of {body.app}",
            code="release-not-found",
            fix="see /v1/rollouts",
        )
    ask = Ask(
        kind="promote",
        app=AppName(body.app),
        environment=EnvironmentName(body.environment),
        cause="person",
        who=caller.who,
        key=_key("promote", body),
        release=ReleaseId(body.release),
        activate=body.activate,
        confirm_within=body.confirm_within,
        during_freeze=body.during_freeze,
        message=body.message,
    )
    return _asked(request, daemon, caller, ask)


@router.post("/finishes", status_code=202)
def finish(body: FinishAsk, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Bring a prepared release (a canary) live for everybody, on the hosts of the last rollout, as it was prepared."""
    caller.must(body.app)
    place = (AppName(body.app), EnvironmentName(body.environment))
    hosts = hosts_of(daemon, *place, None)
    found = daemon.store.releases.find(ReleaseId(body.release))
    if found is None or (found.app, found.environment) != place:
        raise NotFoundError(
            f"{body.app} has no release {body.release} in {body.environment}",
            code="release-unknown",
            fix="deployd releases lists those there are",
        )
    before = wish_from_json(daemon.store.rollouts.latest(*place, limit=1)[0].wish).options
    made = ActivateWish(
        app=place[0],
        environment=place[1],
        release=found.id,
        hosts=hosts,
        options=kept.options_of(daemon.store, found.id, otherwise=before),
        message=body.message,
        confirm_within=body.confirm_within,
        during_freeze=body.during_freeze,
    )
    ask = Ask(
        kind=kind_of(made),  # type: ignore[arg-type]  # as for a wish
        app=place[0],
        environment=place[1],
        cause="person",
        who=caller.who,
        release=found.id,
        message=body.message,
    )
    return _asked(request, daemon, caller, ask, wish=wish_to_json(made))


@router.post("/wishes", status_code=202)
def wish(body: WishAsk, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """What the command line on this machine asks: hosts, options, a checkout's path. Over the unix socket only."""
    if not caller.local:
        raise NotAllowedError(
            "a whole wish is taken over the unix socket only",
            code="not-local",
            live="unchanged",
            fix="use /v1/releases",
        )
    parsed = parsed_wish(body.wish)
    kind = kind_of(parsed)
    ask = Ask(
        kind=kind,  # type: ignore[arg-type]  # one that only the command line makes is kept as what it is
        app=parsed.app,
        environment=parsed.environment,
        cause="person",
        who=caller.who,
        release=getattr(parsed, "release", None),
        message=getattr(parsed, "message", None),
    )
    return _asked(request, daemon, caller, ask, wish=wish_to_json(parsed))


def parsed_wish(given: dict[str, Any]) -> Wish:
    """A wish as the command line made it; raises UsageError."""
    try:
        parsed = wish_from_json(given)
        AppName.parse(parsed.app)
        EnvironmentName.parse(parsed.environment)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"this is no wish: {error}", code="request-invalid", fix="use the same version") from error
    return parsed


def _asked(
    request: Request, daemon: Daemon, caller: Caller, ask: Ask, *, wish: dict[str, Any] | None = None
) -> dict[str, Any]:
    request.state.audit = None  # the queue's own entry says more
    rollout, fresh = daemon.ask(ask, wish=wish, origin=caller.origin)
    return {"rollout": rollout, "fresh": fresh, "events": f"/v1/rollouts/{rollout}/events"}


def _key(kind: str, body: ReleaseAsk | RollbackAsk | PromoteAsk) -> str | None:
    """A caller's own key counts for this kind, app and environment alone; it cannot be a delivery's or a schedule's."""
    return f"api:{kind}:{body.app}:{body.environment}:{body.key}" if body.key else None
