"""Who is let in: maintenance of an environment, and links to previews that have a password."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.places import hosts_of
from deployd.daemon.api.shapes import App, Body, Environment, HostId, HostsBody, Release
from deployd.daemon.wiring import Daemon
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
from deployd.doors import Doors
from deployd.rollouts import consent

router = APIRouter(prefix="/v1", tags=["visitors"])
Releaser = Annotated[Caller, Depends(require("release"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
_PLACE = "/apps/{app}/environments/{environment}"
_ADDRESS = r"^[0-9a-fA-F:.]{2,45}$"


class MaintenanceBody(Body):
    """`on` turns visitors away, but for `allow`, with `page` (HTML); empty `hosts` are those of the last rollout."""

    on: bool
    allow: Annotated[list[Annotated[str, Field(pattern=_ADDRESS)]], Field(max_length=200, default_factory=list)]
    page: Annotated[str, Field(max_length=2_000_000)] | None = None
    hosts: Annotated[list[HostId], Field(max_length=500, default_factory=list)]


class LinkBody(Body):
    """The first word of a preview's address, and for how many seconds the link opens it."""

    label: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")]
    seconds: Annotated[float, Field(ge=60, le=366 * 86400)]
    hosts: Annotated[list[HostId], Field(max_length=500, default_factory=list)]


class CanaryBody(Body):
    """A prepared release, and how many of a hundred visitors get it."""

    release: Release
    percent: Annotated[float, Field(ge=0, le=100)]
    hosts: Annotated[list[HostId], Field(max_length=500, default_factory=list)]


def _doors(daemon: Daemon) -> Doors:
    return Doors(daemon.workshop.pool_of, daemon.paths.root)


@router.put(_PLACE + "/maintenance")
def maintenance(
    *, app: App, environment: Environment, body: MaintenanceBody, request: Request, _caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Turn visitors away, or let them in; `changed` are the hosts where that was new."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, body.hosts)
    request.state.audit = {
        "action": "maintenance",
        "details": {"on": body.on, "allow": body.allow, "hosts": list(hosts)},
    }
    changed = _doors(daemon).maintenance(*place, hosts=hosts, on=body.on, allow=body.allow, page=body.page)
    return {"on": body.on, "changed": list(changed)}


@router.post(_PLACE + "/links")
def link(
    *, app: App, environment: Environment, body: LinkBody, request: Request, _caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Make a key that opens one preview for a time."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, body.hosts)
    request.state.audit = {"action": "preview.link", "details": {"label": body.label, "hosts": list(hosts)}}
    return {"key": _doors(daemon).share(*place, hosts=hosts, label=body.label, seconds=body.seconds)}


@router.put(_PLACE + "/canary", status_code=204)
def canary(
    *, app: App, environment: Environment, body: CanaryBody, request: Request, _caller: Releaser, daemon: TheDaemon
) -> None:
    """Give some visitors a release that is prepared."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, body.hosts)
    consent.refuse_unapproved(daemon.store, *place, ReleaseId(body.release))
    request.state.audit = {
        "action": "canary",
        "details": {"release": body.release, "percent": body.percent, "hosts": list(hosts)},
    }
    _doors(daemon).canary(*place, hosts=hosts, release=ReleaseId(body.release), percent=body.percent)


@router.delete(_PLACE + "/canary")
def end_canary(
    *, app: App, environment: Environment, body: HostsBody, request: Request, _caller: Releaser, daemon: TheDaemon
) -> dict[str, Any]:
    """Give everybody the current release; `was` is the one that some had."""
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, body.hosts)
    request.state.audit = {"action": "canary.end", "details": {"hosts": list(hosts)}}
    was = _doors(daemon).end_canary(*place, hosts=hosts)
    if was is None:
        request.state.audit = None  # nothing was done; every `deployd rollback` asks first
    return {"was": was}
