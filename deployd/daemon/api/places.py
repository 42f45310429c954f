"""`/v1/apps/{app}/environments/{environment}/...`: what is live where, releases, logs, variables, pins, marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from deployd.daemon.api import streams
from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.shapes import App, Count, Environment, HostId, Key, PinBody, Release, VariableBody
from deployd.daemon.wiring import Daemon
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
from deployd.domain.secret import Secret
from deployd.errors import NotFoundError
from deployd.rollouts import look
from deployd.rollouts.wishes import wish_from_json
from deployd.stages import supervise

if TYPE_CHECKING:
    import threading

router = APIRouter(prefix="/v1/apps/{app}/environments/{environment}", tags=["environments"])
Reader = Annotated[Caller, Depends(require("read"))]
Releaser = Annotated[Caller, Depends(require("release"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
Hosts = Annotated[list[HostId] | None, Query(max_length=500)]


@router.get("/status")
def status(
    app: App, environment: Environment, _caller: Reader, daemon: TheDaemon, host: Hosts = None
) -> dict[str, Any]:
    """What is live where, asked of the hosts."""
    place = (AppName(app), EnvironmentName(environment))
    with daemon.workshop.pool_of(hosts_of(daemon, *place, host)) as pool:
        return look.status(daemon.store, pool, *place).to_json()


@router.get("/releases")
def releases(
    app: App, environment: Environment, _caller: Reader, daemon: TheDaemon, limit: Annotated[Count, Query()] = 100
) -> dict[str, Any]:
    """All releases, newest first."""
    found = daemon.store.releases.of(AppName(app), EnvironmentName(environment), limit=limit)
    return {"releases": [asdict(one) for one in found]}


@router.get("/logs", response_class=StreamingResponse)
def logs(
    *,
    app: App,
    environment: Environment,
    _caller: Reader,
    daemon: TheDaemon,
    host: Hosts = None,
    lines: Annotated[int, Query(ge=0, le=10_000)] = 100,
    since: Annotated[str | None, Query(max_length=40, pattern=r"^[0-9A-Za-z:. +-]*$")] = None,
    release: Release | None = None,
    follow: bool = False,
) -> StreamingResponse:
    """The servers' logs of all hosts, merged by time (text/event-stream); ends with `end`, or never with `follow`."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, host)

    def read(tell: streams.Tell, cancel: threading.Event) -> None:
        with daemon.workshop.pool_of(hosts) as pool:
            for line in supervise.logs(
                pool,
                pool.names,
                app=place[0],
                environment=place[1],
                release=ReleaseId(release) if release else None,
                lines=lines,
                since=since,
                follow=follow,
                cancel=cancel,
            ):
                tell("line", asdict(line))

    return streams.answer(read)


@router.get("/variables")
def variables(app: App, environment: Environment, _caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """All variables, without their values: those never come out."""
    found = daemon.store.variables.of(AppName(app), EnvironmentName(environment))
    return {"variables": [one.to_json() for one in found]}


@router.put("/variables/{key}", status_code=204)
def set_variable(
    *,
    app: App,
    environment: Environment,
    key: Key,
    body: VariableBody,
    request: Request,
    caller: Releaser,
    daemon: TheDaemon,
) -> None:
    """Keep a variable, encrypted; the next release takes it."""
    request.state.audit = {"action": "set variable", "subject": key}
    place = (AppName(app), EnvironmentName(environment))
    daemon.store.variables.put(*place, key, Secret(body.value), build=body.build, both=body.both, who=caller.who)


@router.delete("/variables/{key}", status_code=204)
def unset_variable(
    app: App, environment: Environment, key: Key, request: Request, _caller: Releaser, daemon: TheDaemon
) -> None:
    """Remove a variable."""
    request.state.audit = {"action": "unset variable", "subject": key}
    daemon.store.variables.remove(AppName(app), EnvironmentName(environment), key)


@router.put("/pin")
def pin(
    *, app: App, environment: Environment, body: PinBody, request: Request, caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Take no automatic release until it is unpinned."""
    request.state.audit = {"action": "pin", "subject": body.release}
    release = _release(daemon, app, environment, body.release).id if body.release else None
    return daemon.store.pins.put(AppName(app), EnvironmentName(environment), release=release, who=caller.who).to_json()


@router.delete("/pin")
def unpin(app: App, environment: Environment, request: Request, _caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Let automatic releases go on."""
    request.state.audit = {"action": "unpin"}
    removed = daemon.store.pins.remove(AppName(app), EnvironmentName(environment))
    daemon.dispatcher.wake()
    return {"unpinned": removed}


def hosts_of(
    daemon: Daemon, app: AppName, environment: EnvironmentName, named: Sequence[str] | None
) -> tuple[HostName, ...]:
    """The hosts that a request names, or those of the last rollout there; raises NotFoundError."""
    if named:
        return tuple(HostName(name) for name in named)
    latest = daemon.store.rollouts.latest(app, environment, limit=1)
    if not latest:
        raise NotFoundError(
            f"nothing was rolled out to {app} {environment} yet",
            code="app-unknown",
            fix="release it first, or name hosts",
        )
    return wish_from_json(latest[0].wish).hosts


def _release(daemon: Daemon, app: str, environment: str, release: str) -> Any:
    found = daemon.store.releases.get(ReleaseId(release))
    if (found.app, found.environment) != (app, environment):
        raise NotFoundError(
            f"{app} has no release {release} in {environment}", code="release-unknown", fix="see GET .../releases"
        )
    return found
