"""What a daemon keeps, over its API: hosts, variables, marks and pins go in and out, releases and rollouts come out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from deployd.errors import UnreachableError
from deployd.remote import values
from deployd.remote.connection import BROKEN, COMES_BACK, unreachable
from deployd.remote.hands import RemoteHands
from deployd.rollouts.values import error_from_json

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from deployd.domain.host import Host
    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId
    from deployd.domain.release import Mark, Release
    from deployd.domain.rollout import Pin, RolloutRecord, Variable
    from deployd.domain.secret import Secret
    from deployd.rollouts.wishes import LogLine, Status

_QUIET = 120.0  # seconds
_MOST, _SLACK, _PAUSE = 10_000, 10.0, 0.5  # of a stream of logs that is opened again: lines, seconds, seconds


class RemoteKept(RemoteHands):
    """The part of a remote client that reads and keeps."""

    def add_host(self, host: Host) -> None:
        """Keep a host."""
        body = {
            name: getattr(host, name)
            for name in ("address", "port", "admin_user", "identity", "host_key")
            if getattr(host, name) is not None
        }
        self._link.call("PUT", f"/v1/hosts/{host.name}", body)

    def hosts(self) -> tuple[Host, ...]:
        """All hosts, by name."""
        return tuple(values.host(one) for one in self._link.call("GET", "/v1/hosts")["hosts"])

    def host(self, name: HostName) -> Host:
        """One host; raises NotFoundError."""
        found = next((one for one in self.hosts() if one.name == name), None)
        return found if found is not None else super().host(name)

    def remove_host(self, name: HostName) -> None:
        """Forget a host."""
        self._link.call("DELETE", f"/v1/hosts/{name}")

    def set_variable(
        self,
        app: AppName,
        environment: EnvironmentName,
        key: str,
        value: Secret,
        *,
        build: bool = False,
        both: bool = False,
    ) -> None:
        """Keep a variable, encrypted."""
        path = f"{values.place(app, environment)}/variables/{key}"
        self._link.call("PUT", path, {"value": value.reveal(), "build": build, **({"both": True} if both else {})})

    def unset_variable(self, app: AppName, environment: EnvironmentName, key: str) -> None:
        """Remove a variable."""
        self._link.call("DELETE", f"{values.place(app, environment)}/variables/{key}")

    def variables(self, app: AppName, environment: EnvironmentName) -> tuple[Variable, ...]:
        """All variables, without their values."""
        found = self._link.call("GET", f"{values.place(app, environment)}/variables")
        return tuple(values.variable(one) for one in found["variables"])

    def mark(self, release: ReleaseId, mark: Mark) -> None:
        """Say that a release is good or bad."""
        self._link.call("PUT", f"/v1/releases/{release}/mark", {"mark": str(mark)})

    def pin(self, app: AppName, environment: EnvironmentName, *, release: ReleaseId | None = None) -> Pin:
        """Take no automatic release until `unpin`."""
        return values.pin(self._link.call("PUT", f"{values.place(app, environment)}/pin", {"release": release}))

    def unpin(self, app: AppName, environment: EnvironmentName) -> bool:
        """Let automatic releases go on."""
        return bool(self._link.call("DELETE", f"{values.place(app, environment)}/pin")["unpinned"])

    def status(self, app: AppName, environment: EnvironmentName, hosts: Sequence[HostName]) -> Status:
        """What is live where, asked of the hosts."""
        return values.status(self._link.call("GET", f"{values.place(app, environment)}/status", host=list(hosts)))

    def releases(self, app: AppName, environment: EnvironmentName) -> tuple[Release, ...]:
        """All releases, newest first."""
        found = self._link.call("GET", f"{values.place(app, environment)}/releases", limit=500)
        return tuple(values.release(one) for one in found["releases"])

    def release_by_id(self, release: ReleaseId) -> Release:
        """One release; raises NotFoundError."""
        return values.release(self._link.call("GET", f"/v1/releases/{release}"))

    def rollouts(
        self, app: AppName | None = None, environment: EnvironmentName | None = None, *, limit: int = 20
    ) -> tuple[RolloutRecord, ...]:
        """What was done, newest first."""
        found = self._link.call("GET", "/v1/rollouts", app=app, environment=environment, limit=limit)
        return tuple(values.rollout(one) for one in found["rollouts"])

    def waiting(self, app: AppName | None = None, environment: EnvironmentName | None = None) -> list[dict[str, Any]]:
        """What waits in the daemon's queue."""
        found = self._link.call("GET", "/v1/rollouts", app=app, environment=environment, limit=1)
        return list(found["waiting"])

    def story(self, rollout: RolloutId) -> dict[str, Any]:
        """One rollout: `rollout`, `steps`, `ask`."""
        return dict(self._link.call("GET", f"/v1/rollouts/{rollout}"))

    def rollout_by_id(self, rollout: RolloutId) -> RolloutRecord:
        """One rollout; raises NotFoundError."""
        found = self.story(rollout)["rollout"]
        return values.rollout(found) if found else super().rollout_by_id(rollout)

    def logs(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        hosts: Sequence[HostName],
        follow: bool = False,
        lines: int = 100,
        since: str | None = None,
        release: ReleaseId | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[LogLine]:
        """The servers' logs of all hosts, merged by time; with `follow` past a restart of the daemon."""
        place = f"{values.place(app, environment)}/logs"
        wanted: dict[str, Any] = {"host": list(hosts), "release": release, "follow": "true" if follow else None}
        seen: dict[str, float] = {}
        began, lost, known, again = time.time(), 0.0, False, False

        def opened() -> None:
            nonlocal lost, known
            lost, known = 0.0, True

        while True:
            span = (
                {"lines": _MOST, "since": f"{COMES_BACK + _SLACK:.0f}s"} if again else {"lines": lines, "since": since}
            )
            quiet = None if follow else _QUIET
            error: Exception | None = None
            ended: dict[str, Any] | None = None
            try:
                for name, fields in self._link.stream(place, quiet=quiet, opened=opened, **wanted, **span):
                    if name == "end" or (cancel is not None and cancel.is_set()):
                        ended = fields if name == "end" else {}
                        break
                    line = values.log_line(fields)
                    if not again or line.time > seen.get(line.host, began):
                        seen[line.host] = line.time
                        yield line
            except (*BROKEN, UnreachableError) as broken:
                error = broken
            if ended is not None and ended.get("error"):
                raise error_from_json(ended["error"])
            if ended is not None:
                return
            lost = lost or time.monotonic()
            if not follow or not known or time.monotonic() - lost > COMES_BACK:
                raise unreachable(self._link.daemon, error or "it ended in the middle") from error
            again = True
            time.sleep(_PAUSE)
