"""Errors as problem+json (RFC 9457): a DeploydError comes in, and goes out in the one error shape, with a status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from deployd import errors, logs

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

MEDIA_TYPE = "application/problem+json"
_BY_CODE = {
    "body-too-large": 413,
    "too-many-attempts": 429,
    "token-missing": 401,
    "token-invalid": 401,
    "hooks-busy": 503,  # forges take 4xx as a mistake of whoever set the webhook up, and some turn it off
}
_BY_CLASS: tuple[tuple[type[errors.DeploydError], int], ...] = (
    (errors.NotFoundError, 404),
    (errors.UsageError, 422),
    (errors.NotAllowedError, 403),
    (errors.BusyError, 409),
    (errors.HostError, 502),
    (errors.DatabaseError, 503),
)


def status_of(error: errors.DeploydError) -> int:
    """The HTTP status of an error."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    return next((status for cls, status in _BY_CLASS if isinstance(error, cls)), 409)


def response(error: errors.DeploydError, status: int | None = None) -> JSONResponse:
    """The answer that an error is; `class` and `retryable` let a client raise it again."""
    number = status or status_of(error)
    known = next((one for one in type(error).__mro__ if one.__module__ == errors.__name__), errors.DeploydError)
    body: dict[str, Any] = {
        "type": f"urn:deployd:error:{error.code}",
        "title": error.code,
        "status": number,
        "detail": error.what,
        "error": error.to_json(),
        "class": known.__name__,
        "retryable": error.retryable,
    }
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "60"}, 503: {"Retry-After": "30"}}.get(number)
    return JSONResponse(body, number, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error in this shape."""
    app.add_exception_handler(errors.DeploydError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


def _known(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.DeploydError)  # noqa: S101 - for the type alone
    return response(error)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type alone
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    told = str(first["msg"]).removeprefix("Value error, ")
    return response(errors.UsageError(f"{place}: {told}", code="request-invalid", fix="see /docs"), 422)


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type alone
    fault = errors.UsageError(str(error.detail).lower(), code="request-refused", fix="see /docs")
    answer = response(fault, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def _unknown(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ClientDisconnect):  # who hung up was no failure of ours
        logs.logger("api").error("request_failed", path=request.url.path, exc_info=error)
    fault = errors.DeploydError(
        "deployd itself failed", code="internal", fix="this is a bug: report it with the daemon's log of that moment"
    )
    return response(fault, 500)
