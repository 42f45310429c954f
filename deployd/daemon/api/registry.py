"""`/v1/apps`, `/v1/hosts`: what the daemon releases by itself, and the servers that it knows."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.shapes import App, AppBody, HostBody, HostId
from deployd.daemon.wiring import Daemon
from deployd.domain.host import Host
from deployd.domain.ids import AppName, HostName
from deployd.domain.repository import holds_secret, told
from deployd.errors import UsageError

router = APIRouter(prefix="/v1", tags=["apps and hosts"])
Reader = Annotated[Caller, Depends(require("read"))]
Admin = Annotated[Caller, Depends(require("admin"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
_URL = re.compile(r"(?:https?|ssh|git)://[^\s-]|[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:")


@router.get("/apps")
def apps(caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """Registered apps."""
    return {"apps": [one.to_json() for one in daemon.store.apps.all() if caller.may(one.name)]}


@router.put("/apps/{app}")
def put_app(app: App, body: AppBody, request: Request, caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """Register an app, or change where it comes from."""
    request.state.audit = {"action": "register app", "subject": app, "app": app}
    if ".." in body.subdir.split("/") or body.subdir.startswith("/"):
        raise UsageError(
            f"{body.subdir!r} is no folder inside the repository",
            code="name-invalid",
            fix="give it from the top: apps/web",
        )
    if holds_secret(body.repository):
        raise UsageError(
            f"a password or token stands in the address {told(body.repository)}",
            code="repository-has-secret",
            fix="leave it out of the address, and give it to git's credential helper, or use an SSH deploy key",
        )
    if not caller.local and not _URL.match(body.repository):
        raise UsageError(
            f"{body.repository!r} is no address: a folder of the daemon's machine is named there, over its socket",
            code="repository-invalid",
            fix="give a URL such as https://... or git@host:path",
        )
    return daemon.store.apps.put(
        AppName(app), repository=body.repository, subdir=body.subdir.strip("/"), who=caller.who
    ).to_json()


@router.delete("/apps/{app}", status_code=204)
def remove_app(app: App, request: Request, caller: Admin, daemon: TheDaemon) -> None:
    """Forget an app, its webhook's secret and its scheduled releases; its releases and what is live stay."""
    request.state.audit = {"action": "remove app", "subject": app, "app": app}
    store = daemon.store
    store.apps.remove(AppName(app))
    store.secrets.remove("hook", app=app, name="")
    for one in store.schedules.active(AppName(app)):
        if one.kind == "release":
            store.schedules.end(one.id, "cancelled", who=caller.who)


@router.get("/hosts")
def hosts(_caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """All servers, and which of them were drained as a whole, by whom."""
    return {"hosts": [asdict(one) for one in daemon.store.hosts.all()], "drained": daemon.store.hosts.drained()}


@router.put("/hosts/{host}", status_code=204)
def put_host(host: HostId, body: HostBody, request: Request, caller: Admin, daemon: TheDaemon) -> None:
    """Keep a server (or change what is known of it), with its pinned key."""
    caller.must_be_unbound()
    request.state.audit = {"action": "add host", "subject": host}
    daemon.store.hosts.put(Host(name=HostName(host), **body.model_dump()), who=caller.who)


@router.delete("/hosts/{host}", status_code=204)
def remove_host(host: HostId, request: Request, caller: Admin, daemon: TheDaemon) -> None:
    """Forget a server; nothing is changed on it."""
    caller.must_be_unbound()
    request.state.audit = {"action": "remove host", "subject": host}
    daemon.store.hosts.remove(HostName(host))
