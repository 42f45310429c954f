"""What is live on each host: names come in, a `HostStatus` for each goes out, also for those that do not answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deployd.errors import HostError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.hosts.pool import Pool
    from deployd.hosts.replies import AppStatus

State = Literal["live", "empty", "degraded", "down", "unreachable", "failed"]
_HTTP = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """An app in an environment on one host.

    `state` is `live` (all wanted instances run; a static site wants none), `degraded` (some), `down` (none), `empty`
    (no release yet), `unreachable`, or `failed` (the host answered with an error). `restarts` is how often its servers
    ended by themselves since they were started.
    """

    name: HostName
    address: str
    release: ReleaseId | None
    state: State
    instances: int
    wanted: int
    since: float | None
    url: str | None
    detail: AppStatus | None
    error: HostError | None
    restarts: int = 0


def status(pool: Pool, hosts: Sequence[HostName], *, app: AppName, environment: EnvironmentName) -> list[HostStatus]:
    """Ask all hosts in parallel; one that cannot be asked is in the list with its error."""
    outcomes = pool.each(hosts, lambda helper: helper.status(app, environment))
    return [_status(name, pool.address(name), outcome) for name, outcome in outcomes.items()]


def _status(name: HostName, address: str, outcome: AppStatus | HostError) -> HostStatus:
    if isinstance(outcome, HostError):
        return HostStatus(
            name=name,
            address=address,
            release=None,
            state="unreachable" if isinstance(outcome, UnreachableError) else "failed",
            instances=0,
            wanted=0,
            since=None,
            url=None,
            detail=None,
            error=outcome,
        )
    current = outcome.release(outcome.current) if outcome.current else None
    running, wanted = (current.running, current.wanted) if current else (0, 1 if outcome.current else 0)
    return HostStatus(
        name=name,
        address=address,
        release=outcome.current,
        state=_state(outcome.current, running=running, wanted=wanted),
        instances=running,
        wanted=wanted,
        since=outcome.since,
        url=_url(address, outcome) if outcome.current else None,
        detail=outcome,
        error=None,
        restarts=current.restarts if current else 0,
    )


def _state(current: ReleaseId | None, *, running: int, wanted: int) -> State:
    if current is None:
        return "empty"
    if running >= wanted:
        return "live"
    return "degraded" if running else "down"


def _url(address: str, found: AppStatus) -> str:
    domains = [name for name in found.config.get("domains") or () if not name.startswith("*")]
    domains = [name for name in domains if name not in found.uncertified] or domains
    port = int(found.config.get("port") or _HTTP)
    name = domains[0] if domains else (f"[{address}]" if ":" in address else address)
    if found.config.get("tls"):
        return f"https://{name}"
    return f"http://{name}" + ("" if port == _HTTP else f":{port}")
