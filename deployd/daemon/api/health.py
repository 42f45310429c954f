"""`/healthz`, `/metrics`, `/openapi.json` and `/docs`: is the daemon well, and what can it be asked."""

from __future__ import annotations

import html
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse

from deployd import __version__
from deployd.daemon.api.auth import Caller, daemon_of, public, require
from deployd.daemon.wiring import Daemon

router = APIRouter(tags=["daemon"])
_LATE = 30.0  # seconds without a beat of the dispatcher


@router.head("/healthz", dependencies=[Depends(public)], include_in_schema=False)
@router.get("/healthz", dependencies=[Depends(public)], responses={503: {"description": "The dispatcher hangs"}})
def healthz(daemon: Annotated[Daemon, Depends(daemon_of)]) -> Response:
    """200 while the dispatcher works; nothing else is told to strangers."""
    late = time.monotonic() - daemon.dispatcher.beat > _LATE
    return JSONResponse({"ok": not late, "version": __version__}, 503 if late else 200)


@router.get("/metrics", response_class=Response)
def metrics(
    daemon: Annotated[Daemon, Depends(daemon_of)], caller: Annotated[Caller, Depends(require("read"))]
) -> Response:
    """For Prometheus; needs a token with the scope read that is bound to no app: all of them are counted."""
    caller.must_be_unbound()
    return Response(daemon.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.head("/openapi.json", dependencies=[Depends(public)], include_in_schema=False)
@router.get("/openapi.json", dependencies=[Depends(public)])
def openapi(request: Request) -> dict[str, Any]:
    """This API, described."""
    return _described(request)


@router.head("/docs", dependencies=[Depends(public)], include_in_schema=False)
@router.get("/docs", dependencies=[Depends(public)], response_class=HTMLResponse)
def docs(request: Request) -> HTMLResponse:
    """This API as a page; it loads nothing from elsewhere."""
    rows = [
        f"<tr><td>{verb.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(told.get('x-scope', 'public'))}</td><td>{html.escape(told.get('description', ''))}</td></tr>"
        for path, verbs in _described(request)["paths"].items()
        for verb, told in verbs.items()
    ]
    style = "body{font:15px/1.5 system-ui;margin:2em;max-width:70em}td{padding:.3em 1em .3em 0;vertical-align:top}"
    page = (
        f"<!doctype html><title>deployd's API</title><style>{style}</style><h1>deployd's API</h1>"
        "<p>Machine-readable: <a href=/openapi.json>/openapi.json</a>. Over https send <code>Authorization: Bearer "
        "TOKEN</code>. Errors are problem+json.</p><table><tr><th>Method<th>Path<th>Scope<th>What it does</tr>"
        f"{''.join(rows)}</table>"
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})


def _described(request: Request) -> dict[str, Any]:
    from fastapi.routing import APIRoute

    from deployd.daemon.api.auth import scope_of

    app = request.app
    if app.openapi_schema is None:
        described = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        for route in app.routes:
            scope = scope_of(route) if isinstance(route, APIRoute) else None
            if scope:
                for method in route.methods:
                    described["paths"][route.path_format][method.lower()]["x-scope"] = scope
        app.openapi_schema = described
    found: dict[str, Any] = app.openapi_schema
    return found
