"""Servers as deployd's own key reaches them, for the command line: hosts come in; findings, or what is there, go out.

`remote/servers.py` has the same methods over the daemon's API.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.client import Client
    from deployd.domain.events import Report
    from deployd.domain.host import Host
    from deployd.domain.ids import AppName, EnvironmentName, HostName
    from deployd.domain.options import Options

    Json = dict[str, Any]


class Servers:
    """Looking servers over, learning from them, and taking an app off them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def key_elsewhere(self) -> str | None:
        """The public key that hosts must let in, when another process has the private one; None when it is here."""
        return None

    def check(self, hosts: Sequence[Host]) -> tuple[list[Json], list[str]]:
        """Findings (`host`, `level`, `what`, `fix`), and the hosts that could not be reached."""
        from deployd.errors import UnreachableError
        from deployd.hosts import doctor
        from deployd.hosts.pool import Pool

        with Pool(hosts, paths=self._client.paths.make()) as pool:
            outcomes = pool.connect_all([host.name for host in hosts])
            findings = [asdict(one) for host in hosts for one in doctor.check(host, pool)]
        return findings, [name for name, one in outcomes.items() if isinstance(one, UnreachableError)]

    def adopt(self, hosts: Sequence[Host]) -> Json:
        """Learn apps, environments, releases and what is live from the hosts: `places` and `errors`."""
        from deployd.hosts.pool import Pool
        from deployd.rollouts import adopting

        with Pool(hosts, paths=self._client.paths.make()) as pool:
            return asdict(adopting.adopt(self._client.store, pool, who=self._client.who))

    def drain(
        self, hosts: Sequence[Host], place: tuple[AppName, EnvironmentName] | None, *, on: bool | None
    ) -> list[Json]:
        """Drain hosts or give them back (None: only look), as `rollouts/draining.py` says it."""
        from deployd.hosts.pool import Pool
        from deployd.rollouts import draining

        client = self._client
        with Pool(hosts, paths=client.paths.make()) as pool:
            return draining.drain(client.store, pool, place, on=on, who=client.who)

    def drained(self) -> dict[str, str]:
        """The hosts that were drained as a whole, as far as is known here, and by whom."""
        return self._client.store.hosts.drained()

    def presence(self, app: AppName, environment: EnvironmentName, hosts: Sequence[HostName]) -> list[Json]:
        """What each host has of an app, as `rollouts/removing.py` says it."""
        from deployd.hosts.pool import Pool
        from deployd.rollouts import removing

        client = self._client
        with Pool(client.store.hosts.some(hosts), paths=client.paths.make()) as pool:
            return [one.to_json() for one in removing.look(pool, app, environment)]

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
        """Take an app off hosts; `everywhere` says that these are all it has. Raises BusyError, HostLockedError."""
        from deployd.hosts.pool import Pool
        from deployd.rollouts import removing, upkeep

        client = self._client
        with (
            Pool(client.store.hosts.some(hosts), paths=client.paths.make()) as pool,
            upkeep.held(client.paths, pool, app, environment, who=client.who, doing="destroy", store=client.store),
        ):
            return removing.remove(
                client.store,
                pool,
                app,
                environment,
                options=options,
                everywhere=everywhere,
                variables=variables,
                who=client.who,
                report=report,
            )
