"""One connection to a daemon: a request goes out over a unix socket, http or https; JSON or events come back.

http.client, because the command line must start at once: httpx alone takes longer to import than a rollback runs.
Answers that are problems are raised as the errors that they were in the daemon.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlencode, urlsplit

from deployd import errors
from deployd.errors import DeploydError, UnreachableError, UsageError
from deployd.rollouts.values import error_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deployd.domain.secret import Secret

_TIMEOUT = 60.0
_QUIET = 30.0  # a stream says something every two seconds
_IDLE = 10.0  # the daemon closes what is idle for 30
_LONGEST = 107
_FAILED = 400
_NOBODY_BEHIND = frozenset({502, 503, 504})  # of a proxy, while the daemon is started again
_STREAM = {"Accept": "text/event-stream"}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
COMES_BACK = 60.0
"""How long a client waits for a daemon that is being restarted, in seconds."""
BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """Where a daemon is: `socket`, or `url` with a token."""

    socket: Path | None = None
    url: str | None = None
    token: Secret | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.url or str(self.socket)


class Connection:
    """Requests, one after the other, over one connection that is opened when it is needed."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._open: http.client.HTTPConnection | None = None
        self._used = time.monotonic()

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._open:
            self._open.close()
        self._open = None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """One request; the answer's JSON, or None. Raises the error that the daemon answers."""
        reply = self._send(method, _with(path, query), body)
        refuse(reply)
        data = reply.read()
        return json.loads(data) if data else None

    def upload(self, path: str, data: BinaryIO, **query: Any) -> Any:
        """Send a file's bytes; the answer's JSON."""
        reply = self._send("POST", _with(path, query), data, {"Content-Type": "application/octet-stream"})
        refuse(reply)
        return json.loads(reply.read())

    def work(
        self, path: str, body: Mapping[str, Any], *, told: Callable[[str, dict[str, Any]], None] | None = None
    ) -> Any:
        """Have the daemon do what takes time, hand its events to `told`, and return its result; raises its error.

        It is read past its last event: when the stream is at its end, the daemon has written it into its audit log.
        """
        ended: dict[str, Any] | None = None
        try:
            for name, fields in self._events(self._send("POST", path, body, _STREAM), quiet=_QUIET):
                if name == "end":
                    ended = fields
                elif told:
                    told(name, fields)
        except BROKEN as error:
            if ended is None:
                raise self._unreachable(error) from error
        if ended is None:
            raise self._unreachable("it ended before it was done")
        if ended.get("error"):
            raise error_from_json(ended["error"])
        return ended.get("result")

    def stream(
        self,
        path: str,
        *,
        last: int | None = None,
        quiet: float | None = _QUIET,
        opened: Callable[[], None] | None = None,
        **query: Any,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of a stream, to its end; `opened` is called once it is there (its first event may take long).

        Raises OSError or HTTPException when it breaks.
        """
        headers = _STREAM | ({"Last-Event-ID": str(last)} if last is not None else {})
        reply = self._send("GET", _with(path, query), None, headers)
        if opened and reply.status < _FAILED:
            opened()
        yield from self._events(reply, quiet=quiet)

    def _events(self, reply: http.client.HTTPResponse, *, quiet: float | None) -> Iterator[tuple[str, dict[str, Any]]]:
        refuse(reply)
        if self._open and self._open.sock:
            self._open.sock.settimeout(quiet)
        try:
            yield from events_of(reply)
        finally:
            self.close()

    def probe(self) -> bool:
        """Whether somebody listens there."""
        try:
            self._connection().connect()
        except PermissionError:
            raise
        except BROKEN:
            self.close()
            return False
        return True

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | BinaryIO | None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        sent = {**_credentials(self.daemon), **(headers or {})}
        data: bytes | BinaryIO | None = None
        if isinstance(body, Mapping):
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            if body is not None and data is None:
                data = cast("BinaryIO", body)
            connection = self._connection()
            connection.request(method, path, body=data, headers=sent)
            return connection.getresponse()
        except BROKEN as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: object) -> UnreachableError:
        self.close()
        return unreachable(self.daemon, error)

    def _connection(self) -> http.client.HTTPConnection:
        if time.monotonic() - self._used > _IDLE:
            self.close()  # the daemon may close it at this very moment
        self._used = time.monotonic()
        if self._open is None:
            self._open = _made(self.daemon)
        return self._open


def opened(daemon: Daemon) -> tuple[http.client.HTTPConnection, dict[str, str]]:
    """A connection of its own, and the headers that say who calls."""
    return _made(daemon), _credentials(daemon)


def refuse(reply: http.client.HTTPResponse) -> None:
    """Raise the error that an answer is, if it is one."""
    if reply.status >= _FAILED:
        raise _problem(reply.status, reply.read())


def events_of(reply: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a stream, to its end; raises OSError or HTTPException when it breaks."""
    name, data = "message", ""
    while line := reply.readline():
        text = line.decode().rstrip("\r\n")
        if not text and data:
            yield name, json.loads(data)
            name, data = "message", ""
        elif text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            data += text.removeprefix("data: ")


def unreachable(daemon: Daemon, error: object) -> UnreachableError:
    """The error of a daemon that does not answer, or whose certificate nobody vouches for."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):  # the type is ssl's, whose import takes time
        return UnreachableError(
            f"the certificate of {daemon.name} is not to be believed: {error}",
            code="daemon-certificate",
            live="unchanged; nothing was sent, and no token",
            fix="name the CA that signed it: SSL_CERT_FILE=ca.pem; or use the name that stands in the certificate",
        )
    return UnreachableError(
        f"the daemon at {daemon.name} does not answer: {error}",
        code="daemon-unreachable",
        live="unknown; apps do not depend on the daemon",
        fix="see `systemctl status deployd` there; `deployd login URL` names another",
        retryable=True,
    )


def _credentials(daemon: Daemon) -> dict[str, str]:
    return {"Authorization": f"Bearer {daemon.token.reveal()}"} if daemon.token else {}


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("deployd", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        if self.sock:
            return
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.settimeout(self.timeout)
        try:
            with _reachable(self._path) as address:
                found.connect(address)
        except BaseException:
            found.close()
            raise
        self.sock = found


def _made(daemon: Daemon) -> http.client.HTTPConnection:
    if daemon.socket is not None:
        return _Unix(daemon.socket)
    parts = urlsplit(daemon.url or "")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
        raise UsageError(
            f"{daemon.url!r} is no daemon's address",
            code="url-invalid",
            fix="give scheme and host, such as https://deployd.example",
        )
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_TIMEOUT)
    if parts.hostname not in _LOOPBACK:
        raise UsageError(
            f"{daemon.url} is not encrypted: everybody on the way would read the token",
            code="url-insecure",
            fix="use https, or a tunnel: ssh -L 8300:127.0.0.1:8300 HOST, then http://127.0.0.1:8300",
        )
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT)


def _with(path: str, query: Mapping[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _problem(status: int, data: bytes) -> DeploydError:
    """The error that a problem+json document is; of another server's page, one that says so."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        body = json.loads(data)
        told = dict(body["error"])
        docs = told.pop("docs", None)
        fields = {**told, "docs": docs, "retryable": bool(body.get("retryable"))}
        return error_from_json({"class": body["class"], "fields": fields})
    if status in _NOBODY_BEHIND:
        return UnreachableError(
            f"what stands before the daemon answered with status {status}: the daemon does not answer there",
            code="daemon-unreachable",
            live="unknown; apps do not depend on the daemon",
            fix="see `systemctl status deployd` there",
            retryable=True,
        )
    return errors.DeploydError(
        f"the daemon answered with status {status}, and not in deployd's words",
        code="daemon-strange",
        fix="see whether the address is deployd's",
    )


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A unix socket's path may have 107 bytes; a longer one is reached through its folder."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
