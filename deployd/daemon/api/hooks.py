"""`POST /hooks/{app}`: a forge's delivery comes in, the ids of the rollouts that it asks for go out."""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from deployd.daemon.api import bounds, problems
from deployd.daemon.api.auth import address_of, daemon_of, door_of, public
from deployd.daemon.hooks import asking, door
from deployd.daemon.wiring import Daemon
from deployd.domain.ids import AppName
from deployd.domain.secret import Secret
from deployd.errors import NotAllowedError

router = APIRouter(tags=["hooks"])
bounds.MOST_BELOW["/hooks/"] = door.LARGEST

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Checked; it was seen before, or starts nothing"},
    202: {"description": "Checked; a rollout waits in the queue"},
    401: {"description": "Not signed with the app's secret, or there is no such app"},
    408: {"description": "The body did not come in time"},
    413: {"description": "Too large"},
    422: {"description": "Signed, and not readable"},
    429: {"description": "Too many wrong signatures from one address"},
    503: {"description": "It cannot be kept now (the disk is full, thousands wait): send it again"},
}
_PATIENCE = 30.0  # seconds for a body to come
_SMALL = 64 * 1024  # bytes of a body that is read without keeping other requests waiting
NOBODY = Secret(secrets.token_hex(32))
"""What an unknown app's deliveries are checked against: a refusal takes the same way whatever the reason. Made anew by
each process: whoever knew it could sign for every app that has no secret yet."""


@router.post(
    "/hooks/{app}",
    dependencies=[Depends(public)],
    responses=_ANSWERS,
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def deliver(
    app: str,
    request: Request,
    daemon: Annotated[Daemon, Depends(daemon_of)],
    guard: Annotated[Any, Depends(door_of)],
) -> JSONResponse:
    """A push or a pull request, as GitHub, GitLab, Bitbucket, Gitea, Forgejo or a signed script sends it."""
    try:
        async with asyncio.timeout(_PATIENCE):
            body = await request.body()
    except TimeoutError:
        return problems.response(door.too_slow(), 408)
    headers = {name.lower(): value for name, value in request.headers.items()}
    address = address_of(request)
    known = AppName.pattern.fullmatch(app) is not None
    secret = await daemon.hook_secrets.get(app) if known else None
    check = partial(door.receive, headers, body, secret=secret or NOBODY, now=time.time())
    try:
        delivered = check() if len(body) <= _SMALL else await run_in_threadpool(check)
        if secret is None:
            raise door.refused()
    except NotAllowedError as error:
        what = f"a delivery for {app[:40]!r} that is not signed"
        await run_in_threadpool(guard.refused, address, what=what, action="hook")
        return problems.response(error, 401)
    daemon.hook_secrets.proved(app, secret)
    taken = await daemon.hooks.take(asking.arrival(AppName(app), delivered, origin=f"hook from {address}"))
    if taken.fresh and taken.rollouts:
        daemon.dispatcher.wake()
    state = "asked" if taken.rollouts else "ignored"
    answer = {
        "state": state if taken.fresh else "seen",
        "rollout": taken.rollouts[0] if taken.rollouts else None,
        "rollouts": list(taken.rollouts),
        "reason": taken.reason,
    }
    return JSONResponse(answer, 202 if taken.fresh and taken.rollouts else 200)
