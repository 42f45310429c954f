"""The servers over the daemon's API: its key reaches them; the methods are those of `deployd/servers.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployd.remote import values
from deployd.remote.hands import teller
from deployd.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.events import Report
    from deployd.domain.host import Host
    from deployd.domain.ids import AppName, EnvironmentName, HostName
    from deployd.domain.options import Options
    from deployd.remote.client import RemoteClient
    from deployd.remote.connection import Connection

    Json = dict[str, Any]


class RemoteServers(Servers):
    """Asked of a daemon."""

    def __init__(self, client: RemoteClient, link: Connection) -> None:
        super().__init__(client)
        self._link = link

    def key_elsewhere(self) -> str | None:
        """The daemon's public key."""
        return str(self._link.call("GET", "/v1/key")["public_key"])

    def check(self, hosts: Sequence[Host]) -> tuple[list[Json], list[str]]:
        """Findings, and the hosts that could not be reached."""
        found = self._link.work("/v1/hosts/check", {"hosts": [host.name for host in hosts]})
        return list(found["findings"]), list(found["unreachable"])

    def adopt(self, hosts: Sequence[Host]) -> Json:
        """Have the daemon learn from the hosts."""
        found: Json = self._link.work("/v1/adopt", {"hosts": [host.name for host in hosts]})
        return found

    def drain(
        self, hosts: Sequence[Host], place: tuple[AppName, EnvironmentName] | None, *, on: bool | None
    ) -> list[Json]:
        """Have the daemon drain hosts."""
        body: Json = {"hosts": [host.name for host in hosts], "on": on}
        if place is not None:
            body |= {"app": place[0], "environment": place[1]}
        return list(self._link.call("POST", "/v1/hosts/drain", body)["hosts"])

    def drained(self) -> dict[str, str]:
        """As the daemon knows it."""
        return dict(self._link.call("GET", "/v1/hosts").get("drained", {}))

    def presence(self, app: AppName, environment: EnvironmentName, hosts: Sequence[HostName]) -> list[Json]:
        """What each host has of an app."""
        found = self._link.call("GET", f"{values.place(app, environment)}/presence", host=list(hosts))
        return list(found["hosts"])

    def destroy(
        self,
        app: AppName,
        environment: EnvironmentName,
        hosts: Sequence[HostName],
        *,
        options: Options,
        everywhere: bool,
        variables: bool,
        report: Report,
    ) -> Json:
        """Have the daemon take an app off hosts; it knows by itself which options the app has."""
        del options
        body = {"hosts": list(hosts), "everywhere": everywhere, "variables": variables}
        found: Json = self._link.work(f"{values.place(app, environment)}/destroy", body, told=teller(report))
        return found
