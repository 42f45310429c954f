"""`POST .../exec`: a command for a host comes in, its stdin behind it; its output goes out as it comes, then its code.

The body's first line is JSON, `{"host", "argv", "stdin"}`; what follows is the command's stdin. Nothing of it is kept:
the audit log knows who ran something where, and not what, because a command line may hold a secret.
"""

from __future__ import annotations

import asyncio
import base64
import queue
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Depends, Request
from pydantic import Field, StringConstraints, ValidationError
from starlette.responses import Response

from deployd.daemon.api import bounds, streams
from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.shapes import App, Body, Environment, HostId
from deployd.daemon.wiring import Daemon
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.errors import UsageError

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

router = APIRouter(prefix="/v1", tags=["by hand"])
Admin = Annotated[Caller, Depends(require("admin"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
Word = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]
_LONGEST_HEAD = 100_000
_PIECES = 16  # of stdin that wait for the host
bounds.ENDLESS.append(re.compile(r"/v1/apps/[^/]+/environments/[^/]+/exec"))


class ExecBody(Body):
    """What to run where; `stdin` says that more follows the line."""

    host: HostId
    argv: Annotated[list[Word], Field(min_length=1, max_length=1000)]
    stdin: bool = False


@router.post(
    "/apps/{app}/environments/{environment}/exec",
    response_class=Response,
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def exec_(app: App, environment: Environment, request: Request, _caller: Admin, daemon: TheDaemon) -> Response:
    """Run a command in the live release's environment on one host, as the app's user."""
    head, rest, more = await _head(request)
    request.state.audit = {"action": "exec", "details": {"host": head.host}}
    place = (AppName(app), EnvironmentName(environment))
    pool = daemon.workshop.pool_of([HostName(head.host)])
    stdin = _Stdin(rest, ended=not more)

    def do(tell: streams.Tell, cancel: threading.Event) -> int:
        with pool:
            return pool.helper(HostName(head.host)).exec(
                *place,
                head.argv,
                stdin=cast("BinaryIO", stdin) if head.stdin else None,
                stdout=cast("BinaryIO", _Out("stdout", tell)),
                stderr=cast("BinaryIO", _Out("stderr", tell)),
                cancel=cancel,
            )

    return _Duplex(streams.telling(do, audit=request.state.audit), stdin)


class _Stdin:
    """What the request's body brings, as the command reads it."""

    def __init__(self, first: bytes, *, ended: bool) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(maxsize=_PIECES)
        self.ended = ended
        if first:
            self._pieces.put(first)
        if ended:
            self._pieces.put(b"")

    async def put(self, data: bytes) -> None:
        """More of it; waits while the host takes none. Nothing is its end."""
        while True:
            with suppress(queue.Full):
                self._pieces.put_nowait(data)
                return
            await asyncio.sleep(0.02)

    def read1(self, _size: int = -1) -> bytes:
        """The next piece; nothing at the end."""
        return self._pieces.get()

    read = read1


class _Out:
    """One of the command's outputs, told as it comes."""

    def __init__(self, name: str, tell: streams.Tell) -> None:
        self._name, self._tell = name, tell

    def write(self, data: bytes) -> None:
        """A piece of it."""
        if data:
            self._tell(self._name, {"data": base64.b64encode(data).decode()})

    def flush(self) -> None:
        """Nothing waits here."""


class _Duplex(Response):
    """Answers while the body still comes in: starlette's own streams would read the body away."""

    def __init__(self, told: AsyncIterator[bytes], stdin: _Stdin) -> None:
        super().__init__(headers={**streams.HEADERS, "Content-Type": "text/event-stream"})
        self._told = told
        self._stdin = stdin

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is told, take in what comes, and end both when one of them is over."""
        headers = [one for one in self.raw_headers if one[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sending = asyncio.create_task(self._send(send))
        taking = asyncio.create_task(self._take(receive))
        try:
            await asyncio.wait([sending, taking], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, taking):
                if not task.done():
                    task.cancel()
            await asyncio.gather(sending, taking, return_exceptions=True)
        with suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        async for piece in self._told:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _take(self, receive: Receive) -> None:
        """The body into stdin; comes back when the caller is gone."""
        while (message := await receive())["type"] == "http.request":
            if message.get("body"):
                await self._stdin.put(message["body"])
            if not message.get("more_body") and not self._stdin.ended:
                self._stdin.ended = True
                await self._stdin.put(b"")


async def _head(request: Request) -> tuple[ExecBody, bytes, bool]:
    """The first line, what came with it of the rest, and whether more is to come."""
    got, more = b"", True
    while more and b"\n" not in got and len(got) <= _LONGEST_HEAD:
        message = await request.receive()
        got += message.get("body", b"")
        more = bool(message.get("more_body"))
    line, _, rest = got.partition(b"\n")
    try:
        return ExecBody.model_validate_json(line[: _LONGEST_HEAD + 1]), rest, more
    except ValidationError as error:
        told: list[Any] = list(error.errors())
        raise UsageError(
            f"the body's first line is no command: {told[0]['msg']}",
            code="request-invalid",
            fix='send {"host": NAME, "argv": [...], "stdin": false}, a newline, and then the input',
        ) from error
