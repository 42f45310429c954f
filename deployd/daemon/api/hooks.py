"""`POST /hooks/{app}`: a forge's delivery comes in, the ids of the rollouts that it asks for go out."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from collections.abc import Mapping

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
}
_PATIENCE = 30.0  # seconds for a body to come
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
        body = await asyncio.wait_for(request.body(), _PATIENCE)
    except TimeoutError:
        return problems.response(door.too_slow(), 408)
    headers = {name.lower(): value for name, value in request.headers.items()}
    address = address_of(request)
    return await run_in_threadpool(_deliver, daemon, guard, app=app, address=address, headers=headers, body=body)


def _deliver(
    daemon: Daemon, guard: Any, *, app: str, address: str, headers: Mapping[str, str], body: bytes
) -> JSONResponse:
    known = AppName.pattern.fullmatch(app) is not None
    secret = daemon.store.secrets.reveal("hook", app=app, name="") if known else None
    try:
        delivered = door.receive(headers, body, secret=secret or NOBODY, now=time.time())
        if secret is None:
            raise door.refused()
    except NotAllowedError as error:
        guard.refused(address, what=f"a delivery for {app[:40]!r} that is not signed", action="hook")
        return problems.response(error, 401)
    taken = daemon.hooks.take(asking.arrival(AppName(app), delivered, origin=f"hook from {address}"))
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
