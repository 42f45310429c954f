"""Schedules, freezes and approvals over the daemon's API: the same methods as the agenda of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployd.agenda import Agenda
from deployd.domain.ids import RolloutId
from deployd.remote import values

if TYPE_CHECKING:
    import threading

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.remote.client import RemoteClient
    from deployd.remote.connection import Connection
    from deployd.rollouts.wishes import RolloutResult

    Json = dict[str, Any]


class RemoteAgenda(Agenda):
    """What is to happen, asked of a daemon."""

    fires = True

    def __init__(self, client: RemoteClient, link: Connection) -> None:
        super().__init__(client)
        self._remote = client
        self._link = link

    def schedule(self, **wanted: Any) -> Json:
        """Make a schedule."""
        place = values.place(wanted.pop("app"), wanted.pop("environment"))
        found: Json = self._link.call("POST", f"{place}/schedules", _given(wanted))
        return found

    def schedules(self, app: AppName, environment: EnvironmentName | None, *, every: bool = False) -> list[Json]:
        """Those that are to come."""
        found = self._link.call("GET", f"/v1/apps/{app}/schedules", environment=environment, every=_flag(every))
        return list(found["schedules"])

    def cancel_schedule(self, schedule: str) -> Json:
        """Cancel one."""
        found: Json = self._link.call("DELETE", f"/v1/schedules/{schedule}")
        return found

    def run_schedule(self, schedule: str) -> RolloutId:
        """Run one at once."""
        return RolloutId(self._link.call("POST", f"/v1/schedules/{schedule}/run")["rollout"])

    def confirm(self, rollout: RolloutId | None, app: AppName, environment: EnvironmentName) -> Json:
        """Keep what is live."""
        found: Json = self._link.call("POST", f"{values.place(app, environment)}/confirm", {"rollout": rollout})
        return found

    def freeze(self, app: AppName, environment: EnvironmentName, **wanted: Any) -> Json:
        """Freeze an environment."""
        found: Json = self._link.call("POST", f"{values.place(app, environment)}/freezes", _given(wanted))
        return found

    def freezes(self, app: AppName, environment: EnvironmentName | None) -> list[Json]:
        """Freezes in force."""
        return list(self._link.call("GET", f"/v1/apps/{app}/freezes", environment=environment)["freezes"])

    def unfreeze(self, app: AppName, environment: EnvironmentName) -> int:
        """End the freezes of an environment."""
        return int(self._link.call("DELETE", f"{values.place(app, environment)}/freezes")["ended"])

    def approvals(self, app: AppName, environment: EnvironmentName | None, *, every: bool = False) -> list[Json]:
        """What waits for a yes."""
        found = self._link.call("GET", f"/v1/apps/{app}/approvals", environment=environment, every=_flag(every))
        return list(found["approvals"])

    def approve(
        self,
        rollout: RolloutId | None,
        app: AppName,
        environment: EnvironmentName,
        *,
        during_freeze: bool,
        report: Report,
        cancel: threading.Event,
    ) -> RolloutResult:
        """Say yes, and watch the release go live."""
        body = {"rollout": rollout, "during_freeze": during_freeze}
        reply = self._link.call("POST", f"{values.place(app, environment)}/approve", body)
        return self._remote.attend(RolloutId(reply["rollout"]), report=report, cancel=cancel)

    def reject(
        self, rollout: RolloutId | None, app: AppName, environment: EnvironmentName, *, reason: str | None
    ) -> Json:
        """Say no."""
        body = {"rollout": rollout, "reason": reason}
        found: Json = self._link.call("POST", f"{values.place(app, environment)}/reject", body)
        return found


def _given(wanted: Json) -> Json:
    return {name: value for name, value in wanted.items() if value is not None}


def _flag(value: bool) -> str | None:  # noqa: FBT001 - one word
    return "true" if value else None
