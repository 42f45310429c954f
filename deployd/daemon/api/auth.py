"""The one door: a request comes in, a `Caller` goes out, or 401, 403, 429. What nothing allows is refused.

Over the unix socket the kernel says who calls: root, the daemon's own user and the group `deployd` may do everything.
Over TCP a token says it: `Authorization: Bearer dpl_...`. A token has a scope (read < release < admin), may be bound to
apps, and may expire. A parameter `app` in path or query is checked here; what a body names, handlers check by
`caller.must(app)`, and lists are narrowed by `caller.may(app)`.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import pwd
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fastapi import Request

from deployd.domain.daemon import SCOPES, Scope
from deployd.errors import DatabaseError, NotAllowedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.routing import APIRoute

    from deployd.daemon.wiring import Daemon

_FAILURES = 10
_WINDOW = 60.0  # seconds
_ADDRESSES = 10_000


class UnknownCallerError(NotAllowedError):
    """Nobody knows who calls: 401."""


class TooManyError(NotAllowedError):
    """Too many wrong tokens from one address: 429."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, and what they may do. `apps` empty means every app; `local` is over the unix socket; `token` is the
    id of the one that was shown.
    """

    who: str
    scope: Scope
    origin: str
    apps: frozenset[str] = frozenset()
    local: bool = False
    token: str | None = None

    def may(self, app: str) -> bool:
        """Whether the app is one of theirs."""
        return not self.apps or app in self.apps

    def must(self, app: str) -> None:
        """Raise NotAllowedError when it is not."""
        if not self.may(app):
            raise NotAllowedError(
                f"this token is not for app {app}",
                code="token-app",
                live="unchanged",
                fix=f"ask for one: deployd token create --scope {self.scope} --app {app}",
            )

    def must_have(self, scope: Scope) -> None:
        """Raise NotAllowedError when theirs is less."""
        if SCOPES.index(self.scope) < SCOPES.index(scope):
            raise NotAllowedError(
                f"this needs the scope {scope}; yours is {self.scope}",
                code="token-scope",
                live="unchanged",
                fix=f"ask for a token: deployd token create --scope {scope}",
            )

    def must_be_unbound(self) -> None:
        """Raise NotAllowedError when they are bound to some apps: what concerns every app is not theirs."""
        if self.apps:
            raise NotAllowedError(
                f"this token is bound to {', '.join(sorted(self.apps))}",
                code="token-app",
                live="unchanged",
                fix="use a token without --app",
            )


class Door:
    """Lets callers in."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._failures: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def caller(self, request: Request) -> Caller:
        """Who calls; raises UnknownCallerError or TooManyError."""
        peer = request.scope.get("state", {}).get("peer")
        return self._local(*peer) if peer is not None else self._by_token(request)

    def refused(self, address: str, *, what: str, action: str = "login") -> None:
        """Count (and audit) somebody who could not prove who they are; raises TooManyError from the eleventh on."""
        self._daemon.metrics.refused.labels(action).inc()
        moment, counted = time.monotonic(), _network(address)
        with self._lock:
            if len(self._failures) >= _ADDRESSES:
                self._failures.clear()
            recent = [at for at in self._failures.get(counted, ()) if at > moment - _WINDOW]
            self._failures[counted] = [*recent, moment][-_FAILURES - 1 :]
            count = len(recent) + 1
        if count > _FAILURES:
            raise TooManyError(
                "too many attempts from this address", code="too-many-attempts", fix="wait a minute", retryable=True
            )
        self._daemon.store.audit.add(who="unknown", origin=address, action=action, outcome="refused", subject=what)

    def _local(self, pid: int, uid: int, gid: int) -> Caller:
        name = _login(uid)
        if uid in {0, os.geteuid()} or _in_group(name, gid, str(self._daemon.settings.get("group") or "deployd")):
            return Caller(who=name, scope="admin", origin=f"unix uid={uid} pid={pid}", local=True)
        raise NotAllowedError(
            f"{name} may not talk to deployd on this machine",
            code="not-in-group",
            live="unchanged",
            fix=f"as root: usermod -aG deployd {name}, then log in again",
        )

    def _by_token(self, request: Request) -> Caller:
        address = address_of(request)
        given = request.headers.get("authorization", "")
        kind, _, text = given.partition(" ")
        if not text or kind.lower() != "bearer":
            raise UnknownCallerError(
                "this needs a token",
                code="token-missing",
                fix="deployd login URL, or send `Authorization: Bearer TOKEN`",
            )
        token = self._daemon.store.tokens.verify(text.strip()[:200])
        if token is None:
            self.refused(address, what="a token that is not valid")
            raise UnknownCallerError(
                "this token is not valid: it is wrong, expired or revoked",
                code="token-invalid",
                fix="ask for a new one: deployd token create, on the daemon's machine",
            )
        with suppress(DatabaseError):  # a full disk keeps nobody from looking
            self._daemon.store.tokens.touch(token)
        return Caller(
            who=token.note or f"token {token.id}",
            scope=token.scope,
            origin=f"token {token.id} from {address}",
            apps=frozenset(map(str, token.apps)),
            token=token.id,
        )


def require(scope: Scope) -> Callable[[Request], Caller]:
    """A dependency: the caller, who must have at least this scope (and the app that the path or query names)."""

    def door(request: Request) -> Caller:
        caller = cast("Door", request.app.state.door).caller(request)
        request.state.caller = caller
        if SCOPES.index(caller.scope) < SCOPES.index(scope):
            raise NotAllowedError(
                f"this needs the scope {scope}; yours is {caller.scope}",
                code="token-scope",
                live="unchanged",
                fix=f"ask for a token: deployd token create --scope {scope}",
            )
        named = request.path_params.get("app") or request.query_params.get("app")
        if named is not None:
            caller.must(str(named))
        return caller

    door.deployd_scope = scope  # type: ignore[attr-defined]
    return door


async def public() -> None:
    """A dependency for what answers everybody: says so."""


async def daemon_of(request: Request) -> Any:
    """A dependency: the daemon."""
    return request.app.state.daemon


async def door_of(request: Request) -> Any:
    """A dependency: the door, for those who check signatures by themselves (`door.refused`)."""
    return request.app.state.door


def scope_of(route: APIRoute) -> Scope | None:
    """The scope that a route asks for; None of a public one."""
    found = (getattr(one.call, "deployd_scope", None) for one in route.dependant.dependencies)
    return next((scope for scope in found if scope is not None), None)


def has_door(route: APIRoute) -> bool:
    """Whether a route says who may call it."""
    return scope_of(route) is not None or any(one.call is public for one in route.dependant.dependencies)


def address_of(request: Request) -> str:
    """Where a request comes from: the connection's end, or whom the proxy there speaks for, if the settings name it."""
    found = request.client.host if request.client else "unknown"
    if found != request.app.state.daemon.settings.get("proxy"):
        return found
    told = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(told))
    except ValueError:
        return found


def _network(address: str) -> str:
    """What counts as one address: whoever has an IPv6 address mostly has 2**64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped:  # noqa: PLR2004 - IP's versions
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _login(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _in_group(name: str, gid: int, group: str) -> bool:
    try:
        return grp.getgrnam(group).gr_gid in {gid, *os.getgrouplist(name, gid)}
    except (KeyError, OSError):
        return False
