"""An answer that goes on for hours comes in, and is ended once its caller's token is revoked or expired.

Other requests show their token each time. A stream shows it once: so it is looked at again while the stream is sent.
The last event says why, as it does for any error, and what the stream was doing is cancelled like at a hang-up.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from deployd.daemon.api import streams
from deployd.errors import NotAllowedError
from deployd.rollouts import values

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVERY = 5.0
"""Seconds between two looks at the token of a stream."""


class Revoking:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is sent, and end it when its token has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        looked = time.monotonic()

        async def watched(message: Message) -> None:
            nonlocal looked
            goes_on = message["type"] == "http.response.body" and message.get("more_body")
            if not goes_on or time.monotonic() - looked < EVERY:
                await send(message)
                return
            looked = time.monotonic()
            token = getattr(state.get("caller"), "token", None)
            tokens = scope["app"].state.daemon.store.tokens if token else None
            if tokens is None or await run_in_threadpool(tokens.is_valid, token):
                await send(message)
                return
            last = {"outcome": None, "result": None, "error": values.error_to_json(_ended())}
            await send({"type": "http.response.body", "body": streams.event("end", last), "more_body": False})
            raise ClientDisconnect  # bounds.py takes it as it takes a caller who hung up

        await self._app(scope, receive, watched)


def _ended() -> NotAllowedError:
    return NotAllowedError(
        "this token is not valid any more: it was revoked, or its time is over",
        code="token-invalid",
        fix="ask for a new one: deployd token create, on the daemon's machine",
    )
