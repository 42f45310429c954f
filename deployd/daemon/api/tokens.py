"""`/v1/tokens`, `/v1/audit`, `/v1/me`: who may do what, and who did what."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request

from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.shapes import App, Count, TokenBody
from deployd.daemon.wiring import Daemon
from deployd.domain.ids import AppName
from deployd.store import moments

router = APIRouter(prefix="/v1", tags=["tokens and audit"])
Reader = Annotated[Caller, Depends(require("read"))]
Admin = Annotated[Caller, Depends(require("admin"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
TokenName = Annotated[str, Path(pattern=r"^[0-9a-z]{10}$")]


@router.get("/me")
def me(caller: Reader) -> dict[str, Any]:
    """Who the daemon takes you for."""
    return {"who": caller.who, "scope": caller.scope, "apps": sorted(caller.apps), "origin": caller.origin}


@router.get("/tokens")
def tokens(caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """All tokens, without their secrets."""
    caller.must_be_unbound()
    return {"tokens": [one.to_json() for one in daemon.store.tokens.all()]}


@router.post("/tokens", status_code=201)
def create(body: TokenBody, request: Request, caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """Make a token. Its text is in this answer and nowhere else."""
    caller.must_be_unbound()
    expires = moments.from_epoch(time.time() + body.expires_in) if body.expires_in else None
    token, secret = daemon.store.tokens.create(
        scope=body.scope, apps=[AppName(app) for app in body.apps], expires=expires, note=body.note, who=caller.who
    )
    request.state.audit = {
        "action": "create token",
        "subject": token.id,
        "details": {"scope": token.scope, "apps": list(token.apps), "expires": token.expires},
    }
    return {**token.to_json(), "token": secret.reveal()}


@router.delete("/tokens/{token}")
def revoke(token: TokenName, request: Request, caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """Revoke a token; it is refused from the next request on."""
    caller.must_be_unbound()
    request.state.audit = {"action": "revoke token", "subject": token}
    return daemon.store.tokens.revoke(token).to_json()


@router.get("/audit")
def audit(
    caller: Reader,
    daemon: TheDaemon,
    app: App | None = None,
    limit: Annotated[Count, Query()] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> dict[str, Any]:
    """Who did what, newest first. A token that is bound to apps names one of them."""
    if app is None:
        caller.must_be_unbound()
    found = daemon.store.audit.latest(app=app, limit=limit, before=before)
    return {"entries": [one.to_json() for one in found]}
