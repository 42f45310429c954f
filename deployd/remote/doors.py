"""Who is let in, over the daemon's API; the methods are those of `deployd/doors.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.ids import HostName, ReleaseId
from deployd.doors import Doors
from deployd.remote import values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.hosts.pool import Pool
    from deployd.remote.connection import Connection


class RemoteDoors(Doors):
    """Asked of a daemon."""

    def __init__(self, pool_of: Callable[[Sequence[HostName]], Pool], notes: Path, link: Connection) -> None:
        super().__init__(pool_of, notes)
        self._link = link

    def maintenance(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        hosts: Sequence[HostName],
        on: bool,
        allow: Sequence[str] = (),
        page: str | None = None,
    ) -> tuple[HostName, ...]:
        """Have the daemon turn visitors away, or let them in."""
        body = {"on": on, "allow": list(allow), "page": page, "hosts": list(hosts)}
        reply = self._link.call("PUT", f"{values.place(app, environment)}/maintenance", body)
        return tuple(HostName(name) for name in reply["changed"])

    def canary(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        hosts: Sequence[HostName],
        release: ReleaseId,
        percent: float,
    ) -> None:
        """Have the daemon give some visitors a release that is prepared."""
        body = {"release": release, "percent": percent, "hosts": list(hosts)}
        self._link.call("PUT", f"{values.place(app, environment)}/canary", body)

    def end_canary(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName]) -> ReleaseId | None:
        """Have the daemon give everybody the current release."""
        path = f"{values.place(app, environment)}/canary"
        was = self._link.call("DELETE", path, {"hosts": list(hosts)})["was"]
        return ReleaseId(was) if was else None

    def share(
        self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName], label: str, seconds: float
    ) -> str:
        """Have the daemon make a key to one preview."""
        body = {"label": label, "seconds": seconds, "hosts": list(hosts)}
        return str(self._link.call("POST", f"{values.place(app, environment)}/links", body)["key"])
