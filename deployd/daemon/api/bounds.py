"""Bounds on what a request may bring: too large a body is answered by 413, one that does not come by 408."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from deployd.daemon.api import problems
from deployd.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST = 1_000_000
"""Bytes of a body."""
MOST_BELOW: dict[str, int] = {}
"""Other bounds, by the path's beginning."""
PIECE_WITHIN = 30.0
"""Seconds in which the next piece of a body must come."""
ENDLESS: list[re.Pattern[str]] = []
"""Paths whose bodies are streams: their handlers count, or keep nothing."""


class TooLargeError(UsageError):
    """A body of more than its bound: 413."""


class Bounds:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what comes in; who goes away in the middle of a body needs no answer, and no line in the log."""
        with suppress(ClientDisconnect):
            await self._bounded(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(one.fullmatch(scope["path"]) for one in ENDLESS):
            await self._app(scope, receive, send)
            return
        most = next((size for path, size in MOST_BELOW.items() if scope["path"].startswith(path)), MOST)
        error = TooLargeError(f"the body has more than {most} bytes", code="body-too-large", fix="send less")
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > most:
            await problems.response(error)(scope, receive, send)
            return
        seen, whole = 0, False

        async def counted() -> Message:
            nonlocal seen, whole
            try:
                async with asyncio.timeout(None if whole else PIECE_WITHIN):
                    message = await receive()
            except TimeoutError as late:
                raise HTTPException(408, "the body did not come") from late
            whole = whole or not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > most:
                raise HTTPException(413, error.what)  # what reads bodies lets this one through
            return message

        await self._app(scope, counted, send)
