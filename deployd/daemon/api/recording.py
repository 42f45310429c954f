"""Writes the audit log for every request that changes something, whatever its handler does: nobody can forget it.

A handler may say more: `request.state.audit = {"action": ..., "app": ..., "subject": ...}`. Asks are audited with their
row in the queue, so their handlers set it to None. Webhooks have a record of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from deployd import logs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_FAILED = 400
_EMPTY = 204


class Recording:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle, then record."""
        if scope["type"] != "http" or scope["method"] in _READS:
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        status, recorded = 500, False
        head: Message | None = None

        async def record() -> None:
            nonlocal recorded
            caller, said = state.get("caller"), state.get("audit", {})
            if not recorded and caller is not None and (said is not None or status >= _FAILED):
                recorded = True
                await run_in_threadpool(_record, scope, caller, dict(said or {}), status)

        async def watched(message: Message) -> None:
            """The entry stands before the answer is out; that of a stream before its end."""
            nonlocal status, head
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == _EMPTY or any(name == b"content-length" for name, _ in message["headers"]):
                    head = message  # a caller who gets it may have all of an answer without a body
                    return
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                await record()
            if head is not None:
                first, head = head, None
                await send(first)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            await record()


def _record(scope: Scope, caller: Any, said: dict[str, Any], status: int) -> None:
    params = scope.get("path_params", {})
    entry = {
        "action": f"{scope['method'].lower()} {scope['path']}"[:200],
        "app": params.get("app"),
        "environment": params.get("environment"),
        **said,
    }
    outcome = entry.pop("outcome", "done") if status < _FAILED else f"refused ({status})"
    try:
        scope["app"].state.daemon.store.audit.add(who=caller.who, origin=caller.origin, outcome=outcome, **entry)
    except Exception:  # noqa: BLE001 - the answer is out already
        logs.logger("audit").exception("audit_failed", action=entry["action"])
