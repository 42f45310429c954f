"""What a person does by hand, over the daemon's API: the same methods as the client's."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from deployd.client import Client
from deployd.domain.events import Event
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
from deployd.domain.secret import Secret
from deployd.remote import values
from deployd.remote.bringing import brought
from deployd.remote.exchange import exchange
from deployd.rollouts.wishes import Action, LockState, Plan, PruneResult, wish_to_json

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from deployd.domain.events import Report
    from deployd.domain.options import Options
    from deployd.remote.connection import Connection
    from deployd.rollouts.wishes import ReleaseWish

EVENTS = {str(event): event for event in Event}


class RemoteHands(Client):
    """The part of a remote client that is no rollout and nothing that is kept."""

    is_local: bool
    _link: Connection

    def plan(self, wish: ReleaseWish) -> Plan:
        """What the wish would do."""
        body = {"wish": wish_to_json(brought(wish, self._link))} if self.is_local else {"ask": self._as_ask(wish)}
        found = self._link.work("/v1/plans", body)
        actions = tuple(
            Action(**{**one, "host": HostName(one["host"]) if one["host"] else None}) for one in found["actions"]
        )
        return Plan(app=AppName(found["app"]), environment=EnvironmentName(found["environment"]), actions=actions)

    def restart(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName], report: Report) -> None:
        """Restart the live release."""
        self._link.work(f"{values.place(app, environment)}/restart", {"hosts": list(hosts)}, told=teller(report))

    def prune(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        hosts: Sequence[HostName],
        options: Options,
        report: Report,
    ) -> tuple[PruneResult, ...]:
        """Remove the releases that are kept no longer."""
        body = {"hosts": list(hosts), "keep": asdict(options.keep)}
        found = self._link.work(f"{values.place(app, environment)}/prune", body, told=teller(report))
        return tuple(values.pruned(one) for one in found)

    def locks(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName]) -> tuple[LockState, ...]:
        """Who holds the app's lock on each host."""
        found = self._link.call("GET", f"{values.place(app, environment)}/locks", host=list(hosts))
        return tuple(LockState(**{**one, "host": HostName(one["host"])}) for one in found["locks"])

    def unlock(self, app: AppName, environment: EnvironmentName, *, hosts: Sequence[HostName]) -> None:
        """Take the app's lock from whoever holds it on the hosts."""
        self._link.call("POST", f"{values.place(app, environment)}/unlock", {"hosts": list(hosts)})

    def reveal_variables(self, app: AppName, environment: EnvironmentName) -> dict[str, Secret]:
        """The variables that people set, with their values: over the unix socket only."""
        found = self._link.call("POST", f"{values.place(app, environment)}/variables/reveal")
        return {key: Secret(value) for key, value in found["variables"].items()}

    def diff(self, before: ReleaseId, after: ReleaseId) -> dict[str, Any]:
        """What differs between two releases."""
        return dict(self._link.call("GET", f"/v1/releases/{before}/diff/{after}"))

    def exec(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        host: HostName,
        argv: Sequence[str],
        stdin: BinaryIO | None,
        stdout: BinaryIO,
        stderr: BinaryIO,
        cancel: threading.Event | None = None,
    ) -> int:
        """Run a command in the live release's environment on one host; returns its exit code."""
        del cancel  # Ctrl-C ends this process, and the daemon ends what nobody listens to
        head = {"host": host, "argv": list(argv), "stdin": stdin is not None}
        return exchange(
            self._link.daemon, f"{values.place(app, environment)}/exec", head, stdin=stdin, stdout=stdout, stderr=stderr
        )

    def _as_ask(self, wish: ReleaseWish) -> dict[str, Any]:
        raise NotImplementedError


def teller(report: Report) -> Callable[[str, dict[str, Any]], None]:
    """What hands each event of the API to `report`; what this version does not know is left out."""

    def told(name: str, fields: dict[str, Any]) -> None:
        if name in EVENTS:
            report(EVENTS[name], **{key: one for key, one in fields.items() if key != "event"})

    return told
